//! The transparency log's entries: what is appended, in frozen bytes.
//!
//! An entry is a version byte, a kind byte and the kind's fields. This module holds registrations and
//! lineage edges; settlements ([`SETTLEMENT_KIND`]) are defined by `assay-protocol`.

use crate::encoding::{DecodeError, Reader, Writer};
use crate::ids::{ArtifactId, ConfigId, ModelParts, TemplateId, TokenizerId, WeightsId};
use crate::lineage::{Edge, STATEMENT_BYTES};
use crate::name::{ArtifactName, NAME_BYTES_MAX};

/// Appends entries to the one log of the ledger; pallets declare that they need it.
pub trait LogAppend {
    /// Appends an entry's canonical bytes and returns its index.
    fn append(leaf: &[u8]) -> u64;
}

/// First byte of every entry.
pub const ENTRY_VERSION: u8 = 1;
/// Second byte of a model's registration.
pub const MODEL_KIND: u8 = 1;
/// Second byte of a dataset's registration.
pub const DATASET_KIND: u8 = 2;
/// Second byte of a lineage edge.
pub const EDGE_KIND: u8 = 3;
/// Second byte of a settled job.
pub const SETTLEMENT_KIND: u8 = 4;

/// Longest declared licence, in bytes: SPDX expressions of real models stay under 100.
pub const LICENSE_BYTES_MAX: u32 = 256;

/// The declared licence of a registration that declares none (SPDX); never read as permissive.
pub const NO_LICENSE: &str = "NOASSERTION";

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEntry {
    /// An account registered an artifact.
    Registered(Registration),
    /// An account stated what its artifact was made from.
    Derived(Derivation),
}

/// An account registered an artifact; it does not own it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Who.
    pub account: [u8; 32],
    /// In which block.
    pub height: u32,
    /// What.
    pub subject: Subject,
    /// Sum of the files' sizes.
    pub size_bytes: u64,
    /// What the account calls it.
    pub name: ArtifactName,
    /// Declared licence, an SPDX expression, or [`NO_LICENSE`].
    pub license: String,
}

/// The artifact of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Weights and what decides their answers.
    Model(ModelParts),
    /// Data.
    Dataset(ArtifactId),
}

/// An account stated a lineage edge of an artifact that it registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derivation {
    /// Who.
    pub account: [u8; 32],
    /// In which block.
    pub height: u32,
    /// The statement.
    pub edge: Edge,
}

impl LogEntry {
    /// The canonical bytes, which the log's leaf hash is over.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Registered(registration) => registration.to_bytes(),
            Self::Derived(derivation) => derivation.to_bytes(),
        }
    }

    /// Reads an entry of one of this module's kinds.
    ///
    /// # Errors
    /// When the bytes are not exactly one such entry.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != ENTRY_VERSION {
            return Err(reader.invalid("log entry version"));
        }
        let entry = match reader.u8()? {
            kind @ (MODEL_KIND | DATASET_KIND) => Self::Registered(Registration::read(kind, &mut reader)?),
            EDGE_KIND => Self::Derived(Derivation::read(&mut reader)?),
            _ => return Err(reader.invalid("log entry kind")),
        };
        reader.finish()?;
        Ok(entry)
    }
}

fn entry(kind: u8, account: &[u8; 32], height: u32) -> Writer {
    Writer::new().u8(ENTRY_VERSION).u8(kind).fixed(account).u32(height)
}

impl Registration {
    /// The canonical bytes of the entry.
    pub fn to_bytes(&self) -> Vec<u8> {
        let writer = match &self.subject {
            Subject::Model(parts) => entry(MODEL_KIND, &self.account, self.height)
                .digest(&parts.artifact_id.digest())
                .digest(&parts.weights_id.digest())
                .digest(&parts.config_id.digest())
                .digest(&parts.tokenizer_id.digest())
                .digest(&parts.template_id.digest()),
            Subject::Dataset(id) => entry(DATASET_KIND, &self.account, self.height).digest(&id.digest()),
        };
        writer.u64(self.size_bytes).str(self.name.as_str()).str(&self.license).finish()
    }

    fn read(kind: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (account, height) = (reader.fixed()?, reader.u32()?);
        let artifact_id = ArtifactId::from_digest(reader.digest()?);
        let subject = match kind {
            MODEL_KIND => Subject::Model(ModelParts {
                artifact_id,
                weights_id: WeightsId::from_digest(reader.digest()?),
                config_id: ConfigId::from_digest(reader.digest()?),
                tokenizer_id: TokenizerId::from_digest(reader.digest()?),
                template_id: TemplateId::from_digest(reader.digest()?),
            }),
            _ => Subject::Dataset(artifact_id),
        };
        let size_bytes = reader.u64()?;
        let name = reader.str(NAME_BYTES_MAX)?.parse().map_err(|_| reader.invalid("artifact name"))?;
        let license = reader.str(LICENSE_BYTES_MAX)?.to_owned();
        if license.is_empty() {
            return Err(reader.invalid("licence"));
        }
        Ok(Self { account, height, subject, size_bytes, name, license })
    }
}

impl Derivation {
    /// The canonical bytes of the entry.
    pub fn to_bytes(&self) -> Vec<u8> {
        entry(EDGE_KIND, &self.account, self.height).fixed(&self.edge.statement()).finish()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (account, height) = (reader.fixed()?, reader.u32()?);
        let edge = Edge::from_statement(&reader.fixed::<STATEMENT_BYTES>()?)?;
        Ok(Self { account, height, edge })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Digest32;
    use crate::lineage::{EdgeKind, Evidence};

    fn entries() -> Vec<LogEntry> {
        let parts = ModelParts {
            artifact_id: ArtifactId::from_bytes([1; 32]),
            weights_id: WeightsId::from_bytes([2; 32]),
            config_id: ConfigId::from_bytes([3; 32]),
            tokenizer_id: TokenizerId::from_bytes([4; 32]),
            template_id: TemplateId::from_bytes([5; 32]),
        };
        let model = Registration {
            account: [9; 32],
            height: 7,
            subject: Subject::Model(parts),
            size_bytes: 1 << 40,
            name: "tiny-reader".parse().unwrap(),
            license: "Apache-2.0".to_owned(),
        };
        let dataset = Registration {
            subject: Subject::Dataset(parts.artifact_id),
            license: NO_LICENSE.to_owned(),
            ..model.clone()
        };
        let edge = Edge {
            kind: EdgeKind::TrainedOn,
            child: parts.artifact_id,
            parent: ArtifactId::from_bytes([6; 32]),
            evidence: Evidence::Asserted,
            recipe: Digest32::ZERO,
        };
        let derivation = Derivation { account: [9; 32], height: 8, edge };
        vec![LogEntry::Registered(model), LogEntry::Registered(dataset), LogEntry::Derived(derivation)]
    }

    #[test]
    fn entries_round_trip() {
        for entry in entries() {
            assert_eq!(LogEntry::from_bytes(&entry.to_bytes()), Ok(entry));
        }
    }

    #[test]
    fn bytes_that_are_not_exactly_an_entry_are_refused() {
        for entry in entries() {
            let bytes = entry.to_bytes();
            for end in 0..bytes.len() {
                assert!(LogEntry::from_bytes(&bytes[..end]).is_err());
            }
            assert!(LogEntry::from_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());
            for (at, value) in [(0, 2), (1, 0), (1, SETTLEMENT_KIND)] {
                let mut wrong = bytes.clone();
                wrong[at] = value;
                assert!(LogEntry::from_bytes(&wrong).is_err());
            }
        }
    }
}
