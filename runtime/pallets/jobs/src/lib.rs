//! Jobs on the ledger: escrow, deadlines and the effects of the protocol's state machine.
//!
//! All rules live in `assay_protocol::job`. This pallet holds the money, feeds inputs to the machine and
//! carries out what it answers, all of it or nothing. Job steps are feeless authorised calls: they carry
//! the work key's signature over the protocol's own bytes, and are valid only while they change the state.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod effects;
mod ports;
mod queue;
mod request;
mod steps;
pub mod weights;

pub use pallet::*;
pub use ports::{Beacon, ProviderBook, Referees};
pub use weights::WeightInfo;

/// Calls, storage and events.
#[frame_support::pallet]
#[allow(clippy::expect_used, missing_docs)] // inside the macro's own code
pub mod pallet {
    use super::{Beacon, ProviderBook, Referees, WeightInfo};
    use assay_manifest::log::LogAppend;
    use assay_manifest::{Digest32, JobId};
    use assay_protocol::certificate::ValidatorSignature;
    use assay_protocol::commitment::{Claim, Opening};
    use assay_protocol::draw::Candidate;
    use assay_protocol::job::{Job, Phase, Verdict};
    use assay_protocol::params::Params;
    use assay_protocol::party::Role;
    use assay_protocol::record::PublicRecord;
    use assay_protocol::signature::{SeatStep, Signature};
    use frame_support::pallet_prelude::*;
    use frame_support::traits::fungible::{InspectHold, Mutate, MutateHold};
    use frame_system::pallet_prelude::*;

    /// Jobs that a block advances by itself; more are put off to the next.
    pub const DUE_PER_BLOCK_MAX: u32 = 32;
    /// Validators whose signatures a verdict may carry.
    pub const VERDICT_SIGNATURES_MAX: u32 = 100;

    #[pallet::config]
    pub trait Config:
        frame_system::Config<AccountId = sp_runtime::AccountId32, RuntimeEvent: From<Event<Self>>>
    {
        /// The token in which jobs are paid.
        type Currency: MutateHold<Self::AccountId, Reason = Self::RuntimeHoldReason, Balance = u128>
            + InspectHold<Self::AccountId>
            + Mutate<Self::AccountId>;
        /// The composed hold reason.
        type RuntimeHoldReason: From<HoldReason>;
        /// Stake, offers and scores.
        type Providers: ProviderBook<Self::AccountId>;
        /// Randomness of a height.
        type Beacon: Beacon;
        /// The validators as referees.
        type Referees: Referees;
        /// The log of settlements.
        type Log: LogAppend;
        /// The account that pays referees and later verifications.
        type Pot: Get<Self::AccountId>;
        /// Measured weights.
        type WeightInfo: WeightInfo;
    }

    #[pallet::pallet]
    pub struct Pallet<T>(_);

    #[pallet::composite_enum]
    pub enum HoldReason {
        /// What a requester owes at most for its open jobs.
        Escrow,
    }

    /// The chain's parameters, fixed at genesis.
    #[pallet::storage]
    pub type Parameters<T: Config> = StorageValue<_, Params, OptionQuery>;

    /// Every job that is not closed. Keyed by its id, itself a hash.
    #[pallet::storage]
    pub type Jobs<T: Config> = StorageMap<_, Identity, JobId, Job, OptionQuery>;

    /// Jobs on which the ledger acts at a height. An entry whose job moved on is skipped.
    #[pallet::storage]
    pub type Due<T: Config> = StorageMap<
        _,
        Twox64Concat,
        BlockNumberFor<T>,
        BoundedVec<JobId, ConstU32<DUE_PER_BLOCK_MAX>>,
        ValueQuery,
    >;

    /// The number that an account's next job must carry.
    #[pallet::storage]
    pub type NextNonce<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, u64, ValueQuery>;

    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// The chain's parameters.
        pub params: Option<Params>,
        #[serde(skip)]
        pub _config: core::marker::PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            Parameters::<T>::put(self.params.clone().unwrap_or(Params::MAIN));
        }
    }

    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A job was requested and its escrow is held.
        Requested { job: JobId, requester: T::AccountId, escrow: u128 },
        /// A job moved to another phase.
        Advanced { job: JobId, round: u8, phase: Phase },
        /// Seats were drawn among these; with the height's randomness anyone can repeat it.
        Drawn { job: JobId, round: u8, role: Role, candidates: Vec<Candidate> },
        /// A seat committed.
        Committed { job: JobId, round: u8, seat: u8, commitment: Digest32, claim: Option<Claim> },
        /// A value was opened.
        Revealed { job: JobId, round: u8, opening: Opening, value: Digest32 },
        /// A job came to its end; its record is the log's leaf at this index.
        Settled { job: JobId, verdict: Verdict, log_index: u64 },
        /// The challenge window closed and the job left the state.
        Closed { job: JobId },
        /// Too many jobs are due around its next deadline; `poke` advances it when that has come.
        PutOff { job: JobId },
        /// An automatic step failed; `poke` retries it. This is a bug worth reporting.
        Stuck { job: JobId },
    }

    #[pallet::error]
    pub enum Error<T> {
        /// The record has an unknown version or asks for rules that are not in force.
        Unsupported,
        /// A count, window or policy is out of its range.
        OutOfRange,
        /// The job fee is under the chain's minimum.
        FeeTooSmall,
        /// The height up to which the request counts has passed.
        Stale,
        /// The number is not the account's next.
        WrongNonce,
        /// No provider serves this model at these prices with stake for the bond.
        NoProvider,
        /// Fewer providers than seats serve this model at these prices with stake for the bond.
        TooFewVerifiers,
        /// No such job.
        UnknownJob,
        /// The step changes nothing now.
        Refused,
        /// Nothing is due.
        NotDue,
        /// Too many jobs are due around that height.
        QueueFull,
        /// Books and holds differ; this is a bug.
        Inconsistent,
        /// The cap for a verified token is under the price of a prompt token.
        VerifyCapTooSmall,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(now: BlockNumberFor<T>) -> Weight {
            let jobs = Self::advance_due(now);
            T::WeightInfo::on_initialize(jobs)
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Ask for a job and hold its escrow. `nonce` is the account's next job number.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::request())]
        pub fn request(origin: OriginFor<T>, nonce: u64, record: PublicRecord) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_request(who, nonce, record)
        }

        /// A seat accepts, declines, commits or concedes, signed by its work key.
        #[pallet::call_index(1)]
        #[pallet::weight((T::WeightInfo::step(), DispatchClass::Operational))]
        #[pallet::authorize(|_source, job, round, seat, step, signature| {
            Pallet::<T>::authorize_step(job, *round, *seat, step, signature)
        })]
        #[pallet::weight_of_authorize(T::WeightInfo::authorize_step())]
        pub fn step(
            origin: OriginFor<T>,
            job: JobId,
            round: u8,
            seat: u8,
            step: SeatStep,
            signature: Signature,
        ) -> DispatchResult {
            ensure_authorized(origin)?;
            Self::do_step(job, round, seat, step, signature)
        }

        /// Open a value for every seat that committed to it. Anyone may.
        #[pallet::call_index(2)]
        #[pallet::weight((T::WeightInfo::reveal(), DispatchClass::Operational))]
        #[pallet::authorize(|_source, job, opening| Pallet::<T>::authorize_reveal(job, opening))]
        #[pallet::weight_of_authorize(T::WeightInfo::authorize_step())]
        pub fn reveal(origin: OriginFor<T>, job: JobId, opening: Opening) -> DispatchResult {
            ensure_authorized(origin)?;
            Self::do_reveal(job, opening)
        }

        /// The validators' decision about a disputed job: the right value, or none.
        #[pallet::call_index(3)]
        #[pallet::weight((T::WeightInfo::verdict(signatures.len() as u32), DispatchClass::Operational))]
        #[pallet::authorize(|_source, job, opening, signatures| {
            Pallet::<T>::authorize_verdict(job, opening, signatures)
        })]
        #[pallet::weight_of_authorize(T::WeightInfo::verdict(signatures.len() as u32))]
        pub fn verdict(
            origin: OriginFor<T>,
            job: JobId,
            opening: Option<Opening>,
            signatures: BoundedVec<ValidatorSignature, ConstU32<VERDICT_SIGNATURES_MAX>>,
        ) -> DispatchResult {
            ensure_authorized(origin)?;
            Self::do_verdict(job, opening, &signatures)
        }

        /// Convict a seat by a second commitment that it signed. Anyone may.
        #[pallet::call_index(4)]
        #[pallet::weight((T::WeightInfo::step(), DispatchClass::Operational))]
        #[pallet::authorize(|_source, job, seat, commitment, claim, signature| {
            Pallet::<T>::authorize_equivocation(job, *seat, commitment, claim, signature)
        })]
        #[pallet::weight_of_authorize(T::WeightInfo::authorize_step())]
        pub fn equivocation(
            origin: OriginFor<T>,
            job: JobId,
            seat: u8,
            commitment: Digest32,
            claim: Option<Claim>,
            signature: Signature,
        ) -> DispatchResult {
            ensure_authorized(origin)?;
            Self::do_equivocation(job, seat, commitment, claim, signature)
        }

        /// Do what was due and did not happen. Anyone may.
        #[pallet::call_index(5)]
        #[pallet::weight((T::WeightInfo::poke(), DispatchClass::Operational))]
        #[pallet::authorize(|_source, job| Pallet::<T>::authorize_poke(job))]
        #[pallet::weight_of_authorize(T::WeightInfo::authorize_step())]
        pub fn poke(origin: OriginFor<T>, job: JobId) -> DispatchResult {
            ensure_authorized(origin)?;
            Self::do_poke(job)
        }
    }
}
