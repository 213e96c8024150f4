//! Consensus: decides the next block. A single authority stands behind the port today.
//!
//! Whatever engine decides does the same four things: propose a block, have it verified by execution,
//! have it committed with a certificate, and leave the serving of finalized events to the ledger.

mod authority;
mod ports;

pub use authority::{Authority, AuthorityKeys, Config, ConsensusError, certify};
pub use ports::TransactionSource;
