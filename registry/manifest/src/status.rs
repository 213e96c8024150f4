//! What an account says later about what it claimed: each only of its own claims and keys.
//!
//! A status voids nothing. It speaks of what the account had logged before it; a claim that is made again
//! afterwards is a new one.

use crate::encoding::{DecodeError, Reader, Writer};
use crate::hash::Digest32;
use crate::ids::ArtifactId;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

/// A claim or a key of an account.
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
#[serde(rename_all = "camelCase")]
pub enum StatusSubject {
    /// The account's registration of an artifact.
    #[codec(index = 0)]
    Artifact(ArtifactId),
    /// A lineage edge that the account stated.
    #[codec(index = 1)]
    Edge {
        /// The artifact that it leads from.
        child: ArtifactId,
        /// The name of the statement, [`crate::lineage::Edge::id`].
        id: Digest32,
    },
    /// A key that the account uses, or has used: its own, a work key, an encryption key.
    #[codec(index = 2)]
    Key(Digest32),
}

/// What is said of it.
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
#[serde(rename_all = "camelCase")]
pub enum StatusKind {
    /// The claim was taken back and left the ledger's state.
    #[codec(index = 0)]
    Withdrawn,
    /// Another one should be used.
    #[codec(index = 1)]
    Superseded {
        /// The other artifact, edge or key.
        by: Digest32,
    },
    /// The account no longer stands by it.
    #[codec(index = 2)]
    Revoked,
    /// Somebody else may have used the key since this height: a warning.
    #[codec(index = 3)]
    CompromisedSince {
        /// Height of the block.
        height: u32,
    },
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $byte:literal, $text:literal;)+) => {
        /// Why, in a word that programs can read.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, DecodeWithMemTracking,
            MaxEncodedLen, TypeInfo, Serialize, Deserialize,
        )]
        pub enum Reason {
            $($(#[doc = $doc])+ #[codec(index = $byte)] #[serde(rename = $text)] $name,)+
        }

        impl Reason {
            /// Every reason, in the order of their bytes.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The word in JSON and on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

reasons! {
    /// None is given.
    Unspecified = 0, "unspecified";
    /// The claim was never right.
    Mistake = 1, "mistake";
    /// The licence does not allow it.
    License = 2, "license";
    /// It is vulnerable, or does harm.
    Security = 3, "security";
    /// It holds data about people that it should not hold.
    Privacy = 4, "privacy";
    /// It is no longer looked after.
    Retired = 5, "retired";
}

/// A status as an account states it.
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
pub struct Status {
    /// Of what.
    pub subject: StatusSubject,
    /// What.
    pub kind: StatusKind,
    /// Why.
    pub reason: Reason,
}

/// Why a status makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    /// Nothing is superseded by itself.
    #[error("stating that something is superseded by itself")]
    SupersededByItself,
    /// Only keys are compromised.
    #[error("stating that something other than a key is compromised")]
    NoKey,
    /// A key stays what it is.
    #[error("stating that a key is withdrawn")]
    KeyWithdrawn,
}

impl StatusSubject {
    /// The artifact, statement or key itself.
    pub const fn digest(&self) -> Digest32 {
        match self {
            Self::Artifact(id) => id.digest(),
            Self::Edge { id, .. } => *id,
            Self::Key(key) => *key,
        }
    }
}

impl Status {
    /// Checks what can be known from the status alone.
    ///
    /// # Errors
    /// When kind and subject do not go together.
    pub fn check(&self) -> Result<(), StatusError> {
        match (self.kind, self.subject) {
            (StatusKind::Superseded { by }, subject) if by == subject.digest() => {
                Err(StatusError::SupersededByItself)
            }
            (
                StatusKind::CompromisedSince { .. },
                StatusSubject::Artifact(_) | StatusSubject::Edge { .. },
            ) => Err(StatusError::NoKey),
            (StatusKind::Withdrawn, StatusSubject::Key(_)) => Err(StatusError::KeyWithdrawn),
            _ => Ok(()),
        }
    }

    /// Appends subject, kind and reason, each behind a byte that tells which.
    pub(crate) fn write(&self, writer: Writer) -> Writer {
        let writer = match self.subject {
            StatusSubject::Artifact(id) => writer.u8(0).digest(&id.digest()),
            StatusSubject::Edge { child, id } => writer.u8(1).digest(&child.digest()).digest(&id),
            StatusSubject::Key(key) => writer.u8(2).digest(&key),
        };
        let writer = match self.kind {
            StatusKind::Withdrawn => writer.u8(0),
            StatusKind::Superseded { by } => writer.u8(1).digest(&by),
            StatusKind::Revoked => writer.u8(2),
            StatusKind::CompromisedSince { height } => writer.u8(3).u32(height),
        };
        writer.u8(self.reason as u8)
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let subject = match reader.u8()? {
            0 => StatusSubject::Artifact(ArtifactId::from_digest(reader.digest()?)),
            1 => {
                StatusSubject::Edge { child: ArtifactId::from_digest(reader.digest()?), id: reader.digest()? }
            }
            2 => StatusSubject::Key(reader.digest()?),
            _ => return Err(reader.invalid("subject of a status")),
        };
        let kind = match reader.u8()? {
            0 => StatusKind::Withdrawn,
            1 => StatusKind::Superseded { by: reader.digest()? },
            2 => StatusKind::Revoked,
            3 => StatusKind::CompromisedSince { height: reader.u32()? },
            _ => return Err(reader.invalid("kind of a status")),
        };
        let reason = usize::from(reader.u8()?);
        let reason = *Reason::ALL.get(reason).ok_or(reader.invalid("reason of a status"))?;
        let status = Self { subject, kind, reason };
        status.check().map_err(|_| reader.invalid("status"))?;
        Ok(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_and_subject_go_together() {
        let artifact = StatusSubject::Artifact(ArtifactId::from_bytes([1; 32]));
        let key = StatusSubject::Key(Digest32::from_bytes([1; 32]));
        let itself = StatusKind::Superseded { by: Digest32::from_bytes([1; 32]) };
        let compromised = StatusKind::CompromisedSince { height: 5 };
        for (subject, kind, expected) in [
            (artifact, StatusKind::Withdrawn, Ok(())),
            (artifact, StatusKind::Revoked, Ok(())),
            (artifact, itself, Err(StatusError::SupersededByItself)),
            (artifact, compromised, Err(StatusError::NoKey)),
            (key, compromised, Ok(())),
            (key, StatusKind::Withdrawn, Err(StatusError::KeyWithdrawn)),
        ] {
            assert_eq!(Status { subject, kind, reason: Reason::Mistake }.check(), expected);
        }
    }

    #[test]
    fn reasons_are_their_words_and_bytes() {
        for (byte, reason) in (0u8..).zip(Reason::ALL) {
            assert_eq!(reason.encode(), [byte]);
            assert_eq!(serde_json::to_string(reason).unwrap(), format!("\"{}\"", reason.name()));
        }
    }
}
