//! Feeless steps: who may take them, and that they change something now.

use assay_manifest::{Digest32, JobId};
use assay_protocol::certificate::ValidatorSignature;
use assay_protocol::commitment::{Claim, Opening};
use assay_protocol::job::{Input, Job, Party, SignedCommitment};
use assay_protocol::signature::{SeatStep, Signature};
use codec::Encode;
use frame_support::dispatch::DispatchResult;
use frame_support::ensure;
use frame_support::pallet_prelude::{
    InvalidTransaction, TransactionValidityWithRefund, ValidTransaction, Weight,
};
use sp_runtime::transaction_validity::TransactionPriority;

use crate::votes::{Count, Outcome, Uncounted, count};
use crate::{Config, Error, Event, Jobs, Pallet, Referees, VerdictVotes};

/// Above every paid call, so that deadlines do not depend on fees.
const STEP_PRIORITY: TransactionPriority = 1 << 62;
/// Blocks for which a pool keeps a step before it asks again.
const STEP_LONGEVITY: u64 = 64;

impl<T: Config> Pallet<T> {
    pub(crate) fn authorize_step(
        id: &JobId,
        round: u8,
        seat: u8,
        step: &SeatStep,
        signature: &Signature,
    ) -> TransactionValidityWithRefund {
        Self::signed_job(id, round, seat, step, signature)
            .and_then(|job| {
                let input = match step {
                    SeatStep::Complain { secret } => {
                        Self::unopened_complaint(&job, Party::Seat(seat), secret)?
                    }
                    _ => Self::step_input(&job, seat, step, signature)?,
                };
                Self::try_apply(&job, input)
            })
            .map_err(|_| InvalidTransaction::Stale)?;
        let phase = match step {
            SeatStep::Accept => 0u8,
            SeatStep::Decline => 1,
            SeatStep::Commit { .. } => 2,
            SeatStep::Concede => 3,
            SeatStep::Need { .. } => 4,
            SeatStep::Post { .. } => 5,
            SeatStep::Complain { .. } => 6,
        };
        valid(("assay/step", id, round, seat, phase).encode())
    }

    pub(crate) fn do_step(
        id: JobId,
        round: u8,
        seat: u8,
        step: SeatStep,
        signature: Signature,
    ) -> DispatchResult {
        let job = Self::signed_job(&id, round, seat, &step, &signature)?;
        Self::apply(&job, Self::step_input(&job, seat, &step, &signature)?)
    }

    /// The job, if this seat of its round signed the step.
    fn signed_job(
        id: &JobId,
        round: u8,
        seat: u8,
        step: &SeatStep,
        signature: &Signature,
    ) -> Result<Job, Error<T>> {
        let job = Jobs::<T>::get(id).ok_or(Error::<T>::UnknownJob)?;
        let digest = step.digest(&job.genesis, id, round, seat);
        let signed = job.round == round
            && job
                .round_seats()
                .any(|other| other.index == seat && signature.verifies(&other.work_key, &digest));
        if signed { Ok(job) } else { Err(Error::<T>::Refused) }
    }

    fn step_input(job: &Job, seat: u8, step: &SeatStep, signature: &Signature) -> Result<Input, Error<T>> {
        Ok(match *step {
            SeatStep::Accept => Input::Accept { seat },
            SeatStep::Decline => Input::Decline { seat },
            SeatStep::Concede => Input::Concede { seat },
            SeatStep::Commit { commitment, recheck, claim } => Input::Commit {
                seat,
                commitment: SignedCommitment { commitment, recheck, signature: *signature },
                claim,
            },
            SeatStep::Need { key } => Self::need_input(Party::Seat(seat), key)?,
            SeatStep::Complain { secret } => Self::complaint_input(job, Party::Seat(seat), &secret)?,
            // A package is posted together with its bytes.
            SeatStep::Post { .. } => return Err(Error::<T>::Refused),
        })
    }

    pub(crate) fn authorize_reveal(id: &JobId, opening: &Opening) -> TransactionValidityWithRefund {
        Self::check(id, Input::Reveal { opening: *opening })?;
        valid(("assay/reveal", id, opening.blind).encode())
    }

    pub(crate) fn do_reveal(id: JobId, opening: Opening) -> DispatchResult {
        let job = Jobs::<T>::get(id).ok_or(Error::<T>::UnknownJob)?;
        Self::apply(&job, Input::Reveal { opening })
    }

    pub(crate) fn authorize_verdict(
        id: &JobId,
        opening: &Option<Opening>,
        signatures: &[ValidatorSignature],
    ) -> TransactionValidityWithRefund {
        let job = Jobs::<T>::get(id).ok_or(InvalidTransaction::Stale)?;
        if Self::is_suspended(&job.record.spec_id) {
            return Err(InvalidTransaction::Stale.into());
        }
        Self::try_apply(&job, Input::Verdict { opening: *opening }).map_err(|_| InvalidTransaction::Stale)?;
        let voters = Self::count_verdict(&job, opening, signatures).map_err(InvalidTransaction::from)?.voters;
        valid_votes("assay/verdict", id, &voters)
    }

    pub(crate) fn do_verdict(
        id: JobId,
        opening: Option<Opening>,
        signatures: &[ValidatorSignature],
    ) -> DispatchResult {
        let job = Jobs::<T>::get(id).ok_or(Error::<T>::UnknownJob)?;
        ensure!(!Self::is_suspended(&job.record.spec_id), Error::<T>::SpecSuspended);
        let transition = Self::transition(&job, Input::Verdict { opening })?;
        let Count { votes, voters, outcome } =
            Self::count_verdict(&job, &opening, signatures).map_err(|_| Error::<T>::Refused)?;
        for validator in voters {
            Self::deposit_event(Event::Judged { job: id, validator, opening });
        }
        if outcome == Outcome::Open {
            VerdictVotes::<T>::insert(id, votes);
            return Ok(());
        }
        // Also where the definition is paused instead: after its confirmation the job is a new question.
        VerdictVotes::<T>::remove(id);
        if Self::pass_verdict(&job, &transition) { Self::enact(&job, transition, None) } else { Ok(()) }
    }

    fn count_verdict(
        job: &Job,
        opening: &Option<Opening>,
        signatures: &[ValidatorSignature],
    ) -> Result<Count, Uncounted> {
        let message = assay_protocol::job::verdict_digest(job, opening);
        count(VerdictVotes::<T>::get(job.id), &T::Referees::set(), &message, signatures)
    }

    pub(crate) fn authorize_equivocation(
        id: &JobId,
        seat: u8,
        other: &SignedCommitment,
        claim: &Option<Claim>,
    ) -> TransactionValidityWithRefund {
        Self::check(id, Input::Equivocate { seat, commitment: *other, claim: *claim })?;
        valid(("assay/equivocation", id, seat).encode())
    }

    pub(crate) fn do_equivocation(
        id: JobId,
        seat: u8,
        other: SignedCommitment,
        claim: Option<Claim>,
    ) -> DispatchResult {
        let job = Jobs::<T>::get(id).ok_or(Error::<T>::UnknownJob)?;
        Self::apply(&job, Input::Equivocate { seat, commitment: other, claim })
    }

    pub(crate) fn authorize_poke(id: &JobId) -> TransactionValidityWithRefund {
        let job = Jobs::<T>::get(id).ok_or(InvalidTransaction::Stale)?;
        let due = job.due().ok_or(InvalidTransaction::Stale)?;
        if due > Self::now() {
            return Err(InvalidTransaction::Future.into());
        }
        // A job that cannot be advanced must not be poked for nothing.
        Self::automatic(&job)
            .and_then(|input| Self::transition(&job, input))
            .map_err(|_| InvalidTransaction::Stale)?;
        valid(("assay/poke", id, due).encode())
    }

    pub(crate) fn do_poke(id: JobId) -> DispatchResult {
        Self::advance(id)
    }

    fn check(id: &JobId, input: Input) -> Result<(), InvalidTransaction> {
        let job = Jobs::<T>::get(id).ok_or(InvalidTransaction::Stale)?;
        Self::try_apply(&job, input).map_err(|_| InvalidTransaction::Stale)
    }

    fn try_apply(job: &Job, input: Input) -> Result<(), Error<T>> {
        Self::transition(job, input).map(drop)
    }
}

pub(crate) fn valid(tag: Vec<u8>) -> TransactionValidityWithRefund {
    provides(vec![tag])
}

/// A tag for each voter, so that votes of several wait side by side, and one where votes that are there decide.
pub(crate) fn valid_votes(
    kind: &str,
    question: &impl Encode,
    voters: &[Digest32],
) -> TransactionValidityWithRefund {
    if voters.is_empty() {
        return valid((kind, question).encode());
    }
    provides(voters.iter().map(|voter| (kind, question, voter).encode()).collect())
}

fn provides(tags: Vec<Vec<u8>>) -> TransactionValidityWithRefund {
    let validity = ValidTransaction {
        priority: STEP_PRIORITY,
        requires: Vec::new(),
        provides: tags,
        longevity: STEP_LONGEVITY,
        propagate: true,
    };
    Ok((validity, Weight::zero()))
}
