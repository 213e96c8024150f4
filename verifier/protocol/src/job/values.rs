//! Commitments, and opening them (clauses J4, J5, J7, J10).

use assay_manifest::Digest32;

use crate::commitment::{Claim, Finish, Opening, ValueKind};
use crate::party::Role;
use crate::record::Class;
use crate::signature::SeatStep;

use super::effect::Effect;
use super::input::Refusal;
use super::machine::{Done, Run};
use super::payout::End;
use super::state::{Job, OpenedValue, Party, Phase, Seat, SeatOutcome, SignedCommitment};

impl Run<'_> {
    pub(super) fn commit_executor(
        &mut self,
        index: u8,
        commitment: SignedCommitment,
        claim: Option<Claim>,
    ) -> Done {
        let claim = claim.ok_or(Refusal::BadClaim)?;
        let failed = claim.finish == Finish::Failed;
        let n_max = self.job.record.n_max.get();
        // J19: no step carries a requester's cancellation yet, so nobody may claim one.
        if claim.finish == Finish::Cancelled || claim.n_out > n_max || (claim.n_out == 0 && !failed) {
            return Err(Refusal::BadClaim);
        }
        let draw_at = self.later(self.context.params.verifier_draw_delay)?;
        let seat = self.expect_executor(index, SeatOutcome::Accepted)?;
        seat.outcome = SeatOutcome::Committed;
        seat.commitment = Some(commitment);
        let provider = seat.provider;
        self.effects.push(Effect::EndWork { provider });
        self.job.claim = Some(claim);
        self.job.phase = Phase::Committed { draw_at };
        Ok(())
    }

    pub(super) fn commit_verifier(
        &mut self,
        index: u8,
        commitment: SignedCommitment,
        claim: Option<Claim>,
    ) -> Done {
        if claim.is_some() {
            return Err(Refusal::BadClaim);
        }
        let now = self.context.now;
        let seat = self.expect_verifier(index, SeatOutcome::Pending)?;
        if now > seat.deadline {
            return Err(Refusal::TooLate(seat.deadline));
        }
        seat.outcome = SeatOutcome::Committed;
        seat.commitment = Some(commitment);
        let provider = seat.provider;
        self.effects.push(Effect::EndWork { provider });
        self.close_need(Party::Seat(index));
        Ok(())
    }

    /// Opens a value for every seat that holds it.
    pub(super) fn reveal(&mut self, opening: Opening) -> Done {
        let claim = self.job.claim.ok_or(Refusal::BadClaim)?;
        let value = opening.value(&self.job.id, self.job.round, &claim);
        let closed = |seat: &&Seat| seat.value.is_none() && holds(&self.job, seat, &value);
        let holders: Vec<u8> = self.job.counted_seats().filter(closed).map(|seat| seat.index).collect();
        if holders.is_empty() {
            return Err(Refusal::OpensNothing);
        }
        let number = u8::try_from(self.job.values.len()).map_err(|_| Refusal::Full)?;
        self.job.values.try_push(OpenedValue { opening, value }).map_err(|_| Refusal::Full)?;
        for index in holders {
            self.seat_mut(index)?.value = Some(number);
        }
        Ok(())
    }

    /// Settles when every counted commitment opened to one value; disputes when all opened and differ.
    pub(super) fn judge_openings(&mut self) -> Done {
        let mut seen: Vec<Option<u8>> = self.job.counted_seats().map(|seat| seat.value).collect();
        seen.dedup();
        match (seen.as_slice(), self.job.phase) {
            ([], _) => self.finish(End::Inconclusive),
            // J5: if one value remains, it is settled, even when only the executor stands by it.
            ([Some(number)], _) => {
                let agreed = self.job.values.get(usize::from(*number)).copied();
                let agreed = agreed.ok_or(Refusal::OpensNothing)?;
                self.finish(End::Agreed(agreed.opening))
            }
            (all, Phase::Revealing { .. }) if all.iter().all(Option::is_some) => self.dispute(),
            _ => Ok(()),
        }
    }

    pub(super) fn dispute(&mut self) -> Done {
        let concede_by = self.later(self.context.params.concede_window)?;
        self.job.phase = Phase::Disputed { concede_by };
        Ok(())
    }

    pub(super) fn concede(&mut self, index: u8) -> Done {
        let seat = self.seat_mut(index)?;
        if seat.outcome != SeatOutcome::Committed {
            return Err(Refusal::Repeated);
        }
        seat.outcome = SeatOutcome::Conceded;
        self.judge_openings()
    }

    /// J6; J9: what is compared by bounds has no single right value, so no referee can find it.
    pub(super) fn refer_to_validators(&mut self) -> Done {
        if self.job.record.class == Class::Tolerance {
            return self.finish(End::Inconclusive);
        }
        let verdict_by = self.later(self.context.params.verdict_window)?;
        self.job.phase = Phase::Refereeing { verdict_by };
        Ok(())
    }

    pub(super) fn equivocate(&mut self, index: u8, other: SignedCommitment, claim: Option<Claim>) -> Done {
        let job = &self.job;
        let seat = self.seat(index)?;
        let first = seat.commitment.ok_or(Refusal::WrongSeat)?;
        if seat.bond == crate::units::Amount::ZERO {
            return Err(Refusal::WrongSeat);
        }
        if (first.commitment, first.recheck) == (other.commitment, other.recheck) {
            return Err(Refusal::NoEquivocation);
        }
        let step = SeatStep::Commit { commitment: other.commitment, recheck: other.recheck, claim };
        let message = step.digest(&job.genesis, &job.id, seat.round, seat.index);
        if !other.signature.verifies(&seat.work_key, &message) {
            return Err(Refusal::NoEquivocation);
        }
        let (role, round) = (seat.role, seat.round);
        self.forfeit_whole(index, SeatOutcome::Equivocated)?;
        match (self.job.phase, role) {
            (Phase::Verifying, Role::Verifier | Role::AtLarge) => self.fill_verifiers(),
            (phase, Role::Executor) if !phase.is_paid() => self.finish(End::Inconclusive),
            (phase, Role::Verifier | Role::AtLarge) if !phase.is_paid() => self.judge_openings(),
            // The fresh verifier has convicted itself, so its look proves nothing.
            (Phase::RecheckRevealing { closes_at, .. }, _) if round == self.job.round => {
                self.end_recheck(closes_at, None)
            }
            _ => Ok(()),
        }
    }
}

/// Whether a seat's commitment for the round at hand is the one to `value`: its commitment itself, or, for a
/// seat of the round before, the one that it made for this round.
pub(super) fn holds(job: &Job, seat: &Seat, value: &Digest32) -> bool {
    let Some(signed) = seat.commitment else { return false };
    let mut id = job.seat_id(seat);
    let commitment = if seat.round == job.round { signed.commitment } else { signed.recheck };
    id.round = job.round;
    commitment == id.commit(value)
}

/// Whether a value means that the executor's answer stands.
pub(super) const fn pays_executor(kind: ValueKind) -> bool {
    matches!(kind, ValueKind::Ok | ValueKind::Fail)
}
