//! What the pool needs from the ledger.

use sp_runtime::transaction_validity::TransactionValidity;

use super::Transaction;

/// What the ledger says about a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Height of the finalized block on whose state it was checked.
    pub height: u32,
    /// What it provides and requires, or why it is invalid.
    pub validity: TransactionValidity,
}

/// Why the ledger has no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The bytes are no transaction, or one nested too deeply.
    #[error("{0}")]
    Malformed(String),
    /// The ledger failed.
    #[error("{0}")]
    Failed(String),
}

/// Checks transactions at the finalized head.
pub trait LedgerCheck: Clone + Send + Sync + 'static {
    /// Checks signatures, nonces, fees and calls, without executing them; answers in the same order.
    fn check(
        &self,
        transactions: Vec<Transaction>,
    ) -> impl Future<Output = Vec<Result<Verdict, CheckError>>> + Send;
}
