//! Appending, and what the header says.

use assay_manifest::log::LogAppend;
use assay_manifest::{Digest32, merkle};
use assay_protocol::header::{LOG_ENGINE, RUNTIME_VERSION_ENGINE};
use codec::Encode;
use frame_support::traits::Get;
use sp_runtime::DigestItem;

use crate::{Config, Log, Pallet};

/// Prefix of the entries beside the state.
pub const LEAF_PREFIX: &[u8] = b"assay/log/";

/// Key of an entry beside the state; big-endian, so that a scan goes in order.
pub fn leaf_key(index: u64) -> Vec<u8> {
    [LEAF_PREFIX, &index.to_be_bytes()].concat()
}

impl<T: Config> LogAppend for Pallet<T> {
    fn append(leaf: &[u8]) -> u64 {
        let index = Log::<T>::mutate(|log| log.append(merkle::leaf_hash(leaf)));
        sp_io::offchain_index::set(&leaf_key(index), leaf);
        index
    }
}

impl<T: Config> Pallet<T> {
    /// Entries so far, and the root over them.
    pub fn size_and_root() -> (u64, Digest32) {
        let log = Log::<T>::get();
        (log.size(), log.root())
    }

    pub(crate) fn deposit_root() {
        let log = DigestItem::Consensus(LOG_ENGINE, Self::size_and_root().encode());
        frame_system::Pallet::<T>::deposit_log(log);
        let version = T::Version::get().spec_version;
        let version = DigestItem::Consensus(RUNTIME_VERSION_ENGINE, version.encode());
        frame_system::Pallet::<T>::deposit_log(version);
    }
}
