//! What consensus needs from others.

use assay_runtime::{Hash, UncheckedExtrinsic};

/// Transactions that wait for a block.
pub trait TransactionSource: Send + Sync + 'static {
    /// Transactions in the order in which a block should try them, at most as many as one can hold.
    fn ready(&self) -> impl Future<Output = Vec<UncheckedExtrinsic>> + Send;
    /// These turned out invalid while a block was built.
    fn rejected(&self, hashes: Vec<Hash>) -> impl Future<Output = ()> + Send;
}
