//! The runtime's parts. Their hooks run in the order of their indices, whatever the order in this file.
//!
//! The beacon comes before the jobs, which draw by it; the log comes last, so that its root covers the block.

#![allow(missing_docs)] // the macro's own items

mod apis;

pub(crate) use apis::RUNTIME_API_VERSIONS;
pub use apis::api;

use crate::Block;

#[frame_support::runtime]
mod parts {
    #[runtime::runtime]
    #[runtime::derive(
        RuntimeCall,
        RuntimeEvent,
        RuntimeError,
        RuntimeOrigin,
        RuntimeFreezeReason,
        RuntimeHoldReason,
        RuntimeSlashReason,
        RuntimeLockId,
        RuntimeTask,
        RuntimeViewFunction
    )]
    pub struct Runtime;

    #[runtime::pallet_index(0)]
    pub type System = frame_system;
    #[runtime::pallet_index(1)]
    pub type Timestamp = pallet_timestamp;
    #[runtime::pallet_index(2)]
    pub type Balances = pallet_balances;
    #[runtime::pallet_index(3)]
    pub type TransactionPayment = pallet_transaction_payment;
    #[runtime::pallet_index(4)]
    pub type Utility = pallet_utility;
    #[runtime::pallet_index(5)]
    pub type Multisig = pallet_multisig;
    #[runtime::pallet_index(6)]
    pub type Proxy = pallet_proxy;
    #[runtime::pallet_index(49)]
    pub type Validators = pallet_assay_validators;
    #[runtime::pallet_index(50)]
    pub type Artifacts = pallet_assay_artifacts;
    #[runtime::pallet_index(51)]
    pub type Providers = pallet_assay_providers;
    #[runtime::pallet_index(52)]
    pub type Jobs = pallet_assay_jobs;
    #[runtime::pallet_index(53)]
    pub type Transparency = pallet_assay_transparency;
}

/// Runs a block through all parts.
pub type Executive = frame_executive::Executive<
    Runtime,
    Block,
    frame_system::ChainContext<Runtime>,
    Runtime,
    AllPalletsWithSystem,
>;
