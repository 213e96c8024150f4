//! Everything that can be asked of the runtime by name.

#![allow(missing_docs)] // the macro's own items

use assay_manifest::status::StatusSubject;
use assay_manifest::{ArtifactId, Digest32, JobId, ModelId, SpecId};
use assay_protocol::certificate::ValidatorSet;
use assay_protocol::fees::Quote;
use assay_protocol::job::Job;
use assay_protocol::params::Params;
use assay_protocol::record::PublicRecord;
use pallet_assay_artifacts::Prior;
use pallet_assay_jobs::SpecState;
use pallet_assay_validators::Attended;
use pallet_transaction_payment::{FeeDetails, RuntimeDispatchInfo};
use sp_core::OpaqueMetadata;
use sp_runtime::traits::Block as BlockT;
use sp_runtime::transaction_validity::{TransactionSource, TransactionValidity};
use sp_runtime::{ApplyExtrinsicResult, ExtrinsicInclusionMode};
use sp_version::RuntimeVersion;

use super::InherentDataExt as _;
use crate::queries::{CurrentStatus, ProviderEntry, RegisteredBy, Stated};
use crate::{
    AccountId, Balance, Block, BlockNumber, Executive, Header, Jobs, Nonce, Providers, Runtime, System,
    TransactionPayment, Transparency, VERSION, Validators, queries,
};

sp_api::impl_runtime_apis! {
    impl sp_api::Core<Block> for Runtime {
        fn version() -> RuntimeVersion {
            VERSION
        }
        fn execute_block(block: <Block as BlockT>::LazyBlock) {
            Executive::execute_block(block)
        }
        fn initialize_block(header: &Header) -> ExtrinsicInclusionMode {
            Executive::initialize_block(header)
        }
    }

    impl sp_api::Metadata<Block> for Runtime {
        fn metadata() -> OpaqueMetadata {
            OpaqueMetadata::new(Runtime::metadata().into())
        }
        fn metadata_at_version(version: u32) -> Option<OpaqueMetadata> {
            Runtime::metadata_at_version(version)
        }
        fn metadata_versions() -> Vec<u32> {
            Runtime::metadata_versions()
        }
    }

    impl sp_block_builder::BlockBuilder<Block> for Runtime {
        fn apply_extrinsic(extrinsic: <Block as BlockT>::Extrinsic) -> ApplyExtrinsicResult {
            Executive::apply_extrinsic(extrinsic)
        }
        fn finalize_block() -> Header {
            Executive::finalize_block()
        }
        fn inherent_extrinsics(data: sp_inherents::InherentData) -> Vec<<Block as BlockT>::Extrinsic> {
            data.create_extrinsics()
        }
        fn check_inherents(
            block: <Block as BlockT>::LazyBlock,
            data: sp_inherents::InherentData,
        ) -> sp_inherents::CheckInherentsResult {
            data.check_extrinsics(&block)
        }
    }

    impl sp_transaction_pool::runtime_api::TaggedTransactionQueue<Block> for Runtime {
        fn validate_transaction(
            source: TransactionSource,
            extrinsic: <Block as BlockT>::Extrinsic,
            block: <Block as BlockT>::Hash,
        ) -> TransactionValidity {
            Executive::validate_transaction(source, extrinsic, block)
        }
    }

    impl frame_system_rpc_runtime_api::AccountNonceApi<Block, AccountId, Nonce> for Runtime {
        fn account_nonce(account: AccountId) -> Nonce {
            System::account_nonce(account)
        }
    }

    impl pallet_transaction_payment_rpc_runtime_api::TransactionPaymentApi<Block, Balance> for Runtime {
        fn query_info(extrinsic: <Block as BlockT>::Extrinsic, len: u32) -> RuntimeDispatchInfo<Balance> {
            TransactionPayment::query_info(extrinsic, len)
        }
        fn query_fee_details(extrinsic: <Block as BlockT>::Extrinsic, len: u32) -> FeeDetails<Balance> {
            TransactionPayment::query_fee_details(extrinsic, len)
        }
        fn query_weight_to_fee(weight: frame_support::weights::Weight) -> Balance {
            TransactionPayment::weight_to_fee(weight)
        }
        fn query_length_to_fee(length: u32) -> Balance {
            TransactionPayment::length_to_fee(length)
        }
    }

    impl queries::ArtifactsApi<Block> for Runtime {
        fn registrations(artifact: ArtifactId) -> Vec<RegisteredBy> {
            pallet_assay_artifacts::Registrations::<Runtime>::iter_prefix(artifact).collect()
        }
        fn list(after: Option<(ArtifactId, AccountId)>, limit: u32) -> Vec<RegisteredBy> {
            crate::Artifacts::page(after, limit.min(queries::PAGE_MAX))
        }
        fn named(account: AccountId, name: Vec<u8>) -> Option<ArtifactId> {
            crate::Artifacts::named(&account, name)
        }
        fn model(model: ModelId) -> Option<ArtifactId> {
            crate::Artifacts::artifact_of(model)
        }
        fn agrees(model: ModelId, spec: SpecId) -> Option<bool> {
            crate::Artifacts::agrees(model, spec)
        }
        fn edges(child: ArtifactId) -> Vec<Stated> {
            pallet_assay_artifacts::Edges::<Runtime>::iter_prefix_values(child).collect()
        }
        fn statuses(of: Vec<(StatusSubject, AccountId)>) -> Vec<Option<CurrentStatus>> {
            let asked = of.into_iter().take(queries::PAGE_MAX as usize);
            asked.map(|(subject, who)| pallet_assay_artifacts::Statuses::<Runtime>::get(subject, who)).collect()
        }
        fn priors(account: AccountId) -> Vec<Prior<BlockNumber>> {
            pallet_assay_artifacts::Priors::<Runtime>::get(account).into_inner()
        }
    }

    impl queries::ProvidersApi<Block> for Runtime {
        fn provider(account: AccountId) -> Option<ProviderEntry> {
            Providers::entry(account)
        }
        fn list(after: Option<AccountId>, limit: u32) -> Vec<ProviderEntry> {
            Providers::page(after, limit.min(queries::PAGE_MAX))
        }
        fn serving(model: ModelId, spec: Option<SpecId>) -> Vec<AccountId> {
            Providers::serving(&model, spec.as_ref(), queries::PAGE_MAX)
        }
    }

    impl queries::JobsApi<Block> for Runtime {
        fn job(id: JobId) -> Option<Job> {
            pallet_assay_jobs::Jobs::<Runtime>::get(id)
        }
        fn open_jobs() -> Vec<Job> {
            pallet_assay_jobs::Jobs::<Runtime>::iter_values().collect()
        }
        fn list(after: Option<JobId>, limit: u32) -> Vec<Job> {
            Jobs::page(after, limit.min(queries::PAGE_MAX))
        }
        fn at_hand(accounts: Vec<AccountId>, validator: bool) -> Vec<Job> {
            Jobs::at_hand(&accounts, validator)
        }
        fn quote(record: PublicRecord) -> Option<Quote> {
            Jobs::quote(&record).ok()
        }
        fn next_nonce(account: AccountId) -> u64 {
            pallet_assay_jobs::NextNonce::<Runtime>::get(account)
        }
        fn params() -> Params {
            Jobs::params()
        }
        fn questioned() -> Vec<(SpecId, SpecState<BlockNumber>)> {
            pallet_assay_jobs::Specs::<Runtime>::iter().collect()
        }
        fn unjudged(validator: Digest32) -> Vec<JobId> {
            Jobs::unjudged(&validator)
        }
    }

    impl queries::LedgerApi<Block> for Runtime {
        fn log() -> (u64, Digest32) {
            Transparency::size_and_root()
        }
        fn validators() -> ValidatorSet {
            Validators::set()
        }
        fn attendance() -> (Attended, Attended) {
            (Validators::attendance(), pallet_assay_validators::LastSession::<Runtime>::get())
        }
        fn validator_addresses() -> Vec<Vec<u8>> {
            Validators::addresses()
        }
        fn randomness(height: u32) -> Option<Digest32> {
            Validators::randomness_at(height)
        }
        fn check_invariants() -> Result<(), Vec<u8>> {
            Runtime::check_invariants().map_err(|broken| broken.as_bytes().to_vec())
        }
    }
}
