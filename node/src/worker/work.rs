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

/// A duty could not be performed now.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
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

    /// Performs a duty; nothing to submit while something that it needs has not been delivered.
    ///
    /// # Errors
    /// [`WorkError`] when the model or the journal fails.
    pub fn perform(&self, job: &Job, duty: &Duty) -> Result<Option<Step>, WorkError> {
        let Some(envelope) = self.input(job)? else { return Ok(None) };
        match (&duty.seat, duty.task) {
            (Some(seat), Task::Accept) => self.accept(job, seat, &envelope).map(Some),
            (Some(seat), Task::Execute | Task::Verify) => self.commit(job, seat, &envelope),
            (Some(seat), Task::Reveal) => self.reveal(job, seat, &envelope),
            (None, Task::Referee) => self.decide(job, &envelope),
            _ => Ok(None),
        }
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
        let step = if fits { SeatStep::Accept } else { SeatStep::Decline };
        Ok(self.signed(job, seat, step))
    }

    fn commit(&self, job: &Job, seat: &Seat, envelope: &Envelope) -> Result<Option<Step>, WorkError> {
        let Some(committed) = self.committed(job, seat.role, envelope)? else { return Ok(None) };
        self.remember(job, seat, committed.opening);
        Ok(Some(self.signed(job, seat, committed.step(job, seat))))
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
        let committed = self.committed(job, Role::Verifier, envelope)?;
        let opening = committed.map(|committed| committed.opening);
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

    fn signed(&self, job: &Job, seat: &Seat, step: SeatStep) -> Step {
        let identity = self.identities.iter().find(|identity| identity.account == seat.provider);
        let signature = identity.map_or(Signature([0; 64]), |own| sign(job, seat, &step, &own.work_key));
        Step::Seat { job: job.id, round: seat.round, seat: seat.index, step, signature }
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
