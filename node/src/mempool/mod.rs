//! The transaction pool: what waits for a block.
//!
//! Every transaction is checked by the ledger before it comes in, and again after finalized blocks, a bounded
//! number a block, the longest unchecked first. Order follows the tags that the ledger answers with: an
//! account's transactions go by nonce, job steps one for each tag. Among those that could go now, priority
//! decides. Everything is bounded, and what does not fit is refused: nothing that was accepted is displaced.

mod bans;
mod error;
mod graph;
mod inbox;
mod ports;
mod quota;
mod service;
mod state;
#[cfg(test)]
mod tests;
mod transaction;

pub use error::PoolError;
pub use inbox::{Counts, MempoolHandle, Watch};
pub use ports::{CheckError, LedgerCheck, Verdict};
pub use service::Mempool;
pub use state::Status;
pub use transaction::Transaction;

/// Bounds of the pool.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Transactions, those being checked included: about a minute of full blocks.
    pub transactions_max: usize,
    /// Bytes of all transactions: eight full blocks.
    pub bytes_max: usize,
    /// Bytes of one transaction. The largest that the protocol knows carries a sealed package of 256 KiB.
    pub transaction_bytes_max: usize,
    /// Transactions of one account.
    pub account_max: usize,
    /// Transactions without an account: a quarter of the pool, as feeless steps have a quarter of a block.
    pub feeless_max: usize,
    /// Blocks for which a transaction may wait for its predecessor.
    pub waiting_blocks_max: u32,
    /// Blocks for which a transaction that can never be valid is refused unchecked.
    pub ban_blocks: u32,
    /// Transactions that are checked again after a block.
    pub rechecks_per_block: usize,
    /// Checks at the same time.
    pub checks_at_once: usize,
    /// Messages that wait for the pool; when full, submitting is refused and others wait.
    pub inbox_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            transactions_max: 8_192,
            bytes_max: 16 * 1024 * 1024,
            transaction_bytes_max: 512 * 1024,
            account_max: 64,
            feeless_max: 2_048,
            waiting_blocks_max: 600,
            ban_blocks: 16,
            rechecks_per_block: 256,
            checks_at_once: 2,
            inbox_max: 1_024,
        }
    }
}
