//! Stake: held, locked by seats, unbonded.

use assay_manifest::Digest32;
use assay_protocol::signature::WorkKey;
use frame_support::BoundedVec;
use frame_support::dispatch::DispatchResult;
use frame_support::ensure;
use frame_support::traits::Get;
use frame_support::traits::fungible::{InspectHold, MutateHold};
use frame_support::traits::tokens::{Fortitude, Precision, Restriction};
use frame_system::pallet_prelude::BlockNumberFor;
use sp_runtime::traits::Saturating;

use crate::{
    Config, Dismissed, Error, Event, HoldReason, Pallet, Provider, Providers, TotalStake, Unbonding,
};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_stake(
        who: T::AccountId,
        amount: u128,
        work_key: WorkKey,
        encryption_key: Digest32,
    ) -> DispatchResult {
        Self::check_key(&encryption_key)?;
        let mut provider = Providers::<T>::get(&who).unwrap_or_else(|| Self::fresh(work_key, encryption_key));
        let total = provider.stake.checked_add(amount).ok_or(Error::<T>::OutOfRange)?;
        ensure!(total >= T::Params::get().stake_min.get(), Error::<T>::StakeTooSmall);
        T::Currency::hold(&HoldReason::Stake.into(), &who, amount)?;
        provider.stake = total;
        provider.set_keys(work_key, encryption_key, frame_system::Pallet::<T>::block_number());
        Providers::<T>::insert(&who, provider);
        TotalStake::<T>::mutate(|all| *all = all.saturating_add(amount));
        Self::deposit_event(Event::Staked { provider: who, amount, total });
        Ok(())
    }

    fn fresh(work_key: WorkKey, encryption_key: Digest32) -> Provider<BlockNumberFor<T>> {
        Provider {
            stake: 0,
            locked: 0,
            unbonding: BoundedVec::default(),
            work_key,
            encryption_key,
            encryption_key_at: frame_system::Pallet::<T>::block_number(),
            working: 0,
            score: 0,
            score_at: frame_system::Pallet::<T>::block_number(),
            barred_until: 0u32.into(),
        }
    }

    pub(crate) fn do_unstake(who: T::AccountId, amount: u128) -> DispatchResult {
        let mut provider = Providers::<T>::get(&who).ok_or(Error::<T>::NotAProvider)?;
        ensure!(amount > 0 && amount <= provider.free_stake(), Error::<T>::NotFree);
        let left = provider.stake.saturating_sub(amount);
        ensure!(left == 0 || left >= T::Params::get().stake_min.get(), Error::<T>::StakeTooSmall);
        let window: BlockNumberFor<T> = T::Params::get().unbonding_window.into();
        let release_at = frame_system::Pallet::<T>::block_number().saturating_add(window);
        provider
            .unbonding
            .try_push(Unbonding { amount, release_at })
            .map_err(|_| Error::<T>::TooManyUnbonding)?;
        provider.stake = left;
        Providers::<T>::insert(&who, provider);
        if left == 0 {
            // Without stake nobody is drawn: its places in the lists of models are for others.
            Dismissed::<T>::insert(&who, ());
        }
        TotalStake::<T>::mutate(|all| *all = all.saturating_sub(amount));
        Self::deposit_event(Event::Unstaked { provider: who, amount, release_at });
        Ok(())
    }

    pub(crate) fn do_withdraw(who: T::AccountId) -> DispatchResult {
        let mut provider = Providers::<T>::get(&who).ok_or(Error::<T>::NotAProvider)?;
        let now = frame_system::Pallet::<T>::block_number();
        let ready: u128 =
            provider.unbonding.iter().filter(|part| part.release_at <= now).map(|part| part.amount).sum();
        provider.unbonding.retain(|part| part.release_at > now);
        let gone = Self::is_gone(&provider);
        ensure!(ready > 0 || gone, Error::<T>::NothingToWithdraw);
        T::Currency::release(&HoldReason::Stake.into(), &who, ready, Precision::Exact)?;
        if gone {
            Self::forget(&who);
        } else {
            Providers::<T>::insert(&who, provider);
        }
        Self::deposit_event(Event::Withdrawn { provider: who, amount: ready });
        Ok(())
    }

    /// Whether nothing is left of it: no stake, whole or on its way out, and no seat that works. Leaving must not end
    /// a bar: a barred account is remembered until it is over.
    fn is_gone(provider: &Provider<BlockNumberFor<T>>) -> bool {
        let owns_nothing = provider.stake == 0 && provider.unbonding.is_empty();
        owns_nothing && provider.working == 0 && !Self::is_barred(provider)
    }

    fn forget(who: &T::AccountId) {
        Self::end_offers(who);
        Dismissed::<T>::remove(who);
        Providers::<T>::remove(who);
    }

    /// Locks part of the free stake for a seat.
    ///
    /// # Errors
    /// When the account is no provider or its free stake is smaller.
    pub fn lock(who: &T::AccountId, amount: u128) -> DispatchResult {
        Self::with_provider(who, |provider| {
            ensure!(amount <= provider.free_stake(), Error::<T>::NotFree);
            provider.locked = provider.locked.saturating_add(amount);
            Ok(())
        })
    }

    /// Frees locked stake.
    ///
    /// # Errors
    /// When less is locked.
    pub fn unlock(who: &T::AccountId, amount: u128) -> DispatchResult {
        Self::with_provider(who, |provider| {
            provider.locked = provider.locked.checked_sub(amount).ok_or(Error::<T>::Inconsistent)?;
            Ok(())
        })
    }

    /// Takes locked stake away: pays the parts and burns the rest. Who is left with less than the least stake loses
    /// its offers.
    ///
    /// # Errors
    /// When less is locked, or an account cannot receive its part.
    pub fn forfeit(who: &T::AccountId, payments: &[(T::AccountId, u128)], burned: u128) -> DispatchResult {
        let reason = HoldReason::Stake.into();
        let paid = payments.iter().try_fold(0u128, |sum, (_, amount)| sum.checked_add(*amount));
        let amount = paid.and_then(|paid| paid.checked_add(burned)).ok_or(Error::<T>::OutOfRange)?;
        let mut falls = false;
        Self::with_provider(who, |provider| {
            let had_enough = Self::has_least_stake(provider);
            provider.locked = provider.locked.checked_sub(amount).ok_or(Error::<T>::Inconsistent)?;
            provider.stake = provider.stake.checked_sub(amount).ok_or(Error::<T>::Inconsistent)?;
            falls = had_enough && !Self::has_least_stake(provider);
            Ok(())
        })?;
        if falls {
            Dismissed::<T>::insert(who, ());
        }
        for (to, part) in payments {
            let (exact, free) = (Precision::Exact, Restriction::Free);
            T::Currency::transfer_on_hold(&reason, who, to, *part, exact, free, Fortitude::Force)?;
        }
        if burned > 0 {
            T::Currency::burn_held(&reason, who, burned, Precision::Exact, Fortitude::Force)?;
        }
        TotalStake::<T>::mutate(|all| *all = all.saturating_sub(amount));
        Self::deposit_event(Event::Forfeited { provider: who.clone(), amount, burned });
        Ok(())
    }

    pub(crate) fn with_provider(
        who: &T::AccountId,
        change: impl FnOnce(&mut Provider<BlockNumberFor<T>>) -> DispatchResult,
    ) -> DispatchResult {
        Providers::<T>::try_mutate(who, |entry| change(entry.as_mut().ok_or(Error::<T>::NotAProvider)?))
    }

    /// All that is held: stake, and what is unbonding.
    pub fn held() -> u128 {
        let unbonding =
            |provider: Provider<_>| provider.unbonding.iter().map(|part| part.amount).sum::<u128>();
        let leaving = Providers::<T>::iter_values().map(unbonding);
        leaving.fold(TotalStake::<T>::get(), u128::saturating_add)
    }

    /// Books equal holds, nothing is locked that is not staked, and the total is the sum.
    ///
    /// # Errors
    /// The invariant that does not hold.
    pub fn invariants() -> Result<(), &'static str> {
        let mut total = 0u128;
        for (who, provider) in Providers::<T>::iter() {
            let unbonding: u128 = provider.unbonding.iter().map(|part| part.amount).sum();
            let held = T::Currency::balance_on_hold(&HoldReason::Stake.into(), &who);
            if held != provider.stake.saturating_add(unbonding) {
                return Err("a provider's stake differs from its hold");
            }
            if provider.locked > provider.stake {
                return Err("a provider has more locked than staked");
            }
            total = total.saturating_add(provider.stake);
        }
        if total != TotalStake::<T>::get() {
            return Err("the total stake is not the sum of stakes");
        }
        Self::offers_are_staked()?;
        Self::serving_index_matches_offers()?;
        Self::list_at_large_matches_offers()
    }
}
