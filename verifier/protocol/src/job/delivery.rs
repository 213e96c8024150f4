//! Data that a party lacks: asked for, posted and complained of on the ledger (clauses J12 and J13).
//!
//! The requester answers to the executor, the executor to everybody else: each answers for what it has said
//! that it holds.

use assay_manifest::Digest32;

use crate::params::PACKAGE_BYTES_MAX;
use crate::party::Role;
use crate::units::{Amount, Height};

use super::effect::{Effect, Payee, Payment};
use super::input::{Package, Refusal};
use super::machine::{Done, Run};
use super::payout::End;
use super::state::{Need, NeedState, Party, Phase, SeatOutcome};

impl Run<'_> {
    pub(super) fn need(&mut self, party: Party, key: Digest32) -> Done {
        if self.job.need(party).is_some() {
            return Err(Refusal::NoNeed);
        }
        let due = match party {
            Party::Seat(_) => self.later(self.context.params.data_window)?,
            Party::Requester => self.later(self.context.params.answer_window)?,
        };
        match party {
            Party::Seat(index) => self.seat_needs(index, due)?,
            Party::Requester => self.requester_needs(due)?,
        }
        self.job
            .needs
            .try_push(Need { party, key, fee: Amount::ZERO, state: NeedState::Open { due } })
            .map_err(|_| Refusal::Full)
    }

    fn seat_needs(&mut self, index: u8, due: Height) -> Done {
        let seat = match self.job.phase {
            Phase::Assigned { .. } => self.expect_executor(index, SeatOutcome::Pending),
            Phase::Verifying | Phase::Rechecking { .. } => self.expect_verifier(index, SeatOutcome::Pending),
            _ => return Err(Refusal::WrongPhase),
        };
        let deadline = seat?.deadline;
        self.not_after(deadline)?;
        self.set_deadline(index, due)
    }

    /// The requester's claim on an answer that was settled in its executor's favour.
    fn requester_needs(&mut self, due: Height) -> Done {
        let closes_at = self.job.phase.closes_at().ok_or(Refusal::WrongPhase)?;
        let owes = |seat: &super::state::Seat| seat.outcome == SeatOutcome::Right && seat.bond > Amount::ZERO;
        if self.context.now >= closes_at || !self.job.answerer().is_some_and(owes) {
            return Err(Refusal::NoNeed);
        }
        let amount = self.context.params.need_deposit()?;
        self.effects.push(Effect::TakeDeposit { from: self.job.requester, amount });
        // Bonds must outlive the claim: its window, the complaint's, and the block that ends them.
        let complained = due.plus(Height::new(self.context.params.data_window.saturating_add(2)))?;
        self.job.phase.keep_open_until(complained);
        Ok(())
    }

    pub(super) fn post(&mut self, party: Party, bytes: u32) -> Done {
        let due = match self.job.need(party).map(|need| need.state) {
            Some(NeedState::Open { due }) => due,
            _ => return Err(Refusal::NoNeed),
        };
        self.not_after(due)?;
        if bytes > PACKAGE_BYTES_MAX {
            return Err(Refusal::Full);
        }
        let params = self.context.params;
        let fee = params.post_fee(bytes)?;
        let (due, fee) = match party {
            Party::Seat(index) => {
                let due = match self.seat(index)?.role {
                    Role::Executor => self.later(params.accept_window)?,
                    role => self.verify_by(role)?,
                };
                self.set_deadline(index, due)?;
                (due, self.charge(index, fee)?)
            }
            Party::Requester => (self.later(params.data_window)?, fee),
        };
        self.set_need(party, NeedState::Posted { due });
        if let Some(need) = self.need_mut(party) {
            need.fee = fee;
        }
        Ok(())
    }

    pub(super) fn complain(&mut self, party: Party, package: Package) -> Done {
        let due = match self.job.need(party).map(|need| need.state) {
            Some(NeedState::Posted { due }) => due,
            _ => return Err(Refusal::NoNeed),
        };
        self.not_after(due)?;
        self.close_need(party);
        match (party, package) {
            (Party::Seat(index), Package::Bad) => self.punish_sender(index),
            (Party::Seat(index), Package::Good) => self.punish_claimant(index),
            (Party::Requester, Package::Bad) => {
                self.end_answer_deposit(Amount::ZERO)?;
                self.convict_answerer()
            }
            (Party::Requester, Package::Good) => self.end_answer_deposit(self.context.params.need_deposit()?),
        }
    }

    fn punish_sender(&mut self, index: u8) -> Done {
        match (self.seat(index)?.role, self.job.phase.closes_at()) {
            (Role::Executor, _) => self.finish(End::Misled { executor: index }),
            (_, None) => self.convict_executor(),
            (_, Some(closes_at)) => self.end_withheld_look(closes_at),
        }
    }

    fn punish_claimant(&mut self, index: u8) -> Done {
        let seat = self.seat(index)?;
        let (role, provider) = (seat.role, seat.provider);
        self.effects.push(Effect::EndWork { provider });
        self.forfeit_whole(index, SeatOutcome::FalseComplaint)?;
        match (role, self.job.phase.closes_at()) {
            (Role::Executor, _) => self.next_round(),
            (_, None) => self.fill_verifiers(),
            (_, Some(closes_at)) => self.end_recheck(closes_at, None),
        }
    }

    /// J3, J12: an executor that answers for nothing forfeits all, and there is nothing left to judge.
    pub(super) fn convict_executor(&mut self) -> Done {
        self.convict_answerer()?;
        self.finish(End::Inconclusive)
    }

    /// J3, J12, after the settlement: the executor forfeits what is left of its bond.
    pub(super) fn convict_answerer(&mut self) -> Done {
        let (index, bond) =
            self.job.answerer().map(|seat| (seat.index, seat.bond)).ok_or(Refusal::WrongSeat)?;
        if bond == Amount::ZERO { Ok(()) } else { self.forfeit_whole(index, SeatOutcome::Withheld) }
    }

    /// The requester's claim has run out: nothing was posted, or nobody complained of what was.
    pub(super) fn expire_answer(&mut self) -> Done {
        let Need { state, fee, .. } = *self.job.need(Party::Requester).ok_or(Refusal::NoNeed)?;
        self.close_need(Party::Requester);
        match state {
            NeedState::Open { .. } => {
                self.end_answer_deposit(Amount::ZERO)?;
                self.convict_answerer()
            }
            NeedState::Posted { .. } => self.end_answer_deposit(fee),
            NeedState::Closed => Err(Refusal::NoNeed),
        }
    }

    fn end_answer_deposit(&mut self, burned: Amount) -> Done {
        let (from, amount) = (self.job.requester, self.context.params.need_deposit()?);
        self.effects.push(Effect::EndDeposit { from, amount, burned, to_pot: Amount::ZERO });
        Ok(())
    }

    /// Burns a fee from a seat's bond; answers what it was.
    fn charge(&mut self, index: u8, fee: Amount) -> Result<Amount, Refusal> {
        let seat = self.seat_mut(index)?;
        let fee = fee.at_most(seat.bond);
        seat.bond = seat.bond.minus(fee)?;
        let provider = seat.provider;
        self.effects.push(Effect::ForfeitBond { provider, payments: Vec::new(), burned: fee });
        Ok(fee)
    }

    fn set_deadline(&mut self, index: u8, deadline: Height) -> Done {
        self.seat_mut(index)?.deadline = deadline;
        if let Phase::Assigned { accept_by } = &mut self.job.phase {
            *accept_by = deadline;
        }
        Ok(())
    }

    /// Whoever asked for data waits for it. An executor that got it may decline all the same: only then could it see
    /// whether the input is what the request says of it, and it has paid for the bytes.
    pub(super) fn must_not_be_starved(&self, index: u8) -> Done {
        if self.is_starved(index) { Err(Refusal::NoNeed) } else { Ok(()) }
    }

    /// A verifier that has asked for data must work when it gets it.
    pub(super) fn must_not_have_asked(&self, index: u8) -> Done {
        if self.job.need(Party::Seat(index)).is_some() { Err(Refusal::NoNeed) } else { Ok(()) }
    }

    /// Whether a seat has asked for data and got none.
    pub(super) fn is_starved(&self, index: u8) -> bool {
        self.job.need(Party::Seat(index)).is_some_and(|need| matches!(need.state, NeedState::Open { .. }))
    }

    pub(super) fn close_need(&mut self, party: Party) {
        let posted = self.job.need(party).is_some_and(|need| matches!(need.state, NeedState::Posted { .. }));
        if posted {
            self.effects.push(Effect::DropPackage { party });
        }
        self.set_need(party, NeedState::Closed);
    }

    fn set_need(&mut self, party: Party, state: NeedState) {
        if let Some(need) = self.need_mut(party) {
            need.state = state;
        }
    }

    fn need_mut(&mut self, party: Party) -> Option<&mut Need> {
        self.job.needs.iter_mut().find(|need| need.party == party)
    }

    /// What seats other than `sender`, which kept its data from one of them, have paid for packages: of `available`,
    /// as far as that goes. Whoever lacked data must not lose by it.
    pub(super) fn fees_made_good(&self, sender: u8, available: Amount) -> Result<Vec<Payment>, Refusal> {
        let mut left = available;
        let mut payments = Vec::new();
        for need in &self.job.needs {
            let Party::Seat(index) = need.party else { continue };
            let amount = need.fee.at_most(left);
            if index != sender && amount > Amount::ZERO {
                left = left.minus(amount)?;
                payments.push(Payment { to: Payee::Account(self.seat(index)?.provider), amount });
            }
        }
        Ok(payments)
    }
}
