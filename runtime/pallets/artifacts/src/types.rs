//! What the ledger keeps of an artifact.

use assay_manifest::lineage::Edge;
use assay_manifest::log::LICENSE_BYTES_MAX;
use assay_manifest::name::NAME_BYTES_MAX;
use assay_manifest::{ArtifactId, ModelId, ModelParts};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::BoundedVec;
use frame_support::traits::ConstU32;
use scale_info::TypeInfo;

/// A name in the account's own scope.
pub type Name = BoundedVec<u8, ConstU32<NAME_BYTES_MAX>>;
/// A declared licence; empty when none is declared.
pub type License = BoundedVec<u8, ConstU32<LICENSE_BYTES_MAX>>;

/// What is registered.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum Subject {
    /// Weights and what decides their answers.
    #[codec(index = 0)]
    Model(ModelParts),
    /// Data.
    #[codec(index = 1)]
    Dataset(ArtifactId),
}

impl Subject {
    /// The artifact.
    pub const fn artifact(&self) -> ArtifactId {
        match self {
            Self::Model(parts) => parts.artifact_id,
            Self::Dataset(id) => *id,
        }
    }

    /// The model, if it is one.
    pub fn model(&self) -> Option<ModelId> {
        match self {
            Self::Model(parts) => Some(parts.model_id()),
            Self::Dataset(_) => None,
        }
    }
}

/// A registration.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct Registered<N> {
    /// What.
    pub subject: Subject,
    /// Sum of the files' sizes.
    pub size_bytes: u64,
    /// What the account calls it.
    pub name: Name,
    /// Declared licence.
    pub license: License,
    /// Held for it.
    pub deposit: u128,
    /// Edges that the account states about it, which must go before it.
    pub edges: u32,
    /// First logged at this height.
    pub at: N,
    /// Its entry in the log.
    pub log_index: u64,
}

/// An edge with who stated it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo)]
pub struct StatedEdge<A, N> {
    /// The statement.
    pub edge: Edge,
    /// Who stated it: a registrant of the child.
    pub account: A,
    /// Held for it.
    pub deposit: u128,
    /// Logged at this height.
    pub at: N,
    /// Its entry in the log.
    pub log_index: u64,
}
