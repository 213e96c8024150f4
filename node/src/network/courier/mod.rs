//! Carries sealed envelopes between nodes: what lies here for somebody else goes to its node, and what one of this
//! node's own lacks is fetched.
//!
//! Nothing is remembered that journal and ledger do not say: after a restart every envelope of an open job is handed
//! over again, which its recipient's node takes for what it is. Which envelopes are taken from others is decided by the
//! ledger's job alone, in `rules`.

mod carry;
mod outbox;
mod rules;
mod survey;
mod service;
mod wants;

#[cfg(test)]
pub mod fixture;

pub use service::{Courier, Home, Wish};
