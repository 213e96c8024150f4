//! What a machine does: the services of a node and the command line that talks to them.

#![forbid(unsafe_code)]

pub mod keys;
pub mod ledger;
pub mod consensus;
pub mod mempool;
pub mod worker;
pub mod receipts;
pub mod rpc;
pub mod adapters;
pub mod client;
