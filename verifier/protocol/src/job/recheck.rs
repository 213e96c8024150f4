//! After the settlement: a fresh verifier looks at some jobs again, and anybody may contest (clause J8).

use assay_manifest::{Digest32, TaggedHash};

use crate::commitment::Opening;
use crate::fees;
use crate::party::Role;
use crate::record::Class;
use crate::units::{Amount, Height, Price, Tokens};

use super::effect::{Effect, Payee, Payment};
use super::input::{Contender, Refusal};
use super::machine::{Done, Run};
use super::payout::processed;
use super::settlement::Verdict;
use super::state::{Challenge, OpenedValue, Phase, Recheck, Seat, SeatOutcome, Standing};
use super::values::holds;

/// Steps of a fresh look: a commitment, a reveal, a verdict, and one to spare.
const RECHECK_STEPS: u32 = 4;
/// Challenges of one settlement: each that the validators do not decide keeps its bonds for a verdict window.
const CHALLENGES_MAX: u8 = 3;

impl Run<'_> {
    /// Draws a fresh verifier, if one can be paid: by what was withheld from a newcomer, or, where chance falls on
    /// the job, by the pot.
    pub(super) fn sample(
        &mut self,
        closes_at: Height,
        randomness: Digest32,
        contenders: &[Contender],
        total_stake: Amount,
    ) -> Done {
        self.job.phase = Phase::Settled { closes_at: closes_at.max(self.later(1)?) };
        let budget = self.look_budget(&randomness)?;
        if budget == Amount::ZERO || self.free_seats() == 0 || !self.may_show_to_another() {
            return self.pay_look();
        }
        let n_out = self.settled_tokens()?;
        let mut affordable = Vec::new();
        for contender in contenders {
            if self.look_cost(contender.verify, n_out)? <= budget {
                affordable.push(*contender);
            }
        }
        let answer_round = self.job.round;
        self.job.round = answer_round.saturating_add(1);
        let (draw, drawn) = self.draw((Role::Verifier, 1), randomness, &affordable, total_stake)?;
        let Some(fresh) = drawn.first() else {
            self.job.round = answer_round;
            return self.pay_look();
        };
        if self.withheld() == Amount::ZERO {
            self.effects.push(Effect::ReservePot { amount: budget });
        }
        self.job.recheck = Some(Recheck { draw, reserved: budget });
        self.job.phase = Phase::Rechecking { closes_at };
        self.take_seat(fresh.standby(Role::Verifier), self.verify_by(Role::Verifier)?)?;
        let is_seated = self.job.pending_verifiers().next().is_some();
        if is_seated { Ok(()) } else { self.end_recheck(closes_at, None) }
    }

    /// What is there for a look at this job; nothing, where there will be none.
    fn look_budget(&self, randomness: &Digest32) -> Result<Amount, Refusal> {
        let withheld = self.withheld();
        if withheld > Amount::ZERO {
            return Ok(withheld);
        }
        let standing = self.job.standing.ok_or(Refusal::WrongPhase)?;
        let budget = self.look_budget_max(standing.payments.pot, self.settled_tokens()?)?;
        let is_drawn = lot(randomness, &self.job.id) < self.context.params.recheck_percent;
        Ok(if is_drawn && budget <= self.context.pot { budget } else { Amount::ZERO })
    }

    /// The most that a look may cost at a job that brought the pot `income`: its steps, which are burned, and what
    /// as many jobs bring the pot as one look comes for. A higher fee would pay whoever trades with itself.
    pub(super) fn look_budget_max(&self, income: Amount, n_out: Tokens) -> Result<Amount, Refusal> {
        let jobs_per_look = income.share_down(100, self.context.params.recheck_percent.max(1).into())?;
        let fee = self.look_fee(self.job.record.prices.verify_max, n_out)?.at_most(jobs_per_look);
        Ok(if fee > Amount::ZERO { fee.plus(self.look_steps()?)? } else { Amount::ZERO })
    }

    /// The fee of a look at this price, and its steps.
    fn look_cost(&self, price: Price, n_out: Tokens) -> Result<Amount, Refusal> {
        Ok(self.look_fee(price, n_out)?.plus(self.look_steps()?)?)
    }

    fn look_fee(&self, price: Price, n_out: Tokens) -> Result<Amount, Refusal> {
        Ok(fees::verification_fee(price, self.job.record.n_in, n_out)?)
    }

    /// Generated tokens that the settlement pays.
    fn settled_tokens(&self) -> Result<Tokens, Refusal> {
        let claim = self.job.claim.ok_or(Refusal::BadClaim)?;
        let standing = self.job.standing.ok_or(Refusal::WrongPhase)?;
        Ok(processed(&claim, &standing.opening))
    }

    fn look_steps(&self) -> Result<Amount, Refusal> {
        Ok(self.context.params.step_fee.times(RECHECK_STEPS)?)
    }

    /// What was kept of the executor's fee for a look that has not ended.
    fn withheld(&self) -> Amount {
        self.job.standing.map_or(Amount::ZERO, |standing| standing.withheld)
    }

    pub(super) fn expire_recheck(&mut self, closes_at: Height) -> Done {
        for index in self.late_verifiers()? {
            if self.is_starved(index) {
                return self.end_withheld_look(closes_at);
            }
            self.drop_verifier(index, SeatOutcome::Silent)?;
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
        self.pay_look()?;
        if let Some(opening) = confirmed {
            self.restate(Verdict::RetroVerified, Some(opening))?;
        }
        // Whoever would contest the answer could not, while it was looked at.
        let closes_at = closes_at.max(self.later(self.context.params.answer_window)?);
        self.job.phase = Phase::Settled { closes_at };
        Ok(())
    }

    /// J12: an executor that keeps its data from the fresh verifier forfeits, and what it keeps from being checked
    /// is no longer called an answer.
    pub(super) fn end_withheld_look(&mut self, closes_at: Height) -> Done {
        self.convict_answerer()?;
        self.restate(Verdict::Inconclusive, None)?;
        self.end_recheck(closes_at, None)
    }

    /// The seat that was drawn after the settlement.
    fn fresh_seat(&self) -> Option<&Seat> {
        self.job.recheck.and(self.job.round_seats().next())
    }

    /// Pays a fresh verifier that was right, gives a newcomer back what was not needed, and frees what was set
    /// aside.
    fn pay_look(&mut self) -> Done {
        let reserved = self.job.reserved();
        let withheld = self.withheld();
        if let Some(recheck) = &mut self.job.recheck {
            recheck.reserved = Amount::ZERO;
        }
        if let Some(standing) = &mut self.job.standing {
            standing.withheld = Amount::ZERO;
        }
        if reserved == Amount::ZERO {
            return Ok(());
        }
        let (mut payments, mut burned) = (Vec::new(), Amount::ZERO);
        if let Some(fresh) = self.fresh_seat().filter(|seat| seat.outcome == SeatOutcome::Right) {
            burned = self.look_steps()?;
            let fee = self.look_fee(fresh.price, self.settled_tokens()?)?.at_most(reserved.minus(burned)?);
            payments.push((fresh.index, fee));
        }
        if withheld > Amount::ZERO
            && let Some(executor) = self.job.answerer().filter(|seat| seat.outcome == SeatOutcome::Right)
        {
            let spent = payments.iter().try_fold(burned, |sum, (_, fee)| sum.plus(*fee))?;
            payments.push((executor.index, reserved.minus(spent)?));
        }
        let payments = payments.into_iter().map(|(index, amount)| {
            let seat = self.seat_mut(index)?;
            seat.paid = seat.paid.plus(amount)?;
            Ok(Payment { to: Payee::Account(seat.provider), amount })
        });
        let payments = payments.collect::<Result<_, Refusal>>()?;
        self.effects.push(Effect::SpendPot { reserved, payments, burned });
        Ok(())
    }

    pub(super) fn rejudge(&mut self, closes_at: Height) -> Done {
        let verdict_by = self.later(self.context.params.verdict_window)?;
        self.job.phase = Phase::Rejudging { verdict_by, closes_at };
        Ok(())
    }

    pub(super) fn challenge(&mut self, closes_at: Height, challenger: crate::party::AccountBytes) -> Done {
        let standing = self.job.standing.ok_or(Refusal::WrongPhase)?;
        let is_final = matches!(standing.verdict, Verdict::Refereed | Verdict::Inconclusive)
            || standing.challenges >= CHALLENGES_MAX
            || self.job.record.class == Class::Tolerance;
        if is_final || self.context.now >= closes_at {
            return Err(Refusal::NotContestable);
        }
        let deposit = self.job.quote.referee_cost;
        let left = closes_at.minus(self.context.now)?.get();
        self.job.challenge = Some(Challenge { challenger, deposit, left });
        self.job.standing = Some(Standing { challenges: standing.challenges.saturating_add(1), ..standing });
        self.effects.push(Effect::TakeDeposit { from: challenger, amount: deposit });
        self.rejudge(closes_at)
    }

    /// J6, J8: the validators' value replaces the settled one; without one, the settlement stands.
    pub(super) fn replace_settlement(&mut self, closes_at: Height, opening: Option<Opening>) -> Done {
        let overturned = match opening {
            Some(opening) => self.judge_again(&opening)?,
            None => false,
        };
        let left = self.job.challenge.map_or(1, |challenge| challenge.left);
        self.end_challenge(opening.is_some() && !overturned)?;
        self.pay_look()?;
        self.leave_unjudged()?;
        if let Some(opening) = opening {
            self.forfeit_losers(true)?;
            self.restate(Verdict::Refereed, Some(opening))?;
        }
        // The window stood still while the validators were asked.
        let closes_at = closes_at.max(self.later(left)?);
        self.job.phase = Phase::Settled { closes_at };
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
        let Some(Challenge { challenger, deposit, .. }) = self.job.challenge.take() else { return Ok(()) };
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
    fn restate(&mut self, verdict: Verdict, opening: Option<Opening>) -> Done {
        let mut standing = self.job.standing.ok_or(Refusal::WrongPhase)?;
        standing.verdict = verdict;
        let claim = self.job.claim.ok_or(Refusal::BadClaim)?;
        let opened = opening.map(|opening| (opening, opening.value(&self.job.id, self.job.round, &claim)));
        let record = self.record(verdict, opened, standing.payments)?;
        self.job.standing = Some(standing);
        self.effects.push(Effect::Record(Box::new(record)));
        Ok(())
    }
}

/// A number below 100 that chance gives a job at the height of `randomness`.
pub(super) fn lot(randomness: &Digest32, job: &assay_manifest::JobId) -> u32 {
    let hash = TaggedHash::new("assay/recheck/1").fixed(randomness.as_bytes()).fixed(job.as_bytes()).finish();
    let number = hash.as_bytes().iter().take(8).fold(0u64, |number, byte| (number << 8) | u64::from(*byte));
    u32::try_from(number % 100).unwrap_or(0)
}
