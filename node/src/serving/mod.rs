//! Which models this node has loaded: those that its identities offer on the ledger and that lie in its store.
//!
//! The ledger alone says what is offered, so a restart loads the same models again without a list of its own.

mod ports;
mod service;

pub use ports::{LoadError, Shelf};
pub use service::Serving;
