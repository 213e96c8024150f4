//! Content-addressed artifact store: import, verify on read, index.
//!
//! One directory, one process. Everything that matters is a file:
//!
//! ```text
//! blobs/<aa>/<blake3>     content, named by its hash; aa are its first two digits
//! manifests/<artifact>    canonical manifest, then BLAKE3 of it
//! names/<name>            the artifact that the user of this store calls so
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
//! Importing reads each file once: the same buffers go to the copy, to SHA-256, to BLAKE3 and to the
//! BLAKE3 of each tensor. Reading checks the content against its name, so a damaged disk is an error and
//! never an answer.

#![forbid(unsafe_code)]

mod store;
mod import;
mod layout;
mod index;
mod error;

#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use import::Progress;
pub use index::{IdKind, Match};
pub use store::Store;
