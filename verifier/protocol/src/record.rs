//! The public record of a request: every field of a job that the ledger holds.

use assay_manifest::{Digest32, JobId, ModelId, SpecId, TaggedHash};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

use crate::fees::BOND_PER_JOB_FEE;
use crate::params::{AT_LARGE_BYTES_MAX, VERIFIERS_DEFAULT, VERIFIERS_HIGH};
use crate::party::AccountBytes;
use crate::units::{Amount, Height, OutOfRange, Price, Tokens};

/// The first version of the job's rules and encodings.
pub const PROTOCOL_VERSION: u8 = 1;

/// How results of a job are compared.
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
pub enum Class {
    /// Bit for bit.
    #[codec(index = 0)]
    Exact,
    /// By documented bounds; never slashed for a value (clause J9).
    #[codec(index = 1)]
    Tolerance,
}

/// How much redundancy a request buys.
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
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Policy {
    /// One execution, re-executed by this many verifiers drawn after it had committed.
    #[codec(index = 0)]
    Verified {
        /// Two or four.
        verifiers: u8,
    },
    /// This many executions in all, at least one of them by a drawn verifier (clause J2).
    #[codec(index = 1)]
    Replicated {
        /// Executions in all.
        executions: u8,
    },
    /// Like `Verified`, but one of the verifiers is drawn from those who do not serve the model, and fetches it
    /// (clause J16).
    #[codec(index = 2)]
    VerifiedAtLarge {
        /// Two or four, with that one.
        verifiers: u8,
        /// What it has to fetch and hold: the size of the model's files.
        weights_bytes: u64,
    },
}

impl Policy {
    /// The policy for an answer on which `at_stake` depends: four verifiers where that is more than
    /// thirty job fees, which is what an executor and two verifiers forfeit together.
    ///
    /// # Errors
    /// [`OutOfRange`] when the fee is absurd.
    pub fn for_stake(at_stake: Amount, job_fee: Amount) -> Result<Self, OutOfRange> {
        let covered =
            job_fee.times(BOND_PER_JOB_FEE)?.times(u32::from(VERIFIERS_DEFAULT).saturating_add(1))?;
        let verifiers = if at_stake > covered { VERIFIERS_HIGH } else { VERIFIERS_DEFAULT };
        Ok(Self::Verified { verifiers })
    }

    /// Verifier seats that must commit.
    pub const fn verifiers(self) -> u8 {
        match self {
            Self::Verified { verifiers } | Self::VerifiedAtLarge { verifiers, .. } => verifiers,
            Self::Replicated { executions } if executions > 1 => executions.saturating_sub(1),
            Self::Replicated { .. } => 1,
        }
    }

    /// Of them, those who serve the model.
    pub const fn serving_verifiers(self) -> u8 {
        self.verifiers().saturating_sub(if self.at_large().is_some() { 1 } else { 0 })
    }

    /// The size of the model for whose verification one is drawn who does not serve it, if one is.
    pub const fn at_large(self) -> Option<u64> {
        match self {
            Self::VerifiedAtLarge { weights_bytes, .. } => Some(weights_bytes),
            Self::Verified { .. } | Self::Replicated { .. } => None,
        }
    }

    /// Whether numbers and sizes are such as the rules allow.
    pub const fn is_allowed(self) -> bool {
        match self {
            Self::Verified { verifiers } => verifiers == VERIFIERS_DEFAULT || verifiers == VERIFIERS_HIGH,
            Self::VerifiedAtLarge { verifiers, weights_bytes } => {
                Self::Verified { verifiers }.is_allowed() && weights_bytes <= AT_LARGE_BYTES_MAX
            }
            Self::Replicated { executions } => executions >= 1 && executions <= VERIFIERS_HIGH + 1,
        }
    }
}

/// The caps of a request, in base units per million model tokens; offers within them take part.
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
pub struct Prices {
    /// For a prompt token; what the executor is paid.
    pub input: Price,
    /// For a generated token; what the executor is paid.
    pub output: Price,
    /// The most for a verified token.
    pub verify_max: Price,
}

/// Positions of a job's parent that this job covers; sessions continue one another by it.
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
pub struct VerifiedRange {
    /// First position.
    pub from: u32,
    /// Position after the last.
    pub to: u32,
}

/// Every on-chain field of a request; `job_id` is a hash over all of them.
#[derive(
    Clone,
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
pub struct PublicRecord {
    /// [`PROTOCOL_VERSION`].
    pub version: u8,
    /// How results are compared.
    pub class: Class,
    /// The exact model.
    pub model_id: ModelId,
    /// The definitions of the operations that it uses.
    pub spec_id: SpecId,
    /// Commitment to the request.
    pub input_commit: Digest32,
    /// Tokens of the prompt.
    pub n_in: Tokens,
    /// The most tokens to generate.
    pub n_max: Tokens,
    /// Redundancy.
    pub policy: Policy,
    /// What the requester pays.
    pub prices: Prices,
    /// The request counts only up to this height, so that a delayed one does not surprise.
    pub valid_until: Height,
    /// The most parties that may see the input; 0 for the default of the rules.
    pub max_eyes: u16,
    /// The executor that the requester chose, for no score; absent, it is drawn.
    #[serde(with = "crate::hex_bytes::option")]
    pub direct_executor: Option<AccountBytes>,
    /// The job that this one continues.
    pub parent: Option<JobId>,
    /// The part of the parent that is covered.
    pub verified_range: Option<VerifiedRange>,
}

impl PublicRecord {
    /// The job's id: no two requests of any chain, account or nonce share one.
    pub fn job_id(&self, genesis: &Digest32, requester: &AccountBytes, nonce: u64) -> JobId {
        JobId::from_digest(
            TaggedHash::new("assay/job/1")
                .fixed(genesis.as_bytes())
                .fixed(requester)
                .u64(nonce)
                .var(&self.encode())
                .finish(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_thirty_fees_at_stake_take_four_verifiers() {
        let policy = |at_stake| Policy::for_stake(Amount::new(at_stake), Amount::new(100)).unwrap();
        assert_eq!(policy(3_000), Policy::Verified { verifiers: 2 });
        assert_eq!(policy(3_001), Policy::Verified { verifiers: 4 });
    }
}
