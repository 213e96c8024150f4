//! What a block may cost.
//!
//! Nothing else stops a runaway call in a natively executed runtime, so the limit is real: half a second of
//! execution, of which authorised job steps may take a quarter and paid calls two thirds.

use frame_support::dispatch::DispatchClass;
use frame_support::weights::Weight;
use frame_support::weights::constants::WEIGHT_REF_TIME_PER_SECOND;
use frame_system::limits::{BlockLength, BlockWeights};
use sp_runtime::Perbill;

/// Execution time of a full block: half of the target interval of one second.
const BLOCK_REF_TIME: u64 = WEIGHT_REF_TIME_PER_SECOND / 2;
/// Bytes of proof are not limited: blocks are executed with the state at hand.
const BLOCK_PROOF_SIZE: u64 = u64::MAX;
/// Share of authorised job steps (class `Operational`): a flood of them leaves three quarters to others.
const STEPS_SHARE: Perbill = Perbill::from_percent(25);
/// Share of paid calls (class `Normal`); the rest is left for hooks.
const PAID_SHARE: Perbill = Perbill::from_percent(65);
/// Bytes of a block: two megabytes reach four peers within a second on a home connection.
const BLOCK_BYTES_MAX: u32 = 2 * 1024 * 1024;

/// Weights of a block.
pub fn block_weights() -> BlockWeights {
    let whole = Weight::from_parts(BLOCK_REF_TIME, BLOCK_PROOF_SIZE);
    BlockWeights::builder()
        .base_block(Weight::from_parts(1_000_000, 0))
        .for_class(DispatchClass::all(), |weights| {
            weights.base_extrinsic = Weight::from_parts(60_000_000, 0);
        })
        .for_class(DispatchClass::Normal, |weights| weights.max_total = Some(PAID_SHARE * whole))
        .for_class(DispatchClass::Operational, |weights| {
            weights.max_total = Some(STEPS_SHARE * whole);
            weights.reserved = Some(STEPS_SHARE * whole);
        })
        .avg_block_initialization(Perbill::from_percent(10))
        .build_or_panic()
}

/// Bytes of a block.
pub fn block_length() -> BlockLength {
    BlockLength::builder()
        .max_length(BLOCK_BYTES_MAX)
        .modify_max_length_for_class(DispatchClass::Normal, |length| *length = PAID_SHARE * BLOCK_BYTES_MAX)
        .build()
}
