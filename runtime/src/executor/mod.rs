//! Native execution of the runtime over a state trie in a key-value store.
//!
//! A [`Chain`] proposes blocks, verifies them by executing them again, and commits each with everything
//! that belongs to it in one atomic, durable batch. Reads of recent blocks go on beside it.

mod chain;
mod check;
mod decode;
mod error;
mod kv;
mod log;
mod memory;
mod own;
mod prune;
mod query;
mod run;
mod signatures;
mod snapshot;
mod store;
mod succession;
pub mod testing;

pub use chain::{Chain, Executed, Proposal, Retention, events_key};
pub use check::{Checked, check, extrinsics_root};
pub use decode::{decode_block, decode_extrinsic};
pub use error::ChainError;
pub use kv::{Batch, Entry, Kv, StoreError, StoreFault};
pub use memory::MemoryKv;
pub use own::check_commit;
pub use query::{Lease, Reader};
pub use run::{STACK_BYTES, on_big_stack};
pub use snapshot::{Snapshot, SnapshotError, export, import};
