//! Who takes part in a job.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

/// The 32 public bytes of an account.
pub type AccountBytes = [u8; 32];

/// What a seat does.
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
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Produces the answer.
    #[codec(index = 0)]
    Executor,
    /// Re-executes it, drawn after the executor committed.
    #[codec(index = 1)]
    Verifier,
    /// Re-executes it as well, drawn from those who do not serve the model (clause J16).
    #[codec(index = 2)]
    AtLarge,
}

impl Role {
    /// The byte that stands for the role in hashes.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Executor => 0,
            Self::Verifier => 1,
            Self::AtLarge => 2,
        }
    }

    /// Whether it re-executes what another claims.
    pub const fn verifies(self) -> bool {
        !matches!(self, Self::Executor)
    }
}
