//! The file form of a receipt; its schema is frozen per `format`.

use assay_manifest::merkle::InclusionProof;
use assay_manifest::{Digest32, ModelId, SpecId, TaggedHash};
use codec::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::certificate::CommitCertificate;
use crate::commitment::{Finish, Salt};
use crate::draw::Candidate;
use crate::job::SettlementRecord;
use crate::party::AccountBytes;
use crate::record::Class;
use crate::request::Request;
use crate::signature::Signature;

use super::provenance::ProvenEntry;
use super::succession::HandOver;

/// A receipt of either kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "format")]
pub enum Receipt {
    /// Recorded on the ledger.
    #[serde(rename = "assay-receipt/1")]
    Ledger(Box<LedgerReceipt>),
    /// Signed by whoever ran the model itself.
    #[serde(rename = "assay-self-receipt/1")]
    Own(Box<SelfReceipt>),
}

/// A settled job with its proofs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LedgerReceipt {
    /// What the log holds.
    pub settlement: SettlementRecord,
    /// That the log holds it.
    pub inclusion: InclusionProof,
    /// The block whose header carries the log's root.
    pub checkpoint: Evidence,
    /// The blocks up to the checkpoint after which others decided, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hand_overs: Vec<HandOver>,
    /// How the executor was drawn.
    pub executor_draw: Option<DrawEvidence>,
    /// How the verifiers were drawn.
    pub verifier_draw: Option<DrawEvidence>,
    /// How a verifier at large was drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_large_draw: Option<DrawEvidence>,
    /// How the fresh verifier was drawn, if one looked again after the settlement.
    pub recheck_draw: Option<DrawEvidence>,
    /// Registrations of the model, and what registrants and providers said later of their own, in the order of
    /// the log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provenance: Vec<ProvenEntry>,
    /// What the holder of the salt chose to show; absent in the public form.
    pub opened: Option<Disclosure>,
}

/// A header and the validators' signatures under it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Evidence {
    /// SCALE bytes of the header.
    #[serde(with = "hex_vec")]
    pub header: Vec<u8>,
    /// The commit certificate over its hash.
    pub certificate: CommitCertificate,
}

/// Everything that a draw depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrawEvidence {
    /// The block whose randomness was used.
    pub seed: Evidence,
    /// Who could be drawn, with free stake, in order of accounts.
    pub candidates: Vec<Candidate>,
}

/// Opened parts of a job; each stands alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Disclosure {
    /// The salt itself, with which everything can be recomputed.
    pub salt: Option<Salt>,
    /// The request.
    pub input: Option<OpenedInput>,
    /// The answer.
    pub output: Option<OpenedOutput>,
    /// The trace root.
    pub trace: Option<OpenedTrace>,
}

/// The request behind `input_commit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenedInput {
    /// Salt of the input alone.
    pub salt: Digest32,
    /// The request.
    pub request: Request,
}

/// The tokens behind `out_commit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenedOutput {
    /// Salt of the output alone.
    pub salt: Digest32,
    /// The generated tokens.
    pub tokens: Vec<u32>,
}

/// The trace root behind the settled value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenedTrace {
    /// Salt of the round's trace alone.
    pub salt: Digest32,
    /// The trace root.
    pub trace_root: Digest32,
    /// The right token of a rejection; 0 otherwise.
    pub right_token: u32,
}

/// What somebody states about an execution of their own.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SelfStatement {
    /// How it was computed.
    pub class: Class,
    /// The exact model.
    pub model_id: ModelId,
    /// The definitions of the operations.
    pub spec_id: SpecId,
    /// What was asked.
    pub request: Request,
    /// The sampler's seed.
    pub seed: Digest32,
    /// The generated tokens.
    pub tokens: Vec<u32>,
    /// Why the answer ended.
    pub finish: Finish,
    /// The trace root.
    pub trace_root: Digest32,
    /// Who signs, an sr25519 key.
    #[serde(with = "crate::hex_bytes")]
    pub signer: AccountBytes,
}

/// A signed statement about one's own execution: verdict `self`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SelfReceipt {
    /// What is stated.
    pub statement: SelfStatement,
    /// The signer's signature.
    pub signature: Signature,
}

impl SelfStatement {
    /// What the signer signs.
    pub fn digest(&self) -> Digest32 {
        TaggedHash::new("assay/self-receipt/1").var(&self.encode()).finish()
    }
}

pub(super) mod hex_vec {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("0x{}", hex::encode(bytes)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text.strip_prefix("0x").unwrap_or(&text)).map_err(D::Error::custom)
    }
}
