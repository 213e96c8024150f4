//! Draws, and who sits where (clauses J1, J11, J14, J15).

use assay_manifest::Digest32;

use crate::draw::{self, DrawFacts};
use crate::fees;
use crate::params::{AT_LARGE_SEATS_MAX, ROUNDS_MAX, SEATS_MAX};
use crate::party::Role;
use crate::units::{Amount, Height, Tokens};

use super::effect::Effect;
use super::input::{Contender, Refusal};
use super::machine::{Done, Run};
use super::payout::End;
use super::state::{NeedState, Party, Phase, Seat, SeatOutcome, Standby};

impl Run<'_> {
    pub(super) fn draw_executor(
        &mut self,
        randomness: Digest32,
        contenders: &[Contender],
        total_stake: Amount,
    ) -> Done {
        let (facts, drawn) = self.draw((Role::Executor, 1), randomness, contenders, total_stake)?;
        self.job.executor_draw = Some(facts);
        let Some(executor) = drawn.first() else { return self.finish(End::Expired) };
        let accept_by = self.later(self.context.params.accept_window)?;
        self.take_seat(executor.standby(Role::Executor), accept_by)?;
        self.job.phase = Phase::Assigned { accept_by };
        Ok(())
    }

    pub(super) fn draw_verifiers(
        &mut self,
        randomness: Digest32,
        contenders: &[Contender],
        total_stake: Amount,
    ) -> Done {
        let at_large =
            if self.job.record.policy.at_large().is_some() { AT_LARGE_SEATS_MAX as usize } else { 0 };
        let served = self.free_seats().saturating_sub(at_large);
        self.job.verifier_draw =
            Some(self.draw_standby((Role::Verifier, served), randomness, contenders, total_stake)?);
        // J16: those who do not serve the model are drawn by themselves.
        if at_large > 0 {
            self.job.at_large_draw =
                Some(self.draw_standby((Role::AtLarge, at_large), randomness, contenders, total_stake)?);
        }
        self.job.phase = Phase::Verifying;
        self.fill_verifiers()
    }

    fn draw_standby(
        &mut self,
        seats: (Role, usize),
        randomness: Digest32,
        contenders: &[Contender],
        total_stake: Amount,
    ) -> Result<DrawFacts, Refusal> {
        let (facts, drawn) = self.draw(seats, randomness, contenders, total_stake)?;
        for contender in drawn {
            self.job.standby.try_push(contender.standby(seats.0)).map_err(|_| Refusal::Full)?;
        }
        Ok(facts)
    }

    /// Draws up to so many, in order; publishes among whom.
    pub(super) fn draw(
        &mut self,
        (role, seats): (Role, usize),
        randomness: Digest32,
        contenders: &[Contender],
        total_stake: Amount,
    ) -> Result<(DrawFacts, Vec<Contender>), Refusal> {
        let fitting: Vec<&Contender> = contenders.iter().filter(|c| self.may_draw(c, role)).collect();
        let candidates: Vec<_> = fitting.iter().map(|c| c.candidate).collect();
        let facts = DrawFacts::of(self.context.now, randomness, &candidates, total_stake)?;
        let seed = draw::seed(&randomness, &self.job.id, self.job.round, role);
        let drawn = draw::draw(&seed, &candidates, seats);
        let in_order =
            drawn.iter().filter_map(|d| fitting.iter().find(|c| c.candidate == *d).map(|c| **c)).collect();
        self.effects.push(Effect::Drawn { role, candidates });
        Ok((facts, in_order))
    }

    pub(super) fn free_seats(&self) -> usize {
        (SEATS_MAX as usize).saturating_sub(self.job.seats.len())
    }

    fn may_draw(&self, contender: &Contender, role: Role) -> bool {
        let account = contender.candidate.provider;
        let seated = self.job.seats.iter().any(|seat| seat.provider == account);
        let chosen = self.job.record.direct_executor.is_none_or(|chosen| chosen == account);
        let allowed = role.verifies() || chosen;
        allowed
            && !seated
            && account != self.job.requester
            && contender.fits(role, &self.job.record.prices, self.job.quote.bond)
    }

    pub(super) fn take_seat(&mut self, drawn: Standby, deadline: Height) -> Done {
        let bond = self.job.quote.bond;
        let mut seat = Seat {
            index: u8::try_from(self.job.seats.len()).map_err(|_| Refusal::Full)?,
            round: self.job.round,
            role: drawn.role,
            provider: drawn.provider,
            work_key: drawn.work_key,
            encryption_key: drawn.encryption_key,
            price: drawn.price,
            deadline,
            outcome: SeatOutcome::Pending,
            commitment: None,
            value: None,
            bond,
            paid: Amount::ZERO,
        };
        // A standby's stake may have gone elsewhere since the draw; the record says that it was passed over.
        if self.context.books.bondable(&drawn.provider) < bond {
            seat.outcome = SeatOutcome::Unbonded;
            seat.bond = Amount::ZERO;
            return self.job.seats.try_push(seat).map_err(|_| Refusal::Full);
        }
        self.job.seats.try_push(seat).map_err(|_| Refusal::Full)?;
        self.effects.push(Effect::LockBond { provider: drawn.provider, amount: bond });
        self.effects.push(Effect::BeginWork { provider: drawn.provider });
        Ok(())
    }

    pub(super) fn accept(&mut self, index: u8) -> Done {
        let record = &self.job.record;
        let window = self.context.params.execute_window(record.n_in, record.n_max)?;
        let commit_by = self.later(window)?;
        let seat = self.expect_executor(index, SeatOutcome::Pending)?;
        seat.outcome = SeatOutcome::Accepted;
        seat.deadline = commit_by;
        self.close_need(Party::Seat(index));
        self.job.phase = Phase::Accepted { commit_by };
        Ok(())
    }

    /// J12, J14: what the silence of an executor before its acceptance means depends on what it had asked for.
    pub(super) fn expire_assignment(&mut self) -> Done {
        let index = self.job.executor().ok_or(Refusal::WrongSeat)?.index;
        match self.job.need(Party::Seat(index)).map(|need| need.state) {
            Some(NeedState::Open { .. }) => {
                self.retire(index, SeatOutcome::NeverAccepted, Amount::ZERO)?;
                self.finish(End::Expired)
            }
            Some(NeedState::Posted { .. }) => self.drop_executor(SeatOutcome::Silent),
            Some(NeedState::Closed) | None => self.drop_executor(SeatOutcome::NeverAccepted),
        }
    }

    /// The executor of this round is out: fine it if it was bound to work, then draw another or give up.
    pub(super) fn drop_executor(&mut self, outcome: SeatOutcome) -> Done {
        let index = self.job.executor().ok_or(Refusal::WrongSeat)?.index;
        let fine = match outcome {
            SeatOutcome::Silent => self.job.quote.job_fee.share_up(1, 10)?,
            _ => Amount::ZERO,
        };
        self.retire(index, outcome, fine)?;
        self.next_round()
    }

    pub(super) fn next_round(&mut self) -> Done {
        if self.job.round >= ROUNDS_MAX || !self.may_show_to_another() {
            return self.finish(End::Expired);
        }
        self.job.round = self.job.round.saturating_add(1);
        let draw_at = self.later(self.context.params.executor_draw_delay)?;
        self.job.phase = Phase::Requested { draw_at };
        Ok(())
    }

    /// Whether one more seat, and the validators after it, may see the input.
    pub(super) fn may_show_to_another(&self) -> bool {
        let limit = u32::from(self.job.record.max_eyes);
        let seen = u32::try_from(self.job.seats.len()).unwrap_or(u32::MAX);
        limit == 0 || seen.saturating_add(1).saturating_add(self.context.validators) <= limit
    }

    pub(super) fn expire_verifiers(&mut self) -> Done {
        let late = self.late_verifiers()?;
        // J12: an executor that does not answer for what a seat lacks forfeits, and the job ends with it.
        if late.iter().any(|index| self.is_starved(*index)) {
            return self.convict_executor();
        }
        for index in late {
            self.drop_verifier(index, SeatOutcome::Silent)?;
        }
        self.fill_verifiers()
    }

    pub(super) fn late_verifiers(&self) -> Result<Vec<u8>, Refusal> {
        let now = self.context.now;
        let late: Vec<u8> =
            self.job.pending_verifiers().filter(|seat| now > seat.deadline).map(|seat| seat.index).collect();
        if late.is_empty() {
            return Err(Refusal::TooEarly(self.job.due().unwrap_or(now)));
        }
        Ok(late)
    }

    pub(super) fn decline_verifier(&mut self, index: u8) -> Done {
        let deadline = self.expect_verifier(index, SeatOutcome::Pending)?.deadline;
        self.not_after(deadline)?;
        self.must_not_have_asked(index)?;
        self.drop_verifier(index, SeatOutcome::Declined)
    }

    /// J11: half a verification fee for a decline, a whole one for silence. J16: nothing for who may not have been able
    /// to fetch the model.
    pub(super) fn drop_verifier(&mut self, index: u8, outcome: SeatOutcome) -> Done {
        let fee = self.verification_fee_at(index)?;
        let fine = match (outcome, self.seat(index)?.role) {
            (SeatOutcome::Declined, Role::AtLarge) => Amount::ZERO,
            (SeatOutcome::Declined, _) => fee.share_up(1, 2)?,
            _ => fee,
        };
        self.retire(index, outcome, fine)
    }

    pub(super) fn verification_fee_at(&self, index: u8) -> Result<Amount, Refusal> {
        let n_out = Tokens::new(self.job.claim.map_or(0, |claim| claim.n_out));
        Ok(fees::verification_fee(self.seat(index)?.price, self.job.record.n_in, n_out)?)
    }

    /// Seats standby verifiers until enough count, opens the reveal when all have committed, and gives up
    /// when nobody is left to seat, or nobody else may see the input.
    pub(super) fn fill_verifiers(&mut self) -> Done {
        let policy = self.job.record.policy;
        let serving = policy.serving_verifiers();
        let at_large = policy.verifiers().saturating_sub(serving);
        for (role, wanted) in [(Role::Verifier, serving), (Role::AtLarge, at_large)] {
            while self.counted_or_pending(role) < usize::from(wanted) {
                let next = self.job.standby.iter().position(|standby| standby.role == role);
                let Some(next) = next.filter(|_| self.may_show_to_another()) else {
                    return self.finish(End::Inconclusive);
                };
                let next = self.job.standby.remove(next);
                self.take_seat(next, self.verify_by(role)?)?;
            }
        }
        if self.job.pending_verifiers().next().is_none() {
            let reveal_by = self.later(self.context.params.reveal_window)?;
            self.job.phase = Phase::Revealing { reveal_by };
        }
        Ok(())
    }

    fn counted_or_pending(&self, role: Role) -> usize {
        let seats = self.job.counted_seats().chain(self.job.pending_verifiers());
        seats.filter(|seat| seat.role == role).count()
    }

    /// When a verifier that begins now must have committed.
    pub(super) fn verify_by(&self, role: Role) -> Result<Height, Refusal> {
        let (record, params) = (&self.job.record, self.context.params);
        let (n_in, n_max) = (record.n_in, record.n_max);
        let window = match (role, record.policy.at_large()) {
            (Role::AtLarge, Some(weights_bytes)) => params.verify_at_large_window(n_in, n_max, weights_bytes),
            _ => params.verify_window(n_in, n_max),
        };
        self.later(window?)
    }
}

impl Contender {
    /// Its place in the order of those drawn for a role, at the price that its offer names for it.
    pub(super) fn standby(&self, role: Role) -> Standby {
        Standby {
            provider: self.candidate.provider,
            work_key: self.work_key,
            encryption_key: self.encryption_key,
            price: if role.verifies() { self.verify } else { self.output },
            role,
        }
    }
}
