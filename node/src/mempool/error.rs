//! Why the pool refused a transaction.

use sp_runtime::transaction_validity::{InvalidTransaction, UnknownTransaction};

/// Why the pool refused a transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Longer than any transaction may be.
    #[error("reading a transaction: it has {bytes} bytes, and at most {bytes_max} are allowed")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        bytes_max: usize,
    },
    /// Bytes that are no transaction, or one nested too deeply.
    #[error("reading a transaction: {0}")]
    Malformed(String),
    /// The ledger says that it is invalid.
    #[error("checking a transaction: {}", <&str>::from(*.0))]
    Invalid(InvalidTransaction),
    /// The ledger cannot say whether it is valid.
    #[error("checking a transaction: {}", <&str>::from(*.0))]
    Unknown(UnknownTransaction),
    /// It provides nothing by which it could be told from others.
    #[error("checking a transaction: it provides no tag")]
    NoTag,
    /// It requires what it provides itself.
    #[error("ordering a transaction: it requires itself")]
    Cycle,
    /// It was found invalid a few blocks ago.
    #[error("admitting a transaction: it was invalid a moment ago and is not checked again for some blocks")]
    Banned,
    /// It is here already.
    #[error("admitting a transaction: it is already in the pool")]
    Known,
    /// Another step of the same kind for the same seat is here already.
    #[error("admitting a transaction: another one for the same step is in the pool, and stays")]
    Taken,
    /// Another transaction of the same account and nonce is here, and this one does not outbid it.
    #[error(
        "replacing a transaction of the same nonce: the priority must be {percent} percent higher; raise the tip"
    )]
    Underpriced {
        /// By how much it must be higher.
        percent: u64,
    },
    /// Its account has as many transactions here as it may.
    #[error("admitting a transaction: its account has {0} in the pool, and that is the limit")]
    AccountFull(usize),
    /// The pool holds as much as it may, and nothing that ranks lower than this.
    #[error("admitting a transaction: the pool is full of transactions that go before it; raise the tip")]
    Full,
    /// More is coming in than the pool can look at.
    #[error("admitting a transaction: the pool is busy")]
    Busy,
    /// The ledger could not be asked.
    #[error("checking a transaction: {0}")]
    Ledger(String),
    /// The pool has stopped.
    #[error("asking the pool: it has stopped")]
    Stopped,
}
