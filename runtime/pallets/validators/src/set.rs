//! The set itself: its canonical form and its votes.

use assay_manifest::Digest32;
use assay_protocol::certificate::{Validator, ValidatorSet};
use assay_protocol::header::NEXT_VALIDATORS_ENGINE;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::BoundedVec;
use frame_support::traits::ConstU32;
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};
use sp_runtime::{AccountId32, DigestItem};

use crate::pallet::VALIDATORS_MAX;
use crate::{Config, Pallet, Validators};

/// A validator with its keys.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValidatorInfo {
    /// The account whose stake stands for it.
    pub account: AccountId32,
    /// ed25519 key that signs blocks.
    pub key: Digest32,
    /// sr25519 key that evaluates the beacon, and does nothing else.
    pub vrf_key: Digest32,
    /// X25519 key to which disputed work is sealed.
    pub encryption_key: Digest32,
    /// Votes: whole tokens of its stake.
    pub power: u64,
}

/// Most votes of all validators together: the consensus engine multiplies them by three in 64 bits.
pub const VOTES_MAX: u64 = u64::MAX / 3;

/// Validators in the form that certificates are checked against.
pub fn set_of(validators: &[ValidatorInfo]) -> ValidatorSet {
    let voter = |info: &ValidatorInfo| Validator { key: info.key, power: info.power };
    ValidatorSet::new(validators.iter().map(voter).collect())
}

/// The same, as the ledger keeps it.
pub(crate) fn voters(validators: &[ValidatorInfo]) -> BoundedVec<Validator, ConstU32<VALIDATORS_MAX>> {
    BoundedVec::truncate_from(set_of(validators).validators().to_vec())
}

impl<T: Config> Pallet<T> {
    /// The validators of the next height.
    pub fn set() -> ValidatorSet {
        set_of(&Validators::<T>::get())
    }

    /// How many validators there are.
    pub fn count() -> u32 {
        u32::try_from(Validators::<T>::decode_len().unwrap_or(0)).unwrap_or(u32::MAX)
    }

    /// The hash of the set that decides the next height.
    pub(crate) fn deposit_hand_over() {
        let hash = Self::set().hash();
        let item = DigestItem::Consensus(NEXT_VALIDATORS_ENGINE, hash.encode());
        frame_system::Pallet::<T>::deposit_log(item);
    }

    /// There is a set, no key appears twice, everybody has votes, and they do not sum to more than the engine counts.
    ///
    /// # Errors
    /// The invariant that does not hold.
    pub fn invariants() -> Result<(), &'static str> {
        let set = Self::set();
        let keys: Vec<Digest32> = set.validators().iter().map(|validator| validator.key).collect();
        if keys.is_empty() || keys.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err("the validator set is empty or names a key twice");
        }
        let powers = || set.validators().iter().map(|validator| validator.power);
        let sum = powers().try_fold(0u64, u64::checked_add);
        if powers().any(|power| power == 0) || sum.is_none_or(|sum| sum > VOTES_MAX) {
            return Err("a validator has no votes, or all have too many");
        }
        Self::attendance_is_whole()?;
        Self::addresses_have_places()?;
        Self::bonds_are_held()
    }
}
