//! The transaction pool: what waits for a block.
//!
//! Every transaction is checked by the ledger before it comes in, and again after finalized blocks, a bounded
//! number a block, the longest unchecked first. Order follows the tags that the ledger answers with: an
//! account's transactions go by nonce, job steps one for each tag. Among those that could go now, priority
//! decides, which the tip buys.
//!
//! Everything is bounded. A transaction takes the place of another of its account and nonce when its priority
//! is a tenth higher. When the pool is full, what ranks lowest leaves for what ranks higher, together with all
//! that depends on it: first what waits for a predecessor, then the lowest priority, where nothing counts more
//! than what it depends on, then the latest. Job steps are neither replaced nor displaced.

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

pub use error::{Nature, Outlook, PoolError, Refused};
pub use inbox::{Counts, MempoolHandle, Watch};
pub use ports::{CheckError, LedgerCheck, Verdict};
pub use service::Mempool;
pub use state::Status;
pub use transaction::Transaction;

/// Bounds of the pool.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Transactions in the pool: several full blocks.
    pub transactions_max: usize,
    /// Their bytes: eight full blocks.
    pub bytes_max: usize,
    /// Bytes of one transaction. The largest that the protocol knows carries a sealed package of 256 KiB.
    pub transaction_bytes_max: usize,
    /// Transactions of one account.
    pub account_max: usize,
    /// Transactions without an account: a quarter of the pool, as feeless steps have a quarter of a block.
    pub feeless_max: usize,
    /// Transactions that wait for a predecessor: a quarter of the pool, so that they crowd out nothing that could
    /// go.
    pub waiting_max: usize,
    /// By how many percent the priority must grow for one transaction to take the place of another: enough that
    /// a sender cannot have the pool check thousands for the price of one.
    pub replacement_percent: u64,
    /// Submissions that are being checked, paid calls and steps each; more are refused as busy.
    pub checking_max: usize,
    /// Their bytes, likewise.
    pub checking_bytes_max: usize,
    /// Blocks for which a transaction may wait for its predecessor.
    pub waiting_blocks_max: u32,
    /// Blocks for which a transaction that can never be valid is refused unchecked.
    pub ban_blocks: u32,
    /// Transactions that are checked again after a block.
    pub rechecks_per_block: usize,
    /// Batches that are checked at the same time: the ledger has one thread for them.
    pub checks_at_once: usize,
    /// Transactions of one batch, whose signatures are verified together: about 20 ms of work.
    pub check_batch_max: usize,
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
            waiting_max: 2_048,
            replacement_percent: 10,
            checking_max: 2_048,
            checking_bytes_max: 8 * 1024 * 1024,
            waiting_blocks_max: 600,
            ban_blocks: 16,
            rechecks_per_block: 256,
            checks_at_once: 1,
            check_batch_max: 256,
            inbox_max: 1_024,
        }
    }
}
