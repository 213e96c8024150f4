//! What everyone agrees on: the composed runtime, its genesis, and its native executor.
//!
//! The runtime is FRAME, compiled into the node and executed natively: there is no wasm. An upgrade is a
//! new binary whose rules begin at an agreed height.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod types;
pub mod version;
pub mod limits;
pub mod signature;
pub mod extension;
mod composition;
mod config;
mod ports;
mod weights;
pub mod queries;
pub mod genesis;
mod invariants;
pub mod executor;

pub use composition::*;
pub use extension::{
    SignedPayload, TxExtension, UncheckedExtrinsic, general, signed_extension, signed_implicit,
};
pub use genesis::{Endowment, GenesisSpec};
pub use signature::Signature;
pub use types::*;
pub use version::VERSION;
