//! What the worker needs from others.

use assay_manifest::{Digest32, JobId, ModelId, SpecId};
use assay_protocol::certificate::ValidatorSignature;
use assay_protocol::commitment::{FailCode, Finish, Opening};
use assay_protocol::job::{Job, Party};
use assay_protocol::params::Params;
use assay_protocol::party::AccountBytes;
use assay_protocol::request::Request;
use assay_protocol::seal::{EncryptionKey, Envelope, Purpose};
use assay_protocol::signature::{SeatStep, Signature};
use codec::{Decode, Encode};
use tokio::sync::watch;
use zeroize::Zeroize;

/// An answer as the executor hands it on; it leaves no copy in memory.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Answer {
    /// The generated tokens.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.tokens.zeroize();
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({} tokens, {:?})", self.tokens.len(), self.finish)
    }
}

/// The mailbox could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct MailboxError {
    /// What was attempted.
    pub what: &'static str,
    /// What went wrong.
    pub cause: String,
}

/// Sealed envelopes on their way between parties. Nobody but its recipient can read one, so it may lie anywhere.
pub trait Mailbox: Send + Sync {
    /// Puts envelopes in, all or none, durable when it returns. Another of the same sender to the same recipient
    /// for the same purpose and seat takes its place.
    ///
    /// # Errors
    /// [`MailboxError`] when the store fails.
    fn put(&self, envelopes: &[Envelope]) -> Result<(), MailboxError>;
    /// What was put in for a recipient.
    ///
    /// # Errors
    /// [`MailboxError`] when the store fails.
    fn received(
        &self,
        job: &JobId,
        purpose: Purpose,
        recipient: &AccountBytes,
    ) -> Result<Vec<Envelope>, MailboxError>;
}

/// What a run of the model yields.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// An answer with its trace root.
    Answer {
        /// Tokens and finish.
        answer: Answer,
        /// The trace root.
        trace_root: Digest32,
    },
    /// The claimed token at `position` is not the sampled one.
    Reject {
        /// First wrong position.
        position: u32,
        /// The sampled token.
        right_token: u32,
        /// The trace root up to there.
        trace_root: Digest32,
    },
    /// The computation fails for everybody.
    Fail {
        /// Why.
        code: FailCode,
        /// Where.
        position: u32,
        /// What was generated before.
        answer: Answer,
        /// The trace root up to there.
        trace_root: Digest32,
    },
}

/// What identifies a loaded model to the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// The exact model.
    pub model_id: ModelId,
    /// The definitions of its operations.
    pub spec_id: SpecId,
}

/// A model could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ComputeError {
    /// At all; this party cannot serve.
    #[error("running the model: {0}")]
    Failed(String),
    /// At present: asking again in a while may help.
    #[error("running the model: {0}")]
    Away(String),
}

/// Runs models. Calls block; they belong on a thread of their own.
pub trait Compute: Send + Sync {
    /// The models that are loaded.
    fn served(&self) -> Vec<Served>;
    /// Whether a model that is not loaded will not be soon, as far as is known, so that waiting for it is of no use.
    fn is_given_up(&self, model: &ModelId) -> bool;
    /// Whether the request's prompt renders to the token count and hash that it states.
    ///
    /// # Errors
    /// [`ComputeError`] when the model is not loaded.
    fn fits(&self, model: &ModelId, request: &Request) -> Result<bool, ComputeError>;
    /// Executes a request.
    ///
    /// # Errors
    /// [`ComputeError`] when the model is not loaded, has too much to do, or the machine fails.
    fn execute(&self, model: &ModelId, request: &Request, seed: &Digest32) -> Result<Outcome, ComputeError>;
    /// Re-executes a claimed answer.
    ///
    /// # Errors
    /// [`ComputeError`] when the model is not loaded, has too much to do, or the machine fails.
    fn verify(
        &self,
        model: &ModelId,
        request: &Request,
        seed: &Digest32,
        claimed: &Answer,
    ) -> Result<Outcome, ComputeError>;
}

/// A step for the ledger, signed where the rules ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A seat's own step.
    Seat {
        /// The job.
        job: JobId,
        /// The round.
        round: u8,
        /// The seat.
        seat: u8,
        /// What it does.
        step: SeatStep,
        /// Its work key's signature.
        signature: Signature,
    },
    /// The executor's package for a party that asked for its data on the ledger.
    Post {
        /// The job.
        job: JobId,
        /// For whom.
        party: Party,
        /// What was sealed.
        package: Vec<u8>,
        /// The work key's, over the package's hash.
        signature: Signature,
    },
    /// An opened value.
    Reveal {
        /// The job.
        job: JobId,
        /// The opening.
        opening: Opening,
    },
    /// What was due on the ledger and did not happen.
    Poke {
        /// The job.
        job: JobId,
    },
    /// A validator's decision.
    Verdict {
        /// The job.
        job: JobId,
        /// The right value, or none.
        opening: Option<Opening>,
        /// Its signature.
        signature: ValidatorSignature,
    },
}

/// The ledger could not be read, or did not take a step.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// The step is already pending or no longer changes anything.
    #[error("submitting a step: it is already known or no longer valid")]
    Stale,
    /// Anything else.
    #[error("{what}: {cause}")]
    Failed {
        /// What was attempted.
        what: &'static str,
        /// What went wrong.
        cause: String,
    },
}

/// A validator as a party to which work is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Judge {
    /// Its consensus key, which names it.
    pub key: Digest32,
    /// The key that packages for it are sealed to.
    pub encryption_key: EncryptionKey,
}

/// The ledger as the worker sees it.
pub trait JobBoard: Send + Sync + 'static {
    /// The height of the finalized head; changes with every block.
    fn heights(&self) -> watch::Receiver<u32>;
    /// The chain's parameters.
    fn params(&self) -> impl Future<Output = Result<Params, BoardError>> + Send;
    /// The jobs in which something may be at hand for these accounts, or to be poked.
    fn at_hand(&self, accounts: &[AccountBytes])
    -> impl Future<Output = Result<Vec<Job>, BoardError>> + Send;
    /// The same, and every job that waits for the validators.
    fn at_hand_and_contested(
        &self,
        accounts: &[AccountBytes],
    ) -> impl Future<Output = Result<Vec<Job>, BoardError>> + Send;
    /// The jobs of those to which a verdict of this validator would add something now. A vote that was counted adds
    /// nothing more.
    fn unjudged(&self, validator: &Digest32) -> impl Future<Output = Result<Vec<JobId>, BoardError>> + Send;
    /// The validators.
    fn judges(&self) -> impl Future<Output = Result<Vec<Judge>, BoardError>> + Send;
    /// The package that was posted for a party.
    fn package(
        &self,
        job: &JobId,
        party: Party,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, BoardError>> + Send;
    /// Puts a step into the pool.
    fn submit(&self, step: Step) -> impl Future<Output = Result<(), BoardError>> + Send;
}
