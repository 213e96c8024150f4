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
pub mod name;
pub mod lineage;
pub mod log;
pub mod formats;

pub use hash::{Digest32, ParseDigestError, TaggedHash, sha256};
pub use ids::{ArtifactId, ConfigId, JobId, ModelId, ModelParts, SpecId, TemplateId, TokenizerId, WeightsId};
