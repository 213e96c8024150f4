//! Offers: announced, then in force, and the index of who serves a model.

use assay_manifest::{ModelId, SpecId};
use frame_support::BoundedVec;
use frame_support::dispatch::DispatchResult;
use frame_support::ensure;
use frame_support::traits::Get;
use frame_system::pallet_prelude::BlockNumberFor;
use sp_runtime::traits::Saturating;

use crate::{
    Config, Error, Event, ModelOffer, Offer, OfferQueue, Offers, Pallet, PendingOffer, PendingOffers,
    Providers, Serving,
};

/// Blocks after a full one that are tried before an announcement is refused.
const QUEUE_TRIES: u32 = 16;

impl<T: Config> Pallet<T> {
    pub(crate) fn do_announce(who: T::AccountId, offer: Offer) -> DispatchResult {
        ensure!(Providers::<T>::contains_key(&who), Error::<T>::NotAProvider);
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
                PendingOffers::<T>::remove(&who);
                Self::replace_offer(&who, pending.offer);
                Self::deposit_event(Event::OfferEffective { provider: who });
            }
        }
        count
    }

    /// What has a full list of providers is left out of the offer.
    fn replace_offer(who: &T::AccountId, mut offer: Offer) {
        Self::withdraw_offer(who);
        offer.models.retain(|model| {
            let push = |serving: &mut BoundedVec<_, _>| serving.try_push(who.clone());
            Serving::<T>::try_mutate(model.model_id, model.spec_id, push).is_ok()
        });
        if !offer.models.is_empty() {
            Offers::<T>::insert(who, offer);
        }
    }

    fn withdraw_offer(who: &T::AccountId) {
        let Some(old) = Offers::<T>::take(who) else { return };
        for model in old.models {
            Serving::<T>::mutate_exists(model.model_id, model.spec_id, |entry| {
                if let Some(serving) = entry {
                    serving.retain(|other| other != who);
                }
                if entry.as_ref().is_some_and(|serving| serving.is_empty()) {
                    *entry = None;
                }
            });
        }
    }

    pub(crate) fn remove_offers(who: &T::AccountId) {
        Self::withdraw_offer(who);
        PendingOffers::<T>::remove(who);
    }

    pub(crate) fn serving_index_matches_offers() -> Result<(), &'static str> {
        let mut indexed = 0usize;
        for (model, spec, providers) in Serving::<T>::iter() {
            indexed = indexed.saturating_add(providers.len());
            for who in providers {
                if !Self::offers(&who, &model, &spec) {
                    return Err(
                        "the index names a provider that does not offer the model by these definitions",
                    );
                }
            }
        }
        let offered: usize = Offers::<T>::iter_values().map(|offer| offer.models.len()).sum();
        if offered == indexed { Ok(()) } else { Err("an offered model is missing from the index") }
    }

    fn offers(who: &T::AccountId, model: &ModelId, spec: &SpecId) -> bool {
        let exact = |offered: &ModelOffer| (offered.model_id, offered.spec_id) == (*model, *spec);
        Offers::<T>::get(who).is_some_and(|offer| offer.models.iter().any(exact))
    }
}
