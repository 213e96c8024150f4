//! Offers: announced, then in force, and the index of who serves a model.

use assay_manifest::{ModelId, SpecId};
use frame_support::BoundedVec;
use frame_support::dispatch::DispatchResult;
use frame_support::ensure;
use frame_support::traits::Get;
use frame_system::pallet_prelude::BlockNumberFor;
use sp_runtime::traits::Saturating;

use crate::{
    Config, DISMISSED_PER_BLOCK_MAX, Dismissed, Error, Event, Listed, ListedAtLarge, ModelOffer, Offer,
    OfferQueue, Offers, Pallet, PendingOffer, PendingOffers, Providers, Serving, VerifyingAtLarge,
};

/// Blocks after a full one that are tried before an announcement is refused.
const QUEUE_TRIES: u32 = 32;

impl<T: Config> Pallet<T> {
    pub(crate) fn do_announce(who: T::AccountId, offer: Offer) -> DispatchResult {
        let provider = Providers::<T>::get(&who).ok_or(Error::<T>::NotAProvider)?;
        // A place in the lists that nothing stands for would cost nothing to keep from others.
        ensure!(Self::has_least_stake(&provider), Error::<T>::StakeTooSmall);
        let mut models: Vec<ModelId> = offer.models.iter().map(|model| model.model_id).collect();
        models.sort();
        models.dedup();
        ensure!(models.len() == offer.models.len(), Error::<T>::DuplicateModel);
        let effective_at = Self::enqueue(&who)?;
        PendingOffers::<T>::insert(&who, PendingOffer { offer, effective_at });
        Self::deposit_event(Event::OfferAnnounced { provider: who, effective_at });
        Ok(())
    }

    /// A later announcement leaves the earlier queue entry behind; it is skipped when its height comes.
    fn enqueue(who: &T::AccountId) -> Result<BlockNumberFor<T>, Error<T>> {
        let delay: BlockNumberFor<T> = T::Params::get().offer_delay.max(1).into();
        let first = frame_system::Pallet::<T>::block_number().saturating_add(delay);
        for offset in 0..QUEUE_TRIES {
            let height = first.saturating_add(offset.into());
            if OfferQueue::<T>::try_mutate(height, |queue| queue.try_push(who.clone())).is_ok() {
                return Ok(height);
            }
        }
        Err(Error::<T>::QueueFull)
    }

    pub(crate) fn put_offers_in_force(now: BlockNumberFor<T>) -> u32 {
        let queue = OfferQueue::<T>::take(now);
        let mut count = 0u32;
        for who in queue {
            count = count.saturating_add(1);
            let due = PendingOffers::<T>::get(&who).filter(|pending| pending.effective_at == now);
            if let Some(pending) = due {
                Self::put_in_force(who, pending.offer);
            }
        }
        count
    }

    fn put_in_force(who: T::AccountId, offer: Offer) {
        if Self::is_too_small(&who) {
            Self::end_offers(&who);
            return;
        }
        PendingOffers::<T>::remove(&who);
        Self::replace_offer(&who, offer);
        Self::deposit_event(Event::OfferEffective { provider: who });
    }

    /// Ends the offers of those whose stake fell under the least, unless it was topped up meanwhile; answers how
    /// many were looked at.
    pub(crate) fn end_offers_of_the_dismissed() -> u32 {
        let dismissed = Dismissed::<T>::iter_keys().take(DISMISSED_PER_BLOCK_MAX as usize);
        let mut count = 0u32;
        for who in dismissed.collect::<Vec<_>>() {
            count = count.saturating_add(1);
            Dismissed::<T>::remove(&who);
            if Self::is_too_small(&who) {
                Self::end_offers(&who);
            }
        }
        count
    }

    fn is_too_small(who: &T::AccountId) -> bool {
        Providers::<T>::get(who).is_none_or(|provider| !Self::has_least_stake(&provider))
    }

    /// What has a full list of providers is left out of the offer.
    fn replace_offer(who: &T::AccountId, mut offer: Offer) {
        Self::withdraw_offer(who);
        let whole = offer.clone();
        if let Some(terms) = offer.at_large {
            let place = ListedAtLarge { provider: who.clone(), terms };
            if VerifyingAtLarge::<T>::try_mutate(|list| list.try_push(place)).is_err() {
                offer.at_large = None;
            }
        }
        offer.models.retain(|model| {
            let place = Listed::new(who.clone(), &whole, model);
            let push = |serving: &mut BoundedVec<_, _>| serving.try_push(place);
            Serving::<T>::try_mutate(model.model_id, model.spec_id, push).is_ok()
        });
        if !offer.models.is_empty() || offer.at_large.is_some() {
            Offers::<T>::insert(who, offer);
        }
    }

    fn withdraw_offer(who: &T::AccountId) {
        let Some(old) = Offers::<T>::take(who) else { return };
        if old.at_large.is_some() {
            VerifyingAtLarge::<T>::mutate(|list| list.retain(|place| &place.provider != who));
        }
        for model in old.models {
            Serving::<T>::mutate_exists(model.model_id, model.spec_id, |entry| {
                if let Some(serving) = entry {
                    serving.retain(|place| &place.provider != who);
                }
                if entry.as_ref().is_some_and(|serving| serving.is_empty()) {
                    *entry = None;
                }
            });
        }
    }

    /// Leaves nothing offered and nothing announced.
    pub(crate) fn end_offers(who: &T::AccountId) {
        if !Offers::<T>::contains_key(who) && !PendingOffers::<T>::contains_key(who) {
            return;
        }
        Self::withdraw_offer(who);
        PendingOffers::<T>::remove(who);
        Self::deposit_event(Event::OffersEnded { provider: who.clone() });
    }

    /// Who offers or has announced something has the least stake, or loses its offers in one of the next blocks.
    pub(crate) fn offers_are_staked() -> Result<(), &'static str> {
        for who in Offers::<T>::iter_keys().chain(PendingOffers::<T>::iter_keys()) {
            if Self::is_too_small(&who) && !Dismissed::<T>::contains_key(&who) {
                return Err("an offer stands for which there is too little stake");
            }
        }
        Ok(())
    }

    pub(crate) fn serving_index_matches_offers() -> Result<(), &'static str> {
        let mut indexed = 0usize;
        for (model, spec, providers) in Serving::<T>::iter() {
            indexed = indexed.saturating_add(providers.len());
            for place in providers {
                if Self::place_by_offer(&place.provider, &model, &spec).as_ref() != Some(&place) {
                    return Err("the index names a provider that does not offer the model on these terms");
                }
            }
        }
        let offered: usize = Offers::<T>::iter_values().map(|offer| offer.models.len()).sum();
        if offered == indexed { Ok(()) } else { Err("an offered model is missing from the index") }
    }

    pub(crate) fn list_at_large_matches_offers() -> Result<(), &'static str> {
        let listed = VerifyingAtLarge::<T>::get();
        let is_offered = |place: &ListedAtLarge<T::AccountId>| {
            Offers::<T>::get(&place.provider).and_then(|offer| offer.at_large) == Some(place.terms)
        };
        let offered = Offers::<T>::iter_values().filter(|offer| offer.at_large.is_some()).count();
        if listed.len() == offered && listed.iter().all(is_offered) {
            Ok(())
        } else {
            Err("the list of those who verify at large is not what they offer")
        }
    }

    /// The place that the offer in force gives the provider.
    fn place_by_offer(who: &T::AccountId, model: &ModelId, spec: &SpecId) -> Option<Listed<T::AccountId>> {
        let offer = Offers::<T>::get(who)?;
        let exact = |offered: &&ModelOffer| (offered.model_id, offered.spec_id) == (*model, *spec);
        let terms = offer.models.iter().find(exact)?;
        Some(Listed::new(who.clone(), &offer, terms))
    }
}
