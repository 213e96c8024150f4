//! Carrying out what the state machine answers.

use assay_manifest::JobId;
use assay_manifest::log::LogAppend;
use assay_protocol::job::{Context, Effect, Input, Job, Payee, Payment, SeatOutcome, Transition};
use assay_protocol::party::AccountBytes;
use assay_protocol::units::Amount;
use frame_support::dispatch::DispatchResult;
use frame_support::traits::Get;
use frame_support::traits::fungible::{InspectHold, MutateHold};
use frame_support::traits::tokens::{Fortitude, Precision, Restriction};
use std::collections::BTreeMap;

use crate::{Config, Error, Event, HoldReason, Jobs, Pallet, ProviderBook};

impl<T: Config> Pallet<T> {
    /// Applies an input and all its effects. Callers run in a storage layer, so a failure leaves nothing.
    pub(crate) fn apply(job: &Job, input: Input) -> DispatchResult {
        let announced = announcement::<T>(job, &input);
        let transition = Self::transition(job, input)?;
        let next = transition.job;
        let moved = next.phase != job.phase;
        let due_changed = next.due() != job.due();
        let (id, round, phase) = (next.id, next.round, next.phase);
        // A full queue must never refuse a step: it would turn an honest seat into a silent one.
        if due_changed && Self::schedule(&next).is_err() {
            Self::deposit_event(Event::PutOff { job: id });
        }
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
        let params = Self::params();
        let bondable = |account: &AccountBytes| T::Providers::bondable(&(*account).into());
        let context = Context { params: &params, now: Self::now(), bondable: &bondable };
        job.apply(&context, input).map_err(|_| Error::<T>::Refused)
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
            Effect::Record(record) => {
                let log_index = T::Log::append(&record.to_leaf());
                Self::deposit_event(Event::Settled { job: id, verdict: record.verdict, log_index });
                Ok(())
            }
            Effect::Close => {
                Jobs::<T>::remove(id);
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

    fn payee(payee: Payee) -> T::AccountId {
        match payee {
            Payee::Account(bytes) => bytes.into(),
            Payee::Pot => T::Pot::get(),
        }
    }

    /// Escrow holds equal the escrow of open jobs, and locked bonds equal the bonded seats.
    ///
    /// # Errors
    /// The invariant that does not hold.
    pub fn invariants() -> Result<(), &'static str> {
        let mut escrow = BTreeMap::<AccountBytes, u128>::new();
        for (id, job) in Jobs::<T>::iter() {
            if id != job.id {
                return Err("a job is filed under another id");
            }
            let held = escrow.entry(job.requester).or_default();
            if !job.phase.is_paid() {
                *held = held.saturating_add(job.quote.escrow.get());
            }
        }
        for (requester, amount) in escrow {
            if T::Currency::balance_on_hold(&HoldReason::Escrow.into(), &requester.into()) != amount {
                return Err("a requester's hold is not the sum of its open jobs' escrow");
            }
        }
        Ok(())
    }

    /// Escrow of all jobs that have not been paid.
    pub fn escrow() -> u128 {
        let unpaid = Jobs::<T>::iter_values().filter(|job| !job.phase.is_paid());
        unpaid.fold(0, |sum, job| sum.saturating_add(job.quote.escrow.get()))
    }

    /// What the seats of open jobs bind, by provider: bonds, and executions at hand.
    pub fn bound() -> BTreeMap<T::AccountId, (u128, u32)> {
        let mut bound = BTreeMap::new();
        for job in Jobs::<T>::iter_values() {
            for seat in job.seats.iter().filter(|seat| seat.bonded) {
                let entry: &mut (u128, u32) = bound.entry(seat.provider.into()).or_default();
                let works = matches!(seat.outcome, SeatOutcome::Pending | SeatOutcome::Accepted);
                entry.0 = entry.0.saturating_add(job.quote.bond.get());
                entry.1 = entry.1.saturating_add(works.into());
            }
        }
        bound
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
        _ => None,
    }
}
