//! Sellers of compute: stake that stands for their answers, offers, keys and score.
//!
//! Stake is held on the account and slashable while it is locked by a seat. An offer and every change of
//! it take effect after a delay, so that a price rise never surprises a buyer. `docs/PROTOCOL.md` says how
//! stake is drawn and forfeited; this pallet only keeps the books.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod book;
mod keys;
mod offers;
mod score;
mod stake;
mod types;
pub mod weights;

pub use pallet::*;
pub use types::{
    AtLarge, HardwareClass, Listed, ListedAtLarge, ModelOffer, Offer, PendingOffer, Provider, Unbonding,
};
pub use weights::WeightInfo;

/// Calls, storage and events.
#[frame_support::pallet]
#[allow(clippy::expect_used, missing_docs)] // inside the macro's own code
pub mod pallet {
    use super::{Listed, ListedAtLarge, Offer, PendingOffer, Provider, WeightInfo};
    use assay_manifest::{Digest32, ModelId, SpecId};
    use assay_protocol::params::{AT_LARGE_CANDIDATES_MAX, CANDIDATES_MAX, Params};
    use assay_protocol::signature::{Signature, WorkKey};
    use frame_support::pallet_prelude::*;
    use frame_support::traits::fungible::{InspectHold, Mutate, MutateHold};
    use frame_system::pallet_prelude::*;

    /// Offers that take effect in one block; more are put off to the next.
    pub const OFFERS_PER_BLOCK_MAX: u32 = 12;
    /// Providers of too little stake whose offers end in one block; the others' end in the next ones.
    pub const DISMISSED_PER_BLOCK_MAX: u32 = 5;

    #[pallet::config]
    pub trait Config:
        frame_system::Config<AccountId = sp_runtime::AccountId32, RuntimeEvent: From<Event<Self>>>
    {
        /// The token in which stake is held.
        type Currency: MutateHold<Self::AccountId, Reason = Self::RuntimeHoldReason, Balance = u128>
            + InspectHold<Self::AccountId>
            + Mutate<Self::AccountId>;
        /// The composed hold reason.
        type RuntimeHoldReason: From<HoldReason>;
        /// The chain's protocol parameters.
        type Params: Get<Params>;
        /// The hash of block 0, which every signature of the protocol covers.
        type Genesis: Get<Digest32>;
        /// Measured weights.
        type WeightInfo: WeightInfo;
    }

    #[pallet::pallet]
    pub struct Pallet<T>(_);

    #[pallet::composite_enum]
    pub enum HoldReason {
        /// Stake of a provider, locked or free.
        Stake,
    }

    /// Every provider. Keyed by accounts, which their owners cannot choose freely: hashed with the key kept.
    #[pallet::storage]
    pub type Providers<T: Config> =
        StorageMap<_, Blake2_128Concat, T::AccountId, Provider<BlockNumberFor<T>>, OptionQuery>;

    /// The offer in force.
    #[pallet::storage]
    pub type Offers<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, Offer, OptionQuery>;

    /// The offer that will be in force.
    #[pallet::storage]
    pub type PendingOffers<T: Config> =
        StorageMap<_, Blake2_128Concat, T::AccountId, PendingOffer<BlockNumberFor<T>>, OptionQuery>;

    /// Accounts whose pending offer takes effect at a height.
    #[pallet::storage]
    pub type OfferQueue<T: Config> = StorageMap<
        _,
        Twox64Concat,
        BlockNumberFor<T>,
        BoundedVec<T::AccountId, ConstU32<OFFERS_PER_BLOCK_MAX>>,
        ValueQuery,
    >;

    /// Who serves a model by which definitions, and on what terms: a draw reads no whole offer. A list of its own for
    /// every pair, so that who offers what nobody asks for takes no place in another. Both keys are chosen by their
    /// owners.
    #[pallet::storage]
    pub type Serving<T: Config> = StorageDoubleMap<
        _,
        Blake2_128Concat,
        ModelId,
        Blake2_128Concat,
        SpecId,
        BoundedVec<Listed<T::AccountId>, ConstU32<CANDIDATES_MAX>>,
        ValueQuery,
    >;

    /// Who verifies models that it does not serve, and on what terms.
    #[pallet::storage]
    pub type VerifyingAtLarge<T: Config> = StorageValue<
        _,
        BoundedVec<ListedAtLarge<T::AccountId>, ConstU32<AT_LARGE_CANDIDATES_MAX>>,
        ValueQuery,
    >;

    /// Providers whose stake fell under the least: the next blocks take their offers out of the lists. Done at once,
    /// it would add up to sixteen lists a seat to the work of a step or verdict, and to that of taking stake out.
    #[pallet::storage]
    pub type Dismissed<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, (), OptionQuery>;

    /// Stake of all providers, without what is unbonding.
    #[pallet::storage]
    pub type TotalStake<T: Config> = StorageValue<_, u128, ValueQuery>;

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// Stake was added.
        Staked { provider: T::AccountId, amount: u128, total: u128 },
        /// Stake began to unbond.
        Unstaked { provider: T::AccountId, amount: u128, release_at: BlockNumberFor<T> },
        /// Unbonded stake was returned.
        Withdrawn { provider: T::AccountId, amount: u128 },
        /// Keys were set.
        KeysSet { provider: T::AccountId, work_key: WorkKey, encryption_key: Digest32 },
        /// An offer was announced.
        OfferAnnounced { provider: T::AccountId, effective_at: BlockNumberFor<T> },
        /// An announced offer is in force; with no models, the provider serves nothing.
        OfferEffective { provider: T::AccountId },
        /// What was offered or announced ended, because the provider's stake is under the least.
        OffersEnded { provider: T::AccountId },
        /// Locked stake was taken.
        Forfeited { provider: T::AccountId, amount: u128, burned: u128 },
        /// A score shrank for silence or a concession.
        Missed { provider: T::AccountId },
        /// A score fell to zero for a proven fault.
        Faulted { provider: T::AccountId, barred_until: BlockNumberFor<T> },
    }

    #[pallet::error]
    pub enum Error<T> {
        /// The account has no stake.
        NotAProvider,
        /// The stake is, or would be, under the chain's minimum.
        StakeTooSmall,
        /// More than the free stake was asked for.
        NotFree,
        /// Too many portions of stake are unbonding; withdraw first.
        TooManyUnbonding,
        /// Nothing has finished unbonding, and the provider is not yet to be forgotten.
        NothingToWithdraw,
        /// An offer names a model twice.
        DuplicateModel,
        /// Too many offers take effect around that height.
        QueueFull,
        /// Nothing can be sealed to this encryption key.
        BadKey,
        /// The work key may not replace the encryption key yet.
        TooSoon,
        /// The work key did not sign this.
        BadSignature,
        /// A number left its range.
        OutOfRange,
        /// Books and holds differ; this is a bug.
        Inconsistent,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(now: BlockNumberFor<T>) -> Weight {
            let begun = Self::put_offers_in_force(now);
            let ended = Self::end_offers_of_the_dismissed();
            T::WeightInfo::on_initialize(begun.saturating_add(ended))
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Hold `amount` more as stake and set the keys.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::stake())]
        pub fn stake(
            origin: OriginFor<T>,
            amount: u128,
            work_key: WorkKey,
            encryption_key: Digest32,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_stake(who, amount, work_key, encryption_key)
        }

        /// Begin to unbond free stake; it is released after the unbonding window.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::unstake().max(T::WeightInfo::withdraw()))]
        pub fn unstake(origin: OriginFor<T>, amount: u128) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_unstake(who, amount)
        }

        /// Take back what has finished unbonding. Who then has nothing left, or had nothing before, and is neither
        /// at work nor barred, is forgotten.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::withdraw())]
        pub fn withdraw(origin: OriginFor<T>) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_withdraw(who)
        }

        /// Announce an offer; it replaces the one in force after the offer delay. No models: serve nothing. Whoever
        /// announces pays for the work of the block that puts it in force, too.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::set_offer(offer.models.len() as u32).saturating_add(T::WeightInfo::on_initialize(1)))]
        pub fn set_offer(origin: OriginFor<T>, offer: Offer) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_announce(who, offer)
        }

        /// Replace the keys; seats drawn before keep the old work key.
        #[pallet::call_index(4)]
        #[pallet::weight(T::WeightInfo::set_keys())]
        pub fn set_keys(origin: OriginFor<T>, work_key: WorkKey, encryption_key: Digest32) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_set_keys(who, work_key, encryption_key)
        }

        /// Replace the encryption key, signed by the work key: once in a rotation window, without a fee.
        #[pallet::call_index(5)]
        #[pallet::weight((T::WeightInfo::rotate(), DispatchClass::Operational))]
        #[pallet::authorize(|_source, provider, encryption_key, signature| {
            Pallet::<T>::authorize_rotation(provider, encryption_key, signature)
        })]
        #[pallet::weight_of_authorize(T::WeightInfo::rotate())]
        pub fn rotate_encryption_key(
            origin: OriginFor<T>,
            provider: T::AccountId,
            encryption_key: Digest32,
            signature: Signature,
        ) -> DispatchResult {
            ensure_authorized(origin)?;
            Self::do_rotate(provider, encryption_key, signature)
        }
    }
}
