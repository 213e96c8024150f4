//! The append-only log of registrations and settlements (RFC 9162, SHA-256).
//!
//! The state holds only the frontier; the entries themselves are written beside the state in the block's
//! own batch. Size and root stand in every header.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod log;

pub use log::{LEAF_PREFIX, leaf_key};
pub use pallet::*;

/// Storage and hooks; entries come from other pallets.
#[frame_support::pallet]
#[allow(clippy::expect_used, missing_docs)] // inside the macro's own code
pub mod pallet {
    use assay_manifest::merkle::Frontier;
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;

    #[pallet::config]
    pub trait Config: frame_system::Config {}

    #[pallet::pallet]
    pub struct Pallet<T>(_);

    /// Right edge of the tree: at most one hash a level.
    #[pallet::storage]
    #[pallet::unbounded]
    pub type Log<T: Config> = StorageValue<_, Frontier, ValueQuery>;

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_finalize(_now: BlockNumberFor<T>) {
            Self::deposit_root();
        }
    }
}
