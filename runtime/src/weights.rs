//! Weights of our calls, in picoseconds of importing a block over the default store.
//!
//! Measured and written by `cargo run --release -p assay-runtime --example weights`, with 50000
//! accounts and 255 providers of sixteen models each, on 2 cores of AMD EPYC, on 2026-11-24.
//! Every number is rounded up to two digits.

use frame_support::weights::{RuntimeDbWeight, Weight};

/// The measured weights.
pub struct Measured;

const fn us(microseconds: u64) -> Weight {
    Weight::from_parts(microseconds.saturating_mul(1_000_000), 0)
}

/// A key of the state that is read, and one that is written, its part of the state root and of the durable
/// write included.
pub const DATABASE: RuntimeDbWeight = RuntimeDbWeight { read: 11_000_000, write: 45_000_000 };

impl pallet_assay_artifacts::WeightInfo for Measured {
    fn register() -> Weight {
        us(86)
    }
    fn unregister() -> Weight {
        us(71)
    }
    fn state_edge() -> Weight {
        us(79)
    }
    fn withdraw_edge() -> Weight {
        us(92)
    }
    fn commit_prior() -> Weight {
        us(62)
    }
    fn open_prior() -> Weight {
        us(190)
    }
    fn withdraw_prior() -> Weight {
        us(79)
    }
    fn state_status() -> Weight {
        us(47)
    }
}

impl pallet_assay_providers::WeightInfo for Measured {
    fn stake() -> Weight {
        us(260)
    }
    fn unstake() -> Weight {
        us(190)
    }
    fn withdraw() -> Weight {
        us(520)
    }
    fn set_offer(models: u32) -> Weight {
        us(160).saturating_add(us(2).saturating_mul(models.into()))
    }
    fn set_keys() -> Weight {
        us(290)
    }
    fn rotate() -> Weight {
        us(180)
    }
    fn on_initialize(offers: u32) -> Weight {
        us(20).saturating_add(us(480).saturating_mul(offers.into()))
    }
}

impl pallet_assay_jobs::WeightInfo for Measured {
    fn request() -> Weight {
        us(710)
    }
    fn step() -> Weight {
        us(590)
    }
    fn complain() -> Weight {
        us(50_000)
    }
    fn post(bytes: u32) -> Weight {
        us(660).saturating_add(us(6).saturating_mul(u64::from(bytes.div_ceil(1_024))))
    }
    fn authorize_post(bytes: u32) -> Weight {
        us(54).saturating_add(us(1).saturating_mul(u64::from(bytes.div_ceil(1_024))))
    }
    fn need_answer() -> Weight {
        us(250)
    }
    fn challenge() -> Weight {
        us(320)
    }
    fn rule(signatures: u32) -> Weight {
        us(700).saturating_add(us(35).saturating_mul(signatures.into()))
    }
    fn authorize_step() -> Weight {
        us(53)
    }
    fn reveal() -> Weight {
        us(460)
    }
    fn verdict(signatures: u32) -> Weight {
        us(700).saturating_add(us(35).saturating_mul(signatures.into()))
    }
    fn poke() -> Weight {
        us(920)
    }
    fn on_initialize(jobs: u32) -> Weight {
        us(20).saturating_add(us(920).saturating_mul(jobs.into()))
    }
}
