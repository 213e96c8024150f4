//! Malachite behind the consensus service: the only module that names it, since its interface changes between
//! versions. Its authors call it alpha software that has not been audited by others.

mod app;
mod context;
mod engine;
mod parts;
mod signing;
mod wire;

pub use engine::{Consensus, check_address};
pub use wire::reencoded;
