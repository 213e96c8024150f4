//! How JSON-RPC shows what the ledger holds of artifacts: every claimant, and what it says of its claim now.

use assay_manifest::lineage::Edge;
use assay_manifest::priority::{COMMITMENT_LIFETIME_BLOCKS, OPENING_DELAY_BLOCKS};
use assay_manifest::status::{Reason, StatusKind};
use assay_manifest::{ArtifactId, ArtifactKind, Digest32, Manifest, ModelId, ModelParts, SpecId};
use assay_protocol::units::{Amount, Height};
use assay_runtime::AccountId;
use assay_runtime::queries::{CurrentStatus, RegisteredBy, Stated};
use pallet_assay_artifacts::{Prior, Subject};
use serde::Serialize;

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ArtifactView {
    pub artifact_id: ArtifactId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Manifest>,
    /// In the order of the log.
    pub registrations: Vec<RegistrationView>,
    pub edges: Vec<EdgeView>,
    /// Whether the artifact is in this node's store.
    pub local: bool,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegistrationView {
    artifact_id: ArtifactId,
    account: AccountId,
    kind: ArtifactKind,
    name: String,
    /// As declared; null when none is.
    license: Option<String>,
    size_bytes: u64,
    /// Registered at this height.
    at: Height,
    pub log_index: u64,
    /// Height at which the account had committed to it, if it showed that.
    #[serde(skip_serializing_if = "Option::is_none")]
    committed_at: Option<Height>,
    /// The entry in the log that shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    committed_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_id: Option<ModelId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spec_id: Option<SpecId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<ModelParts>,
    /// Whether the files in this node's store make what is registered; absent when they are not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    matches_files: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<StatusView>,
    deposit: Amount,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EdgeView {
    #[serde(flatten)]
    edge: Edge,
    account: AccountId,
    at: Height,
    log_index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<StatusView>,
}

/// What an account says now of a claim or key of its own.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusView {
    kind: StatusKind,
    reason: Reason,
    at: Height,
    log_index: u64,
}

/// A priority commitment that is not opened.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PriorView {
    commitment: Digest32,
    at: Height,
    log_index: u64,
    /// First height at which it can be opened.
    opens_at: Height,
    /// Last height at which it can be opened.
    expires_at: Height,
    deposit: Amount,
}

impl RegistrationView {
    /// Notes whether these files make what is registered.
    pub fn compare(&mut self, manifest: &Manifest) {
        self.matches_files = Some(
            self.parts == manifest.model_parts()
                && self.kind == manifest.kind()
                && self.size_bytes == manifest.size_bytes(),
        );
    }
}

impl From<(RegisteredBy, Option<CurrentStatus>)> for RegistrationView {
    fn from(((account, entry), status): (RegisteredBy, Option<CurrentStatus>)) -> Self {
        let (kind, parts, spec_id) = match entry.subject {
            Subject::Model { parts, spec_id } => (ArtifactKind::Model, Some(parts), Some(spec_id)),
            Subject::Dataset(_) => (ArtifactKind::Dataset, None, None),
        };
        let license = String::from_utf8_lossy(&entry.license).into_owned();
        Self {
            artifact_id: entry.subject.artifact(),
            account,
            kind,
            name: String::from_utf8_lossy(&entry.name).into_owned(),
            license: Some(license).filter(|license| !license.is_empty()),
            size_bytes: entry.size_bytes,
            at: Height::new(entry.at),
            log_index: entry.log_index,
            committed_at: entry.committed.map(|committed| Height::new(committed.at)),
            committed_index: entry.committed.map(|committed| committed.log_index),
            model_id: parts.map(|parts| parts.model_id()),
            spec_id: spec_id.filter(|spec_id| *spec_id != SpecId::ZERO),
            parts,
            matches_files: None,
            status: since(status, entry.log_index),
            deposit: Amount::new(entry.deposit),
        }
    }
}

impl From<(Stated, Option<CurrentStatus>)> for EdgeView {
    fn from((stated, status): (Stated, Option<CurrentStatus>)) -> Self {
        let Stated { edge, account, at, log_index, .. } = stated;
        Self { edge, account, at: Height::new(at), log_index, status: since(status, log_index) }
    }
}

/// A status that speaks of the claim at `log_index`, and not of one that was withdrawn before.
fn since(status: Option<CurrentStatus>, log_index: u64) -> Option<StatusView> {
    status.filter(|status| status.log_index > log_index).map(Into::into)
}

impl From<CurrentStatus> for StatusView {
    fn from(stated: CurrentStatus) -> Self {
        let CurrentStatus { kind, reason, at, log_index, .. } = stated;
        Self { kind, reason, at: Height::new(at), log_index }
    }
}

impl From<Prior<u32>> for PriorView {
    fn from(prior: Prior<u32>) -> Self {
        let Prior { commitment, deposit, at, log_index } = prior;
        Self {
            commitment,
            at: Height::new(at),
            log_index,
            opens_at: Height::new(at.saturating_add(OPENING_DELAY_BLOCKS)),
            expires_at: Height::new(at.saturating_add(COMMITMENT_LIFETIME_BLOCKS)),
            deposit: Amount::new(deposit),
        }
    }
}
