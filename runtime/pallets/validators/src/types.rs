//! What is known of a validator.

use assay_manifest::Digest32;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::BoundedVec;
use frame_support::traits::ConstU32;
use scale_info::TypeInfo;

use crate::addresses::{ADDRESS_BYTES_MAX, ADDRESSES_MAX};
use crate::pallet::VALIDATORS_MAX;

/// Portions of stake that one validator may have unbonding at the same time.
pub const UNBONDING_MAX: u32 = 8;

/// The addresses of a validator, each in the binary form of a multiaddr.
pub type Announced = BoundedVec<BoundedVec<u8, ConstU32<ADDRESS_BYTES_MAX>>, ConstU32<ADDRESSES_MAX>>;

/// The public keys of a validator.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct ValidatorKeys {
    /// ed25519 key that signs votes.
    pub key: Digest32,
    /// sr25519 key that evaluates the beacon, and does nothing else.
    pub vrf_key: Digest32,
    /// X25519 key to which disputed work is sealed.
    pub encryption_key: Digest32,
}

/// Stake on its way back to its owner.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Unbonding<N> {
    /// How much.
    pub amount: u128,
    /// Height from which it can be withdrawn.
    pub release_at: N,
}

/// An account's stake as a validator.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Bond<N> {
    /// What stands for it.
    pub stake: u128,
    /// Its keys, for good: what was signed with them is answered for.
    pub keys: ValidatorKeys,
    /// The first height at which it may be chosen.
    pub from: N,
    /// Whether it voted for two things in one round; it is never chosen again.
    pub convicted: bool,
    /// Whether its signature is in no commit of the last session in which it decided. It may have to wait for its owner
    /// to say that it is back (V6).
    pub absent: bool,
    /// What it takes back. Answers for its votes until it is released.
    pub unbonding: BoundedVec<Unbonding<N>, ConstU32<UNBONDING_MAX>>,
}

/// In how many commits of the present session each validator's signature is (V5).
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Attendance {
    /// The height whose commit came last.
    pub height: u32,
    /// Commits that were counted since the session began.
    pub commits: u32,
    /// Of those who decide the present height, in their order: how many of these commits each one has signed.
    pub signed: BoundedVec<u32, ConstU32<VALIDATORS_MAX>>,
}

/// What became of a session's commits.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Attended {
    /// Commits that were counted.
    pub commits: u32,
    /// Who decided when it ended, and how many of the commits each of them had signed.
    pub signed: BoundedVec<(Digest32, u32), ConstU32<VALIDATORS_MAX>>,
}

impl Attended {
    /// How many commits a validator had signed, if it decided when they were counted.
    pub fn of(&self, key: &Digest32) -> Option<u32> {
        self.signed.iter().find(|(validator, _)| validator == key).map(|(_, count)| *count)
    }
}
