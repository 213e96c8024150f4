//! Malachite behind the consensus service: the only module that names it, since its interface changes between
//! versions. Its authors call it alpha software that has not been audited by others.
//!
//! A node uses [`Consensus`] and nothing else of it. The rest is what the simulation needs to be the engine itself: it
//! drives Malachite's core message by message, in a time of its own, and asks the [`App`] as the engine does. The example
//! `load` is the opposite: it has the engine as a node starts it, and an application of its own without a ledger.

mod app;
mod context;
mod engine;
mod parts;
mod signing;
mod wire;

pub use app::{App, TIMEOUTS};
pub use context::{
    BlockHash, Chain, Ed25519, Height, Proposal, Validator, ValidatorKey, Validators, Vote, VoteSignature,
    WrongLength,
};
pub use engine::{Consensus, check_address, start};
pub use parts::{Assembly, Contents, Opening, Part, PartFault, split};
pub use signing::{Signatures, Signing};
pub use wire::{Wire, extended, reencoded};
