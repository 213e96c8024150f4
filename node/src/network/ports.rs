//! What the services of the network need from others.

use std::collections::BTreeSet;

use assay_manifest::{Digest32, JobId};
use assay_protocol::announcement::{Announcer, Capacity};
use assay_protocol::job::Job;
use assay_protocol::party::AccountBytes;
use assay_protocol::seal::{Envelope, Purpose};
use assay_protocol::signature::WorkKey;
use assay_runtime::Hash;
use libp2p::Multiaddr;
use tokio::sync::{broadcast, watch};

use crate::mempool::{PoolError, Refused, Transaction};
use crate::worker::{Mailbox, MailboxError};

/// The pool.
pub trait TransactionPool: Clone + Send + Sync + 'static {
    /// Hands in what a peer passed on.
    ///
    /// # Errors
    /// [`Refused`] saying why the pool did not take it.
    fn submit(&self, bytes: Vec<u8>) -> impl Future<Output = Result<Hash, Refused>> + Send;
    /// The finalized height on which it is judged; changes with every block.
    fn heights(&self) -> watch::Receiver<u32>;
    /// What was handed in at this node, from now on.
    fn own(&self) -> broadcast::Receiver<Transaction>;
    /// Those of these that still wait for a block.
    ///
    /// # Errors
    /// [`PoolError::Stopped`].
    fn held(&self, hashes: Vec<Hash>) -> impl Future<Output = Result<Vec<Transaction>, PoolError>> + Send;
    /// All that could be in the next blocks.
    ///
    /// # Errors
    /// [`PoolError::Stopped`].
    fn pending(&self) -> impl Future<Output = Result<Vec<Transaction>, PoolError>> + Send;
}

/// The ledger could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct LedgerFailure {
    /// What was attempted.
    pub what: &'static str,
    /// What went wrong.
    pub cause: String,
}

/// Who may announce itself, as the ledger has it.
pub trait Registry: Clone + Send + Sync + 'static {
    /// The chain.
    fn genesis(&self) -> Digest32;
    /// The finalized height; changes with every block.
    fn heights(&self) -> watch::Receiver<u32>;
    /// The key that signs for a bonded provider or a validator; nothing if it is neither.
    ///
    /// # Errors
    /// [`LedgerFailure`].
    fn signing_key(
        &self,
        announcer: Announcer,
    ) -> impl Future<Output = Result<Option<WorkKey>, LedgerFailure>> + Send;
    /// How much one of this node's own takes at the moment.
    ///
    /// # Errors
    /// [`LedgerFailure`].
    fn capacity(&self, announcer: Announcer) -> impl Future<Output = Result<Capacity, LedgerFailure>> + Send;
}

/// Who can be reached where, as the ledger has it.
pub trait Directory: Clone + Send + Sync + 'static {
    /// The addresses that validators announced, with their peers' ids.
    ///
    /// # Errors
    /// [`LedgerFailure`].
    fn validator_addresses(&self) -> impl Future<Output = Result<Vec<Multiaddr>, LedgerFailure>> + Send;
}

/// The jobs of the ledger.
pub trait JobLedger: Clone + Send + Sync + 'static {
    /// The chain.
    fn genesis(&self) -> Digest32;
    /// The finalized height; changes with every block.
    fn heights(&self) -> watch::Receiver<u32>;
    /// A job that is not closed.
    ///
    /// # Errors
    /// [`LedgerFailure`].
    fn job(&self, id: JobId) -> impl Future<Output = Result<Option<Job>, LedgerFailure>> + Send;
    /// The jobs in which something may be at hand for these accounts.
    ///
    /// # Errors
    /// [`LedgerFailure`].
    fn at_hand(
        &self,
        accounts: Vec<AccountBytes>,
    ) -> impl Future<Output = Result<Vec<Job>, LedgerFailure>> + Send;
    /// The jobs that wait for the validators.
    ///
    /// # Errors
    /// [`LedgerFailure`].
    fn contested(&self) -> impl Future<Output = Result<Vec<Job>, LedgerFailure>> + Send;
    /// The validators' keys.
    ///
    /// # Errors
    /// [`LedgerFailure`].
    fn validators(&self) -> impl Future<Output = Result<BTreeSet<AccountBytes>, LedgerFailure>> + Send;
}

/// What names an envelope: of two with the same slip, the later takes the place of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slip {
    /// The job.
    pub job: JobId,
    /// What the package is for.
    pub purpose: Purpose,
    /// For whom.
    pub recipient: AccountBytes,
    /// The seat that it is bound to.
    pub seat: u8,
    /// Who sealed it.
    pub sender: AccountBytes,
}

impl Slip {
    /// That of an envelope.
    pub const fn of(envelope: &Envelope) -> Self {
        let Envelope { job, purpose, recipient, seat, sender, .. } = envelope;
        Self { job: *job, purpose: *purpose, recipient: *recipient, seat: *seat, sender: *sender }
    }
}

/// The envelopes that lie at this node. Calls block.
pub trait PostOffice: Mailbox + Clone + 'static {
    /// The slips of all.
    ///
    /// # Errors
    /// [`MailboxError`] when the store fails.
    fn slips(&self) -> Result<Vec<Slip>, MailboxError>;
    /// Those of one job.
    ///
    /// # Errors
    /// [`MailboxError`] when the store fails.
    fn slips_of(&self, job: &JobId) -> Result<Vec<Slip>, MailboxError>;
    /// The envelope of a slip.
    ///
    /// # Errors
    /// [`MailboxError`] when the store fails.
    fn envelope(&self, slip: &Slip) -> Result<Option<Envelope>, MailboxError>;
    /// The slips of what is put in from now on. A receiver that lags is told how many it missed.
    fn arrivals(&self) -> broadcast::Receiver<Slip>;
}
