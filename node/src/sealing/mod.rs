//! The keys with which this node opens what is sealed to it.
//!
//! A provider's first key follows from its work key, so that its account can publish it before a node runs. From
//! then on keys are random, one file each, and replaced day by day: the work key signs the change, which costs
//! nothing. A key is deleted, its file overwritten first, when the ledger holds no job any more that was sealed to
//! it; that is when the challenge window of the last one has closed. Then nobody can open what was sent to it, not
//! even with everything that this node has. (A file system that copies on write, or a disk that spreads writes,
//! may keep what was overwritten; encrypt the disk where that matters.)

mod ring;
mod rotation;
mod service;

use assay_protocol::seal::Entropy;
use rand::RngCore;
use rand::rngs::OsRng;

pub use ring::{HeldKey, KeyRing, KeyUse, RingError};
pub use rotation::{Action, Published};
pub use service::{KeyLedger, rotate};

/// Fresh randomness for one package.
pub fn fresh_entropy() -> Entropy {
    let mut bytes = [0; 32];
    OsRng.fill_bytes(&mut bytes);
    Entropy::from_bytes(bytes)
}
