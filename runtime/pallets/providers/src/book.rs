//! What the draws and the jobs read: who serves a model, and who is at work.

use assay_manifest::{ModelId, SpecId};
use assay_protocol::draw::Candidate;
use assay_protocol::job::Contender;
use assay_protocol::units::{Amount, Price};
use frame_support::dispatch::DispatchResult;
use frame_support::traits::Get;
use frame_system::pallet_prelude::BlockNumberFor;

use crate::score::decayed;
use crate::{
    Config, Error, Listed, ListedAtLarge, Offer, Offers, Pallet, PendingOffer, PendingOffers, Provider,
    Providers, Serving, TotalStake, VerifyingAtLarge,
};

/// A provider with the offer in force and the one announced.
pub type Entry<T> = (
    <T as frame_system::Config>::AccountId,
    Provider<BlockNumberFor<T>>,
    Option<Offer>,
    Option<PendingOffer<BlockNumberFor<T>>>,
);

impl<T: Config> Pallet<T> {
    /// Everyone who serves `model` by `spec`, is not barred and has the least stake (clause J15), with terms and
    /// free stake.
    pub fn contenders(model: &ModelId, spec: &SpecId) -> Vec<Contender> {
        let serving = Serving::<T>::get(model, spec);
        serving.into_iter().filter_map(Self::contender).collect()
    }

    /// Everyone who verifies models of this size at large, but for those who serve this one by `spec` (clause J16);
    /// otherwise as [`Self::contenders`].
    pub fn contenders_at_large(model: &ModelId, spec: &SpecId, weights_bytes: u64) -> Vec<Contender> {
        let serving = Serving::<T>::get(model, spec);
        let serves = |who: &T::AccountId| serving.iter().any(|place| place.provider == *who);
        let listed = VerifyingAtLarge::<T>::get().into_iter();
        let fitting = listed.filter(|place| place.terms.weights_max_bytes >= weights_bytes);
        let strangers = fitting.filter(|place| !serves(&place.provider));
        strangers.filter_map(Self::contender_at_large).collect()
    }

    fn contender(place: Listed<T::AccountId>) -> Option<Contender> {
        let Listed { provider, capacity, input, output, verify } = place;
        let (candidate, provider) = Self::candidate(provider)?;
        Some(Contender {
            candidate,
            work_key: provider.work_key,
            encryption_key: provider.encryption_key,
            input,
            output,
            verify,
            has_capacity: provider.working < capacity,
            serves: true,
        })
    }

    fn contender_at_large(place: ListedAtLarge<T::AccountId>) -> Option<Contender> {
        let (candidate, provider) = Self::candidate(place.provider)?;
        Some(Contender {
            candidate,
            work_key: provider.work_key,
            encryption_key: provider.encryption_key,
            input: Price::ZERO,
            output: Price::ZERO,
            verify: place.terms.verify,
            has_capacity: false,
            serves: false,
        })
    }

    fn candidate(who: T::AccountId) -> Option<(Candidate, Provider<BlockNumberFor<T>>)> {
        let provider = Providers::<T>::get(&who)?;
        if Self::is_barred(&provider) || !Self::has_least_stake(&provider) {
            return None;
        }
        Some((Candidate { provider: who.into(), free_stake: Amount::new(provider.free_stake()) }, provider))
    }

    /// Stake that the account could lock for a seat now: its free stake, none while it is barred.
    pub fn bondable(who: &T::AccountId) -> Amount {
        let provider = Providers::<T>::get(who).filter(|provider| !Self::is_barred(provider));
        Amount::new(provider.map_or(0, |provider| provider.free_stake()))
    }

    /// The account's score now.
    pub fn score(who: &T::AccountId) -> Amount {
        let now = frame_system::Pallet::<T>::block_number();
        Amount::new(Providers::<T>::get(who).map_or(0, |provider| decayed(&provider, now)))
    }

    /// Whether a proven fault still keeps it out of draws.
    pub(crate) fn is_barred(provider: &Provider<BlockNumberFor<T>>) -> bool {
        provider.barred_until > frame_system::Pallet::<T>::block_number()
    }

    /// Whether its stake is what the chain asks of a provider.
    pub(crate) fn has_least_stake(provider: &Provider<BlockNumberFor<T>>) -> bool {
        provider.stake >= T::Params::get().stake_min.get()
    }

    /// Who serves a model, by these definitions or by any; the first `limit` in the order of the storage.
    pub fn serving(model: &ModelId, spec: Option<&SpecId>, limit: u32) -> Vec<T::AccountId> {
        let limit = limit.try_into().unwrap_or(usize::MAX);
        let lists: Box<dyn Iterator<Item = _>> = match spec {
            Some(spec) => Box::new(std::iter::once(Serving::<T>::get(model, spec))),
            None => Box::new(Serving::<T>::iter_prefix_values(model)),
        };
        lists.flatten().map(|place| place.provider).take(limit).collect()
    }

    /// A provider with the offer in force and the one announced.
    pub fn entry(who: T::AccountId) -> Option<Entry<T>> {
        let provider = Providers::<T>::get(&who)?;
        let (offer, pending) = (Offers::<T>::get(&who), PendingOffers::<T>::get(&who));
        Some((who, provider, offer, pending))
    }

    /// Up to `limit` providers after `after`, in the order of the storage.
    pub fn page(after: Option<T::AccountId>, limit: u32) -> Vec<Entry<T>> {
        let keys: Box<dyn Iterator<Item = T::AccountId>> = match after {
            Some(after) => Box::new(Providers::<T>::iter_keys_from(Providers::<T>::hashed_key_for(after))),
            None => Box::new(Providers::<T>::iter_keys()),
        };
        keys.take(limit.try_into().unwrap_or(usize::MAX)).filter_map(Self::entry).collect()
    }

    /// Stake of all providers.
    pub fn total_stake() -> Amount {
        Amount::new(TotalStake::<T>::get())
    }

    /// A seat began to work.
    ///
    /// # Errors
    /// When the account is no provider.
    pub fn begin_work(who: &T::AccountId) -> DispatchResult {
        Self::with_provider(who, |provider| {
            provider.working = provider.working.saturating_add(1);
            Ok(())
        })
    }

    /// A seat has nothing left to compute.
    ///
    /// # Errors
    /// When the account is no provider or had no work.
    pub fn end_work(who: &T::AccountId) -> DispatchResult {
        Self::with_provider(who, |provider| {
            provider.working = provider.working.checked_sub(1).ok_or(Error::<T>::Inconsistent)?;
            Ok(())
        })
    }
}
