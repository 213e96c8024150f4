//! After the settlement: a fresh verifier looks at some jobs again, and anybody may contest (clause J8).

use assay_manifest::{Digest32, TaggedHash};

use crate::commitment::Opening;
use crate::fees;
use crate::party::Role;
use crate::record::Class;
use crate::units::{Amount, Height};

use super::effect::{Effect, Payee, Payment};
use super::input::{Contender, Refusal};
use super::machine::{Done, Run};
use super::payout::processed;
use super::settlement::Verdict;
use super::state::{Challenge, OpenedValue, Phase, Recheck, Seat, SeatOutcome};
use super::values::holds;

/// Steps of a fresh look: a commitment, a reveal, a verdict, and one to spare.
const RECHECK_STEPS: u32 = 4;

impl Run<'_> {
    /// Chance, or the executor's youth, decides whether a fresh verifier is drawn.
    pub(super) fn sample(
        &mut self,
        closes_at: Height,
        randomness: Digest32,
        contenders: &[Contender],
        total_stake: Amount,
    ) -> Done {
        self.job.phase = Phase::Settled { closes_at: closes_at.max(self.later(1)?) };
        let reserved = self.recheck_cost()?;
        let possible = reserved <= self.context.pot && self.free_seats() > 0 && self.may_show_to_another();
        if !possible || !self.is_sampled(&randomness)? {
            return Ok(());
        }
        let answer_round = self.job.round;
        self.job.round = answer_round.saturating_add(1);
        let (draw, drawn) = self.draw(Role::Verifier, randomness, contenders, total_stake)?;
        let Some(fresh) = drawn.first() else {
            self.job.round = answer_round;
            return Ok(());
        };
        self.job.recheck = Some(Recheck { draw, reserved });
        self.job.phase = Phase::Rechecking { closes_at };
        self.effects.push(Effect::ReservePot { amount: reserved });
        let deadline = self.verify_by()?;
        self.take_seat(Role::Verifier, fresh.standby(fresh.verify), deadline)?;
        let is_seated = self.job.pending_verifiers().next().is_some();
        if is_seated { Ok(()) } else { self.end_recheck(closes_at, None) }
    }

    fn recheck_cost(&self) -> Result<Amount, Refusal> {
        let (record, standing) = (&self.job.record, self.job.standing.ok_or(Refusal::WrongPhase)?);
        let claim = self.job.claim.ok_or(Refusal::BadClaim)?;
        let n_out = processed(&claim, &standing.opening);
        let fee = fees::verification_fee(record.prices.verify_max, record.n_in, n_out)?;
        Ok(fee.plus(self.recheck_step_fees()?)?)
    }

    fn recheck_step_fees(&self) -> Result<Amount, Refusal> {
        Ok(self.context.params.step_fee.times(RECHECK_STEPS)?)
    }

    fn is_sampled(&self, randomness: &Digest32) -> Result<bool, Refusal> {
        let executor = self.job.answerer().ok_or(Refusal::WrongSeat)?;
        let newcomer = self.context.books.score(&executor.provider) < self.context.params.newcomer_score;
        Ok(newcomer || lot(randomness, &self.job.id) < self.context.params.recheck_percent)
    }

    pub(super) fn expire_recheck(&mut self, closes_at: Height) -> Done {
        for index in self.late_verifiers()? {
            if self.is_starved(index) {
                self.convict_answerer()?;
            } else {
                self.drop_verifier(index, SeatOutcome::Silent)?;
            }
        }
        self.end_recheck(closes_at, None)
    }

    pub(super) fn reveal_recheck(&mut self, closes_at: Height) -> Done {
        let reveal_by = self.later(self.context.params.reveal_window)?;
        self.job.phase = Phase::RecheckRevealing { reveal_by, closes_at };
        Ok(())
    }

    /// Confirms when the fresh value is the settled result, and every right seat had committed to it.
    pub(super) fn compare_recheck(&mut self, closes_at: Height) -> Done {
        let opened = *self.job.values.last().ok_or(Refusal::OpensNothing)?;
        let agreed = self.job.seats.iter().filter(|seat| seat.outcome == SeatOutcome::Right);
        let agreed = agreed.fold(self.is_settled_result(&opened.opening), |all, seat| {
            all && holds(&self.job, seat, &opened.value)
        });
        if agreed { self.end_recheck(closes_at, Some(opened.opening)) } else { self.rejudge(closes_at) }
    }

    /// Whether an opening says of the answer what the settlement says.
    fn is_settled_result(&self, opening: &Opening) -> bool {
        let result = |opening: &Opening| (opening.kind, opening.position, opening.code);
        self.job.standing.is_some_and(|standing| result(&standing.opening) == result(opening))
    }

    /// The fresh look is over: with its confirmation, or without any result.
    pub(super) fn end_recheck(&mut self, closes_at: Height, confirmed: Option<Opening>) -> Done {
        let fresh = self.fresh_seat().map(|seat| (seat.index, seat.outcome));
        if let Some((index, outcome)) = fresh {
            match (confirmed, outcome) {
                (Some(_), _) => self.seat_mut(index)?.outcome = SeatOutcome::Right,
                (None, outcome) if outcome.is_working() => {
                    self.retire(index, SeatOutcome::Unjudged, Amount::ZERO)?;
                }
                (None, outcome) => self.seat_mut(index)?.outcome = outcome.at_the_end(),
            }
        }
        self.pay_recheck()?;
        if let Some(opening) = confirmed {
            self.restate(Verdict::RetroVerified, opening)?;
        }
        self.job.phase = Phase::Settled { closes_at: closes_at.max(self.later(1)?) };
        Ok(())
    }

    /// The seat that was drawn after the settlement.
    fn fresh_seat(&self) -> Option<&Seat> {
        self.job.recheck.and(self.job.round_seats().next())
    }

    /// Pays a fresh verifier that was right, and frees what was set aside.
    fn pay_recheck(&mut self) -> Done {
        let Some(recheck) = &mut self.job.recheck else { return Ok(()) };
        let reserved = std::mem::replace(&mut recheck.reserved, Amount::ZERO);
        if reserved == Amount::ZERO {
            return Ok(());
        }
        let fresh = self.fresh_seat().map(|seat| (seat.index, seat.provider, seat.outcome));
        let (payment, burned) = match fresh {
            Some((index, provider, SeatOutcome::Right)) => {
                let amount = self.verification_fee_at(index)?;
                self.seat_mut(index)?.paid = amount;
                let payment = Payment { to: Payee::Account(provider), amount };
                (Some(payment), self.recheck_step_fees()?)
            }
            _ => (None, Amount::ZERO),
        };
        self.effects.push(Effect::SpendPot { reserved, payment, burned });
        Ok(())
    }

    pub(super) fn rejudge(&mut self, closes_at: Height) -> Done {
        let verdict_by = self.later(self.context.params.verdict_window)?;
        self.job.phase = Phase::Rejudging { verdict_by, closes_at };
        Ok(())
    }

    pub(super) fn challenge(&mut self, closes_at: Height, challenger: crate::party::AccountBytes) -> Done {
        let standing = self.job.standing.ok_or(Refusal::WrongPhase)?;
        let final_already = standing.verdict == Verdict::Refereed;
        if final_already || self.job.record.class == Class::Tolerance || self.context.now >= closes_at {
            return Err(Refusal::NotContestable);
        }
        let deposit = self.job.quote.referee_cost;
        self.job.challenge = Some(Challenge { challenger, deposit });
        self.effects.push(Effect::TakeDeposit { from: challenger, amount: deposit });
        self.rejudge(closes_at)
    }

    /// J6, J8: the validators' value replaces the settled one; without one, the settlement stands.
    pub(super) fn replace_settlement(&mut self, closes_at: Height, opening: Option<Opening>) -> Done {
        let overturned = match opening {
            Some(opening) => self.judge_again(&opening)?,
            None => false,
        };
        self.end_challenge(opening.is_some() && !overturned)?;
        self.pay_recheck()?;
        self.leave_unjudged()?;
        if let Some(opening) = opening {
            self.forfeit_losers(true)?;
            self.restate(Verdict::Refereed, opening)?;
        }
        self.job.phase = Phase::Settled { closes_at: closes_at.max(self.later(1)?) };
        Ok(())
    }

    /// Judges the settled seats and the fresh one; answers whether a settled one was wrong.
    fn judge_again(&mut self, opening: &Opening) -> Result<bool, Refusal> {
        let claim = self.job.claim.ok_or(Refusal::BadClaim)?;
        let value = opening.value(&self.job.id, self.job.round, &claim);
        let same_result = self.is_settled_result(opening);
        let fresh = self.fresh_seat().map(|seat| seat.index);
        let mut overturned = false;
        let job = self.job.clone();
        let judged = job.seats.iter().filter(|seat| {
            matches!(seat.outcome, SeatOutcome::Right)
                || (seat.outcome, Some(seat.index)) == (SeatOutcome::Committed, fresh)
        });
        for seat in judged {
            let is_fresh = Some(seat.index) == fresh;
            let right = holds(&job, seat, &value) && (is_fresh || same_result);
            overturned |= !right && !is_fresh;
            let outcome = if right { SeatOutcome::Right } else { SeatOutcome::Wrong };
            self.seat_mut(seat.index)?.outcome = outcome;
        }
        self.open_right_seats(OpenedValue { opening: *opening, value })?;
        Ok(overturned)
    }

    /// Without a verdict the fresh verifier is neither right nor wrong.
    fn leave_unjudged(&mut self) -> Done {
        let fresh = self.fresh_seat().map(|seat| (seat.index, seat.outcome.at_the_end()));
        if let Some((index, outcome)) = fresh {
            self.seat_mut(index)?.outcome = outcome;
        }
        Ok(())
    }

    /// J8: the loser of a challenge pays the referee; without a verdict nobody has lost.
    fn end_challenge(&mut self, lost: bool) -> Done {
        let Some(Challenge { challenger, deposit }) = self.job.challenge.take() else { return Ok(()) };
        let to_pot = if lost { deposit } else { Amount::ZERO };
        self.effects.push(Effect::EndDeposit {
            from: challenger,
            amount: deposit,
            burned: Amount::ZERO,
            to_pot,
        });
        Ok(())
    }

    /// Writes a later record of a settled job. The escrow moved with the first one.
    fn restate(&mut self, verdict: Verdict, opening: Opening) -> Done {
        let mut standing = self.job.standing.ok_or(Refusal::WrongPhase)?;
        standing.verdict = verdict;
        let claim = self.job.claim.ok_or(Refusal::BadClaim)?;
        let value = opening.value(&self.job.id, self.job.round, &claim);
        let record = self.record(verdict, Some((opening, value)), standing.payments)?;
        self.job.standing = Some(standing);
        self.effects.push(Effect::Record(Box::new(record)));
        Ok(())
    }
}

/// A number below 100 that chance gives a job at the height of `randomness`.
fn lot(randomness: &Digest32, job: &assay_manifest::JobId) -> u32 {
    let hash = TaggedHash::new("assay/recheck/1").fixed(randomness.as_bytes()).fixed(job.as_bytes()).finish();
    let number = hash.as_bytes().iter().take(8).fold(0u64, |number, byte| (number << 8) | u64::from(*byte));
    u32::try_from(number % 100).unwrap_or(0)
}
