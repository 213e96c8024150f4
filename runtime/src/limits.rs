//! What a block may cost.
//!
//! Nothing else stops a runaway call in a natively executed runtime, so the limit is real: half a second of
//! execution, of which authorised job steps may take a quarter and paid calls two thirds.

use frame_support::dispatch::DispatchClass;
use frame_support::weights::Weight;
use frame_support::weights::constants::WEIGHT_REF_TIME_PER_SECOND;
use frame_system::limits::{BlockLength, BlockWeights};
use sp_runtime::Perbill;

use crate::weights::TRANSACTION;

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
            weights.base_extrinsic = TRANSACTION;
        })
        .for_class(DispatchClass::Normal, |weights| weights.max_total = Some(PAID_SHARE * whole))
        .for_class(DispatchClass::Operational, |weights| {
            weights.max_total = Some(STEPS_SHARE * whole);
            weights.reserved = Some(STEPS_SHARE * whole);
        })
        .avg_block_initialization(Perbill::from_percent(10))
        .build_or_panic()
}

/// The weights of what each transaction is checked by and pays with: its base weight was measured with all of it.
pub struct InTransaction;

impl frame_system::ExtensionsWeightInfo for InTransaction {
    fn check_genesis() -> Weight {
        Weight::zero()
    }
    fn check_mortality_mortal_transaction() -> Weight {
        Weight::zero()
    }
    fn check_mortality_immortal_transaction() -> Weight {
        Weight::zero()
    }
    fn check_non_zero_sender() -> Weight {
        Weight::zero()
    }
    fn check_nonce() -> Weight {
        Weight::zero()
    }
    fn check_spec_version() -> Weight {
        Weight::zero()
    }
    fn check_tx_version() -> Weight {
        Weight::zero()
    }
    fn check_weight() -> Weight {
        Weight::zero()
    }
    fn weight_reclaim() -> Weight {
        Weight::zero()
    }
}

impl pallet_transaction_payment::WeightInfo for InTransaction {
    fn charge_transaction_payment() -> Weight {
        Weight::zero()
    }
}

/// Bytes of a block.
pub fn block_length() -> BlockLength {
    BlockLength::builder()
        .max_length(BLOCK_BYTES_MAX)
        .modify_max_length_for_class(DispatchClass::Normal, |length| *length = PAID_SHARE * BLOCK_BYTES_MAX)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Measured;
    use assay_protocol::params::{Params, ROUNDS_MAX};
    use pallet_assay_jobs::WeightInfo as _;
    use pallet_balances::WeightInfo as _;

    /// How many transactions of this weight one block takes.
    fn fit(class: DispatchClass, weight: Weight) -> u64 {
        let weights = block_weights();
        let limits = weights.get(class);
        let each = limits.base_extrinsic.saturating_add(weight).ref_time();
        limits.max_total.unwrap().ref_time() / each
    }

    #[test]
    fn a_block_takes_a_market_of_jobs() {
        let step = |act: Weight| act.saturating_add(Measured::authorize_step());
        let cases: [(&str, DispatchClass, Weight, u64); 5] = [
            ("requests", DispatchClass::Normal, Measured::request(), 330),
            ("steps", DispatchClass::Operational, step(Measured::step()), 150),
            ("reveals", DispatchClass::Operational, step(Measured::reveal()), 140),
            ("registrations", DispatchClass::Normal, register(), 1_250),
            ("transfers", DispatchClass::Normal, transfer(), 1_350),
        ];
        for (what, class, weight, expected) in cases {
            let count = fit(class, weight);
            assert!(count >= expected, "{count} {what} fit into a block, expected {expected}");
        }
    }

    fn transfer() -> Weight {
        <crate::Runtime as pallet_balances::Config>::WeightInfo::transfer_keep_alive()
    }

    fn register() -> Weight {
        <Measured as pallet_assay_artifacts::WeightInfo>::register()
    }

    #[test]
    fn what_a_block_does_by_itself_leaves_room_for_all_calls() {
        let jobs = Measured::on_initialize(pallet_assay_jobs::DUE_PER_BLOCK_MAX);
        let offers = <Measured as pallet_assay_providers::WeightInfo>::on_initialize(
            pallet_assay_providers::OFFERS_PER_BLOCK_MAX + pallet_assay_providers::DISMISSED_PER_BLOCK_MAX,
        );
        let validators = <Measured as pallet_assay_validators::WeightInfo>::on_initialize(
            pallet_assay_validators::BONDS_MAX,
        );
        let all = pallet_assay_validators::VALIDATORS_MAX;
        let signed = <Measured as pallet_assay_validators::WeightInfo>::note_commit(all)
            .saturating_add(<Measured as pallet_assay_validators::WeightInfo>::end_session());
        let own = jobs.saturating_add(offers).saturating_add(validators).saturating_add(signed).ref_time();
        let left = BLOCK_REF_TIME - PAID_SHARE * BLOCK_REF_TIME;
        assert!(own <= left, "hooks take up to {own} ps of the {left} that paid calls leave");
    }

    #[test]
    fn the_smallest_job_pays_three_times_for_the_work_of_the_longest() {
        // A unit of weight costs a base unit. An executor for each round, the verifiers, a fresh one; a deadline at
        // which nobody is fined takes a seventh of a draw, and fines pay for others.
        let draws = Measured::on_initialize(u32::from(ROUNDS_MAX) + 2);
        let step = Measured::step().saturating_add(Measured::authorize_step());
        let path = Measured::request().saturating_add(draws);
        assert!(Params::MAIN.job_fee_min.get() >= 3 * u128::from(path.ref_time()));
        assert!(Params::MAIN.step_fee.get() >= u128::from(step.ref_time()));
    }
}
