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

mod delivery;
mod effects;
mod invariants;
mod pause;
mod ports;
mod queue;
mod request;
mod steps;
mod votes;
pub mod weights;

pub use pallet::*;
pub use pause::{Ruling, SpecState, ruling_digest};
pub use ports::{Beacon, ProviderBook, Referees};
pub use votes::{Vote, Votes};
pub use weights::WeightInfo;

/// Calls, storage and events.
#[frame_support::pallet]
#[allow(clippy::expect_used, missing_docs)] // inside the macro's own code
pub mod pallet {
    use super::{Beacon, ProviderBook, Referees, Ruling, SpecState, Votes, WeightInfo};
    use assay_manifest::log::LogAppend;
    use assay_manifest::{Digest32, JobId, SpecId};
    use assay_protocol::certificate::ValidatorSignature;
    use assay_protocol::commitment::{Claim, Opening};
    use assay_protocol::draw::Candidate;
    use assay_protocol::job::{Job, Party, Phase, SignedCommitment, Verdict};
    use assay_protocol::params::{PACKAGE_BYTES_MAX, Params};
    use assay_protocol::party::Role;
    use assay_protocol::record::PublicRecord;
    use assay_protocol::signature::{SeatStep, Signature};
    use frame_support::pallet_prelude::*;
    use frame_support::traits::fungible::{InspectHold, Mutate, MutateHold};
    use frame_system::pallet_prelude::*;

    /// Jobs that a block advances by itself; more are put off to the next.
    pub const DUE_PER_BLOCK_MAX: u32 = 32;
    /// Validators that vote in one question, and whose signatures one step may carry: all there can be.
    pub const VOTES_MAX: u32 = 100;
    /// Providers found wrong under one definition, one fewer than pause it.
    pub const WRONG_MAX: u32 = 2;

    /// A sealed package on the ledger.
    pub type Package = BoundedVec<u8, ConstU32<PACKAGE_BYTES_MAX>>;
    /// Signatures of validators.
    pub type Signatures = BoundedVec<ValidatorSignature, ConstU32<VOTES_MAX>>;

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
        /// What stands for a challenge, or for the bytes of an answer that is asked for on the ledger.
        Deposit,
    }

    /// The chain's parameters, fixed at genesis.
    #[pallet::storage]
    pub type Parameters<T: Config> = StorageValue<_, Params, OptionQuery>;

    /// Every job that is not closed. Keyed by its id, itself a hash.
    #[pallet::storage]
    pub type Jobs<T: Config> = StorageMap<_, Identity, JobId, Job, OptionQuery>;

    /// Jobs on which the ledger acts at a height.
    #[pallet::storage]
    pub type Due<T: Config> = StorageMap<
        _,
        Twox64Concat,
        BlockNumberFor<T>,
        BoundedVec<JobId, ConstU32<DUE_PER_BLOCK_MAX>>,
        ValueQuery,
    >;

    /// In which queue a job stands. Keyed by ids that are hashes.
    #[pallet::storage]
    pub type DueAt<T: Config> = StorageMap<_, Identity, JobId, BlockNumberFor<T>, OptionQuery>;

    /// Packages that parties asked for on the ledger. Keyed by ids that are hashes.
    #[pallet::storage]
    pub type Packages<T: Config> =
        StorageDoubleMap<_, Identity, JobId, Twox64Concat, Party, Package, OptionQuery>;

    /// Jobs in which something may be at hand for a provider. Both keys are hashes or keys of others.
    #[pallet::storage]
    pub type AtHand<T: Config> =
        StorageDoubleMap<_, Blake2_128Concat, T::AccountId, Identity, JobId, (), OptionQuery>;

    /// Jobs that wait for the validators.
    #[pallet::storage]
    pub type Contested<T: Config> = StorageMap<_, Identity, JobId, (), OptionQuery>;

    /// What validators say of the jobs that wait for them. Keyed by ids that are hashes.
    #[pallet::storage]
    pub type VerdictVotes<T: Config> = StorageMap<_, Identity, JobId, Votes, ValueQuery>;

    /// What validators say of the definitions that are paused. Keyed by ids that are hashes.
    #[pallet::storage]
    pub type RulingVotes<T: Config> = StorageMap<_, Identity, SpecId, Votes, ValueQuery>;

    /// Jobs that the ledger does not advance by itself: whoever pokes them does.
    #[pallet::storage]
    pub type Waiting<T: Config> = StorageMap<_, Identity, JobId, (), OptionQuery>;

    /// The part of the pot that is set aside for fresh verifiers.
    #[pallet::storage]
    pub type Reserved<T: Config> = StorageValue<_, u128, ValueQuery>;

    /// Providers that verdicts found wrong under a definition lately, with the height.
    #[pallet::storage]
    pub type Wrong<T: Config> = StorageMap<
        _,
        Identity,
        SpecId,
        BoundedVec<(T::AccountId, BlockNumberFor<T>), ConstU32<WRONG_MAX>>,
        ValueQuery,
    >;

    /// Definitions about which the validators have to say something, or have said it.
    #[pallet::storage]
    pub type Specs<T: Config> = StorageMap<_, Identity, SpecId, SpecState<BlockNumberFor<T>>, OptionQuery>;

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
        /// A party asks for data that it lacks, sealed to this key.
        Needed { job: JobId, party: Party, key: Digest32 },
        /// A package for it is on the ledger.
        Posted { job: JobId, party: Party, bytes: u32 },
        /// A package of which its recipient complained was opened: it is good, or not.
        Complained { job: JobId, party: Party, good: bool },
        /// Somebody contests a settlement.
        Challenged { job: JobId, challenger: T::AccountId, deposit: u128 },
        /// A verdict would have found too many wrong: no verdict under this definition counts until the
        /// validators have ruled.
        Paused { spec: SpecId, job: JobId },
        /// The validators have ruled on a definition.
        Ruled { spec: SpecId, ruling: Ruling },
        /// A job came to its end, or its end changed; its record is the log's leaf at this index.
        Settled { job: JobId, verdict: Verdict, log_index: u64 },
        /// The challenge window closed and the job left the state.
        Closed { job: JobId },
        /// Too many jobs are due around its next deadline; `poke` advances it when that has come.
        PutOff { job: JobId },
        /// An automatic step failed; `poke` retries it. This is a bug worth reporting.
        Stuck { job: JobId },
        /// A validator says of a disputed job that this value is right, or none.
        Judged { job: JobId, validator: Digest32, opening: Option<Opening> },
        /// A validator says what holds of a paused definition.
        VotedToRule { spec: SpecId, validator: Digest32, ruling: Ruling },
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
        /// No provider serves this model by these definitions at these prices with stake for the bond.
        NoProvider,
        /// Fewer providers than seats serve this model by these definitions at these prices with stake for the bond.
        TooFewVerifiers,
        /// Nobody who does not serve the model would fetch one of its size and verify it at this price with stake for the
        /// bond.
        NobodyAtLarge,
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
        /// The validators have to rule on this definition first, or have annulled it.
        SpecSuspended,
        /// Fewer parties may see the input than a dispute needs.
        TooFewEyes,
        /// The job is not the account's.
        NotRequester,
        /// Nothing can be sealed to this key.
        BadKey,
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

        /// A seat's own step, signed by its work key.
        #[pallet::call_index(1)]
        #[pallet::weight((T::WeightInfo::seat_step(step), DispatchClass::Operational))]
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

        /// What validators say of a disputed job: the right value, or none. The vote that makes them more than two
        /// thirds of all power decides.
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
            signatures: Signatures,
        ) -> DispatchResult {
            ensure_authorized(origin)?;
            Self::do_verdict(job, opening, &signatures)
        }

        /// Convict a seat by a second commitment that it signed. Anyone may.
        #[pallet::call_index(4)]
        #[pallet::weight((T::WeightInfo::step(), DispatchClass::Operational))]
        #[pallet::authorize(|_source, job, seat, other, claim| {
            Pallet::<T>::authorize_equivocation(job, *seat, other, claim)
        })]
        #[pallet::weight_of_authorize(T::WeightInfo::authorize_step())]
        pub fn equivocation(
            origin: OriginFor<T>,
            job: JobId,
            seat: u8,
            other: SignedCommitment,
            claim: Option<Claim>,
        ) -> DispatchResult {
            ensure_authorized(origin)?;
            Self::do_equivocation(job, seat, other, claim)
        }

        /// Do what was due and did not happen. Anyone may.
        #[pallet::call_index(5)]
        #[pallet::weight((T::WeightInfo::poke(), DispatchClass::Operational))]
        #[pallet::authorize(|_source, job| Pallet::<T>::authorize_poke(job))]
        #[pallet::weight_of_authorize(T::WeightInfo::poke())]
        pub fn poke(origin: OriginFor<T>, job: JobId) -> DispatchResult {
            ensure_authorized(origin)?;
            Self::do_poke(job)
        }

        /// The executor's package for a party that lacks its data (clause J12), signed by its work key.
        #[pallet::call_index(6)]
        #[pallet::weight((T::WeightInfo::post(package.len() as u32), DispatchClass::Operational))]
        #[pallet::authorize(|_source, job, party, package, signature| {
            Pallet::<T>::authorize_post(job, *party, package, signature)
        })]
        #[pallet::weight_of_authorize(T::WeightInfo::authorize_post(package.len() as u32))]
        pub fn post(
            origin: OriginFor<T>,
            job: JobId,
            party: Party,
            package: Package,
            signature: Signature,
        ) -> DispatchResult {
            ensure_authorized(origin)?;
            Self::do_post(job, party, package, signature)
        }

        /// The requester's package for an executor that lacks the input (clause J12).
        #[pallet::call_index(7)]
        #[pallet::weight(T::WeightInfo::post(package.len() as u32))]
        pub fn post_input(origin: OriginFor<T>, job: JobId, seat: u8, package: Package) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_post_input(who, job, seat, package)
        }

        /// Ask on the ledger for the answer of a settled job (clause J12). A deposit pays its bytes.
        #[pallet::call_index(8)]
        #[pallet::weight(T::WeightInfo::need_answer())]
        pub fn need_answer(origin: OriginFor<T>, job: JobId, key: Digest32) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_need_answer(who, job, key)
        }

        /// Say that a posted answer is not the one that was claimed (clause J13).
        #[pallet::call_index(9)]
        #[pallet::weight(T::WeightInfo::complain())]
        pub fn complain_of_answer(origin: OriginFor<T>, job: JobId, secret: Digest32) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_complain_of_answer(who, job, secret)
        }

        /// Contest a settlement (clause J8). A deposit stands for the validators' work.
        #[pallet::call_index(10)]
        #[pallet::weight(T::WeightInfo::challenge())]
        pub fn challenge(origin: OriginFor<T>, job: JobId) -> DispatchResult {
            let who = ensure_signed(origin)?;
            Self::do_challenge(who, job)
        }

        /// What validators say of a definition whose verdicts are paused. The vote that makes them more than two
        /// thirds of all power decides.
        #[pallet::call_index(11)]
        #[pallet::weight((T::WeightInfo::rule(signatures.len() as u32), DispatchClass::Operational))]
        #[pallet::authorize(|_source, spec, ruling, signatures| {
            Pallet::<T>::authorize_ruling(spec, *ruling, signatures)
        })]
        #[pallet::weight_of_authorize(T::WeightInfo::rule(signatures.len() as u32))]
        pub fn rule(
            origin: OriginFor<T>,
            spec: SpecId,
            ruling: Ruling,
            signatures: Signatures,
        ) -> DispatchResult {
            ensure_authorized(origin)?;
            Self::do_rule(spec, ruling, &signatures)
        }
    }
}
