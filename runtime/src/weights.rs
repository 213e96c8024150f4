//! Weights of our calls, in picoseconds of importing a block over the default store.
//!
//! Measured and written by `cargo run --release -p assay-runtime --example weights`, with 50000
//! accounts and 255 providers of sixteen models each, on 2 cores of AMD EPYC, on 2026-11-30.
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
pub const DATABASE: RuntimeDbWeight = RuntimeDbWeight { read: 13_000_000, write: 46_000_000 };

/// What every transaction takes whatever it calls: its signature, and a read and a write of its sender's account, from
/// which the fee is taken.
pub const TRANSACTION: Weight = us(140);

impl pallet_assay_artifacts::WeightInfo for Measured {
    fn register() -> Weight {
        us(110)
    }
    fn unregister() -> Weight {
        us(92)
    }
    fn state_edge() -> Weight {
        us(130)
    }
    fn withdraw_edge() -> Weight {
        us(110)
    }
    fn commit_prior() -> Weight {
        us(83)
    }
    fn open_prior() -> Weight {
        us(200)
    }
    fn withdraw_prior() -> Weight {
        us(97)
    }
    fn state_status() -> Weight {
        us(98)
    }
}

impl pallet_assay_validators::WeightInfo for Measured {
    fn bond() -> Weight {
        us(2_100)
    }
    fn unbond() -> Weight {
        us(180)
    }
    fn announce() -> Weight {
        us(160)
    }
    fn withdraw() -> Weight {
        us(250)
    }
    fn convict() -> Weight {
        us(290)
    }
    fn authorize_conviction() -> Weight {
        us(120)
    }
    fn note_commit(places: u32) -> Weight {
        us(300).saturating_add(us(49).saturating_mul(places.into()))
    }
    fn end_session() -> Weight {
        us(1_200)
    }
    fn on_initialize(bonds: u32) -> Weight {
        us(2_800).saturating_add(us(6).saturating_mul(bonds.into()))
    }
}

impl pallet_assay_providers::WeightInfo for Measured {
    fn stake() -> Weight {
        us(410)
    }
    fn unstake() -> Weight {
        us(1_600)
    }
    fn withdraw() -> Weight {
        us(280)
    }
    fn set_offer(models: u32) -> Weight {
        us(220).saturating_add(us(1).saturating_mul(models.into()))
    }
    fn set_keys() -> Weight {
        us(330)
    }
    fn rotate() -> Weight {
        us(240)
    }
    fn on_initialize(offers: u32) -> Weight {
        us(20).saturating_add(us(6_700).saturating_mul(offers.into()))
    }
}

impl pallet_assay_jobs::WeightInfo for Measured {
    fn request() -> Weight {
        us(810)
    }
    fn step() -> Weight {
        us(600)
    }
    fn complain() -> Weight {
        us(37_000)
    }
    fn post(bytes: u32) -> Weight {
        us(700).saturating_add(us(9).saturating_mul(u64::from(bytes.div_ceil(1_024))))
    }
    fn authorize_post(bytes: u32) -> Weight {
        us(62).saturating_add(us(1).saturating_mul(u64::from(bytes.div_ceil(1_024))))
    }
    fn need_answer() -> Weight {
        us(340)
    }
    fn challenge() -> Weight {
        us(380)
    }
    fn rule(signatures: u32) -> Weight {
        us(360).saturating_add(us(49).saturating_mul(signatures.into()))
    }
    fn authorize_step() -> Weight {
        us(64)
    }
    fn reveal() -> Weight {
        us(680)
    }
    fn verdict(signatures: u32) -> Weight {
        us(1_300).saturating_add(us(49).saturating_mul(signatures.into()))
    }
    fn poke() -> Weight {
        us(1_200)
    }
    fn on_initialize(jobs: u32) -> Weight {
        us(20).saturating_add(us(1_200).saturating_mul(jobs.into()))
    }
}
