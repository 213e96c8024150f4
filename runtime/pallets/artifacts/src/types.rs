//! What the ledger keeps of an artifact.

use assay_manifest::lineage::Edge;
use assay_manifest::log::LICENSE_BYTES_MAX;
use assay_manifest::name::{FOLDED_BYTES_MAX, NAME_BYTES_MAX};
use assay_manifest::priority::COMMITMENTS_MAX;
use assay_manifest::status::{Reason, StatusKind};
use assay_manifest::{ArtifactId, Digest32, ModelId, ModelParts, SpecId};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use frame_support::BoundedVec;
use frame_support::traits::ConstU32;
use scale_info::TypeInfo;

/// A name in the account's own scope.
pub type Name = BoundedVec<u8, ConstU32<NAME_BYTES_MAX>>;
/// A name with look-alikes made equal.
pub type Folded = BoundedVec<u8, ConstU32<FOLDED_BYTES_MAX>>;
/// An account's priority commitments.
pub type Priors<N> = BoundedVec<Prior<N>, ConstU32<COMMITMENTS_MAX>>;
/// A declared licence; empty when none is declared.
pub type License = BoundedVec<u8, ConstU32<LICENSE_BYTES_MAX>>;

/// What is registered.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum Subject {
    /// Weights and what decides their answers.
    #[codec(index = 0)]
    Model {
        /// What the model's id is made from.
        parts: ModelParts,
        /// The definitions that its executions follow; zero when the registrant knows no engine that runs it.
        spec_id: SpecId,
    },
    /// Data.
    #[codec(index = 1)]
    Dataset(ArtifactId),
}

impl Subject {
    /// The artifact.
    pub const fn artifact(&self) -> ArtifactId {
        match self {
            Self::Model { parts, .. } => parts.artifact_id,
            Self::Dataset(id) => *id,
        }
    }

    /// The model and its spec, if it is one.
    pub fn model(&self) -> Option<(ModelId, SpecId)> {
        match self {
            Self::Model { parts, spec_id } => Some((parts.model_id(), *spec_id)),
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
    /// The commitment that was opened with it.
    pub committed: Option<Committed<N>>,
}

/// When an account first committed to what it registered.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Committed<N> {
    /// Height of the commitment.
    pub at: N,
    /// The entry in the log that opens it.
    pub log_index: u64,
}

/// Registrations that name one model with one spec.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct ModelEntry {
    /// The artifact whose parts make up the model; all of them name the same, as the model's id binds it.
    pub artifact: ArtifactId,
    /// How many there are; the entry goes with the last.
    pub registrations: u32,
}

/// A priority commitment that is not opened.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Prior<N> {
    /// [`assay_manifest::priority::commitment`].
    pub commitment: Digest32,
    /// Held for it.
    pub deposit: u128,
    /// Logged at this height.
    pub at: N,
    /// Its entry in the log.
    pub log_index: u64,
}

/// What an account says now of a claim or key of its own. It stays, and so does its deposit.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct StatedStatus<N> {
    /// What.
    pub kind: StatusKind,
    /// Why.
    pub reason: Reason,
    /// Held for it.
    pub deposit: u128,
    /// Logged at this height.
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
