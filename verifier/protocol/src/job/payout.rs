//! The end of a job: who is paid, who forfeits, and what the record says.

use assay_manifest::Digest32;
use bounded_collections::BoundedVec;

use crate::commitment::{Claim, Opening, ValueKind};
use crate::fees::{self, PROTOCOL_FEE_BURNED_PERCENT, PROTOCOL_FEE_PERCENT};
use crate::party::{AccountBytes, Role};
use crate::record::Class;
use crate::units::{Amount, OutOfRange, Tokens};

use super::effect::{Effect, Payee, Payment};
use super::input::Refusal;
use super::machine::{Done, Run};
use super::settlement::{Payments, SeatRecord, SettlementRecord, Verdict};
use super::state::{OpenedValue, Party, Phase, Seat, SeatOutcome, Standing};
use super::values::{holds, pays_executor};

/// How a job ends.
pub(super) enum End {
    Agreed(Opening),
    Refereed(Opening),
    Inconclusive,
    Expired,
    /// The requester posted something else than it had committed to (clause J13).
    Misled {
        /// The seat that paid for it.
        executor: u8,
    },
}

/// The settled value and what it pays.
struct Settled {
    opening: Opening,
    n_out: Tokens,
    job_fee: Amount,
}

impl Settled {
    fn protocol_fee(&self) -> Result<Amount, OutOfRange> {
        self.job_fee.share_up(PROTOCOL_FEE_PERCENT, 100)
    }

    fn fee_burned(&self) -> Result<Amount, OutOfRange> {
        self.protocol_fee()?.share_up(PROTOCOL_FEE_BURNED_PERCENT, PROTOCOL_FEE_PERCENT)
    }
}

impl Run<'_> {
    /// Ends the job: judges seats, divides forfeits and the escrow, writes the record.
    pub(super) fn finish(&mut self, end: End) -> Done {
        let settled = match end {
            End::Agreed(opening) | End::Refereed(opening) => Some(self.settle(opening)?),
            End::Inconclusive | End::Expired | End::Misled { .. } => None,
        };
        let verdict = match (&end, &settled) {
            (End::Refereed(_), _) => Verdict::Refereed,
            (End::Agreed(_), Some(_)) if !self.is_verified() => Verdict::Committed,
            (End::Agreed(_), Some(_)) if self.is_wide() => Verdict::Verified,
            (End::Agreed(_), Some(_)) => Verdict::VerifiedThin,
            _ => Verdict::Inconclusive,
        };
        self.forfeit_losers(matches!(end, End::Refereed(_)))?;
        let (payments, withheld) = self.divide_escrow(settled.as_ref(), &end)?;
        self.job.standing = settled.as_ref().map(|settled| Standing {
            round: self.job.round,
            opening: settled.opening,
            verdict,
            payments,
            withheld,
            challenges: 0,
        });
        self.job.phase = self.phase_after(&end)?;
        let value = settled.as_ref().and_then(|settled| self.value_of(&settled.opening));
        let opened = settled.as_ref().map(|settled| settled.opening).zip(value);
        let record = self.record(verdict, opened, payments)?;
        self.effects.push(Effect::Record(Box::new(record)));
        if settled.is_none() {
            self.release_all_bonds();
            self.effects.push(Effect::Close);
        }
        Ok(())
    }

    /// A verdict of the validators is not looked at again, nor what is compared by bounds.
    fn is_looked_at_again(&self, end: &End) -> bool {
        matches!(end, End::Agreed(_)) && self.job.record.class == Class::Exact
    }

    fn phase_after(&self, end: &End) -> Result<Phase, Refusal> {
        let closes_at = self.later(self.context.params.challenge_window)?;
        Ok(match end {
            _ if self.is_looked_at_again(end) => {
                let draw_at = self.later(self.context.params.verifier_draw_delay)?;
                Phase::Sampling { draw_at, closes_at }
            }
            End::Agreed(_) | End::Refereed(_) => Phase::Settled { closes_at },
            End::Inconclusive | End::Misled { .. } => Phase::Inconclusive,
            End::Expired => Phase::Expired,
        })
    }

    /// Whether a verifier stands by the settled value.
    fn is_verified(&self) -> bool {
        self.job.round_seats().any(|seat| seat.role.verifies() && seat.outcome == SeatOutcome::Right)
    }

    fn is_wide(&self) -> bool {
        self.job.verifier_draw.is_some_and(|facts| facts.is_wide(self.job.quote.bond))
    }

    fn value_of(&self, opening: &Opening) -> Option<Digest32> {
        self.job.claim.map(|claim| opening.value(&self.job.id, self.job.round, &claim))
    }

    /// Judges every counted seat against the settled value and computes what the right ones earn.
    fn settle(&mut self, opening: Opening) -> Result<Settled, Refusal> {
        let claim = self.job.claim.ok_or(Refusal::BadClaim)?;
        let value = opening.value(&self.job.id, self.job.round, &claim);
        let judged: Vec<(u8, SeatOutcome)> = self
            .job
            .counted_seats()
            .map(|seat| (seat.index, judge(seat.role, opening.kind, holds(&self.job, seat, &value))))
            .collect();
        for (index, outcome) in judged {
            self.seat_mut(index)?.outcome = outcome;
        }
        self.open_right_seats(OpenedValue { opening, value })?;
        let n_out = processed(&claim, &opening);
        let executor_right = self.job.executor().is_some_and(|seat| seat.outcome == SeatOutcome::Right);
        let job_fee = if executor_right && pays_executor(opening.kind) {
            fees::job_fee(&self.job.record, n_out)?
        } else {
            Amount::ZERO
        };
        Ok(Settled { opening, n_out, job_fee })
    }

    /// A verdict opens the right seats of the round that nobody had opened.
    pub(super) fn open_right_seats(&mut self, opened: OpenedValue) -> Done {
        let round = self.job.round;
        let is_closed =
            |seat: &Seat| seat.round == round && seat.outcome == SeatOutcome::Right && seat.value.is_none();
        if !self.job.seats.iter().any(is_closed) {
            return Ok(());
        }
        let number = u8::try_from(self.job.values.len()).map_err(|_| Refusal::Full)?;
        self.job.values.try_push(opened).map_err(|_| Refusal::Full)?;
        for seat in self.job.seats.iter_mut().filter(|seat| is_closed(seat)) {
            seat.value = Some(number);
        }
        Ok(())
    }

    /// J5, J6: conceded seats lose a part of their bond, wrong ones all of it. J9: in the tolerance class both
    /// lose pay and score alone.
    pub(super) fn forfeit_losers(&mut self, refereed: bool) -> Done {
        let lost = |seat: &&Seat| {
            seat.bond > Amount::ZERO && matches!(seat.outcome, SeatOutcome::Conceded | SeatOutcome::Wrong)
        };
        let losers: Vec<Seat> = self.job.seats.iter().filter(lost).cloned().collect();
        let mut referee_cost = if refereed { self.job.quote.referee_cost } else { Amount::ZERO };
        for seat in losers {
            let percent = match (self.job.record.class, seat.outcome, seat.role) {
                (Class::Tolerance, ..) => 0,
                (_, SeatOutcome::Wrong, _) => 100,
                (_, _, Role::Executor) => 50,
                (_, _, Role::Verifier | Role::AtLarge) => 25,
            };
            let forfeited = seat.bond.share_down(percent, 100)?;
            let paid = self.forfeit(&seat, forfeited, referee_cost)?;
            referee_cost = referee_cost.minus(paid)?;
            self.effects.push(if seat.outcome == SeatOutcome::Wrong {
                Effect::Fault { provider: seat.provider }
            } else {
                Effect::Miss { provider: seat.provider }
            });
        }
        Ok(())
    }

    /// Takes `forfeited` from the seat's bond and frees the rest; answers what went to the referee.
    fn forfeit(&mut self, seat: &Seat, forfeited: Amount, referee_cost: Amount) -> Result<Amount, Refusal> {
        let is_right = |other: &&Seat| other.outcome == SeatOutcome::Right;
        let right: Vec<AccountBytes> =
            self.job.seats.iter().filter(is_right).map(|other| other.provider).collect();
        let seats = u32::try_from(right.len()).map_err(|_| OutOfRange)?;
        let parts = fees::divide_forfeit(forfeited, self.job.quote.job_fee, seats, referee_cost)?;
        let mut payments = vec![Payment { to: Payee::Account(self.job.requester), amount: parts.requester }];
        payments.extend(
            right.iter().map(|to| Payment { to: Payee::Account(*to), amount: parts.each_right_seat }),
        );
        payments.push(Payment { to: Payee::Pot, amount: parts.referee });
        let mut burned = parts.burned;
        if seat.outcome == SeatOutcome::Withheld {
            let made_good = self.fees_made_good(seat.index, burned)?;
            burned = made_good.iter().try_fold(burned, |left, payment| left.minus(payment.amount))?;
            payments.extend(made_good);
        }
        payments.retain(|payment| payment.amount > Amount::ZERO);
        if forfeited > Amount::ZERO {
            self.effects.push(Effect::ForfeitBond { provider: seat.provider, payments, burned });
        }
        self.unbond(seat.index, forfeited)?;
        Ok(parts.referee)
    }

    /// J7, J12, J13: the whole bond, and the score.
    pub(super) fn forfeit_whole(&mut self, index: u8, outcome: SeatOutcome) -> Done {
        let seat = self.seat_mut(index)?;
        seat.outcome = outcome;
        let seat = seat.clone();
        self.forfeit(&seat, seat.bond, Amount::ZERO)?;
        self.effects.push(Effect::Fault { provider: seat.provider });
        Ok(())
    }

    /// A working seat leaves without a judgement: burn its fine, free the rest of its bond.
    pub(super) fn retire(&mut self, index: u8, outcome: SeatOutcome, fine: Amount) -> Done {
        let seat = self.seat_mut(index)?;
        seat.outcome = outcome;
        let (provider, fine) = (seat.provider, fine.at_most(seat.bond));
        self.effects.push(Effect::EndWork { provider });
        self.close_need(Party::Seat(index));
        if fine > Amount::ZERO {
            self.effects.push(Effect::ForfeitBond { provider, payments: Vec::new(), burned: fine });
        }
        if outcome == SeatOutcome::Silent {
            self.effects.push(Effect::Miss { provider });
        }
        self.unbond(index, fine)
    }

    /// Frees what is left of a bond of which `taken` is gone.
    fn unbond(&mut self, index: u8, taken: Amount) -> Done {
        let seat = self.seat_mut(index)?;
        let amount = std::mem::replace(&mut seat.bond, Amount::ZERO).minus(taken)?;
        let provider = seat.provider;
        if amount > Amount::ZERO {
            self.effects.push(Effect::ReleaseBond { provider, amount });
        }
        Ok(())
    }

    pub(super) fn release_all_bonds(&mut self) {
        for seat in self.job.seats.iter_mut().filter(|seat| seat.bond > Amount::ZERO) {
            if seat.outcome.is_working() {
                self.effects.push(Effect::EndWork { provider: seat.provider });
            }
            let amount = std::mem::replace(&mut seat.bond, Amount::ZERO);
            self.effects.push(Effect::ReleaseBond { provider: seat.provider, amount });
        }
    }

    /// Divides the escrow; answers the parts, and what of the pot's is withheld from a newcomer.
    fn divide_escrow(&mut self, settled: Option<&Settled>, end: &End) -> Result<(Payments, Amount), Refusal> {
        let quote = self.job.quote;
        let steps = self.context.params.step_fee.times(self.job.steps)?.at_most(quote.steps);
        let mut payments = Payments { burned: steps, ..Payments::default() };
        let mut withheld = Amount::ZERO;
        if let Some(settled) = settled {
            self.divide_protocol_fee(settled, &mut payments)?;
            if self.is_looked_at_again(end) {
                withheld = self.withheld_from_newcomer(settled, payments.pot)?;
                payments.pot = payments.pot.plus(withheld)?;
            }
            self.pay_seats(settled, withheld, &mut payments)?;
        }
        let fine = match end {
            End::Expired if self.was_never_accepted() => quote.job_fee.share_up(1, 100)?,
            End::Misled { .. } => quote.job_fee.share_up(1, 10)?,
            _ => Amount::ZERO,
        };
        payments.burned = payments.burned.plus(fine)?;
        if let End::Misled { executor } = end {
            payments.executor = self.make_good(*executor, quote.escrow.minus(payments.burned)?)?;
        }
        let spent = payments.executor.plus(payments.verifiers)?.plus(payments.pot)?.plus(payments.burned)?;
        payments.refunded = quote.escrow.minus(spent)?;
        let pot = Payment { to: Payee::Pot, amount: payments.pot };
        if pot.amount > Amount::ZERO {
            self.effects.push(Effect::PayEscrow(pot));
        }
        if withheld > Amount::ZERO {
            self.effects.push(Effect::ReservePot { amount: withheld });
        }
        self.effects.push(Effect::BurnEscrow { amount: payments.burned });
        self.effects.push(Effect::RefundEscrow { amount: payments.refunded });
        Ok((payments, withheld))
    }

    /// Pays an executor from what is `left` of the escrow what it paid for a package that was not what the requester
    /// had committed to.
    fn make_good(&mut self, executor: u8, left: Amount) -> Result<Amount, Refusal> {
        let amount = self.job.need(Party::Seat(executor)).map_or(Amount::ZERO, |need| need.fee).at_most(left);
        let seat = self.seat_mut(executor)?;
        seat.paid = amount;
        let to = Payee::Account(seat.provider);
        self.effects.push(Effect::PayEscrow(Payment { to, amount }));
        Ok(amount)
    }

    /// An executor without a record pays for the look that its job is given, so that nobody can draw upon the pot
    /// with accounts of its own.
    fn withheld_from_newcomer(&self, settled: &Settled, income: Amount) -> Result<Amount, Refusal> {
        let drawn = self.job.executor().filter(|seat| {
            let has_record = self.context.books.score(&seat.provider) >= self.context.params.newcomer_score;
            seat.outcome == SeatOutcome::Right && !has_record && self.job.record.direct_executor.is_none()
        });
        match drawn {
            Some(_) => Ok(self.look_budget_max(income, settled.n_out)?.at_most(settled.job_fee)),
            None => Ok(Amount::ZERO),
        }
    }

    /// J14: the requester pays when the last executor did not accept, since it may have withheld the input.
    fn was_never_accepted(&self) -> bool {
        let last = self.job.seats.iter().rev().find(|seat| seat.role == Role::Executor);
        last.is_some_and(|seat| matches!(seat.outcome, SeatOutcome::Declined | SeatOutcome::NeverAccepted))
    }

    fn divide_protocol_fee(&self, settled: &Settled, payments: &mut Payments) -> Done {
        let fee_burned = settled.fee_burned()?;
        payments.burned = payments.burned.plus(fee_burned)?;
        payments.pot = settled.protocol_fee()?.minus(fee_burned)?;
        Ok(())
    }

    fn pay_seats(&mut self, settled: &Settled, withheld: Amount, payments: &mut Payments) -> Done {
        let fee_burned = settled.fee_burned()?;
        let right: Vec<Seat> =
            self.job.round_seats().filter(|seat| seat.outcome == SeatOutcome::Right).cloned().collect();
        for seat in right {
            let mut amount = self.earned(&seat, settled)?;
            if seat.role == Role::Executor {
                amount = amount.minus(withheld)?;
            }
            self.seat_mut(seat.index)?.paid = amount;
            let total = match seat.role {
                Role::Executor => &mut payments.executor,
                Role::Verifier | Role::AtLarge => &mut payments.verifiers,
            };
            *total = total.plus(amount)?;
            if amount > Amount::ZERO {
                self.effects.push(Effect::PayEscrow(Payment { to: Payee::Account(seat.provider), amount }));
            }
            let chosen = seat.role == Role::Executor && self.job.record.direct_executor.is_some();
            if !chosen && fee_burned > Amount::ZERO {
                self.effects.push(Effect::Credit { provider: seat.provider, burned: fee_burned });
            }
        }
        Ok(())
    }

    fn earned(&self, seat: &Seat, settled: &Settled) -> Result<Amount, OutOfRange> {
        match seat.role {
            Role::Executor => Ok(settled.job_fee),
            Role::Verifier | Role::AtLarge => {
                fees::verification_fee(seat.price, self.job.record.n_in, settled.n_out)
            }
        }
    }

    pub(super) fn record(
        &self,
        verdict: Verdict,
        opened: Option<(Opening, Digest32)>,
        payments: Payments,
    ) -> Result<SettlementRecord, Refusal> {
        let job = &self.job;
        let mut seats = BoundedVec::default();
        for seat in &job.seats {
            seats.try_push(self.seat_record(seat)).map_err(|_| Refusal::Full)?;
        }
        let (opening, value) = opened.unzip();
        Ok(SettlementRecord {
            job: job.id,
            genesis: job.genesis,
            requester: job.requester,
            nonce: job.nonce,
            request: job.record.clone(),
            bond: job.quote.bond,
            round: job.answer_round(),
            verdict,
            opening,
            value,
            claim: job.claim,
            executor_draw: job.executor_draw,
            verifier_draw: job.verifier_draw,
            at_large_draw: job.at_large_draw,
            recheck_draw: job.recheck.map(|recheck| recheck.draw),
            seats,
            payments,
            settled_at: self.context.now,
        })
    }

    fn seat_record(&self, seat: &Seat) -> SeatRecord {
        let opened = seat.value.and_then(|number| self.job.values.get(usize::from(number)));
        SeatRecord {
            index: seat.index,
            round: seat.round,
            role: seat.role,
            provider: seat.provider,
            work_key: seat.work_key,
            outcome: seat.outcome.at_the_end(),
            commitment: seat.commitment,
            value: opened.map(|opened| opened.value),
            paid: seat.paid,
        }
    }
}

/// What the settled value makes of a seat that holds it, or does not. J5: an executor that commits to its own
/// claim's rejection has conceded; otherwise a false claim would cost nothing and feed its friends.
const fn judge(role: Role, kind: ValueKind, holds: bool) -> SeatOutcome {
    match (holds, role, kind) {
        (true, Role::Executor, ValueKind::Reject) => SeatOutcome::Conceded,
        (true, ..) => SeatOutcome::Right,
        (false, ..) => SeatOutcome::Wrong,
    }
}

/// Generated tokens that a result pays. J10: a failure pays for the tokens before it, whatever its claim says.
pub(super) fn processed(claim: &Claim, opening: &Opening) -> Tokens {
    Tokens::new(match opening.kind {
        ValueKind::Fail => claim.n_out.min(opening.position),
        ValueKind::Ok | ValueKind::Reject => claim.n_out,
    })
}
