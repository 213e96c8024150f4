//! The validator set, the randomness beacon and the hand-over hash in every header.
//!
//! Clause J17: the proposer evaluates its sr25519 VRF over chain, height and the previous randomness, and
//! nothing else; `R_h = H(R_{h-1} ‖ output)`. A block without a valid evaluation is invalid.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod beacon;
mod set;

pub use beacon::{VrfClaim, evaluator, vrf_input, vrf_sign};
pub use pallet::*;
pub use set::ValidatorInfo;

/// Storage and hooks; there are no calls while one authority makes all blocks.
#[frame_support::pallet]
#[allow(clippy::expect_used, missing_docs)] // inside the macro's own code
pub mod pallet {
    use super::ValidatorInfo;
    use assay_manifest::Digest32;
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;

    /// Most validators; bounds the work of checking certificates and verdicts.
    pub const VALIDATORS_MAX: u32 = 100;
    /// Heights whose randomness stays readable.
    pub const RANDOMNESS_HISTORY_BLOCKS: u32 = 256;

    #[pallet::config]
    pub trait Config: frame_system::Config<Hash = sp_core::H256> {}

    #[pallet::pallet]
    pub struct Pallet<T>(_);

    /// The validators of the present height.
    #[pallet::storage]
    pub type Validators<T: Config> =
        StorageValue<_, BoundedVec<ValidatorInfo, ConstU32<VALIDATORS_MAX>>, ValueQuery>;

    /// R_h of recent heights. Keys are small numbers that nobody chooses: not hashed.
    #[pallet::storage]
    pub type Randomness<T: Config> = StorageMap<_, Identity, u32, Digest32, OptionQuery>;

    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// The first validators.
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
            Validators::<T>::put(BoundedVec::truncate_from(validators));
            Randomness::<T>::insert(0, self.randomness);
        }
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(now: BlockNumberFor<T>) -> Weight {
            Self::advance_beacon(now);
            // One VRF verification costs about as much as two signatures.
            Weight::from_parts(150_000_000, 4_096) + T::DbWeight::get().reads_writes(2, 2)
        }

        fn on_finalize(_now: BlockNumberFor<T>) {
            Self::deposit_hand_over();
        }
    }
}
