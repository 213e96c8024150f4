//! What JSON-RPC needs from the rest of the node, besides the ledger and the pool.
//!
//! Calls of [`Artifacts`], [`Models`] and [`Jobs`] may block; the server makes them on threads for blocking
//! work, a bounded number at a time.

use std::path::Path;

use assay_manifest::{ArtifactId, ArtifactKind, ArtifactName, Digest32, JobId, Manifest, ModelId, SpecId};
use assay_protocol::commitment::Finish;
use assay_protocol::job::SettlementRecord;
use assay_protocol::receipt::Receipt;
use assay_protocol::request::{Prompt, Request, Sampler};
use assay_protocol::seal::Envelope;
use assay_runtime::AccountId;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::blobs::Progress;
use crate::model_process::Confinement;

/// Why the node could not do what it was asked. The text says what was attempted and what went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// There is no such thing here.
    #[error("{0}")]
    NotFound(String),
    /// What was asked makes no sense, or is against the rules; asking again does not help.
    #[error("{0}")]
    Refused(String),
    /// A bound is reached; asking again later may help.
    #[error("{0}")]
    Full(String),
    /// Nobody who has it can be reached now.
    #[error("{0}")]
    Unavailable(String),
    /// This node talks to no others.
    #[error("{0}")]
    NoNetwork(String),
    /// The node failed.
    #[error("{0}")]
    Failed(String),
}

/// How far an import is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportProgress {
    /// Bytes read of all files.
    pub done_bytes: u64,
    /// Bytes of all files.
    pub total_bytes: u64,
    /// The file that is being read, relative to what is imported.
    pub file: String,
}

/// Files of this machine, and what they are taken for.
#[derive(Clone, Copy, Debug)]
pub struct ImportRequest<'a> {
    /// A file or directory.
    pub path: &'a Path,
    /// Model or dataset.
    pub kind: ArtifactKind,
    /// What the store is to call it.
    pub name: Option<&'a ArtifactName>,
    /// An id that somebody said the files have: of the artifact, its weights or model, or a hash of a file.
    pub expected: Option<&'a Digest32>,
}

/// What an import made of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewArtifact {
    /// Everything that the ids follow from, as this node has read it.
    pub manifest: Manifest,
    /// The definitions that executions of the model follow, if there is an engine for it.
    pub spec_id: Option<SpecId>,
}

/// An artifact in this node's store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalArtifact {
    /// Its primary id.
    pub artifact_id: ArtifactId,
    /// What this node calls it.
    pub name: Option<ArtifactName>,
    /// Sum of its files' sizes.
    pub size_bytes: u64,
    /// Model or dataset.
    pub kind: ArtifactKind,
    /// Why it stays when the store has to shrink: `user`, `offer`; none if it may go.
    #[serde(default)]
    pub pins: Vec<String>,
}

/// What was removed from the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Collected {
    /// Artifacts that had to go, in their order: the one that was used least recently first.
    pub artifacts: Vec<ArtifactId>,
    /// Blobs that belonged to no artifact.
    pub garbage_blobs: usize,
    /// Bytes that the removed artifacts had to themselves.
    pub freed_bytes: u64,
    /// Bytes of what is left.
    pub left_bytes: u64,
}

/// What is to be fetched from other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// The artifact.
    pub artifact: ArtifactId,
    /// What it is, if somebody has said so on the ledger.
    pub kind: Option<ArtifactKind>,
}

/// Hears how far a fetch is; called often, and does not block.
pub type FetchWatch<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// The stores of other nodes.
pub trait Peers: Send + Sync + 'static {
    /// Fetches an artifact into this node's store, computing every id anew. Dropping the future cancels; what was
    /// verified is kept for the next time.
    ///
    /// # Errors
    /// [`PortError::Unavailable`] when nobody gives it, [`PortError::NoNetwork`] when there is nobody to ask, and
    /// [`PortError::Refused`] when what came does not make it.
    fn fetch<'a>(
        &'a self,
        request: FetchRequest,
        watch: FetchWatch<'a>,
    ) -> BoxFuture<'a, Result<NewArtifact, PortError>>;

    /// Tells other nodes that this one has an artifact. Does not block.
    fn announce(&self, artifact: ArtifactId);

    /// Tells them so no more. Does not block.
    fn withdraw(&self, artifact: ArtifactId);
}

/// The artifact store of this node.
pub trait Artifacts: Send + Sync + 'static {
    /// Imports files, computing every id anew. `progress` is called often, from the same thread, and does not
    /// block.
    ///
    /// # Errors
    /// [`PortError::Refused`] when what lies there cannot be imported, or has not the id that is expected.
    fn import(
        &self,
        request: &ImportRequest<'_>,
        progress: &mut dyn FnMut(ImportProgress),
    ) -> Result<NewArtifact, PortError>;

    /// Everything in the store, in the order of the ids.
    ///
    /// # Errors
    /// [`PortError::Failed`] when the store fails.
    fn list(&self) -> Result<Vec<LocalArtifact>, PortError>;

    /// The manifest of an artifact, if it is in the store.
    ///
    /// # Errors
    /// [`PortError::Failed`] when the store fails.
    fn manifest(&self, artifact: &ArtifactId) -> Result<Option<Manifest>, PortError>;

    /// Keeps an artifact when the store has to shrink, because the user said so.
    ///
    /// # Errors
    /// [`PortError::NotFound`] when it is not in the store.
    fn pin(&self, artifact: &ArtifactId) -> Result<(), PortError>;

    /// Takes back what the user said; an offer may still keep it.
    ///
    /// # Errors
    /// [`PortError::Failed`] when the store fails.
    fn unpin(&self, artifact: &ArtifactId) -> Result<(), PortError>;

    /// Removes what belongs to no artifact, and then artifacts that nothing keeps, until the store has `cap_bytes` or
    /// less.
    ///
    /// # Errors
    /// [`PortError::Failed`] when the store fails.
    fn collect(&self, cap_bytes: Option<u64>) -> Result<Collected, PortError>;

    /// The artifacts in the store that have `id` as their artifact, weights or model id.
    ///
    /// # Errors
    /// [`PortError::Failed`] when the store fails.
    fn find(&self, id: &Digest32) -> Result<Vec<ArtifactId>, PortError>;
}

/// A model that this node has loaded, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Serving {
    /// The exact model.
    pub model_id: ModelId,
    /// The artifact that holds it.
    pub artifact_id: ArtifactId,
    /// Provider accounts of this node that serve it.
    pub identities: Vec<AccountId>,
}

/// Where this node runs models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "models")]
pub enum Isolation {
    /// In its own process.
    InProcess,
    /// Each in a process of its own.
    Process {
        /// How these are confined.
        #[serde(flatten)]
        confinement: Confinement,
        /// Whether that is all that this program asks of a system.
        whole: bool,
    },
}

/// What somebody wants to ask a model, before it is a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ask {
    /// The exact model.
    pub model: ModelId,
    /// What to continue.
    pub prompt: Prompt,
    /// Seconds since 1970 that a template sees as the present.
    pub now_s: u64,
    /// How tokens are chosen.
    pub sampler: Sampler,
    /// Strings that end the answer.
    #[serde(default)]
    pub stop: Vec<String>,
    /// The most tokens to generate.
    pub max_tokens: u32,
}

impl Ask {
    /// The likeliest answer, with no more in view than the prompt.
    pub fn greedy(model: ModelId, prompt: Prompt, max_tokens: u32) -> Self {
        Self { model, prompt, now_s: 0, sampler: Sampler::greedy(), stop: Vec::new(), max_tokens }
    }
}

/// What the model's tokenizer and template make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prepared {
    /// The exact model.
    pub model_id: ModelId,
    /// The definitions of the operations that it uses.
    pub spec_id: SpecId,
    /// Tokens of the rendered prompt.
    pub n_in: u32,
    /// [`assay_protocol::request::prompt_hash`] of them.
    pub prompt_hash: Digest32,
    /// Tokens that the model can attend to.
    pub context_length: u32,
}

/// What a model of this node answered to the node's owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Executed {
    /// The definitions of the operations that it used.
    pub spec_id: SpecId,
    /// The generated tokens.
    pub tokens: Vec<u32>,
    /// The same as text.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// The trace root.
    pub trace_root: Digest32,
}

/// The models of this node.
pub trait Models: Send + Sync + 'static {
    /// Those that are loaded. Does not block.
    fn serving(&self) -> Vec<Serving>;

    /// Where models are run. Does not block.
    fn isolation(&self) -> Isolation;

    /// The definitions by which this node executes a model, loaded or not: what an offer of it names.
    ///
    /// # Errors
    /// [`PortError::NotFound`] when the model is not here, [`PortError::Refused`] when it cannot be run.
    fn spec_of(&self, model: &ModelId) -> Result<SpecId, PortError>;

    /// Renders and tokenizes a prompt and checks that the model can do what is asked.
    ///
    /// # Errors
    /// [`PortError::NotFound`] when the model is not loaded, [`PortError::Refused`] when it cannot do that.
    fn prepare(&self, ask: &Ask) -> Result<Prepared, PortError>;

    /// Executes a request, which names its seed.
    ///
    /// # Errors
    /// [`PortError::Unavailable`] when the model is not loaded, [`PortError::Refused`] when it cannot do that.
    fn answer(&self, model: &ModelId, request: &Request) -> Result<Executed, PortError>;
}

/// Sealed inputs and answers of jobs that pass through this node. It reads none of them.
pub trait Jobs: Send + Sync + 'static {
    /// Keeps an input for the seat that it is sealed to; durable when it returns. A later one takes its place.
    ///
    /// # Errors
    /// [`PortError::Failed`] when the store fails.
    fn deliver(&self, envelope: &Envelope) -> Result<(), PortError>;

    /// The answers that seats have sealed to the requester: one for every executor that has committed.
    ///
    /// # Errors
    /// [`PortError::Failed`] when the store fails.
    fn answers(&self, job: &JobId) -> Result<Vec<Envelope>, PortError>;

    /// Tokens as text; nothing of them is kept.
    ///
    /// # Errors
    /// [`PortError::Refused`] when the model is not loaded.
    fn decode(&self, model: &ModelId, tokens: &[u32]) -> Result<String, PortError>;
}

/// A finished job with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// What the log holds.
    pub record: SettlementRecord,
    /// Its index there.
    pub log_index: u64,
}

/// Finished jobs and what proves them.
pub trait Receipts: Send + Sync + 'static {
    /// The record of a finished job.
    fn settlement(&self, job: JobId) -> impl Future<Output = Result<Option<Settlement>, PortError>> + Send;

    /// The receipt of a finished job, in its public form.
    fn receipt(&self, job: JobId) -> impl Future<Output = Result<Option<Receipt>, PortError>> + Send;
}
