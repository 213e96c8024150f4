//! Weights of our calls, in picoseconds of execution over the default store.
//!
//! Written by `cargo run --release -p assay-runtime --example weights`.

use frame_support::weights::Weight;

/// The measured weights.
pub struct Measured;

const fn us(microseconds: u64) -> Weight {
    Weight::from_parts(microseconds.saturating_mul(1_000_000), 0)
}

impl pallet_assay_artifacts::WeightInfo for Measured {
    fn register() -> Weight {
        us(300)
    }
    fn unregister() -> Weight {
        us(300)
    }
    fn state_edge() -> Weight {
        us(300)
    }
    fn withdraw_edge() -> Weight {
        us(200)
    }
}

impl pallet_assay_providers::WeightInfo for Measured {
    fn stake() -> Weight {
        us(200)
    }
    fn unstake() -> Weight {
        us(200)
    }
    fn withdraw() -> Weight {
        us(300)
    }
    fn set_offer(models: u32) -> Weight {
        us(200).saturating_add(us(5).saturating_mul(models.into()))
    }
    fn set_keys() -> Weight {
        us(100)
    }
    fn on_initialize(offers: u32) -> Weight {
        us(20).saturating_add(us(2_000).saturating_mul(offers.into()))
    }
}

impl pallet_assay_jobs::WeightInfo for Measured {
    fn request() -> Weight {
        us(6_000)
    }
    fn step() -> Weight {
        us(800)
    }
    fn authorize_step() -> Weight {
        us(200)
    }
    fn reveal() -> Weight {
        us(1_000)
    }
    fn verdict(signatures: u32) -> Weight {
        us(1_500).saturating_add(us(100).saturating_mul(signatures.into()))
    }
    fn poke() -> Weight {
        us(8_000)
    }
    fn on_initialize(jobs: u32) -> Weight {
        us(20).saturating_add(us(8_000).saturating_mul(jobs.into()))
    }
}
