//! Lineage: what an artifact was made from, and how well that is evidenced.

use crate::encoding::{DecodeError, Reader, Writer};
use crate::hash::{Digest32, TaggedHash};
use crate::ids::ArtifactId;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

/// How well an edge is evidenced, weakest first.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// V0: the child's registrant says so.
    #[codec(index = 0)]
    Asserted,
    /// V1: shapes, names and ids fit.
    #[codec(index = 1)]
    Structural,
    /// V2: recomputed, within a stated numeric bound.
    #[codec(index = 2)]
    Numeric,
    /// V3: recomputed, equal bit for bit.
    #[codec(index = 3)]
    Exact,
}

impl Evidence {
    const ALL: [Self; 4] = [Self::Asserted, Self::Structural, Self::Numeric, Self::Exact];

    /// `V0` to `V3`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Asserted => "V0",
            Self::Structural => "V1",
            Self::Numeric => "V2",
            Self::Exact => "V3",
        }
    }
}

macro_rules! edge_kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $byte:literal, $text:literal, $best:ident;)+) => {
        /// How a child artifact relates to its parent.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode,
            DecodeWithMemTracking, MaxEncodedLen, TypeInfo, Serialize, Deserialize,
        )]
        pub enum EdgeKind {
            $($(#[doc = $doc])+ #[codec(index = $byte)] #[serde(rename = $text)] $name,)+
        }

        impl EdgeKind {
            /// Every kind, in the order of their bytes.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The byte that stands for the kind in a statement.
            pub const fn byte(self) -> u8 {
                match self { $(Self::$name => $byte,)+ }
            }

            /// The name in JSON and on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The strongest evidence that a check of this kind of edge can give.
            pub const fn best_evidence(self) -> Evidence {
                match self { $(Self::$name => Evidence::$best,)+ }
            }
        }
    };
}

edge_kinds! {
    /// The same weights in the same container; checked by `weights_id`.
    CopyOf = 0, "copy_of", Exact;
    /// The same weights in other shards; checked by `weights_id`.
    ReshardedFrom = 1, "resharded_from", Exact;
    /// Another number format; recomputed, rounding to nearest even.
    CastFrom = 2, "cast_from", Exact;
    /// Another container, by a pinned recipe.
    ConvertedFrom = 3, "converted_from", Exact;
    /// Quantised; recomputed tensor by tensor, with the importance matrix if one was used.
    QuantizedFrom = 4, "quantized_from", Exact;
    /// An adapter made for the parent; shapes, targets and the parent's `weights_id`.
    AdapterOf = 5, "adapter_of", Structural;
    /// An adapter folded into the weights.
    AdapterMergedFrom = 6, "adapter_merged_from", Exact;
    /// Several parents combined.
    MergedFrom = 7, "merged_from", Exact;
    /// Trained further; share of identical tensors, size and rank of the difference.
    FinetunedFrom = 8, "finetuned_from", Structural;
    /// The same tokenizer; checked by `tokenizer_id`.
    TokenizerSameAs = 9, "tokenizer_same_as", Exact;
    /// The same chat template; checked by `template_id`.
    TemplateSameAs = 10, "template_same_as", Exact;
    /// Trained on a dataset; exact where the training is reproducible bit for bit.
    TrainedOn = 11, "trained_on", Exact;
    /// Trained on another model's outputs.
    DistilledFrom = 12, "distilled_from", Exact;
    /// Measured on a dataset; exact where the evaluation can be repeated.
    EvaluatedOn = 13, "evaluated_on", Exact;
    /// A dataset that a program wrote; exact where it runs again from its seed.
    GeneratedBy = 14, "generated_by", Exact;
}

/// The registrant's statement that one artifact was made from another.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Edge {
    /// How they relate.
    pub kind: EdgeKind,
    /// What was made.
    pub child: ArtifactId,
    /// What it was made from.
    pub parent: ArtifactId,
    /// The evidence that the registrant says a check will find.
    pub evidence: Evidence,
    /// Hash of the recipe or further inputs (command, seed, importance matrix); zero without one.
    pub recipe: Digest32,
}

/// Why an edge cannot be stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EdgeError {
    /// An artifact cannot be made from itself.
    #[error("stating an edge from an artifact to itself")]
    SelfEdge,
    /// No check of this kind of edge gives such evidence.
    #[error("stating evidence that no check of this kind of edge can give")]
    EvidenceTooStrong,
}

/// Length of [`Edge::statement`].
pub const STATEMENT_BYTES: usize = 99;

const STATEMENT_VERSION: u8 = 1;

impl Edge {
    /// Checks what can be known from the edge alone.
    ///
    /// # Errors
    /// When child and parent are one, or the claimed evidence is out of reach for the kind.
    pub fn check(&self) -> Result<(), EdgeError> {
        if self.child == self.parent {
            return Err(EdgeError::SelfEdge);
        }
        if self.evidence > self.kind.best_evidence() {
            return Err(EdgeError::EvidenceTooStrong);
        }
        Ok(())
    }

    /// The canonical bytes: version, kind, child, parent, evidence, recipe.
    pub fn statement(&self) -> Vec<u8> {
        Writer::new()
            .u8(STATEMENT_VERSION)
            .u8(self.kind.byte())
            .digest(&self.child.digest())
            .digest(&self.parent.digest())
            .u8(self.evidence as u8)
            .digest(&self.recipe)
            .finish()
    }

    /// Reads a statement.
    ///
    /// # Errors
    /// When the bytes are not exactly one statement of a checked edge.
    pub fn from_statement(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != STATEMENT_VERSION {
            return Err(reader.invalid("edge statement version"));
        }
        let kind = reader.u8()?;
        let kind = EdgeKind::ALL.iter().find(|k| k.byte() == kind).ok_or(reader.invalid("edge kind"))?;
        let child = ArtifactId::from_digest(reader.digest()?);
        let parent = ArtifactId::from_digest(reader.digest()?);
        let evidence = reader.u8()?;
        let evidence = Evidence::ALL.get(usize::from(evidence)).ok_or(reader.invalid("evidence level"))?;
        let recipe = reader.digest()?;
        let edge = Self { kind: *kind, child, parent, evidence: *evidence, recipe };
        edge.check().map_err(|_| reader.invalid("edge"))?;
        reader.finish()?;
        Ok(edge)
    }

    /// The name of the statement: `H("assay/edge/1" ‖ statement)`.
    pub fn id(&self) -> Digest32 {
        TaggedHash::new("assay/edge/1").var(&self.statement()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge() -> Edge {
        Edge {
            kind: EdgeKind::QuantizedFrom,
            child: ArtifactId::from_bytes([1; 32]),
            parent: ArtifactId::from_bytes([2; 32]),
            evidence: Evidence::Exact,
            recipe: Digest32::from_bytes([3; 32]),
        }
    }

    #[test]
    fn every_kind_round_trips_through_its_statement() {
        for kind in EdgeKind::ALL {
            let edge = Edge { kind: *kind, evidence: kind.best_evidence(), ..edge() };
            assert_eq!(edge.statement().len(), STATEMENT_BYTES);
            assert_eq!(Edge::from_statement(&edge.statement()), Ok(edge));
            assert_eq!(serde_json::to_string(kind).unwrap(), format!("\"{}\"", kind.name()));
            assert_eq!(kind.encode(), [kind.byte()]);
        }
    }

    #[test]
    fn an_artifact_is_not_made_from_itself() {
        let edge = Edge { parent: edge().child, ..edge() };
        assert_eq!(edge.check(), Err(EdgeError::SelfEdge));
        assert!(Edge::from_statement(&edge.statement()).is_err());
    }

    #[test]
    fn evidence_out_of_reach_for_the_kind_is_refused() {
        let edge = Edge { kind: EdgeKind::FinetunedFrom, ..edge() };
        assert_eq!(edge.check(), Err(EdgeError::EvidenceTooStrong));
        assert!(Edge::from_statement(&edge.statement()).is_err());
    }

    #[test]
    fn bytes_that_are_not_exactly_a_statement_are_refused() {
        let bytes = edge().statement();
        for end in 0..bytes.len() {
            assert!(Edge::from_statement(&bytes[..end]).is_err());
        }
        assert!(Edge::from_statement(&[bytes.as_slice(), &[0]].concat()).is_err());
        for (at, value) in [(0, 2), (1, 15), (66, 4)] {
            let mut wrong = bytes.clone();
            wrong[at] = value;
            assert!(Edge::from_statement(&wrong).is_err(), "byte {at}");
        }
    }
}
