//! Who is where: providers and validators announce their nodes, and every node keeps a book of what it heard.
//!
//! An announcement is signed by the key that the ledger has for its announcer, so nobody can lead others' envelopes
//! astray; whoever signs for somebody who is on no ledger is not listened to. The newest counts, and old ones are
//! forgotten, so that the book has at most one entry for everybody who is on the ledger.

mod book;
mod service;

pub use book::{Place, SharedBook};
pub use service::{Announcing, Presence};
