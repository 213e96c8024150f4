//! Receipts: a settled job with everything that proves it, put together from the log, the headers and the
//! events of its draws.

mod build;
mod ports;

pub use build::{ReceiptError, Receipts, Settled};
pub use ports::{IndexError, SettlementIndex};
