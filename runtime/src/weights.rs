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
        us(380)
    }
    fn unregister() -> Weight {
        us(190)
    }
    fn state_edge() -> Weight {
        us(300)
    }
    fn withdraw_edge() -> Weight {
        us(200)
    }
    fn commit_prior() -> Weight {
        us(180)
    }
    fn open_prior() -> Weight {
        us(240)
    }
    fn withdraw_prior() -> Weight {
        us(94)
    }
    fn state_status() -> Weight {
        us(140)
    }
}

impl pallet_assay_providers::WeightInfo for Measured {
    fn stake() -> Weight {
        us(320)
    }
    fn unstake() -> Weight {
        us(160)
    }
    fn withdraw() -> Weight {
        us(460)
    }
    fn set_offer(models: u32) -> Weight {
        us(130).saturating_add(us(2).saturating_mul(models.into()))
    }
    fn set_keys() -> Weight {
        us(290)
    }
    fn rotate() -> Weight {
        us(200)
    }
    fn on_initialize(offers: u32) -> Weight {
        us(20).saturating_add(us(590).saturating_mul(offers.into()))
    }
}

impl pallet_assay_jobs::WeightInfo for Measured {
    fn request() -> Weight {
        us(660)
    }
    fn step() -> Weight {
        us(660)
    }
    fn complain() -> Weight {
        us(54_000)
    }
    fn post(bytes: u32) -> Weight {
        us(700).saturating_add(us(10).saturating_mul(u64::from(bytes.div_ceil(1_024))))
    }
    fn authorize_post(bytes: u32) -> Weight {
        us(54).saturating_add(us(1).saturating_mul(u64::from(bytes.div_ceil(1_024))))
    }
    fn need_answer() -> Weight {
        us(280)
    }
    fn challenge() -> Weight {
        us(310)
    }
    fn rule(signatures: u32) -> Weight {
        us(720).saturating_add(us(37).saturating_mul(signatures.into()))
    }
    fn authorize_step() -> Weight {
        us(55)
    }
    fn reveal() -> Weight {
        us(530)
    }
    fn verdict(signatures: u32) -> Weight {
        us(720).saturating_add(us(37).saturating_mul(signatures.into()))
    }
    fn poke() -> Weight {
        us(880)
    }
    fn on_initialize(jobs: u32) -> Weight {
        us(20).saturating_add(us(880).saturating_mul(jobs.into()))
    }
}
