//! Keys: replaced by the account, and the encryption key by the work key alone, so that the account stays cold.

use assay_manifest::Digest32;
use assay_protocol::seal::can_be_sealed_to;
use assay_protocol::signature::{Signature, WorkKey, rotation_digest};
use codec::Encode;
use frame_support::dispatch::DispatchResult;
use frame_support::ensure;
use frame_support::pallet_prelude::{
    InvalidTransaction, TransactionValidityWithRefund, ValidTransaction, Weight,
};
use frame_support::traits::Get;
use frame_system::pallet_prelude::BlockNumberFor;
use sp_runtime::traits::Saturating;

use crate::{Config, Error, Event, Pallet, Provider, Providers};

/// Under job steps, above every paid call: a key that is late is no fault.
const ROTATION_PRIORITY: u64 = 1 << 61;
/// Blocks for which a pool keeps a rotation before it asks again.
const ROTATION_LONGEVITY: u64 = 64;

impl<T: Config> Pallet<T> {
    pub(crate) fn do_set_keys(
        who: T::AccountId,
        work_key: WorkKey,
        encryption_key: Digest32,
    ) -> DispatchResult {
        Self::check_key(&encryption_key)?;
        let now = frame_system::Pallet::<T>::block_number();
        Self::with_provider(&who, |provider| {
            provider.set_keys(work_key, encryption_key, now);
            Ok(())
        })?;
        Self::deposit_event(Event::KeysSet { provider: who, work_key, encryption_key });
        Ok(())
    }

    /// With a key of small order nobody could seal to the provider.
    pub(crate) fn check_key(encryption_key: &Digest32) -> Result<(), Error<T>> {
        if can_be_sealed_to(encryption_key) { Ok(()) } else { Err(Error::<T>::BadKey) }
    }

    pub(crate) fn authorize_rotation(
        who: &T::AccountId,
        key: &Digest32,
        signature: &Signature,
    ) -> TransactionValidityWithRefund {
        Self::rotated(who, key, signature).map_err(|_| InvalidTransaction::Stale)?;
        let validity = ValidTransaction {
            priority: ROTATION_PRIORITY,
            requires: Vec::new(),
            provides: vec![("assay/rotate", who).encode()],
            longevity: ROTATION_LONGEVITY,
            propagate: true,
        };
        Ok((validity, Weight::zero()))
    }

    pub(crate) fn do_rotate(who: T::AccountId, key: Digest32, signature: Signature) -> DispatchResult {
        let provider = Self::rotated(&who, &key, &signature)?;
        let work_key = provider.work_key;
        Providers::<T>::insert(&who, provider);
        Self::deposit_event(Event::KeysSet { provider: who, work_key, encryption_key: key });
        Ok(())
    }

    /// The provider with its next key; a rotation is feeless, so each has to wait for its turn.
    fn rotated(
        who: &T::AccountId,
        key: &Digest32,
        signature: &Signature,
    ) -> Result<Provider<BlockNumberFor<T>>, Error<T>> {
        let mut provider = Providers::<T>::get(who).ok_or(Error::<T>::NotAProvider)?;
        let now = frame_system::Pallet::<T>::block_number();
        let window: BlockNumberFor<T> = T::Params::get().rotation_window.into();
        ensure!(provider.encryption_key_at.saturating_add(window) <= now, Error::<T>::TooSoon);
        // Without stake nobody is drawn, so no key is needed, and keys of many accounts would cost nothing.
        ensure!(provider.stake > 0 && *key != provider.encryption_key, Error::<T>::TooSoon);
        Self::check_key(key)?;
        let account = who.clone().into();
        let message = rotation_digest(&T::Genesis::get(), &account, &provider.encryption_key, key);
        ensure!(signature.verifies(&provider.work_key, &message), Error::<T>::BadSignature);
        let work_key = provider.work_key;
        provider.set_keys(work_key, *key, now);
        Ok(provider)
    }
}

impl<N> Provider<N> {
    pub(crate) fn set_keys(&mut self, work_key: WorkKey, encryption_key: Digest32, now: N) {
        self.work_key = work_key;
        if self.encryption_key != encryption_key {
            self.encryption_key = encryption_key;
            self.encryption_key_at = now;
        }
    }
}
