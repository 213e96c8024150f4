//! Weights of our calls, in picoseconds of importing a block over the default store.
//!
//! Measured and written by `cargo run --release -p assay-runtime --example weights`, with 50000
//! accounts and 255 providers of sixteen models each, on 2 cores of AMD EPYC, on 2026-11-24.
//! Every number is rounded up to two digits. What is added to votes of validators, and to draws for those at
//! large, is in `examples/weights/render.rs`.

use frame_support::weights::{RuntimeDbWeight, Weight};

/// The measured weights.
pub struct Measured;

const fn us(microseconds: u64) -> Weight {
    Weight::from_parts(microseconds.saturating_mul(1_000_000), 0)
}

/// A key of the state that is read, and one that is written, its part of the state root and of the durable
/// write included.
pub const DATABASE: RuntimeDbWeight = RuntimeDbWeight { read: 12_000_000, write: 59_000_000 };

impl pallet_assay_artifacts::WeightInfo for Measured {
    fn register() -> Weight {
        us(130)
    }
    fn unregister() -> Weight {
        us(77)
    }
    fn state_edge() -> Weight {
        us(120)
    }
    fn withdraw_edge() -> Weight {
        us(130)
    }
    fn commit_prior() -> Weight {
        us(77)
    }
    fn open_prior() -> Weight {
        us(200)
    }
    fn withdraw_prior() -> Weight {
        us(85)
    }
    fn state_status() -> Weight {
        us(67)
    }
}

// Measured with one validator, and raised by what decision 0034 computes for as many as there may be.
impl pallet_assay_validators::WeightInfo for Measured {
    fn bond() -> Weight {
        us(5_400)
    }
    fn unbond() -> Weight {
        us(270)
    }
    fn announce() -> Weight {
        us(270)
    }
    fn withdraw() -> Weight {
        us(910)
    }
    fn convict() -> Weight {
        us(1_300)
    }
    fn authorize_conviction() -> Weight {
        us(90)
    }
    fn note_commit(places: u32) -> Weight {
        us(300).saturating_add(us(40).saturating_mul(places.into()))
    }
    fn end_session() -> Weight {
        us(1_200)
    }
    fn on_initialize(bonds: u32) -> Weight {
        us(980).saturating_add(us(19).saturating_mul(bonds.into()))
    }
}

impl pallet_assay_providers::WeightInfo for Measured {
    fn stake() -> Weight {
        us(340)
    }
    fn unstake() -> Weight {
        us(700)
    }
    fn withdraw() -> Weight {
        us(430)
    }
    fn set_offer(models: u32) -> Weight {
        us(160).saturating_add(us(3).saturating_mul(models.into()))
    }
    fn set_keys() -> Weight {
        us(300)
    }
    fn rotate() -> Weight {
        us(190)
    }
    fn on_initialize(offers: u32) -> Weight {
        us(20).saturating_add(us(6_100).saturating_mul(offers.into()))
    }
}

impl pallet_assay_jobs::WeightInfo for Measured {
    fn request() -> Weight {
        us(630)
    }
    fn step() -> Weight {
        us(650)
    }
    fn complain() -> Weight {
        us(51_000)
    }
    fn post(bytes: u32) -> Weight {
        us(730).saturating_add(us(8).saturating_mul(u64::from(bytes.div_ceil(1_024))))
    }
    fn authorize_post(bytes: u32) -> Weight {
        us(57).saturating_add(us(1).saturating_mul(u64::from(bytes.div_ceil(1_024))))
    }
    fn need_answer() -> Weight {
        us(240)
    }
    fn challenge() -> Weight {
        us(320)
    }
    fn rule(signatures: u32) -> Weight {
        us(360).saturating_add(us(40).saturating_mul(signatures.into()))
    }
    fn authorize_step() -> Weight {
        us(54)
    }
    fn reveal() -> Weight {
        us(660)
    }
    fn verdict(signatures: u32) -> Weight {
        us(1_400).saturating_add(us(40).saturating_mul(signatures.into()))
    }
    fn poke() -> Weight {
        us(990)
    }
    fn on_initialize(jobs: u32) -> Weight {
        us(20).saturating_add(us(990).saturating_mul(jobs.into()))
    }
}
