//! Consensus: decides the next block, by the votes of more than two thirds of the validators' power.
//!
//! The engine is Malachite, a Tendermint; the module `bft` alone knows it. What it decides on is the hash of a header:
//! blocks are built by the [`Proposer`], travel in parts beside the votes, are executed by the ledger before this node
//! votes for them, and are durable before that. A chain with one validator runs the same engine.

pub mod bft;
mod clock;
mod keys;
mod ports;
mod proposer;
mod solo;

pub use bft::{Consensus, check_address, reencoded};
pub use clock::Clock;
pub use keys::ValidatorKeys;
pub use ports::{Candidate, Candidates, CandidatesError, TransactionSource};
pub use proposer::Proposer;
pub use solo::{Solo, certify};

use std::path::PathBuf;
use std::time::Duration;

use assay_manifest::Digest32;
use rand::RngCore;
use zeroize::Zeroizing;

use crate::ledger::LedgerError;

/// How blocks are agreed on.
#[derive(Clone)]
pub struct Config {
    /// From one block to the next.
    pub block_time: Duration,
    /// What time it is.
    pub clock: Clock,
    /// How this node meets the others.
    pub network: Network,
    /// The file that every message is written to before it is sent.
    pub write_ahead_log: PathBuf,
}

/// How a node meets those that agree on blocks.
#[derive(Clone)]
pub struct Network {
    /// Where others reach it, as a multiaddress such as `/ip4/0.0.0.0/tcp/30333`.
    pub listen: String,
    /// Where it reaches others.
    pub peers: Vec<String>,
    /// Whether it finds others through those.
    pub discovery: bool,
    /// ed25519 seed of the key by which others know it.
    pub key: Zeroizing<[u8; 32]>,
}

impl Network {
    /// Of a node that has no others: on a free port of this machine, with a key of its own.
    pub fn alone() -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rand::thread_rng().fill_bytes(&mut *key);
        Self { listen: "/ip4/127.0.0.1/tcp/0".into(), peers: Vec::new(), discovery: false, key }
    }
}

/// No block could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsensusError {
    /// The ledger refused or has stopped.
    #[error("making a block: {0}")]
    Ledger(#[from] LedgerError),
    /// Proposed blocks cannot be kept.
    #[error(transparent)]
    Candidates(#[from] CandidatesError),
    /// This node's key is not in the chain's validator set.
    #[error("making a block: the key {0} is not a validator of this chain")]
    NotAValidator(Digest32),
    /// The ledger lacks what the next block builds on.
    #[error("making a block: {0}")]
    Incomplete(&'static str),
    /// Others cannot reach this node where it should listen.
    #[error("listening on {address} for consensus: {cause}")]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        cause: String,
    },
    /// The engine could not be started.
    #[error("starting consensus: {0}")]
    Start(String),
    /// The engine has stopped by itself. It does when it cannot be sure to keep its word: its log cannot be
    /// written or read.
    #[error("consensus has stopped: {0}")]
    Stopped(String),
}
