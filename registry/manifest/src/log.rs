//! The transparency log's entries: what is appended, in frozen bytes.
//!
//! An entry is a version byte, a kind byte and the kind's fields. This module holds registrations, lineage
//! edges, priority and statuses; settlements ([`SETTLEMENT_KIND`], [`SETTLEMENT_AT_LARGE_KIND`]) are defined by `assay-protocol`.

use crate::encoding::{DecodeError, Reader, Writer};
use crate::hash::Digest32;
use crate::ids::{ArtifactId, ConfigId, ModelParts, SpecId, TemplateId, TokenizerId, WeightsId};
use crate::lineage::{Edge, STATEMENT_BYTES};
use crate::name::{ArtifactName, NAME_BYTES_MAX};
use crate::priority;
use crate::status::Status;

/// Appends entries to the one log of the ledger; pallets declare that they need it.
pub trait LogAppend {
    /// Appends an entry's canonical bytes and returns its index.
    fn append(leaf: &[u8]) -> u64;
}

/// First byte of every entry.
pub const ENTRY_VERSION: u8 = 1;
/// Second byte of the registration of a model that no engine runs.
pub const MODEL_KIND: u8 = 1;
/// Second byte of a dataset's registration.
pub const DATASET_KIND: u8 = 2;
/// Second byte of a lineage edge.
pub const EDGE_KIND: u8 = 3;
/// Second byte of a settled job.
pub const SETTLEMENT_KIND: u8 = 4;
/// Second byte of a settled job of whose verifiers one was drawn at large.
pub const SETTLEMENT_AT_LARGE_KIND: u8 = 12;
/// Second byte of the registration of a model with the spec that its executions follow.
pub const RUNNABLE_KIND: u8 = 8;
/// Second byte of a priority commitment.
pub const PRIOR_KIND: u8 = 9;
/// Second byte of the opening of one.
pub const PRIORITY_KIND: u8 = 10;
/// Second byte of a status.
pub const STATUS_KIND: u8 = 11;

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
    /// An account committed to an artifact that it did not name.
    Committed(Prior),
    /// An account showed which artifact that was.
    Opened(Priority),
    /// An account spoke of a claim or key of its own.
    Stated(StatusEntry),
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
    Model {
        /// What the model's id is made from.
        parts: ModelParts,
        /// The definitions that its executions follow; zero when the registrant knows no engine that runs it.
        spec_id: SpecId,
    },
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

/// An account committed to an artifact; see [`crate::priority`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prior {
    /// Who.
    pub account: [u8; 32],
    /// In which block.
    pub height: u32,
    /// [`priority::commitment`].
    pub commitment: Digest32,
}

/// An account opened its commitment in the block in which it registered the artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priority {
    /// Who.
    pub account: [u8; 32],
    /// In which block.
    pub height: u32,
    /// The artifact.
    pub artifact_id: ArtifactId,
    /// The salt of the commitment.
    pub salt: Digest32,
    /// Height of the commitment.
    pub committed_at: u32,
    /// Its entry in the log.
    pub prior_index: u64,
}

/// An account spoke of a claim or key of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusEntry {
    /// Who.
    pub account: [u8; 32],
    /// In which block.
    pub height: u32,
    /// What it said.
    pub status: Status,
}

impl LogEntry {
    /// The canonical bytes, which the log's leaf hash is over.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Registered(registration) => registration.to_bytes(),
            Self::Derived(derivation) => derivation.to_bytes(),
            Self::Committed(prior) => prior.to_bytes(),
            Self::Opened(priority) => priority.to_bytes(),
            Self::Stated(status) => status.to_bytes(),
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
            kind @ (MODEL_KIND | RUNNABLE_KIND | DATASET_KIND) => {
                Self::Registered(Registration::read(kind, &mut reader)?)
            }
            EDGE_KIND => Self::Derived(Derivation::read(&mut reader)?),
            PRIOR_KIND => Self::Committed(Prior::read(&mut reader)?),
            PRIORITY_KIND => Self::Opened(Priority::read(&mut reader)?),
            STATUS_KIND => Self::Stated(StatusEntry::read(&mut reader)?),
            _ => return Err(reader.invalid("log entry kind")),
        };
        reader.finish()?;
        Ok(entry)
    }
}

fn entry(kind: u8, account: &[u8; 32], height: u32) -> Writer {
    Writer::new().u8(ENTRY_VERSION).u8(kind).fixed(account).u32(height)
}

impl Subject {
    /// The artifact.
    pub const fn artifact_id(&self) -> ArtifactId {
        match self {
            Self::Model { parts, .. } => parts.artifact_id,
            Self::Dataset(id) => *id,
        }
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Model { spec_id: SpecId::ZERO, .. } => MODEL_KIND,
            Self::Model { .. } => RUNNABLE_KIND,
            Self::Dataset(_) => DATASET_KIND,
        }
    }

    fn write(&self, writer: Writer) -> Writer {
        let (parts, spec_id) = match self {
            Self::Model { parts, spec_id } => (parts, spec_id),
            Self::Dataset(id) => return writer.digest(&id.digest()),
        };
        let writer = writer
            .digest(&parts.artifact_id.digest())
            .digest(&parts.weights_id.digest())
            .digest(&parts.config_id.digest())
            .digest(&parts.tokenizer_id.digest())
            .digest(&parts.template_id.digest());
        if *spec_id == SpecId::ZERO { writer } else { writer.digest(&spec_id.digest()) }
    }

    fn read(kind: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let artifact_id = ArtifactId::from_digest(reader.digest()?);
        if kind == DATASET_KIND {
            return Ok(Self::Dataset(artifact_id));
        }
        let parts = ModelParts {
            artifact_id,
            weights_id: WeightsId::from_digest(reader.digest()?),
            config_id: ConfigId::from_digest(reader.digest()?),
            tokenizer_id: TokenizerId::from_digest(reader.digest()?),
            template_id: TemplateId::from_digest(reader.digest()?),
        };
        if kind == MODEL_KIND {
            return Ok(Self::Model { parts, spec_id: SpecId::ZERO });
        }
        match SpecId::from_digest(reader.digest()?) {
            SpecId::ZERO => Err(reader.invalid("spec of a model")),
            spec_id => Ok(Self::Model { parts, spec_id }),
        }
    }
}

impl Registration {
    /// The canonical bytes of the entry.
    pub fn to_bytes(&self) -> Vec<u8> {
        let writer = self.subject.write(entry(self.subject.kind(), &self.account, self.height));
        writer.u64(self.size_bytes).str(self.name.as_str()).str(&self.license).finish()
    }

    fn read(kind: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (account, height) = (reader.fixed()?, reader.u32()?);
        let subject = Subject::read(kind, reader)?;
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

impl Prior {
    /// The canonical bytes of the entry.
    pub fn to_bytes(&self) -> Vec<u8> {
        entry(PRIOR_KIND, &self.account, self.height).digest(&self.commitment).finish()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { account: reader.fixed()?, height: reader.u32()?, commitment: reader.digest()? })
    }
}

impl Priority {
    /// The commitment that the entry opens.
    pub fn commitment(&self) -> Digest32 {
        priority::commitment(&self.artifact_id, &self.account, &self.salt)
    }

    /// The canonical bytes of the entry.
    pub fn to_bytes(&self) -> Vec<u8> {
        entry(PRIORITY_KIND, &self.account, self.height)
            .digest(&self.artifact_id.digest())
            .digest(&self.salt)
            .u32(self.committed_at)
            .u64(self.prior_index)
            .finish()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            account: reader.fixed()?,
            height: reader.u32()?,
            artifact_id: ArtifactId::from_digest(reader.digest()?),
            salt: reader.digest()?,
            committed_at: reader.u32()?,
            prior_index: reader.u64()?,
        })
    }
}

impl StatusEntry {
    /// The canonical bytes of the entry.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.status.write(entry(STATUS_KIND, &self.account, self.height)).finish()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (account, height) = (reader.fixed()?, reader.u32()?);
        Ok(Self { account, height, status: Status::read(reader)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lineage::{EdgeKind, Evidence};
    use crate::status::{Reason, StatusKind, StatusSubject};

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
            subject: Subject::Model { parts, spec_id: SpecId::ZERO },
            size_bytes: 1 << 40,
            name: "tiny-reader".parse().unwrap(),
            license: "Apache-2.0".to_owned(),
        };
        let runnable = Registration {
            subject: Subject::Model { parts, spec_id: SpecId::from_bytes([6; 32]) },
            ..model.clone()
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
        let registered = [model, runnable, dataset].map(LogEntry::Registered);
        registered.into_iter().chain([LogEntry::Derived(derivation)]).chain(later()).collect()
    }

    /// What is said before and after a registration.
    fn later() -> Vec<LogEntry> {
        let (account, height) = ([9; 32], 8);
        let digest = Digest32::from_bytes([7; 32]);
        let artifact_id = ArtifactId::from_bytes([1; 32]);
        let priority =
            Priority { account, height, artifact_id, salt: digest, committed_at: 3, prior_index: 4 };
        let prior = Prior { account, height: 3, commitment: priority.commitment() };
        let subjects = [
            StatusSubject::Artifact(artifact_id),
            StatusSubject::Edge { child: artifact_id, id: digest },
            StatusSubject::Key(Digest32::from_bytes([5; 32])),
        ];
        let kinds = [
            StatusKind::Withdrawn,
            StatusKind::Superseded { by: Digest32::ZERO },
            StatusKind::Revoked,
            StatusKind::CompromisedSince { height: 2 },
        ];
        let statuses = subjects.into_iter().flat_map(|subject| kinds.map(|kind| (subject, kind)));
        let statuses = statuses
            .map(|(subject, kind)| Status { subject, kind, reason: Reason::Security })
            .filter(|status| status.check().is_ok())
            .map(|status| LogEntry::Stated(StatusEntry { account, height, status }));
        [LogEntry::Committed(prior), LogEntry::Opened(priority)].into_iter().chain(statuses).collect()
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
