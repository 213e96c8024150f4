//! Registers models and datasets, and the lineage edges between them.
//!
//! A registration says who named an artifact and when, never who owns it: several accounts may register
//! the same one. Edges belong to the account that registered the child. Everything written here becomes
//! an entry of the transparency log.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod edges;
mod register;
mod types;
pub mod weights;

pub use pallet::*;
pub use types::{License, Name, Registered, StatedEdge, Subject};
pub use weights::WeightInfo;

/// Calls, storage and events.
#[frame_support::pallet]
#[allow(clippy::expect_used, missing_docs)] // inside the macro's own code
pub mod pallet {
    use super::{License, Name, Registered, StatedEdge, Subject, WeightInfo};
    use assay_manifest::lineage::Edge;
    use assay_manifest::log::LogAppend;
    use assay_manifest::{ArtifactId, Digest32, ModelId};
    use frame_support::pallet_prelude::*;
    use frame_support::traits::fungible::{InspectHold, MutateHold};
    use frame_system::pallet_prelude::*;

    #[pallet::config]
    pub trait Config:
        frame_system::Config<AccountId = sp_runtime::AccountId32, RuntimeEvent: From<Event<Self>>>
    {
        /// The token in which deposits are held.
        type Currency: MutateHold<Self::AccountId, Reason = Self::RuntimeHoldReason, Balance = u128>
            + InspectHold<Self::AccountId>;
        /// The composed hold reason.
        type RuntimeHoldReason: From<HoldReason>;
        /// The log of registrations.
        type Log: LogAppend;
        /// Held for every registration and edge.
        #[pallet::constant]
        type DepositBase: Get<u128>;
        /// Held for every byte of name and licence.
        #[pallet::constant]
        type DepositPerByte: Get<u128>;
        /// Measured weights.
        type WeightInfo: WeightInfo;
    }

    #[pallet::pallet]
    pub struct Pallet<T>(_);

    #[pallet::composite_enum]
    pub enum HoldReason {
        /// Deposit of registrations and edges.
        Registration,
    }

    /// Registrations by artifact, then account. Ids are hashes: not hashed again.
    #[pallet::storage]
    pub type Registrations<T: Config> = StorageDoubleMap<
        _,
        Identity,
        ArtifactId,
        Blake2_128Concat,
        T::AccountId,
        Registered<BlockNumberFor<T>>,
        OptionQuery,
    >;

    /// What an account calls its artifacts, by the name's folded form, so that look-alikes collide.
    #[pallet::storage]
    pub type Names<T: Config> =
        StorageDoubleMap<_, Blake2_128Concat, T::AccountId, Blake2_128Concat, Name, ArtifactId, OptionQuery>;

    /// The artifacts whose parts make up a model.
    #[pallet::storage]
    pub type Models<T: Config> = StorageMap<_, Identity, ModelId, ArtifactId, OptionQuery>;

    /// Edges by child, then by a hash of the statement's id and the account that stated it.
    #[pallet::storage]
    pub type Edges<T: Config> = StorageDoubleMap<
        _,
        Identity,
        ArtifactId,
        Identity,
        Digest32,
        StatedEdge<T::AccountId, BlockNumberFor<T>>,
        OptionQuery,
    >;

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// An artifact was registered.
        Registered { artifact: ArtifactId, account: T::AccountId, log_index: u64 },
        /// A registration was withdrawn; its log entry stays.
        Unregistered { artifact: ArtifactId, account: T::AccountId },
        /// An edge was stated.
        EdgeStated { edge: Edge, id: Digest32, account: T::AccountId, log_index: u64 },
        /// An edge was withdrawn; its log entry stays.
        EdgeWithdrawn { child: ArtifactId, id: Digest32, account: T::AccountId },
    }

    #[pallet::error]
    pub enum Error<T> {
        /// The account has registered this artifact.
        AlreadyRegistered,
        /// The account has not registered this artifact.
        NotRegistered,
        /// The name uses other characters than allowed.
        BadName,
        /// The account uses this name, or one that looks like it, for another artifact.
        NameTaken,
        /// The licence is not UTF-8.
        BadLicense,
        /// The edge leads from an artifact to itself, or claims evidence that no check can give.
        BadEdge,
        /// The account has stated the edge.
        EdgeExists,
        /// No such edge of this account.
        NoSuchEdge,
        /// Edges of this account lead from the artifact; withdraw them first.
        HasEdges,
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Register a model or dataset under a name of the account's own.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::register())]
        pub fn register(
            origin: OriginFor<T>,
            subject: Subject,
            size_bytes: u64,
            name: Name,
            license: License,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_register(who, subject, size_bytes, name, license)
        }

        /// Withdraw a registration and take its deposit back.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::unregister())]
        pub fn unregister(origin: OriginFor<T>, artifact: ArtifactId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_unregister(who, artifact)
        }

        /// State what a registered artifact was made from.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::state_edge())]
        pub fn state_edge(origin: OriginFor<T>, edge: Edge) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_state_edge(who, edge)
        }

        /// Withdraw an edge and take its deposit back.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::withdraw_edge())]
        pub fn withdraw_edge(origin: OriginFor<T>, child: ArtifactId, id: Digest32) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_withdraw_edge(who, child, id)
        }
    }
}
