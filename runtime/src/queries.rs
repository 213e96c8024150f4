//! Queries of our pallets, served through `state_call`.

#![allow(missing_docs, clippy::too_many_arguments)] // the macro's own items

use assay_manifest::status::StatusSubject;
use assay_manifest::{ArtifactId, Digest32, JobId, ModelId, SpecId};
use assay_protocol::certificate::ValidatorSet;
use assay_protocol::fees::Quote;
use assay_protocol::job::Job;
use assay_protocol::params::Params;
use assay_protocol::record::PublicRecord;
use pallet_assay_artifacts::{Prior, Registered, StatedEdge, StatedStatus};
use pallet_assay_jobs::SpecState;
use pallet_assay_providers::{Offer, PendingOffer, Provider};
use pallet_assay_validators::Attended;

use crate::{AccountId, BlockNumber};

/// Most entries of one page.
pub const PAGE_MAX: u32 = 256;

/// A registration with its account.
pub type RegisteredBy = (AccountId, Registered<BlockNumber>);
/// An edge as it was stated.
pub type Stated = StatedEdge<AccountId, BlockNumber>;
/// What an account says now of a claim or key of its own.
pub type CurrentStatus = StatedStatus<BlockNumber>;
/// A provider with its offers.
pub type ProviderEntry = (AccountId, Provider<BlockNumber>, Option<Offer>, Option<PendingOffer<BlockNumber>>);

sp_api::decl_runtime_apis! {
    /// Registered models and datasets.
    pub trait ArtifactsApi {
        /// Every registration of an artifact.
        fn registrations(artifact: ArtifactId) -> Vec<RegisteredBy>;
        /// A page of all registrations, after this artifact and account.
        fn list(after: Option<(ArtifactId, AccountId)>, limit: u32) -> Vec<RegisteredBy>;
        /// The artifact that an account calls by this name.
        fn named(account: AccountId, name: Vec<u8>) -> Option<ArtifactId>;
        /// The artifact of a model.
        fn model(model: ModelId) -> Option<ArtifactId>;
        /// Whether a registration of the model states this spec, or leaves it open; nothing when the model is not
        /// registered.
        fn agrees(model: ModelId, spec: SpecId) -> Option<bool>;
        /// The edges that lead from an artifact to what it was made from.
        fn edges(child: ArtifactId) -> Vec<Stated>;
        /// What each account says now of its own; answers stand at the places of the first 256 questions.
        fn statuses(of: Vec<(StatusSubject, AccountId)>) -> Vec<Option<CurrentStatus>>;
        /// An account's commitments that are not opened.
        fn priors(account: AccountId) -> Vec<Prior<BlockNumber>>;
    }

    /// Sellers of compute.
    pub trait ProvidersApi {
        /// A provider.
        fn provider(account: AccountId) -> Option<ProviderEntry>;
        /// A page of all providers, after this account.
        fn list(after: Option<AccountId>, limit: u32) -> Vec<ProviderEntry>;
        /// Who serves a model by these definitions, or by any; at most a page.
        fn serving(model: ModelId, spec: Option<SpecId>) -> Vec<AccountId>;
    }

    /// Jobs.
    pub trait JobsApi {
        /// A job that is not closed.
        fn job(id: JobId) -> Option<Job>;
        /// Every job that is not closed.
        fn open_jobs() -> Vec<Job>;
        /// A page of them, after this one.
        fn list(after: Option<JobId>, limit: u32) -> Vec<Job>;
        /// The jobs in which something may be at hand for these accounts, and those that wait for somebody to
        /// poke them; for a validator, those that are contested, too.
        fn at_hand(accounts: Vec<AccountId>, validator: bool) -> Vec<Job>;
        /// What a request would cost.
        fn quote(record: PublicRecord) -> Option<Quote>;
        /// The number of an account's next job.
        fn next_nonce(account: AccountId) -> u64;
        /// The chain's parameters.
        fn params() -> Params;
        /// The definitions about which the validators were asked, and what holds of them now.
        fn questioned() -> Vec<(SpecId, SpecState<BlockNumber>)>;
        /// The disputed jobs to which a verdict of this validator would add something now.
        fn unjudged(validator: Digest32) -> Vec<JobId>;
    }

    /// The log and the validators.
    pub trait LedgerApi {
        /// Size and root of the log.
        fn log() -> (u64, Digest32);
        /// The validators of the next height.
        fn validators() -> ValidatorSet;
        /// How many of the present session's commits the validators of the head have signed, and how many of the
        /// session before those who decided then.
        fn attendance() -> (Attended, Attended);
        /// Where they can be reached, as they say: multiaddrs in their binary form, with peers' ids.
        fn validator_addresses() -> Vec<Vec<u8>>;
        /// R_h of a recent height.
        fn randomness(height: u32) -> Option<Digest32>;
        /// Checks every invariant; the answer is the first that does not hold.
        fn check_invariants() -> Result<(), Vec<u8>>;
    }
}
