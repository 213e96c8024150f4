//! Committing to an artifact before it is registered, and opening the commitment with the registration.

use assay_manifest::log::{self, LogAppend};
use assay_manifest::priority::{COMMITMENT_LIFETIME_BLOCKS, OPENING_DELAY_BLOCKS, commitment};
use assay_manifest::{ArtifactId, Digest32};
use frame_support::dispatch::DispatchResult;
use frame_support::ensure;
use frame_support::traits::fungible::MutateHold;
use frame_support::traits::tokens::Precision;
use frame_system::pallet_prelude::BlockNumberFor;
use sp_runtime::SaturatedConversion;
use sp_runtime::traits::Saturating;

use crate::{Committed, Config, Error, Event, HoldReason, Pallet, Prior, Priors, Registrations};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_commit_prior(who: T::AccountId, commitment: Digest32) -> DispatchResult {
        let mut priors = Priors::<T>::get(&who);
        ensure!(priors.iter().all(|prior| prior.commitment != commitment), Error::<T>::PriorExists);
        ensure!(!priors.is_full(), Error::<T>::TooManyPriors);
        let deposit = Self::deposit(0);
        T::Currency::hold(&HoldReason::Registration.into(), &who, deposit)?;
        let at = frame_system::Pallet::<T>::block_number();
        let entry = log::Prior { account: who.clone().into(), height: at.saturated_into(), commitment };
        let log_index = T::Log::append(&entry.to_bytes());
        let prior = Prior { commitment, deposit, at, log_index };
        priors.try_push(prior).map_err(|_| Error::<T>::TooManyPriors)?;
        Priors::<T>::insert(&who, priors);
        Self::deposit_event(Event::PriorCommitted { commitment, account: who, log_index });
        Ok(())
    }

    /// Opens a commitment in the block of the registration: what is opened later could have been copied.
    pub(crate) fn do_open_prior(who: T::AccountId, artifact: ArtifactId, salt: Digest32) -> DispatchResult {
        let now = frame_system::Pallet::<T>::block_number();
        let commitment = commitment(&artifact, who.as_ref(), &salt);
        let mut registered = Registrations::<T>::get(artifact, &who).ok_or(Error::<T>::NotRegistered)?;
        ensure!(registered.at == now, Error::<T>::RegisteredBefore);
        ensure!(registered.committed.is_none(), Error::<T>::PriorityShown);
        let prior = Self::take_prior(&who, &commitment, |prior| {
            ensure!(now >= prior.at.saturating_add(OPENING_DELAY_BLOCKS.into()), Error::<T>::PriorTooYoung);
            ensure!(!Self::is_expired(prior), Error::<T>::PriorExpired);
            Ok(())
        })?;
        let entry = log::Priority {
            account: who.clone().into(),
            height: now.saturated_into(),
            artifact_id: artifact,
            salt,
            committed_at: prior.at.saturated_into(),
            prior_index: prior.log_index,
        };
        let log_index = T::Log::append(&entry.to_bytes());
        registered.committed = Some(Committed { at: prior.at, log_index });
        Registrations::<T>::insert(artifact, &who, registered);
        Self::deposit_event(Event::PriorityShown {
            artifact,
            account: who,
            committed_at: prior.at,
            log_index,
        });
        Ok(())
    }

    /// Gives up a commitment: whoever made it at any time, everybody once it has expired.
    pub(crate) fn do_withdraw_prior(
        who: T::AccountId,
        account: T::AccountId,
        commitment: Digest32,
    ) -> DispatchResult {
        Self::take_prior(&account, &commitment, |prior| {
            ensure!(who == account || Self::is_expired(prior), Error::<T>::NotYours);
            Ok(())
        })?;
        Self::deposit_event(Event::PriorWithdrawn { commitment, account });
        Ok(())
    }

    /// Removes a commitment that passes the check, and gives its deposit back.
    fn take_prior(
        account: &T::AccountId,
        commitment: &Digest32,
        check: impl FnOnce(&Prior<BlockNumberFor<T>>) -> DispatchResult,
    ) -> Result<Prior<BlockNumberFor<T>>, sp_runtime::DispatchError> {
        let mut priors = Priors::<T>::get(account);
        let found = priors.iter().find(|prior| prior.commitment == *commitment).copied();
        let prior = found.ok_or(Error::<T>::NoSuchPrior)?;
        check(&prior)?;
        T::Currency::release(&HoldReason::Registration.into(), account, prior.deposit, Precision::Exact)?;
        priors.retain(|other| other.commitment != *commitment);
        if priors.is_empty() {
            Priors::<T>::remove(account);
        } else {
            Priors::<T>::insert(account, priors);
        }
        Ok(prior)
    }

    fn is_expired(prior: &Prior<BlockNumberFor<T>>) -> bool {
        let last = prior.at.saturating_add(COMMITMENT_LIFETIME_BLOCKS.into());
        frame_system::Pallet::<T>::block_number() > last
    }
}
