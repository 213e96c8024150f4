//! What must hold of jobs after every block.

use assay_manifest::JobId;
use assay_protocol::job::{Job, NeedState, Party, SeatOutcome};
use assay_protocol::party::AccountBytes;
use assay_protocol::units::Amount;
use frame_support::traits::Get;
use frame_support::traits::fungible::{Inspect, InspectHold};
use std::collections::BTreeMap;

use crate::{AtHand, Config, Contested, Due, DueAt, HoldReason, Jobs, Packages, Pallet, Reserved, Waiting};

impl<T: Config> Pallet<T> {
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
        Self::deposits_are_held()?;
        Self::votes_belong_to_questions()?;
        Self::indexes_match_jobs()?;
        Self::queues_hold_open_jobs()
    }

    fn deposits_are_held() -> Result<(), &'static str> {
        let (params, mut owed, mut reserved) = (Self::params(), BTreeMap::<AccountBytes, u128>::new(), 0u128);
        for job in Jobs::<T>::iter_values() {
            for (account, amount) in job.deposits(&params).map_err(|_| "a deposit leaves its range")? {
                let sum = owed.entry(account).or_default();
                *sum = sum.saturating_add(amount.get());
            }
            reserved = reserved.saturating_add(job.reserved().get());
        }
        for (account, amount) in owed {
            if T::Currency::balance_on_hold(&HoldReason::Deposit.into(), &account.into()) != amount {
                return Err("an account's deposits are not the sum over open jobs");
            }
        }
        if reserved != Reserved::<T>::get() {
            return Err("what is set aside of the pot is not the sum over open jobs");
        }
        if T::Currency::balance(&T::Pot::get()) < reserved {
            return Err("more of the pot is set aside than it holds");
        }
        Ok(())
    }

    fn indexes_match_jobs() -> Result<(), &'static str> {
        let mut at_hand = 0usize;
        for job in Jobs::<T>::iter_values() {
            let accounts = job.at_hand();
            at_hand = at_hand.saturating_add(accounts.len());
            if accounts.iter().any(|who| !AtHand::<T>::contains_key(T::AccountId::from(*who), job.id)) {
                return Err("a seat does not find its job");
            }
            if job.is_contested() != Contested::<T>::contains_key(job.id) {
                return Err("the validators do not find a job, or find one that is not theirs");
            }
        }
        if at_hand != AtHand::<T>::iter_keys().count() {
            return Err("a provider finds a job that is not at hand");
        }
        let posted = |(id, party): (JobId, Party)| {
            let state = Jobs::<T>::get(id).and_then(|job| job.need(party).map(|need| need.state));
            matches!(state, Some(NeedState::Posted { .. }))
        };
        if Packages::<T>::iter_keys().all(posted) {
            Ok(())
        } else {
            Err("a package that nobody needs is kept")
        }
    }

    /// Every job that the ledger will act on stands in one queue, not before its time, or waits for a poke.
    fn queues_hold_open_jobs() -> Result<(), &'static str> {
        let mut queued = 0usize;
        for (height, ids) in Due::<T>::iter() {
            queued = queued.saturating_add(ids.len());
            if ids.iter().any(|id| DueAt::<T>::get(id) != Some(height)) {
                return Err("a job stands in a queue that it has left");
            }
        }
        if queued != DueAt::<T>::iter_keys().count() {
            return Err("a job stands in no queue, or twice in one");
        }
        for job in Jobs::<T>::iter_values() {
            let Some(due) = job.due() else { continue };
            match DueAt::<T>::get(job.id) {
                Some(height) if height < due.get().into() => {
                    return Err("a job's deadline comes too early");
                }
                None if !Waiting::<T>::contains_key(job.id) => {
                    return Err("a job's deadline never comes");
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Deposits of open jobs.
    pub fn deposits() -> u128 {
        let params = Self::params();
        let of = |job: Job| job.deposits(&params).unwrap_or_default();
        let all = Jobs::<T>::iter_values().flat_map(of);
        all.fold(0, |sum, (_, amount)| sum.saturating_add(amount.get()))
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
            for seat in job.seats.iter().filter(|seat| seat.bond > Amount::ZERO) {
                let entry: &mut (u128, u32) = bound.entry(seat.provider.into()).or_default();
                let works = matches!(seat.outcome, SeatOutcome::Pending | SeatOutcome::Accepted);
                entry.0 = entry.0.saturating_add(seat.bond.get());
                entry.1 = entry.1.saturating_add(works.into());
            }
        }
        bound
    }
}
