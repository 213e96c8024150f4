//! Receipts: a settled job with everything that proves it, put together from the log, the headers and the
//! events of its draws.

mod build;
mod ports;
mod provenance;

pub use build::{ReceiptError, Receipts, Settled};
pub use ports::{IndexError, SettlementIndex};
