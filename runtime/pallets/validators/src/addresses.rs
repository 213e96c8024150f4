//! Where validators can be reached: the way into the network for who knows nobody else there (clause V7).
//!
//! Whatever a list in a file says grows old; who decides blocks is always there. The ledger does not look into an address,
//! and asks of none whether it leads anywhere.

use frame_support::dispatch::DispatchResult;
use frame_support::ensure;

use crate::{Addresses, Announced, Config, Error, Event, Pallet, Slots, Validators};

/// Addresses of one validator: one for each of two transports.
pub const ADDRESSES_MAX: u32 = 2;
/// Bytes of one address, in the binary form of a multiaddr: a name of 63 letters, a port and a peer's id have 112.
pub const ADDRESS_BYTES_MAX: u32 = 128;

impl<T: Config> Pallet<T> {
    pub(crate) fn do_announce(validator: T::AccountId, addresses: Announced) -> DispatchResult {
        ensure!(Slots::<T>::contains_key(&validator), Error::<T>::NotBonded);
        if addresses.is_empty() {
            Addresses::<T>::remove(&validator);
        } else {
            Addresses::<T>::insert(&validator, &addresses);
        }
        Self::deposit_event(Event::Announced { validator, addresses });
        Ok(())
    }

    /// Who gives up its place is asked no more.
    pub(crate) fn leave_slot(validator: &T::AccountId) {
        Slots::<T>::remove(validator);
        Addresses::<T>::remove(validator);
    }

    /// Those of the validators of the next height, in their order.
    pub fn addresses() -> Vec<Vec<u8>> {
        let validators = Validators::<T>::get();
        let announced = validators.iter().flat_map(|validator| Addresses::<T>::get(&validator.account));
        announced.map(|address| address.into_inner()).collect()
    }

    /// Nobody without a place has addresses.
    pub(crate) fn addresses_have_places() -> Result<(), &'static str> {
        if Addresses::<T>::iter_keys().all(Slots::<T>::contains_key) {
            Ok(())
        } else {
            Err("somebody without a place among the validators has addresses")
        }
    }
}
