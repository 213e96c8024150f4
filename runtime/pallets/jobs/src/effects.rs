//! Carrying out what the state machine answers.

use assay_manifest::JobId;
use assay_manifest::log::LogAppend;
use assay_protocol::job::{Books, Context, Effect, Input, Job, Package, Payee, Payment, Transition};
use assay_protocol::party::AccountBytes;
use assay_protocol::units::Amount;
use frame_support::dispatch::DispatchResult;
use frame_support::traits::Get;
use frame_support::traits::fungible::{Inspect, Mutate, MutateHold};
use frame_support::traits::tokens::{Fortitude, Precision, Preservation, Restriction};
use std::marker::PhantomData;

use crate::{
    AtHand, Config, Contested, Error, Event, HoldReason, Jobs, Packages, Pallet, ProviderBook, Referees,
    Reserved, VerdictVotes, Waiting,
};

/// The providers' books as the machine reads them.
struct StakeBooks<T>(PhantomData<T>);

impl<T: Config> Books for StakeBooks<T> {
    fn bondable(&self, account: &AccountBytes) -> Amount {
        T::Providers::bondable(&(*account).into())
    }

    fn score(&self, account: &AccountBytes) -> Amount {
        T::Providers::score(&(*account).into())
    }
}

impl<T: Config> Pallet<T> {
    /// Applies an input and all its effects. Callers run in a storage layer, so a failure leaves nothing.
    pub(crate) fn apply(job: &Job, input: Input) -> DispatchResult {
        let announced = announcement::<T>(job, &input);
        let transition = Self::transition(job, input)?;
        Self::enact(job, transition, announced)
    }

    /// Carries a transition out.
    pub(crate) fn enact(job: &Job, transition: Transition, announced: Option<Event<T>>) -> DispatchResult {
        let next = transition.job;
        let moved = next.phase != job.phase;
        let due_changed = next.due() != job.due();
        let (id, round, phase) = (next.id, next.round, next.phase);
        // A full queue must never refuse a step: it would turn an honest seat into a silent one.
        let put_off = due_changed && Self::schedule(&next).is_err();
        if put_off {
            Self::deposit_event(Event::PutOff { job: id });
        }
        Self::file(job, &next, due_changed.then_some(put_off));
        let requester = next.requester;
        Jobs::<T>::insert(id, next);
        if let Some(event) = announced {
            Self::deposit_event(event);
        }
        for effect in transition.effects {
            Self::carry_out((id, round), &requester.into(), effect)?;
        }
        if moved {
            Self::deposit_event(Event::Advanced { job: id, round, phase });
        }
        Ok(())
    }

    /// What the machine makes of an input in the present state.
    pub(crate) fn transition(job: &Job, input: Input) -> Result<Transition, Error<T>> {
        let context = Context {
            params: &Self::params(),
            now: Self::now(),
            validators: T::Referees::count(),
            pot: Self::free_pot(),
            books: &StakeBooks::<T>(PhantomData),
        };
        job.apply(&context, input).map_err(|_| Error::<T>::Refused)
    }

    /// What the pot holds that is not set aside, besides what keeps its account alive.
    fn free_pot() -> Amount {
        let pot = T::Currency::reducible_balance(&T::Pot::get(), Preservation::Preserve, Fortitude::Polite);
        Amount::new(pot.saturating_sub(Reserved::<T>::get()))
    }

    /// Keeps the indexes by which others find what is at hand; `put_off` says of a new deadline that no queue had
    /// room for it.
    fn file(before: &Job, after: &Job, put_off: Option<bool>) {
        let (old, new) = (before.at_hand(), after.at_hand());
        for account in old.iter().filter(|account| !new.contains(account)) {
            AtHand::<T>::remove(T::AccountId::from(*account), after.id);
        }
        for account in new.iter().filter(|account| !old.contains(account)) {
            AtHand::<T>::insert(T::AccountId::from(*account), after.id, ());
        }
        match (before.is_contested(), after.is_contested()) {
            (false, true) => Contested::<T>::insert(after.id, ()),
            (true, false) => {
                Contested::<T>::remove(after.id);
                VerdictVotes::<T>::remove(after.id);
            }
            _ => {}
        }
        match put_off {
            Some(true) => Waiting::<T>::insert(after.id, ()),
            Some(false) => Waiting::<T>::remove(after.id),
            None => {}
        }
    }

    fn carry_out(job: (JobId, u8), requester: &T::AccountId, effect: Effect) -> DispatchResult {
        let (id, round) = job;
        match effect {
            Effect::Drawn { role, candidates } => {
                Self::deposit_event(Event::Drawn { job: id, round, role, candidates });
                Ok(())
            }
            Effect::LockBond { provider, amount } => T::Providers::lock(&provider.into(), amount.get()),
            Effect::ReleaseBond { provider, amount } => T::Providers::unlock(&provider.into(), amount.get()),
            Effect::ForfeitBond { provider, payments, burned } => {
                let parts: Vec<_> =
                    payments.iter().map(|payment| (Self::payee(payment.to), payment.amount.get())).collect();
                T::Providers::forfeit(&provider.into(), &parts, burned.get())
            }
            Effect::BeginWork { provider } => T::Providers::begin_work(&provider.into()),
            Effect::EndWork { provider } => T::Providers::end_work(&provider.into()),
            Effect::Miss { provider } => T::Providers::miss(&provider.into()),
            Effect::Fault { provider } => T::Providers::fault(&provider.into()),
            Effect::Credit { provider, burned } => T::Providers::credit(&provider.into(), burned.get()),
            Effect::PayEscrow(payment) => Self::pay_escrow(requester, payment),
            Effect::BurnEscrow { amount } => Self::burn_escrow(requester, amount),
            Effect::RefundEscrow { amount } => Self::refund_escrow(requester, amount),
            Effect::TakeDeposit { from, amount } => {
                T::Currency::hold(&HoldReason::Deposit.into(), &from.into(), amount.get())
            }
            Effect::EndDeposit { from, amount, burned, to_pot } => {
                Self::end_deposit(&from.into(), [amount, burned, to_pot])
            }
            Effect::ReservePot { amount } => {
                Reserved::<T>::mutate(|reserved| *reserved = reserved.saturating_add(amount.get()));
                Ok(())
            }
            Effect::SpendPot { reserved, payments, burned } => Self::spend_pot(reserved, &payments, burned),
            Effect::DropPackage { party } => {
                Packages::<T>::remove(id, party);
                Ok(())
            }
            Effect::Record(record) => {
                let log_index = T::Log::append(&record.to_leaf());
                Self::deposit_event(Event::Settled { job: id, verdict: record.verdict, log_index });
                Ok(())
            }
            Effect::Close => {
                if let Some(closed) = Jobs::<T>::take(id) {
                    for need in &closed.needs {
                        Packages::<T>::remove(id, need.party);
                    }
                }
                Self::deposit_event(Event::Closed { job: id });
                Ok(())
            }
        }
    }

    fn pay_escrow(requester: &T::AccountId, payment: Payment) -> DispatchResult {
        T::Currency::transfer_on_hold(
            &HoldReason::Escrow.into(),
            requester,
            &Self::payee(payment.to),
            payment.amount.get(),
            Precision::Exact,
            Restriction::Free,
            Fortitude::Force,
        )?;
        Ok(())
    }

    fn burn_escrow(requester: &T::AccountId, amount: Amount) -> DispatchResult {
        let (exact, force) = (Precision::Exact, Fortitude::Force);
        T::Currency::burn_held(&HoldReason::Escrow.into(), requester, amount.get(), exact, force)?;
        Ok(())
    }

    fn refund_escrow(requester: &T::AccountId, amount: Amount) -> DispatchResult {
        T::Currency::release(&HoldReason::Escrow.into(), requester, amount.get(), Precision::Exact)?;
        Ok(())
    }

    fn end_deposit(from: &T::AccountId, [amount, burned, to_pot]: [Amount; 3]) -> DispatchResult {
        let reason = HoldReason::Deposit.into();
        let (exact, force) = (Precision::Exact, Fortitude::Force);
        if burned > Amount::ZERO {
            T::Currency::burn_held(&reason, from, burned.get(), exact, force)?;
        }
        if to_pot > Amount::ZERO {
            let free = Restriction::Free;
            T::Currency::transfer_on_hold(&reason, from, &T::Pot::get(), to_pot.get(), exact, free, force)?;
        }
        let rest =
            amount.minus(burned).and_then(|rest| rest.minus(to_pot)).map_err(|_| Error::<T>::OutOfRange)?;
        T::Currency::release(&reason, from, rest.get(), exact)?;
        Ok(())
    }

    fn spend_pot(reserved: Amount, payments: &[Payment], burned: Amount) -> DispatchResult {
        Reserved::<T>::try_mutate(|all| -> DispatchResult {
            *all = all.checked_sub(reserved.get()).ok_or(Error::<T>::Inconsistent)?;
            Ok(())
        })?;
        let pot = T::Pot::get();
        for Payment { to, amount } in payments.iter().filter(|payment| payment.amount > Amount::ZERO) {
            T::Currency::transfer(&pot, &Self::payee(*to), amount.get(), Preservation::Preserve)?;
        }
        if burned > Amount::ZERO {
            let (exact, polite) = (Precision::Exact, Fortitude::Polite);
            T::Currency::burn_from(&pot, burned.get(), Preservation::Preserve, exact, polite)?;
        }
        Ok(())
    }

    fn payee(payee: Payee) -> T::AccountId {
        match payee {
            Payee::Account(bytes) => bytes.into(),
            Payee::Pot => T::Pot::get(),
        }
    }
}

/// The event of the step itself, before the phases that follow from it.
fn announcement<T: Config>(job: &Job, input: &Input) -> Option<Event<T>> {
    match input {
        Input::Commit { seat, commitment, claim } => Some(Event::Committed {
            job: job.id,
            round: job.round,
            seat: *seat,
            commitment: commitment.commitment,
            claim: *claim,
        }),
        Input::Reveal { opening } => {
            let value = opening.value(&job.id, job.round, &job.claim?);
            Some(Event::Revealed { job: job.id, round: job.round, opening: *opening, value })
        }
        Input::Need { party, key } => Some(Event::Needed { job: job.id, party: *party, key: *key }),
        Input::Post { party, bytes } => Some(Event::Posted { job: job.id, party: *party, bytes: *bytes }),
        Input::Complain { party, package } => {
            let good = *package == Package::Good;
            Some(Event::Complained { job: job.id, party: *party, good })
        }
        _ => None,
    }
}
