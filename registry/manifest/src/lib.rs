//! What a thing is: ids, Merkle trees, manifests, lineage edges and log proofs.
//!
//! Pure: no files, no clock, no randomness, no floats in ids, and nothing panics.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod hash;
pub mod ids;
pub mod merkle;
pub mod encoding;
pub mod formats;
pub mod canonical;
pub mod path;
pub mod manifest;
pub mod lineage;
pub mod name;
pub mod priority;
pub mod status;
pub mod log;

pub use canonical::PartIds;
pub use hash::{Digest32, ParseDigestError, TaggedHash, sha256};
pub use ids::{ArtifactId, ConfigId, JobId, ModelId, ModelParts, SpecId, TemplateId, TokenizerId, WeightsId};
pub use manifest::{ArtifactKind, FileEntry, Manifest, TensorEntry};
pub use name::ArtifactName;
pub use path::RelativePath;
