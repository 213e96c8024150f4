//! Registers models and datasets, and the lineage edges between them.
//!
//! A registration says who named an artifact and when, never who owns it: several accounts may register
//! the same one. Edges belong to the account that registered the child. A commitment that was made before
//! shows that the account knew the artifact earlier. An account speaks later of its own claims and keys
//! alone, and voids nothing by it. Everything written here becomes an entry of the transparency log.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod edges;
mod invariants;
mod priority;
mod register;
mod status;
mod types;
pub mod weights;

pub use pallet::*;
pub use types::{
    Committed, Folded, License, ModelEntry, Name, Prior, Registered, StatedEdge, StatedStatus, Subject,
};
pub use weights::WeightInfo;

/// Calls, storage and events.
#[frame_support::pallet]
#[allow(clippy::expect_used, missing_docs)] // inside the macro's own code
pub mod pallet {
    use super::{
        Folded, License, ModelEntry, Name, Registered, StatedEdge, StatedStatus, Subject, WeightInfo, types,
    };
    use assay_manifest::lineage::Edge;
    use assay_manifest::log::LogAppend;
    use assay_manifest::status::{Status, StatusSubject};
    use assay_manifest::{ArtifactId, Digest32, ModelId, SpecId};
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
        /// Held for every registration, edge, priority commitment and status.
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
        /// Deposit of registrations, edges, priority commitments and statuses.
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
    pub type Names<T: Config> = StorageDoubleMap<
        _,
        Blake2_128Concat,
        T::AccountId,
        Blake2_128Concat,
        Folded,
        ArtifactId,
        OptionQuery,
    >;

    /// Registrations of a model, by the spec that they state. Ids are hashes: not hashed again.
    #[pallet::storage]
    pub type Models<T: Config> =
        StorageDoubleMap<_, Identity, ModelId, Identity, SpecId, ModelEntry, OptionQuery>;

    /// Commitments that are not opened, by who made them.
    #[pallet::storage]
    pub type Priors<T: Config> =
        StorageMap<_, Blake2_128Concat, T::AccountId, types::Priors<BlockNumberFor<T>>, ValueQuery>;

    /// What accounts say now of their own claims and keys. Keys are not hashes that nobody chooses: hashed.
    #[pallet::storage]
    pub type Statuses<T: Config> = StorageDoubleMap<
        _,
        Blake2_128Concat,
        StatusSubject,
        Blake2_128Concat,
        T::AccountId,
        StatedStatus<BlockNumberFor<T>>,
        OptionQuery,
    >;

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
        Unregistered { artifact: ArtifactId, account: T::AccountId, log_index: u64 },
        /// An edge was stated.
        EdgeStated { edge: Edge, id: Digest32, account: T::AccountId, log_index: u64 },
        /// An edge was withdrawn; its log entry stays.
        EdgeWithdrawn { child: ArtifactId, id: Digest32, account: T::AccountId, log_index: u64 },
        /// An account committed to an artifact that it did not name.
        PriorCommitted { commitment: Digest32, account: T::AccountId, log_index: u64 },
        /// An account showed that it had committed to the artifact that it registers.
        PriorityShown {
            artifact: ArtifactId,
            account: T::AccountId,
            committed_at: BlockNumberFor<T>,
            log_index: u64,
        },
        /// A commitment was given up; its log entry stays.
        PriorWithdrawn { commitment: Digest32, account: T::AccountId },
        /// An account spoke of a claim or key of its own.
        StatusStated { status: Status, account: T::AccountId, log_index: u64 },
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
        /// The account has made this commitment.
        PriorExists,
        /// The account has as many commitments as it may; open or withdraw one first.
        TooManyPriors,
        /// No such commitment of this account.
        NoSuchPrior,
        /// The commitment is younger than ten blocks.
        PriorTooYoung,
        /// The commitment has expired.
        PriorExpired,
        /// A commitment is opened in the block of the registration, best in one batch with it.
        RegisteredBefore,
        /// Another commitment was opened with this registration.
        PriorityShown,
        /// The commitment is another account's and has not expired.
        NotYours,
        /// Kind and subject do not go together, the height is to come, or a claim is said to be withdrawn that
        /// is not.
        BadStatus,
        /// The account says so already.
        SameStatus,
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

        /// Commit to an artifact that is to be registered later.
        #[pallet::call_index(4)]
        #[pallet::weight(T::WeightInfo::commit_prior())]
        pub fn commit_prior(origin: OriginFor<T>, commitment: Digest32) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_commit_prior(who, commitment)
        }

        /// Open a commitment, in the block in which the artifact is registered.
        #[pallet::call_index(5)]
        #[pallet::weight(T::WeightInfo::open_prior())]
        pub fn open_prior(origin: OriginFor<T>, artifact: ArtifactId, salt: Digest32) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_open_prior(who, artifact, salt)
        }

        /// Give a commitment up; the deposit returns to whoever made it.
        #[pallet::call_index(6)]
        #[pallet::weight(T::WeightInfo::withdraw_prior())]
        pub fn withdraw_prior(
            origin: OriginFor<T>,
            account: T::AccountId,
            commitment: Digest32,
        ) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_withdraw_prior(who, account, commitment)
        }

        /// Say something of a claim or key of one's own, for ever.
        #[pallet::call_index(7)]
        #[pallet::weight(T::WeightInfo::state_status())]
        pub fn state_status(origin: OriginFor<T>, status: Status) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_state_status(who, status)
        }
    }
}
