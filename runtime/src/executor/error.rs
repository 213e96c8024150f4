//! Why the chain could not do something.

use crate::Hash;

use super::kv::StoreError;

/// Why the chain could not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The store failed: the node must stop.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store holds cannot be right: the node must stop.
    #[error("reading the ledger: {0}")]
    Corrupt(String),
    /// The store belongs to another chain.
    #[error("opening the ledger: it holds the chain {found}, not {expected}")]
    ForeignGenesis {
        /// Genesis of the chain in the store.
        found: Hash,
        /// Genesis that was asked for.
        expected: Hash,
    },
    /// The chain specification contradicts itself.
    #[error("building the first state: {0}")]
    BadGenesis(String),
    /// The block does not follow from the head, or executes to something else.
    #[error("verifying a block: {0}")]
    InvalidBlock(String),
    /// The certificate does not commit the block.
    #[error("verifying a block's certificate: {0}")]
    BadCertificate(String),
    /// Bytes that are no transaction, or one nested too deeply.
    #[error("decoding a transaction: {0}")]
    BadExtrinsic(String),
    /// No such block.
    #[error("finding block {0}: it is unknown")]
    UnknownBlock(Hash),
    /// The state of that block is gone.
    #[error("reading the state of block {0}: it has been pruned; start the node with --archive to keep all")]
    Pruned(u32),
    /// The blocks after which others decided are too many for one answer.
    #[error("reading who decided: the blocks after which others did have more than {0} bytes")]
    TooManyHandOvers(usize),
    /// No such function, or one that outsiders may not call.
    #[error("calling the runtime: there is no function {0} for callers from outside")]
    UnknownFunction(String),
    /// A function that walks the whole state, which only the node and its owner may have done.
    #[error("calling the runtime: {0} reads without bound, so it is not for callers from outside")]
    Unbounded(String),
    /// The runtime refused by panicking; the state is untouched.
    #[error("running the runtime: {0}")]
    Panicked(String),
}

impl ChainError {
    /// Whether the node must stop: its store can no longer be trusted.
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Store(_) | Self::Corrupt(_))
    }
}
