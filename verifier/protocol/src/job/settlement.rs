//! The record of a finished job, as the log keeps it.

use assay_manifest::log::{ENTRY_VERSION, SETTLEMENT_AT_LARGE_KIND, SETTLEMENT_KIND};
use assay_manifest::{Digest32, JobId};
use bounded_collections::{BoundedVec, ConstU32};
use codec::{Decode, DecodeAll, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

use crate::commitment::{Claim, Opening};
use crate::draw::DrawFacts;
use crate::params::SEATS_MAX;
use crate::party::{AccountBytes, Role};
use crate::record::PublicRecord;
use crate::signature::WorkKey;
use crate::units::{Amount, Height};

use super::state::{SeatOutcome, SignedCommitment};

/// What the ledger says about an answer.
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
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Executed by its owner, checked by nobody.
    #[codec(index = 0)]
    #[serde(rename = "self")]
    SelfSigned,
    /// An executor committed; no verifier did.
    #[codec(index = 1)]
    Committed,
    /// Executor and verifiers committed to one value; the draw was wide (clause J15).
    #[codec(index = 2)]
    Verified,
    /// The same from a thin draw.
    #[codec(index = 3)]
    VerifiedThin,
    /// Confirmed once more after the settlement.
    #[codec(index = 4)]
    RetroVerified,
    /// Decided by the validators.
    #[codec(index = 5)]
    Refereed,
    /// No verdict was reached.
    #[codec(index = 6)]
    Inconclusive,
}

/// A seat in the settlement record.
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
pub struct SeatRecord {
    /// Position in the drawn order.
    pub index: u8,
    /// Round for which it was drawn.
    pub round: u8,
    /// What it did, and from whom it was drawn.
    pub role: Role,
    /// The account.
    #[serde(with = "crate::hex_bytes")]
    pub provider: AccountBytes,
    /// The key that signed.
    #[serde(with = "crate::hex_bytes")]
    pub work_key: WorkKey,
    /// What became of it.
    pub outcome: SeatOutcome,
    /// Its signed commitment.
    pub commitment: Option<SignedCommitment>,
    /// The value that it was opened to.
    pub value: Option<Digest32>,
    /// Paid to it from the escrow.
    pub paid: Amount,
}

/// Where the escrow went; the parts sum to it.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
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
pub struct Payments {
    /// To the executor.
    pub executor: Amount,
    /// To all verifiers.
    pub verifiers: Amount,
    /// To the pot for later verifications.
    pub pot: Amount,
    /// Burned: protocol fee, steps, and what J14 takes.
    pub burned: Amount,
    /// Returned to the requester.
    pub refunded: Amount,
}

/// The canonical record of a finished job: its SCALE bytes are the log's leaf.
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
pub struct SettlementRecord {
    /// The job.
    pub job: JobId,
    /// The chain.
    pub genesis: Digest32,
    /// Who paid.
    #[serde(with = "crate::hex_bytes")]
    pub requester: AccountBytes,
    /// The requester's number of the job.
    pub nonce: u64,
    /// Every public field of the request.
    pub request: PublicRecord,
    /// The bond of each seat.
    pub bond: Amount,
    /// The round of the executor's answer.
    pub round: u8,
    /// What the ledger says.
    pub verdict: Verdict,
    /// The settled value's opening.
    pub opening: Option<Opening>,
    /// v_r of the settled value.
    pub value: Option<Digest32>,
    /// What the executor claimed.
    pub claim: Option<Claim>,
    /// Facts of the executor's draw.
    pub executor_draw: Option<DrawFacts>,
    /// Facts of the verifiers' draw.
    pub verifier_draw: Option<DrawFacts>,
    /// Facts of the draw of a fresh verifier after the settlement; with them, opening and value are those of
    /// the next round.
    pub recheck_draw: Option<DrawFacts>,
    /// Facts of the draw of a verifier at large (clause J16).
    #[codec(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_large_draw: Option<DrawFacts>,
    /// Every drawn seat.
    pub seats: BoundedVec<SeatRecord, ConstU32<SEATS_MAX>>,
    /// Where the escrow went.
    pub payments: Payments,
    /// Height of this record: of the settlement, or of what changed it.
    pub settled_at: Height,
}

impl SettlementRecord {
    /// The round of opening and value.
    pub fn value_round(&self) -> u8 {
        self.round.saturating_add(u8::from(self.recheck_draw.is_some()))
    }

    /// The canonical leaf: version, kind of entry, SCALE of the record. A job with a verifier at large has a kind of its
    /// own, with the facts of that draw at the end.
    pub fn to_leaf(&self) -> Vec<u8> {
        match &self.at_large_draw {
            None => (ENTRY_VERSION, SETTLEMENT_KIND, self).encode(),
            Some(draw) => (ENTRY_VERSION, SETTLEMENT_AT_LARGE_KIND, self, draw).encode(),
        }
    }

    /// The record of a leaf, if it is one of a settlement.
    pub fn from_leaf(leaf: &[u8]) -> Option<Self> {
        if let Some(record) = leaf.strip_prefix(&[ENTRY_VERSION, SETTLEMENT_KIND]) {
            return Self::decode_all(&mut &*record).ok();
        }
        let record = leaf.strip_prefix(&[ENTRY_VERSION, SETTLEMENT_AT_LARGE_KIND])?;
        let (record, draw) = <(Self, DrawFacts)>::decode_all(&mut &*record).ok()?;
        Some(Self { at_large_draw: Some(draw), ..record })
    }
}
