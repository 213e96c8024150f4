//! Distinct types for the 32-byte names of things, so that one cannot be passed for another.

use crate::hash::{Digest32, ParseDigestError, TaggedHash};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! id {
    ($(#[doc = $doc:literal] $name:ident;)+) => {$(
        #[doc = $doc]
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode,
            DecodeWithMemTracking, MaxEncodedLen, TypeInfo, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(Digest32);

        impl $name {
            /// 32 zero bytes: the thing does not exist.
            pub const ZERO: Self = Self(Digest32::ZERO);

            /// Names the thing that has this digest.
            pub const fn from_digest(digest: Digest32) -> Self {
                Self(digest)
            }

            /// Wraps bytes that are already an id.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(Digest32::from_bytes(bytes))
            }

            /// The digest without its meaning.
            pub const fn digest(&self) -> Digest32 {
                self.0
            }

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, ParseDigestError> {
                text.parse().map(Self)
            }
        }
    )+};
}

id! {
    /// The primary name of an artifact: Merkle root over its files, binding names and sizes.
    ArtifactId;
    /// The name of weights whatever their container, shard layout, order or metadata.
    WeightsId;
    /// The name of a tokenizer's canonical form.
    TokenizerId;
    /// The name of a chat template's text.
    TemplateId;
    /// The name of a model's architecture and its parameters.
    ConfigId;
    /// The name of everything that decides a model's answers.
    ModelId;
    /// The name of the definitions that an execution follows.
    SpecId;
    /// The name of a job.
    JobId;
}

/// Everything about a model that decides its answers; see [`ModelParts::model_id`].
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelParts {
    /// The files.
    pub artifact_id: ArtifactId,
    /// The tensors.
    pub weights_id: WeightsId,
    /// Architecture and parameters.
    pub config_id: ConfigId,
    /// Tokenizer.
    pub tokenizer_id: TokenizerId,
    /// Chat template.
    pub template_id: TemplateId,
}

impl ModelParts {
    /// `H("assay/model/1" ‖ artifact_id ‖ weights_id ‖ config_id ‖ tokenizer_id ‖ template_id)`.
    pub fn model_id(&self) -> ModelId {
        let hash = TaggedHash::new("assay/model/1")
            .digest(&self.artifact_id.digest())
            .digest(&self.weights_id.digest())
            .digest(&self.config_id.digest())
            .digest(&self.tokenizer_id.digest())
            .digest(&self.template_id.digest());
        ModelId(hash.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_changes_the_model_id() {
        let base = ModelParts {
            artifact_id: ArtifactId::from_bytes([1; 32]),
            weights_id: WeightsId::from_bytes([2; 32]),
            config_id: ConfigId::from_bytes([3; 32]),
            tokenizer_id: TokenizerId::from_bytes([4; 32]),
            template_id: TemplateId::from_bytes([5; 32]),
        };
        let others = [
            ModelParts { artifact_id: ArtifactId::ZERO, ..base },
            ModelParts { weights_id: WeightsId::ZERO, ..base },
            ModelParts { config_id: ConfigId::ZERO, ..base },
            ModelParts { tokenizer_id: TokenizerId::ZERO, ..base },
            ModelParts { template_id: TemplateId::ZERO, ..base },
        ];
        for other in others {
            assert_ne!(base.model_id(), other.model_id());
        }
    }

    #[test]
    fn an_id_serialises_as_its_digest() {
        let id = JobId::from_bytes([7; 32]);
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{id}\""));
        assert_eq!(id.encode(), [7; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
