//! What the worker needs from others.

use assay_manifest::{Digest32, JobId, ModelId, SpecId};
use assay_protocol::certificate::ValidatorSignature;
use assay_protocol::commitment::{FailCode, Finish, Opening, Salt};
use assay_protocol::job::Job;
use assay_protocol::request::Request;
use assay_protocol::signature::{SeatStep, Signature};
use tokio::sync::watch;

/// A request with everything needed to compute and to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The job's salt.
    pub salt: Salt,
    /// The request.
    pub request: Request,
}

/// An answer as the executor hands it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The generated tokens.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
}

/// An executor's work on a job, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// What was run.
    pub model_id: ModelId,
    /// What came out.
    pub answer: Answer,
    /// The trace root behind the commitment.
    pub trace_root: Digest32,
}

/// Why a party's plaintext could not be handed on or found.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct DeliveryError {
    /// What was attempted.
    pub what: &'static str,
    /// What went wrong.
    pub cause: String,
}

/// What became of an input that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed {
    /// It is kept.
    Kept,
    /// The job has another input already, which stays.
    OtherKept,
    /// As many inputs wait as there may.
    Full,
}

/// Hands inputs and outputs from party to party and keeps them until the challenge window closes.
pub trait Delivery: Send + Sync {
    /// The input of a job, if the requester has handed it over.
    ///
    /// # Errors
    /// [`DeliveryError`] when the store fails.
    fn input(&self, job: &JobId) -> Result<Option<Envelope>, DeliveryError>;
    /// The executor's answer, if it has handed it over.
    ///
    /// # Errors
    /// [`DeliveryError`] when the store fails.
    fn output(&self, job: &JobId) -> Result<Option<Answer>, DeliveryError>;
    /// Hands an input over; durable when it returns.
    ///
    /// # Errors
    /// [`DeliveryError`] when the store fails.
    fn put_input(&self, job: &JobId, envelope: &Envelope) -> Result<Handed, DeliveryError>;
    /// Hands an answer over, with the trace root for the requester alone; durable when it returns.
    ///
    /// Verifiers get [`Self::output`] and compute the trace root themselves: that is their work.
    ///
    /// # Errors
    /// [`DeliveryError`] when the store fails.
    fn put_output(&self, job: &JobId, finished: &Finished) -> Result<(), DeliveryError>;
}

/// What a run of the model yields.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// A model could not be run at all; this party cannot serve.
#[derive(Debug, thiserror::Error)]
#[error("running the model: {0}")]
pub struct ComputeError(pub String);

/// Runs models. Calls block; they belong on a thread of their own.
pub trait Compute: Send + Sync {
    /// The models that are loaded.
    fn served(&self) -> Vec<Served>;
    /// Whether the request's prompt renders to the token count and hash that it states.
    ///
    /// # Errors
    /// [`ComputeError`] when the model is not loaded.
    fn fits(&self, model: &ModelId, request: &Request) -> Result<bool, ComputeError>;
    /// Executes a request.
    ///
    /// # Errors
    /// [`ComputeError`] when the model is not loaded or the machine fails.
    fn execute(&self, model: &ModelId, request: &Request, seed: &Digest32) -> Result<Outcome, ComputeError>;
    /// Re-executes a claimed answer.
    ///
    /// # Errors
    /// [`ComputeError`] when the model is not loaded or the machine fails.
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

/// The ledger as the worker sees it.
pub trait JobBoard: Send + Sync + 'static {
    /// The height of the finalized head; changes with every block.
    fn heights(&self) -> watch::Receiver<u32>;
    /// Every job that is not closed.
    fn open_jobs(&self) -> impl Future<Output = Result<Vec<Job>, BoardError>> + Send;
    /// Puts a step into the pool.
    fn submit(&self, step: Step) -> impl Future<Output = Result<(), BoardError>> + Send;
}
