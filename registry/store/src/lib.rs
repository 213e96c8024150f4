//! Content-addressed artifact store: import, verify on read, ranges, downloads, room, index.
//!
//! One directory, one process. Everything that matters is a file:
//!
//! ```text
//! blobs/<aa>/<blake3>     content, named by its hash; aa are its first two digits
//! manifests/<artifact>    canonical manifest, then BLAKE3 of it
//! names/<name>            the artifact that the user of this store calls so
//! outboards/<aa>/<blake3> the hashes inside of that hash, by which a range is verified alone; made when missing
//! partial/<blake3>-<len>. a blob on its way in: `data` with holes, its `outboard`, and the `record` of what is verified
//! pins/<artifact>.<why>   the artifact is not removed to make room
//! index/                  sled, a copy of the above by every id; deleted and scanned anew when in doubt
//! tmp/                    files on their way in; emptied on opening
//! lock                    held while open
//! ```
//!
//! A file enters by way of `tmp`: written, synced, renamed, its directory synced. Blobs come before the
//! manifest that names them, and the manifest before its index entries; removal goes the other way. So
//! after a crash between any two steps the store opens, and what is missing is either an artifact that was
//! not yet imported, or index entries, which opening restores. Blobs that no manifest names are removed by
//! [`Store::collect_garbage`].
//!
//! A download counts what it has verified against the blob's hash, range by range, and survives the death of its
//! process with it. When all ranges are there, the ids are computed anew from what lies on the disk, by the rules of an
//! import, and only then does it enter.
//!
//! Importing reads each file once: the same buffers go to the copy, to SHA-256, to BLAKE3 and to the
//! BLAKE3 of each tensor. Reading checks the content against its name, so a damaged disk is an error and
//! never an answer.

#![forbid(unsafe_code)]

mod store;
mod import;
mod ranges;
mod tree;
mod encode;
mod outboard;
mod partial;
mod arrival;
mod receive;
mod record;
mod download;
mod room;
mod layout;
mod index;
mod error;

#[cfg(test)]
mod tests;

pub use encode::Unverified;
pub use error::StoreError;
pub use import::Progress;
pub use index::{IdKind, Match};
pub use outboard::{BlobReader, EncodedRange};
pub use partial::{CLAIM_BYTES, Partial};
pub use ranges::{BLOB_BYTES_MAX, GROUP_BYTES, is_range_of_groups};
pub use receive::{ReceiveError, Received, Receiving, Verified};
pub use room::{Freed, Lease, PinReason};
pub use store::Store;
