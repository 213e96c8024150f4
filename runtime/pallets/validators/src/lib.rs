//! The validators: their stake, their choice, the randomness beacon and the hand-over hash in every header.
//!
//! Whoever stakes may be chosen: every session those of most stake, with a vote a whole token. A bond can be chosen
//! two whole sessions after it was made, so that its beacon key is not made for randomness that is known. Whoever
//! votes for two things in one round loses half of its stake and its place, for good.
//!
//! Every block but the first carries the commit of the one before it, by which the ledger knows who signed. Whoever
//! signed none of a session's waits until its owner says that it is back; it loses nothing.
//!
//! Clause J17: the proposer evaluates its sr25519 VRF over chain, height and the previous randomness, and
//! nothing else; `R_h = H(R_{h-1} ‖ output)`. A block without a valid evaluation is invalid.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod addresses;
mod attendance;
mod beacon;
mod bonds;
mod set;
mod types;
pub mod weights;

pub use addresses::{ADDRESS_BYTES_MAX, ADDRESSES_MAX};
pub use attendance::{ABSENT_VOTES_PERCENT_MAX, JUDGED_MAX, VALIDATORS_LEAST};
pub use beacon::{VrfClaim, evaluator, vrf_input, vrf_sign};
pub use bonds::{BONDS_MAX, EQUIVOCATION_BURNED_PERCENT};
pub use pallet::*;
pub use set::{VOTES_MAX, ValidatorInfo, set_of};
pub use types::{Announced, Attendance, Attended, Bond, UNBONDING_MAX, Unbonding, ValidatorKeys};
pub use weights::WeightInfo;

/// Calls, storage and events.
#[frame_support::pallet]
#[allow(clippy::expect_used, missing_docs)] // inside the macro's own code
pub mod pallet {
    use super::{Announced, Attendance, Attended, Bond, ValidatorInfo, ValidatorKeys, WeightInfo};
    use assay_manifest::Digest32;
    use assay_protocol::certificate::Validator;
    use assay_protocol::last_commit::LastCommit;
    use assay_protocol::params::Params;
    use assay_protocol::signature::Signature;
    use assay_protocol::units::Height;
    use assay_protocol::vote::Equivocation;
    use frame_support::inherent::{InherentData, InherentIdentifier, MakeFatalError, ProvideInherent};
    use frame_support::pallet_prelude::*;
    use frame_support::traits::fungible::{InspectHold, Mutate, MutateHold};
    use frame_system::pallet_prelude::*;

    /// Most validators; bounds the work of checking certificates and verdicts.
    pub const VALIDATORS_MAX: u32 = 100;
    /// Heights whose randomness stays readable.
    pub const RANDOMNESS_HISTORY_BLOCKS: u32 = 256;

    #[pallet::config]
    pub trait Config:
        frame_system::Config<
            Hash = sp_core::H256,
            AccountId = sp_runtime::AccountId32,
            RuntimeEvent: From<Event<Self>>,
        >
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
        /// Base units of stake for a vote.
        type StakePerVote: Get<u128>;
        /// Measured weights.
        type WeightInfo: WeightInfo;
    }

    #[pallet::pallet]
    pub struct Pallet<T>(_);

    #[pallet::composite_enum]
    pub enum HoldReason {
        /// Stake of a validator.
        Validator,
    }

    /// The validators of the next height, by key.
    #[pallet::storage]
    pub type Validators<T: Config> =
        StorageValue<_, BoundedVec<ValidatorInfo, ConstU32<VALIDATORS_MAX>>, ValueQuery>;

    /// Who decides the height of the present block, whose commit the next one carries. Written when they change.
    #[pallet::storage]
    pub type Deciders<T: Config> =
        StorageValue<_, BoundedVec<Validator, ConstU32<VALIDATORS_MAX>>, ValueQuery>;

    /// Who of them has signed what since the session began.
    #[pallet::storage]
    pub type Attending<T: Config> = StorageValue<_, Attendance, ValueQuery>;

    /// Who had signed what in the session before.
    #[pallet::storage]
    pub type LastSession<T: Config> = StorageValue<_, Attended, ValueQuery>;

    /// Every bond. Keyed by accounts, which their owners cannot choose freely: hashed with the key kept.
    #[pallet::storage]
    pub type Bonds<T: Config> =
        StorageMap<_, Blake2_128Concat, T::AccountId, Bond<BlockNumberFor<T>>, OptionQuery>;

    /// Who has stake bonded and may be chosen, or will be: at most `BONDS_MAX`. Hashed as bonds are.
    #[pallet::storage]
    pub type Slots<T: Config> = CountedStorageMap<_, Blake2_128Concat, T::AccountId, (), OptionQuery>;

    /// Where validators can be reached. Hashed as bonds are.
    #[pallet::storage]
    pub type Addresses<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, Announced, ValueQuery>;

    /// Keys that voted for two things in one round, for good. Each has cost stake. Hashed: anybody can choose a key.
    #[pallet::storage]
    pub type ConvictedKeys<T: Config> = StorageMap<_, Blake2_128Concat, Digest32, (), OptionQuery>;

    /// Whose a consensus key is.
    #[pallet::storage]
    pub type KeyOwners<T: Config> = StorageMap<_, Blake2_128Concat, Digest32, T::AccountId, OptionQuery>;

    /// R_h of recent heights. Keys are small numbers that nobody chooses: not hashed.
    #[pallet::storage]
    pub type Randomness<T: Config> = StorageMap<_, Identity, u32, Digest32, OptionQuery>;

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// Stake was added; with it the validator may be chosen from this height on.
        Bonded { validator: T::AccountId, amount: u128, stake: u128, from: BlockNumberFor<T> },
        /// Stake began to unbond; the next choice is made without it.
        Unbonded { validator: T::AccountId, amount: u128, release_at: BlockNumberFor<T> },
        /// Unbonded stake was returned.
        Withdrawn { validator: T::AccountId, amount: u128 },
        /// Other validators, or others' votes, decide from this height on.
        Chosen { from: BlockNumberFor<T> },
        /// A validator voted for two things in one round of this height.
        Convicted { validator: T::AccountId, height: Height, burned: u128 },
        /// A validator's signature is in none of a session's so many commits.
        Absent { validator: T::AccountId, commits: u32 },
        /// A validator is back, or its owner says that it is.
        Returned { validator: T::AccountId },
        /// A validator can be reached at these addresses from now on, and nowhere else.
        Announced { validator: T::AccountId, addresses: Announced },
    }

    #[pallet::error]
    pub enum Error<T> {
        /// The stake is, or would be, under the chain's minimum.
        StakeTooSmall,
        /// The account has no bond, or not as much.
        NotBonded,
        /// The account's bond has other keys; it keeps them.
        OtherKeys,
        /// Another account's bond has the key.
        KeyTaken,
        /// Nothing can be sealed to this key.
        BadKey,
        /// A signature is not the key's.
        BadProof,
        /// The key voted for two things in one round, and is no validator's any more.
        Convicted,
        /// So many accounts are bonded that no more can be, and none that waits has less stake.
        TooManyValidators,
        /// Too many portions of stake are unbonding; withdraw first.
        TooManyUnbonding,
        /// Nothing has finished unbonding.
        NothingToWithdraw,
        /// The stake stands for votes of the next height: nobody else could be chosen.
        StillDecides,
        /// The votes are older than stake is answered for.
        TooOld,
        /// An amount left its range.
        OutOfRange,
        /// The commit of the block before is the first thing in a block, and nowhere else.
        Misplaced,
        /// The validator was not absent.
        NotAbsent,
    }

    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// The first validators; their accounts have their stake and are.
        pub validators: Vec<ValidatorInfo>,
        /// R_0.
        pub randomness: Digest32,
        #[serde(skip)]
        pub _config: core::marker::PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            // In canonical order, so that a position means the same here and in certificates.
            let mut validators = self.validators.clone();
            validators.sort_by_key(|validator| validator.key);
            for validator in &validators {
                Pallet::<T>::found(validator);
            }
            Pallet::<T>::call_roll(&validators, 0);
            Validators::<T>::put(BoundedVec::truncate_from(validators));
            Randomness::<T>::insert(0, self.randomness);
        }
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(now: BlockNumberFor<T>) -> Weight {
            Self::advance_beacon(now);
            if !Self::chooses(now) {
                return T::WeightInfo::on_initialize(0);
            }
            let judged = T::WeightInfo::end_session();
            T::WeightInfo::on_initialize(Slots::<T>::count()).saturating_add(judged)
        }

        fn on_finalize(now: BlockNumberFor<T>) {
            Self::require_commit(now);
            if Self::chooses(now) {
                Self::choose(now);
            }
            Self::deposit_hand_over();
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Stake on being a validator with these keys, or add to the stake of one that is. `proof` is the consensus
        /// key's signature, by which it takes the account for its own. When all places are taken, the least stake that
        /// is not chosen gives way to more, and unbonds.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::bond())]
        pub fn bond(
            origin: OriginFor<T>,
            amount: u128,
            keys: ValidatorKeys,
            proof: Signature,
        ) -> DispatchResult {
            Self::do_bond(ensure_signed(origin)?, amount, keys, &proof)
        }

        /// Take stake back, in `validator_unbonding_window` blocks. Without any, the next choice is made without the
        /// validator.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::unbond())]
        pub fn unbond(origin: OriginFor<T>, amount: u128) -> DispatchResult {
            Self::do_unbond(ensure_signed(origin)?, amount)
        }

        /// Return what has finished unbonding.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::withdraw())]
        pub fn withdraw(origin: OriginFor<T>) -> DispatchResult {
            Self::do_withdraw(ensure_signed(origin)?)
        }

        /// Convict a validator by two votes that it signed for one round. Anyone may.
        #[pallet::call_index(3)]
        #[pallet::weight((T::WeightInfo::convict(), DispatchClass::Operational))]
        #[pallet::authorize(|_source, proof| Pallet::<T>::authorize_conviction(proof))]
        #[pallet::weight_of_authorize(T::WeightInfo::authorize_conviction())]
        pub fn convict(origin: OriginFor<T>, proof: Equivocation) -> DispatchResult {
            ensure_authorized(origin)?;
            Self::do_convict(&proof)
        }

        /// The commit of the block before: the round, and at each of its validators' places that one's signature, or
        /// none. The first thing in every block but the first; whoever proposes puts it there.
        #[pallet::call_index(4)]
        #[pallet::weight((T::WeightInfo::note_commit(signatures.len() as u32), DispatchClass::Mandatory))]
        pub fn note_commit(
            origin: OriginFor<T>,
            round: u32,
            signatures: BoundedVec<Option<Signature>, ConstU32<VALIDATORS_MAX>>,
        ) -> DispatchResult {
            ensure_none(origin)?;
            Self::do_note_commit(&LastCommit { round, signatures: signatures.into_inner() })
        }

        /// Say that one's validator is back, after none of a session's commits had its signature.
        #[pallet::call_index(5)]
        #[pallet::weight(T::WeightInfo::unbond())]
        pub fn resume(origin: OriginFor<T>) -> DispatchResult {
            Self::do_resume(ensure_signed(origin)?)
        }

        /// Say where one's node can be reached in the network: addresses in the binary form of a multiaddr, with its
        /// peer's id. They take the place of those before; none withdraws them.
        #[pallet::call_index(6)]
        #[pallet::weight(T::WeightInfo::announce())]
        pub fn announce(origin: OriginFor<T>, addresses: Announced) -> DispatchResult {
            Self::do_announce(ensure_signed(origin)?, addresses)
        }
    }

    #[pallet::inherent]
    impl<T: Config> ProvideInherent for Pallet<T> {
        type Call = Call<T>;
        type Error = MakeFatalError<()>;
        const INHERENT_IDENTIFIER: InherentIdentifier = *b"asycommt";

        /// Whoever builds the block has the certificate, and makes the call of it.
        fn create_inherent(_data: &InherentData) -> Option<Self::Call> {
            None
        }

        fn is_inherent(call: &Self::Call) -> bool {
            matches!(call, Call::note_commit { .. })
        }
    }
}
