//! Weights of our calls, in picoseconds of importing a block over the default store.
//!
//! Measured and written by `cargo run --release -p assay-runtime --example weights`, with 50000
//! accounts and 255 providers of sixteen models each, on 2 cores of AMD EPYC, on 2026-11-24.
//! Every number is rounded up to two digits.

use frame_support::weights::Weight;

/// The measured weights.
pub struct Measured;

const fn us(microseconds: u64) -> Weight {
    Weight::from_parts(microseconds.saturating_mul(1_000_000), 0)
}

impl pallet_assay_artifacts::WeightInfo for Measured {
    fn register() -> Weight {
        us(150)
    }
    fn unregister() -> Weight {
        us(130)
    }
    fn state_edge() -> Weight {
        us(150)
    }
    fn withdraw_edge() -> Weight {
        us(140)
    }
    fn commit_prior() -> Weight {
        us(150)
    }
    fn open_prior() -> Weight {
        us(300)
    }
    fn withdraw_prior() -> Weight {
        us(140)
    }
    fn state_status() -> Weight {
        us(150)
    }
}

impl pallet_assay_providers::WeightInfo for Measured {
    fn stake() -> Weight {
        us(290)
    }
    fn unstake() -> Weight {
        us(550)
    }
    fn withdraw() -> Weight {
        us(4_700)
    }
    fn set_offer(models: u32) -> Weight {
        us(500).saturating_add(us(7).saturating_mul(models.into()))
    }
    fn set_keys() -> Weight {
        us(580)
    }
    fn rotate() -> Weight {
        us(200)
    }
    fn on_initialize(offers: u32) -> Weight {
        us(20).saturating_add(us(350).saturating_mul(offers.into()))
    }
}

impl pallet_assay_jobs::WeightInfo for Measured {
    fn request() -> Weight {
        us(700)
    }
    fn step() -> Weight {
        us(780)
    }
    fn complain() -> Weight {
        us(60_000)
    }
    fn post(bytes: u32) -> Weight {
        us(800).saturating_add(us(1).saturating_mul(u64::from(bytes) / 256))
    }
    fn authorize_post(bytes: u32) -> Weight {
        us(100).saturating_add(us(1).saturating_mul(u64::from(bytes) / 256))
    }
    fn need_answer() -> Weight {
        us(800)
    }
    fn challenge() -> Weight {
        us(800)
    }
    fn rule(signatures: u32) -> Weight {
        us(200).saturating_add(us(37).saturating_mul(signatures.into()))
    }
    fn authorize_step() -> Weight {
        us(52)
    }
    fn reveal() -> Weight {
        us(620)
    }
    fn verdict(signatures: u32) -> Weight {
        us(1_100).saturating_add(us(37).saturating_mul(signatures.into()))
    }
    fn poke() -> Weight {
        us(1_400)
    }
    fn on_initialize(jobs: u32) -> Weight {
        us(20).saturating_add(us(1_400).saturating_mul(jobs.into()))
    }
}
