//! The ledger service: owns the chain on a thread of its own and serves reads beside it.
//!
//! Extrinsics go up through [`LedgerHandle::propose`] and [`LedgerHandle::import`]; finalized blocks come
//! down through [`LedgerHandle::subscribe`]. Runtime code runs on threads with a large stack, never on
//! async workers.

mod handle;
mod service;

pub use handle::{FinalizedBlock, LedgerError, LedgerHandle, Proposed};
pub use service::{Config, Ledger, open};
