//! What consensus needs from others.

use assay_manifest::Digest32;
use assay_protocol::vote::Equivocation;
use assay_runtime::executor::StoreFault;
use assay_runtime::{Hash, UncheckedExtrinsic};
use codec::{Decode, Encode};

/// Transactions that wait for a block.
pub trait TransactionSource: Send + Sync + 'static {
    /// Transactions in the order in which a block should try them, at most as many as one can hold.
    fn ready(&self) -> impl Future<Output = Vec<UncheckedExtrinsic>> + Send;
    /// These turned out invalid while a block was built.
    fn rejected(&self, hashes: Vec<Hash>) -> impl Future<Output = ()> + Send;
    /// A validator voted for two things in one round: the ledger is to know.
    fn convict(&self, proof: Equivocation) -> impl Future<Output = ()> + Send;
}

/// A block that was proposed and found valid, but is not decided.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Candidate {
    /// Height of the block.
    pub height: u32,
    /// Round in which it was first proposed.
    pub round: u32,
    /// Hash of its header.
    pub value: Digest32,
    /// Who proposed it first.
    pub proposer: Digest32,
    /// The proposer's signature under the parts in which it was sent; none where it came otherwise.
    pub signature: Option<[u8; 64]>,
    /// The encoded block.
    pub block: Vec<u8>,
}

/// Candidates could not be kept or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("keeping proposed blocks: {cause}")]
pub struct CandidatesError {
    /// What went wrong.
    pub cause: String,
    /// What kind of trouble that is.
    pub fault: StoreFault,
}

/// Candidates, in a store that survives the node: a block that this node voted for must be there when it is decided.
/// Its functions may wait for the disk.
pub trait Candidates: Send + Sync + 'static {
    /// Keeps a candidate; it is durable when this returns.
    ///
    /// # Errors
    /// [`CandidatesError`] when writing fails.
    fn keep(&self, candidate: &Candidate) -> Result<(), CandidatesError>;

    /// The candidates that were first proposed in a round.
    ///
    /// # Errors
    /// [`CandidatesError`] when reading fails.
    fn of_round(&self, height: u32, round: u32) -> Result<Vec<Candidate>, CandidatesError>;

    /// A candidate by its hash.
    ///
    /// # Errors
    /// [`CandidatesError`] when reading fails.
    fn find(&self, height: u32, value: &Digest32) -> Result<Option<Candidate>, CandidatesError>;

    /// Forgets those of a height and of all before it.
    ///
    /// # Errors
    /// [`CandidatesError`] when writing fails.
    fn forget_until(&self, height: u32) -> Result<(), CandidatesError>;
}
