//! Performing one duty: read what was delivered, compute, commit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use assay_manifest::{Digest32, JobId};
use assay_protocol::certificate::ValidatorSignature;
use assay_protocol::commitment::{Claim, Opening, input_commit};
use assay_protocol::job::{Job, Seat, verdict_digest};
use assay_protocol::party::{AccountBytes, Role};
use assay_protocol::signature::{SeatStep, Signature};
use ed25519_dalek::Signer;
use sp_core::sr25519;
use tracing::warn;

use super::commit::{Committed, sign};
use super::ports::{
    Answer, Compute, ComputeError, Delivery, DeliveryError, Envelope, Finished, Outcome, Step,
};
use super::state::{Duty, Task};

/// An account of this node that serves, with its work key.
#[derive(Clone)]
pub struct Identity {
    /// The account.
    pub account: AccountBytes,
    /// The key that signs its steps.
    pub work_key: sr25519::Pair,
}

/// The validator key with which this node referees.
#[derive(Clone)]
pub struct Referee {
    /// The consensus key.
    pub key: ed25519_dalek::SigningKey,
}

/// A duty could not be performed.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// A bug, or a file that finds one.
    #[error("performing a duty: it panicked")]
    Panicked,
    /// The seat is not one of this node's.
    #[error("performing a duty: the seat belongs to another provider")]
    Foreign,
    /// The model could not be run.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// The journal failed.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
}

/// Everything that duties need.
pub struct Shop {
    compute: Arc<dyn Compute>,
    delivery: Arc<dyn Delivery>,
    identities: Vec<Identity>,
    referee: Option<Referee>,
    /// Openings of this process's commitments; recomputed when missing, so it may be lost at any time.
    openings: Mutex<HashMap<(JobId, u8, u8), Opening>>,
}

/// Blocks before a seat's deadline at which it stops waiting for what it lacks: time for a step to come into a
/// block.
const LATE_BLOCKS: u32 = 3;

fn is_late(seat: &Seat, height: u32) -> bool {
    height.saturating_add(LATE_BLOCKS) >= seat.deadline.get()
}

/// Openings kept in memory; older ones are recomputed when they are needed after all.
const OPENINGS_MAX: usize = 4_096;

impl Shop {
    /// A shop that serves as `identities`, and referees if it holds a validator key.
    pub fn new(
        compute: Arc<dyn Compute>,
        delivery: Arc<dyn Delivery>,
        identities: Vec<Identity>,
        referee: Option<Referee>,
    ) -> Self {
        Self { compute, delivery, identities, referee, openings: Mutex::default() }
    }

    /// The accounts that it serves as.
    pub fn accounts(&self) -> Vec<AccountBytes> {
        self.identities.iter().map(|identity| identity.account).collect()
    }

    /// Whether it decides disputes.
    pub const fn referees(&self) -> bool {
        self.referee.is_some()
    }

    /// Performs a duty, read at `height`; nothing to submit while something that it needs has not been
    /// delivered. Shortly before its deadline a verifier that still lacks something declines: that costs it
    /// half of what silence costs, and the job goes on with another. An executor stays silent: then the
    /// requester, who withholds the input, pays (clause J14).
    ///
    /// # Errors
    /// [`WorkError`] when the model or the journal fails.
    pub fn perform(&self, job: &Job, duty: &Duty, height: u32) -> Result<Option<Step>, WorkError> {
        let step = match (self.input(job)?, &duty.seat, duty.task) {
            (Some(envelope), Some(seat), Task::Accept) => Some(self.accept(job, seat, &envelope)?),
            (Some(envelope), Some(seat), Task::Execute | Task::Verify) => {
                self.commit(job, seat, &envelope)?
            }
            (Some(envelope), Some(seat), Task::Reveal) => self.reveal(job, seat, &envelope)?,
            (Some(envelope), None, Task::Referee) => self.decide(job, &envelope)?,
            _ => None,
        };
        match &duty.seat {
            Some(seat) if step.is_none() && duty.task == Task::Verify && is_late(seat, height) => {
                self.signed(job, seat, SeatStep::Decline).map(Some)
            }
            _ => Ok(step),
        }
    }

    /// What to do about a duty that failed: a seat that may decline does so at once.
    ///
    /// # Errors
    /// The same error where nothing can be done.
    pub fn give_up(&self, job: &Job, duty: &Duty, error: WorkError) -> Result<Option<Step>, WorkError> {
        match (&duty.seat, &error) {
            (Some(seat), WorkError::Compute(_) | WorkError::Panicked) if duty.task.can_decline() => {
                warn!(job = %job.id, task = ?duty.task, %error, "declining");
                self.signed(job, seat, SeatStep::Decline).map(Some)
            }
            _ => Err(error),
        }
    }

    /// Whether a seat's value can be opened without computing it again.
    pub fn remembers(&self, job: &Job, seat: &Seat) -> bool {
        self.recall(job, seat).is_some()
    }

    /// The delivered input, if it is the one that the request committed to.
    fn input(&self, job: &Job) -> Result<Option<Envelope>, WorkError> {
        let envelope = self.delivery.input(&job.id)?;
        Ok(envelope.filter(|envelope| {
            let request = &envelope.request;
            input_commit(&envelope.salt, &request.to_bytes()) == job.record.input_commit
                && request.salt_hash == envelope.salt.hash()
                && request.n_in == job.record.n_in.get()
                && request.max_tokens == job.record.n_max.get()
        }))
    }

    fn accept(&self, job: &Job, seat: &Seat, envelope: &Envelope) -> Result<Step, WorkError> {
        let record = &job.record;
        let served = self.compute.served().into_iter().find(|served| served.model_id == record.model_id);
        let known = served.is_some_and(|served| served.spec_id == record.spec_id);
        let fits = known && self.compute.fits(&record.model_id, &envelope.request)?;
        self.signed(job, seat, if fits { SeatStep::Accept } else { SeatStep::Decline })
    }

    fn commit(&self, job: &Job, seat: &Seat, envelope: &Envelope) -> Result<Option<Step>, WorkError> {
        let Some(committed) = self.committed(job, seat.role, envelope)? else { return Ok(None) };
        self.remember(job, seat, committed.opening);
        self.signed(job, seat, committed.step(job, seat)).map(Some)
    }

    fn reveal(&self, job: &Job, seat: &Seat, envelope: &Envelope) -> Result<Option<Step>, WorkError> {
        let known = self.recall(job, seat);
        let opening = match known {
            Some(opening) => Some(opening),
            None => self.committed(job, seat.role, envelope)?.map(|committed| committed.opening),
        };
        Ok(opening.map(|opening| Step::Reveal { job: job.id, opening }))
    }

    fn decide(&self, job: &Job, envelope: &Envelope) -> Result<Option<Step>, WorkError> {
        let Some(referee) = &self.referee else { return Ok(None) };
        // What cannot be had cannot be judged: then the verdict's deadline ends the job.
        let Some(committed) = self.committed(job, Role::Verifier, envelope)? else { return Ok(None) };
        let opening = Some(committed.opening);
        let message = verdict_digest(job, &opening);
        let signature = ValidatorSignature {
            validator: Digest32::from_bytes(referee.key.verifying_key().to_bytes()),
            signature: Signature(referee.key.sign(message.as_bytes()).to_bytes()),
        };
        Ok(Some(Step::Verdict { job: job.id, opening, signature }))
    }

    /// Computes what a seat of this role commits to.
    fn committed(&self, job: &Job, role: Role, envelope: &Envelope) -> Result<Option<Committed>, WorkError> {
        let (salt, request) = (&envelope.salt, &envelope.request);
        let seed = request.seed(salt, &job.id);
        let model = &job.record.model_id;
        match role {
            Role::Executor => {
                let outcome = self.compute.execute(model, request, &seed)?;
                let committed = Committed::by_executor(salt, job.round, &outcome);
                if let Outcome::Answer { answer, trace_root } | Outcome::Fail { answer, trace_root, .. } =
                    outcome
                {
                    // The answer must be on disk before the commitment to it can be on the ledger.
                    self.delivery.put_output(&job.id, &Finished { model_id: *model, answer, trace_root })?;
                }
                Ok(Some(committed))
            }
            Role::Verifier => {
                let Some((claim, answer)) = self.claimed(job, envelope)? else { return Ok(None) };
                let outcome = self.compute.verify(model, request, &seed, &answer)?;
                Ok(Some(Committed::about(claim, salt, job.round, &outcome)))
            }
        }
    }

    /// The delivered answer, if it is the one that the executor's claim commits to.
    fn claimed(&self, job: &Job, envelope: &Envelope) -> Result<Option<(Claim, Answer)>, WorkError> {
        let Some(claim) = job.claim else { return Ok(None) };
        let answer = self.delivery.output(&job.id)?;
        Ok(answer
            .filter(|answer| Claim::of(&envelope.salt, &answer.tokens, answer.finish) == claim)
            .map(|answer| (claim, answer)))
    }

    fn signed(&self, job: &Job, seat: &Seat, step: SeatStep) -> Result<Step, WorkError> {
        let own = self.identities.iter().find(|identity| identity.account == seat.provider);
        let signature = sign(job, seat, &step, &own.ok_or(WorkError::Foreign)?.work_key);
        Ok(Step::Seat { job: job.id, round: seat.round, seat: seat.index, step, signature })
    }

    fn remember(&self, job: &Job, seat: &Seat, opening: Opening) {
        let mut openings = self.openings.lock().unwrap_or_else(PoisonError::into_inner);
        if openings.len() >= OPENINGS_MAX {
            openings.clear();
        }
        openings.insert((job.id, seat.round, seat.index), opening);
    }

    fn recall(&self, job: &Job, seat: &Seat) -> Option<Opening> {
        let openings = self.openings.lock().unwrap_or_else(PoisonError::into_inner);
        openings.get(&(job.id, seat.round, seat.index)).copied()
    }
}
