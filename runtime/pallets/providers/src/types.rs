//! What the ledger keeps of a provider.

use assay_manifest::{Digest32, ModelId, SpecId};
use assay_protocol::signature::WorkKey;
use assay_protocol::units::Price;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::BoundedVec;
use frame_support::traits::ConstU32;
use scale_info::TypeInfo;

/// Models in one offer.
pub const OFFER_MODELS_MAX: u32 = 16;
/// Portions of stake that unbond at the same time.
pub const UNBONDING_MAX: u32 = 8;

/// A portion of stake on its way out.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Unbonding<N> {
    /// Base units.
    pub amount: u128,
    /// Height of its release.
    pub release_at: N,
}

/// A seller of compute.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Provider<N> {
    /// Stake that may be drawn upon, locked or free; without what is unbonding.
    pub stake: u128,
    /// The part of `stake` that stands for seats.
    pub locked: u128,
    /// Stake on its way out.
    pub unbonding: BoundedVec<Unbonding<N>, ConstU32<UNBONDING_MAX>>,
    /// The key that signs job steps.
    pub work_key: WorkKey,
    /// The X25519 key to which inputs are sealed.
    pub encryption_key: Digest32,
    /// Height of its last change.
    pub encryption_key_at: N,
    /// Executions at hand.
    pub working: u32,
    /// Fee burned on drawn, settled jobs, decayed to `score_at`.
    pub score: u128,
    /// Height of the score's last change.
    pub score_at: N,
    /// Not drawn before this height.
    pub barred_until: N,
}

impl<N> Provider<N> {
    /// Stake that is neither locked nor unbonding.
    pub fn free_stake(&self) -> u128 {
        self.stake.saturating_sub(self.locked)
    }
}

/// What kind of machine serves.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum HardwareClass {
    /// Models up to about 4 GB on a CPU.
    #[codec(index = 0)]
    CpuSmall,
    /// Models up to about 64 GB on a CPU.
    #[codec(index = 1)]
    CpuLarge,
    /// One accelerator.
    #[codec(index = 2)]
    Gpu,
}

/// The terms for one model, in base units per million model tokens.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct ModelOffer {
    /// The exact model.
    pub model_id: ModelId,
    /// The definitions by which the provider executes it.
    pub spec_id: SpecId,
    /// For a prompt token.
    pub input: Price,
    /// For a generated token.
    pub output: Price,
    /// For a verified token.
    pub verify: Price,
}

/// The terms on which a provider verifies models that it does not serve (clause J16).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct AtLarge {
    /// For a verified token, in base units per million model tokens.
    pub verify: Price,
    /// The largest model that it would fetch, by the sum of its files.
    pub weights_max_bytes: u64,
}

/// What a provider serves and for how much.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Offer {
    /// The models, each once: a provider executes a model by one set of definitions at a time.
    pub models: BoundedVec<ModelOffer, ConstU32<OFFER_MODELS_MAX>>,
    /// What they run on.
    pub hardware: HardwareClass,
    /// Executions that it takes at the same time.
    pub capacity: u32,
    /// Whether it verifies other models, too.
    pub at_large: Option<AtLarge>,
}

/// One place in the list of those who serve a model: all that a draw asks of the offer behind it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Listed<AccountId> {
    /// Who serves.
    pub provider: AccountId,
    /// Executions that it takes at the same time.
    pub capacity: u32,
    /// For a prompt token.
    pub input: Price,
    /// For a generated token.
    pub output: Price,
    /// For a verified token.
    pub verify: Price,
}

impl<AccountId> Listed<AccountId> {
    /// The place of one model of an offer.
    pub fn new(provider: AccountId, offer: &Offer, model: &ModelOffer) -> Self {
        let ModelOffer { input, output, verify, .. } = *model;
        Self { provider, capacity: offer.capacity, input, output, verify }
    }
}

/// One place in the list of those who verify at large.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct ListedAtLarge<AccountId> {
    /// Who.
    pub provider: AccountId,
    /// On what terms.
    pub terms: AtLarge,
}

/// An announced offer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct PendingOffer<N> {
    /// The offer.
    pub offer: Offer,
    /// Height at which it is in force.
    pub effective_at: N,
}
