//! Performing one duty: open what was delivered, compute, commit, hand on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use assay_manifest::{Digest32, JobId};
use assay_protocol::certificate::ValidatorSignature;
use assay_protocol::commitment::{Claim, Opening, Salt};
use assay_protocol::job::{Job, NeedState, Party, Seat, verdict_digest};
use assay_protocol::party::{AccountBytes, Role};
use assay_protocol::record::{Class, PublicRecord};
use assay_protocol::request::Request;
use assay_protocol::seal::{Content, InputParcel, Parcel, SealError, SealingSecret, WorkParcel};
use assay_protocol::signature::{SeatStep, Signature};
use ed25519_dalek::Signer;
use sp_core::sr25519;
use tracing::warn;

use super::commit::{Committed, sign};
use super::desk::{Desk, Found};
use super::handing::{Recipient, Sender};
use super::ports::{Answer, Compute, ComputeError, Judge, MailboxError, Outcome, Step};
use super::state::{Duty, Task};
use crate::sealing::{KeyUse, RingError};

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

impl Referee {
    fn public(&self) -> Digest32 {
        Digest32::from_bytes(self.key.verifying_key().to_bytes())
    }
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
    /// The mailbox failed.
    #[error(transparent)]
    Mailbox(#[from] MailboxError),
    /// A parcel could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A key could not be made.
    #[error(transparent)]
    Ring(#[from] RingError),
}

/// A duty with what was read for it.
#[derive(Clone, Debug)]
pub struct Errand {
    /// The job.
    pub job: Job,
    /// What to do.
    pub duty: Duty,
    /// Height at which it was read.
    pub height: u32,
    /// The package that was posted for the seat.
    pub posted: Option<Vec<u8>>,
    /// Blocks that the model needs for it on this machine.
    pub needs_blocks: u32,
    /// Whether it would end in time, after what was taken on before.
    pub fits_agenda: bool,
}

/// What came of a duty.
#[expect(clippy::large_enum_variant, reason = "one a duty, made and taken apart at once")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Something for the ledger.
    Step(Step),
    /// It is done, and the ledger need not know.
    Handed,
    /// Something that it needs was not delivered yet.
    Waiting,
}

/// Everything that duties need.
pub struct Shop {
    compute: Arc<dyn Compute>,
    desk: Desk,
    identities: Vec<Identity>,
    referee: Option<Referee>,
    /// Openings of this process's commitments; recomputed when missing, so it may be lost at any time.
    openings: Mutex<HashMap<(JobId, u8, u8), Opening>>,
}

/// Blocks before a seat's deadline at which it stops waiting for what it lacks: time for a step to come into a
/// block.
pub const LATE_BLOCKS: u32 = 3;

/// Openings kept in memory; older ones are recomputed when they are needed after all.
const OPENINGS_MAX: usize = 4_096;

impl Shop {
    /// A shop that serves as `identities`, and referees if it holds a validator key.
    pub fn new(
        compute: Arc<dyn Compute>,
        desk: Desk,
        identities: Vec<Identity>,
        referee: Option<Referee>,
    ) -> Self {
        Self { compute, desk, identities, referee, openings: Mutex::default() }
    }

    /// The accounts that it serves as.
    pub fn accounts(&self) -> Vec<AccountBytes> {
        self.identities.iter().map(|identity| identity.account).collect()
    }

    /// The validator as which it decides disputes.
    pub fn judge(&self) -> Option<Digest32> {
        self.referee.as_ref().map(Referee::public)
    }

    /// Performs a duty. A seat that lacks what it needs waits, and shortly before its deadline asks for it on the
    /// ledger (clause J12); a package there that is bad is shown to be (clause J13).
    ///
    /// # Errors
    /// [`WorkError`] when the model or the mailbox fails.
    pub fn perform(&self, errand: &Errand) -> Result<Done, WorkError> {
        let (job, posted) = (&errand.job, errand.posted.as_deref());
        match (&errand.duty.seat, errand.duty.task) {
            (Some(seat), Task::Accept) => self.accept(errand, seat),
            (Some(seat), Task::Execute) => match self.desk.input(job, seat, posted)? {
                Found::Delivered(input) | Found::Posted(input) => self.execute(job, seat, &input),
                Found::Missing | Found::Bad(_) => Ok(Done::Waiting),
            },
            (Some(seat), Task::Fetch) => self.fetch(errand, seat),
            (Some(seat), Task::Verify) => self.verify(job, seat),
            (Some(seat), Task::Reveal) => self.reveal(job, seat),
            (Some(seat), Task::Hand { seat: index }) => {
                let to = job.seats.iter().find(|seat| seat.index == index).map(Recipient::seat);
                to.map_or(Ok(Done::Handed), |to| self.hand(job, seat, &to))
            }
            (Some(seat), Task::Brief { judge: Judge { key, encryption_key } }) => {
                let to = Recipient { account: *key.as_bytes(), seat: seat.index, key: encryption_key };
                self.hand(job, seat, &to)
            }
            (Some(seat), Task::Post { party }) => self.post(job, seat, party),
            (None, Task::Referee) => self.decide(job),
            (None, _) | (Some(_), Task::Referee) => Ok(Done::Handed),
        }
    }

    /// What to do about a duty that failed: a seat that may decline does so at once, or, where the model may be back in
    /// a while, when it can wait no longer.
    ///
    /// # Errors
    /// The same error where nothing can be done.
    pub fn give_up(&self, errand: &Errand, error: WorkError) -> Result<Done, WorkError> {
        let Duty { task, seat } = &errand.duty;
        let can_wait = seat.as_ref().is_none_or(|seat| !task.can_decline() || !is_late(errand, seat));
        match (seat, &error) {
            (_, WorkError::Compute(ComputeError::Away(_))) if can_wait => {
                warn!(job = %errand.job.id, ?task, %error, "waiting for the model");
                Ok(Done::Waiting)
            }
            (Some(seat), WorkError::Compute(_) | WorkError::Panicked) if task.can_decline() => {
                warn!(job = %errand.job.id, ?task, %error, "declining");
                self.signed(&errand.job, seat, SeatStep::Decline)
            }
            _ => Err(error),
        }
    }

    /// Whether a seat's value can be opened without computing it again.
    pub fn remembers(&self, job: &Job, seat: &Seat) -> bool {
        self.recall(job, seat).is_some()
    }

    /// Whether this node runs exactly the model and the definitions that a job names.
    fn serves(&self, record: &PublicRecord) -> bool {
        let exact = |served: super::ports::Served| {
            (served.model_id, served.spec_id) == (record.model_id, record.spec_id)
        };
        record.class == Class::Exact && self.compute.served().into_iter().any(exact)
    }

    fn require_served(&self, record: &PublicRecord) -> Result<(), WorkError> {
        let other =
            || ComputeError::Failed(format!("{} is not served under {}", record.model_id, record.spec_id));
        if self.serves(record) { Ok(()) } else { Err(other().into()) }
    }

    /// Whether a verifier at large still waits for its model, which this node may be fetching (clause J16).
    fn awaits_model(&self, errand: &Errand, seat: &Seat) -> bool {
        let model = &errand.job.record.model_id;
        self.lacks_model(&errand.job, seat) && !self.compute.is_given_up(model) && !is_late(errand, seat)
    }

    /// Whether a verifier at large has no model yet.
    fn lacks_model(&self, job: &Job, seat: &Seat) -> bool {
        seat.role == Role::AtLarge && !self.serves(&job.record)
    }

    fn accept(&self, errand: &Errand, seat: &Seat) -> Result<Done, WorkError> {
        let (job, record) = (&errand.job, &errand.job.record);
        if !self.serves(record) || !errand.fits_agenda {
            let asked = job.need(Party::Seat(seat.index)).map(|need| need.state);
            // Whoever asked for data waits for it; without it, nothing is owed.
            return match asked {
                Some(NeedState::Open { .. }) => Ok(Done::Waiting),
                _ => self.signed(job, seat, SeatStep::Decline),
            };
        }
        let input = match self.desk.input(job, seat, errand.posted.as_deref())? {
            Found::Delivered(input) | Found::Posted(input) => input,
            Found::Missing => return self.ask(errand, seat),
            Found::Bad(secret) => return self.complain(job, seat, &secret),
        };
        if !input.work_fits() || !self.compute.fits(&record.model_id, &input.request)? {
            return self.signed(job, seat, SeatStep::Decline);
        }
        // What is accepted must be there to execute: a package leaves the ledger when the seat goes on, and a
        // requester may put another envelope in the place of its first.
        self.keep(job, seat, Content::Input(record), &Parcel::Input(input))?;
        self.signed(job, seat, SeatStep::Accept)
    }

    fn execute(&self, job: &Job, seat: &Seat, input: &InputParcel) -> Result<Done, WorkError> {
        let committed = self.executed(job, seat, input)?;
        self.remember(job, seat, committed.opening);
        self.signed(job, seat, committed.step(job, seat))
    }

    /// Executes, and puts the answer down sealed: it must be on disk before the commitment to it can be on the
    /// ledger.
    fn executed(&self, job: &Job, seat: &Seat, input: &InputParcel) -> Result<Committed, WorkError> {
        self.require_served(&job.record)?;
        let outcome = self.compute.execute(&job.record.model_id, &input.request, &input.seed(&job.id))?;
        if let Outcome::Answer { answer, trace_root } | Outcome::Fail { answer, trace_root, .. } = &outcome {
            let envelopes = self.sender(job, seat)?.result(input, answer, *trace_root)?;
            self.desk.mailbox.put(&envelopes)?;
        }
        Ok(Committed::by_executor(&input.salt, seat.round, &outcome))
    }

    fn fetch(&self, errand: &Errand, seat: &Seat) -> Result<Done, WorkError> {
        let job = &errand.job;
        if self.awaits_model(errand, seat) {
            return Ok(Done::Waiting);
        }
        self.require_served(&job.record)?;
        match self.desk.work(job, seat, errand.posted.as_deref())? {
            // Declining costs half of what silence costs.
            Found::Delivered(_) if !errand.fits_agenda => self.signed(job, seat, SeatStep::Decline),
            Found::Delivered(_) => Ok(Done::Handed),
            Found::Posted(work) => {
                let Some(claim) = &job.claim else { return Ok(Done::Waiting) };
                self.keep(job, seat, Content::Work(&job.record, claim), &Parcel::Work(work))?;
                Ok(Done::Handed)
            }
            Found::Missing => self.ask(errand, seat),
            Found::Bad(secret) => self.complain(job, seat, &secret),
        }
    }

    fn verify(&self, job: &Job, seat: &Seat) -> Result<Done, WorkError> {
        if self.lacks_model(job, seat) {
            return Ok(Done::Waiting);
        }
        self.require_served(&job.record)?;
        let (Some(claim), Some(work)) = (job.claim, self.own_work(job, seat)?) else {
            return Ok(Done::Waiting);
        };
        let committed = self.verified(job, seat.round, &work, claim)?;
        self.remember(job, seat, committed.opening);
        self.signed(job, seat, committed.step(job, seat))
    }

    fn verified(
        &self,
        job: &Job,
        round: u8,
        work: &WorkParcel,
        claim: Claim,
    ) -> Result<Committed, WorkError> {
        let (salt, request): (&Salt, &Request) = (&work.salt, &work.request);
        let answer = Answer { tokens: work.tokens.clone(), finish: work.finish };
        let seed = request.seed(salt, &job.id);
        let outcome = self.compute.verify(&job.record.model_id, request, &seed, &answer)?;
        Ok(Committed::about(claim, salt, round, &outcome))
    }

    fn reveal(&self, job: &Job, seat: &Seat) -> Result<Done, WorkError> {
        let opening = match (self.recall(job, seat), seat.role, job.claim) {
            (Some(opening), ..) => opening,
            (None, Role::Executor, _) => match self.desk.input(job, seat, None)? {
                Found::Delivered(input) => self.executed(job, seat, &input)?.opening,
                _ => return Ok(Done::Waiting),
            },
            (None, Role::Verifier | Role::AtLarge, Some(claim)) => match self.own_work(job, seat)? {
                Some(work) => self.verified(job, seat.round, &work, claim)?.opening,
                None => return Ok(Done::Waiting),
            },
            (None, Role::Verifier | Role::AtLarge, None) => return Ok(Done::Waiting),
        };
        Ok(Done::Step(Step::Reveal { job: job.id, opening }))
    }

    /// What cannot be had cannot be judged: then the verdict's deadline ends the job.
    fn decide(&self, job: &Job) -> Result<Done, WorkError> {
        let (Some(referee), Some(claim)) = (&self.referee, job.claim) else { return Ok(Done::Waiting) };
        let own = referee.public();
        let Some(work) = self.desk.disputed(job, *own.as_bytes())? else { return Ok(Done::Waiting) };
        self.require_served(&job.record)?;
        let opening = Some(self.verified(job, job.round, &work, claim)?.opening);
        let message = verdict_digest(job, &opening);
        let signature = ValidatorSignature {
            validator: own,
            signature: Signature(referee.key.sign(message.as_bytes()).to_bytes()),
        };
        Ok(Done::Step(Step::Verdict { job: job.id, opening, signature }))
    }

    /// Asks on the ledger for what a seat lacks, once, and as late as it can still be in time.
    fn ask(&self, errand: &Errand, seat: &Seat) -> Result<Done, WorkError> {
        let Errand { job, height, .. } = errand;
        if job.need(Party::Seat(seat.index)).is_some() || !is_late(errand, seat) {
            return Ok(Done::Waiting);
        }
        let key = self.desk.ring.make(seat.provider, KeyUse::Need, *height)?;
        self.signed(job, seat, SeatStep::Need { key })
    }

    fn complain(&self, job: &Job, seat: &Seat, secret: &SealingSecret) -> Result<Done, WorkError> {
        warn!(job = %job.id, seat = seat.index, "complaining of a package");
        let secret = Digest32::from_bytes(*secret.as_bytes());
        self.signed(job, seat, SeatStep::Complain { secret })
    }

    /// Puts a parcel down for the seat itself.
    fn keep(&self, job: &Job, seat: &Seat, content: Content<'_>, parcel: &Parcel) -> Result<(), WorkError> {
        let envelope = self.sender(job, seat)?.envelope(&Recipient::seat(seat), content, parcel)?;
        Ok(self.desk.mailbox.put(&[envelope])?)
    }

    /// Seals the work of `from` to somebody, unless that was done.
    fn hand(&self, job: &Job, from: &Seat, to: &Recipient) -> Result<Done, WorkError> {
        let Some(claim) = &job.claim else { return Ok(Done::Waiting) };
        let content = Content::Work(&job.record, claim);
        let sender = self.sender(job, from)?;
        if self.desk.is_handed(&sender.delivery(to, content))? {
            return Ok(Done::Handed);
        }
        let Some(work) = self.own_work(job, from)? else { return Ok(Done::Waiting) };
        self.desk.mailbox.put(&[sender.envelope(to, content, &Parcel::Work(work))?])?;
        Ok(Done::Handed)
    }

    fn own_work(&self, job: &Job, seat: &Seat) -> Result<Option<WorkParcel>, WorkError> {
        Ok(match self.desk.work(job, seat, None)? {
            Found::Delivered(work) => Some(work),
            Found::Posted(_) | Found::Missing | Found::Bad(_) => None,
        })
    }

    /// Seals to the key that a party has put on the ledger.
    fn post(&self, job: &Job, from: &Seat, party: Party) -> Result<Done, WorkError> {
        let (Some(claim), Some(need)) = (&job.claim, job.need(party)) else { return Ok(Done::Waiting) };
        if !matches!(need.state, NeedState::Open { .. }) {
            return Ok(Done::Handed);
        }
        let (to, content, parcel) = match party {
            Party::Requester => {
                let to = Recipient { account: job.requester, seat: from.index, key: need.key };
                let answer = self.desk.own_answer(job, from, claim)?.map(Parcel::Answer);
                (to, Content::Answer(claim), answer)
            }
            Party::Seat(index) => {
                let Some(seat) = job.seats.iter().find(|seat| seat.index == index) else {
                    return Ok(Done::Handed);
                };
                let to = Recipient { key: need.key, ..Recipient::seat(seat) };
                (to, Content::Work(&job.record, claim), self.own_work(job, from)?.map(Parcel::Work))
            }
        };
        let Some(parcel) = parcel else { return Ok(Done::Waiting) };
        let sender = self.sender(job, from)?;
        let package =
            sender.delivery(&to, content).seal(&parcel, &to.key, crate::sealing::fresh_entropy())?;
        let package_hash = assay_protocol::seal::package_hash(&package);
        let signature = sign(job, from, &SeatStep::Post { party, package_hash }, sender.work_key);
        Ok(Done::Step(Step::Post { job: job.id, party, package, signature }))
    }

    fn sender<'a>(&'a self, job: &'a Job, seat: &'a Seat) -> Result<Sender<'a>, WorkError> {
        let own = self.identities.iter().find(|identity| identity.account == seat.provider);
        Ok(Sender { job, seat, work_key: &own.ok_or(WorkError::Foreign)?.work_key })
    }

    fn signed(&self, job: &Job, seat: &Seat, step: SeatStep) -> Result<Done, WorkError> {
        let signature = sign(job, seat, &step, self.sender(job, seat)?.work_key);
        let (job, round) = (job.id, seat.round);
        Ok(Done::Step(Step::Seat { job, round, seat: seat.index, step, signature }))
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

/// Whether a seat that waits any longer would miss its deadline.
fn is_late(errand: &Errand, seat: &Seat) -> bool {
    let latest = errand.height.saturating_add(LATE_BLOCKS).saturating_add(errand.needs_blocks);
    latest >= seat.deadline.get()
}
