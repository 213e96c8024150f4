//! Which models this node has loaded: those that its identities offer on the ledger, those of jobs that it is to judge,
//! and for a while those that its owner asks for. One that is not in its store is
//! fetched by its id from other nodes, and loaded when it has come.
//!
//! The ledger alone says what is offered, so a restart loads the same models again without a list of its own.

mod ports;
mod docket;
mod load;
mod service;

pub use ports::{LoadError, Shelf, Supply, SupplyError};
pub use service::{Judging, Serving, Wants, wants};
