//! Carries sealed envelopes between nodes: what lies here for somebody else goes to its node, and what one of this
//! node's own lacks is fetched.
//!
//! Nothing must be remembered that journal and ledger do not say: after a restart every envelope of an open job is handed
//! over again, which its recipient's node takes for what it is. An answer goes nowhere before its job is paid. Which envelopes are taken from others is decided by the
//! ledger's job alone, in `rules`.

mod rules;
mod wants;
mod outbox;
mod origins;
mod turns;
mod survey;
mod carry;
mod service;

pub use service::{Courier, Home, Wish};
