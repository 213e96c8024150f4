//! Models and datasets through a node: importing into its store, looking up, registering.

use assay_manifest::lineage::Edge;
use assay_manifest::{
    ArtifactId, ArtifactKind, ArtifactName, Digest32, Manifest, ModelId, ModelParts, SpecId, WeightsId,
};
use assay_protocol::units::{Amount, Height};
use assay_runtime::{AccountId, Runtime, RuntimeCall};
use jsonrpsee::core::client::{Subscription, SubscriptionClientT};
use jsonrpsee::core::params::ArrayParams;
use jsonrpsee::rpc_params;
use pallet_assay_artifacts::{License, Name, Subject};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::chain::{Client, ClientError, explain};
use super::claims::StatedStatus;
use super::submit::{Included, SubmitError};
use crate::keys::Key;
use crate::rpc::{ImportProgress, LocalArtifact};

type Call = pallet_assay_artifacts::Call<Runtime>;

/// What the node's store made of files.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// Its primary id.
    pub artifact_id: ArtifactId,
    /// The model, if it is one.
    pub model_id: Option<ModelId>,
    /// Its weights, if it is a model.
    pub weights_id: Option<WeightsId>,
    /// The definitions that its executions follow, if an engine of the node runs it.
    pub spec_id: Option<SpecId>,
    /// Sum of the files' sizes.
    pub size_bytes: u64,
    /// Everything that the model's id is made from.
    pub parts: Option<ModelParts>,
    /// Files and tensors.
    pub manifest: Manifest,
}

/// How far such work is.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
enum BringEvent<P> {
    Progress(P),
    #[serde(alias = "imported", alias = "fetched")]
    Done(Box<Imported>),
    Failed {
        code: i32,
        message: String,
        hint: String,
    },
    Stop {
        reason: String,
    },
}

impl Imported {
    /// What can be registered of it.
    pub fn subject(&self) -> Subject {
        match self.parts {
            Some(parts) => Subject::Model { parts, spec_id: self.spec_id.unwrap_or(SpecId::ZERO) },
            None => Subject::Dataset(self.artifact_id),
        }
    }
}

/// An artifact as the ledger and the node's store know it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Its primary id.
    pub artifact_id: ArtifactId,
    /// Files and tensors, if the node has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Manifest>,
    /// Who registered it.
    pub registrations: Vec<Registration>,
    /// What it was made from.
    pub edges: Vec<StatedEdge>,
    /// Whether the node's store holds it.
    pub local: bool,
}

impl Artifact {
    /// The model that jobs name, if the artifact is one. The node has computed that of a manifest; a
    /// registration only states it.
    pub fn model_id(&self) -> Option<ModelId> {
        let computed = self.manifest.as_ref().and_then(Manifest::model_id);
        computed.or_else(|| self.registrations.iter().find_map(|entry| entry.model_id))
    }

    /// The registration by `account`.
    pub fn registered_by(&self, account: &AccountId) -> Option<&Registration> {
        self.registrations.iter().find(|entry| entry.account == *account)
    }
}

/// A registration on the ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// What was registered.
    pub artifact_id: ArtifactId,
    /// By whom.
    pub account: AccountId,
    /// Model or dataset.
    pub kind: ArtifactKind,
    /// What the account calls it.
    pub name: String,
    /// As declared.
    pub license: Option<String>,
    /// Sum of the files' sizes.
    pub size_bytes: u64,
    /// Height of the registration.
    pub at: Height,
    /// Its entry in the log.
    pub log_index: u64,
    /// Height at which the account had committed to it, if it showed that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<Height>,
    /// The entry in the log that shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_index: Option<u64>,
    /// The model, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_id: Option<ModelId>,
    /// The definitions that its executions follow, as the account states them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec_id: Option<SpecId>,
    /// Everything that the model's id is made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<ModelParts>,
    /// Whether the files in the node's store make what is registered; absent when they are not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches_files: Option<bool>,
    /// What the account says of it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<StatedStatus>,
    /// Held for it.
    pub deposit: Amount,
}

/// A lineage edge on the ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatedEdge {
    /// The statement.
    #[serde(flatten)]
    pub edge: Edge,
    /// By whom.
    pub account: AccountId,
    /// Height of the statement.
    pub at: Height,
    /// Its entry in the log.
    pub log_index: u64,
    /// What the account says of it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<StatedStatus>,
}

/// A page of registrations.
#[derive(Deserialize)]
struct Page {
    items: Vec<Registration>,
    cursor: Option<String>,
}

/// Files of the node's machine, and what they are taken for.
#[derive(Clone, Copy, Debug)]
pub struct ImportFiles<'a> {
    /// A file or directory.
    pub path: &'a str,
    /// Model or dataset.
    pub kind: ArtifactKind,
    /// What the store is to call it.
    pub name: Option<&'a ArtifactName>,
    /// An id that somebody said the files have.
    pub expected: Option<&'a Digest32>,
}

/// Everything that one extrinsic registers.
#[derive(Clone, Debug, Default)]
pub struct Registering<'a> {
    /// The registration, unless it is there.
    pub entry: Option<Entry>,
    /// Artifact and salt of a commitment that is opened with it.
    pub opening: Option<(ArtifactId, Digest32)>,
    /// Edges that are stated.
    pub edges: &'a [Edge],
}

/// What an account says about an artifact when it registers it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What.
    pub subject: Subject,
    /// Sum of the files' sizes.
    pub size_bytes: u64,
    /// In the account's own scope.
    pub name: ArtifactName,
    /// Declared licence; empty for none.
    pub license: License,
}

impl Entry {
    /// The call that registers it.
    pub fn call(self) -> RuntimeCall {
        let Self { subject, size_bytes, name, license } = self;
        // A checked name is never longer than the ledger's bound.
        let name = Name::truncate_from(name.as_str().as_bytes().to_vec());
        Call::register { subject, size_bytes, name, license }.into()
    }
}

impl Client {
    /// Imports a file or directory of the node's machine into its store.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses: the path must exist there, and unsafe methods be allowed.
    pub async fn import(
        &self,
        files: ImportFiles<'_>,
        progress: impl FnMut(&ImportProgress),
    ) -> Result<Imported, ClientError> {
        let params = rpc_params![files.path, files.name, files.kind, files.expected];
        self.bring(["artifact_v1_import", "artifact_v1_cancelImport"], params, progress).await
    }

    /// Follows work of the node that ends with an artifact in its store.
    pub(super) async fn bring<P: DeserializeOwned>(
        &self,
        [method, cancel]: [&str; 2],
        params: ArrayParams,
        mut progress: impl FnMut(&P),
    ) -> Result<Imported, ClientError> {
        let mut events: Subscription<BringEvent<P>> =
            self.rpc.subscribe(method, params, cancel).await.map_err(|error| explain(method, error))?;
        let broken = |cause: String| ClientError::Transport { method: method.into(), cause };
        while let Some(event) = events.next().await {
            let foreign = |cause: serde_json::Error| ClientError::Foreign {
                method: method.into(),
                cause: cause.to_string(),
            };
            match event.map_err(foreign)? {
                BringEvent::Progress(now) => progress(&now),
                BringEvent::Done(imported) => return Ok(*imported),
                BringEvent::Failed { code, message, hint } => {
                    let (method, hint) = (method.into(), Some(hint));
                    return Err(ClientError::Refused { method, code, message, hint, reason: None });
                }
                BringEvent::Stop { reason } => return Err(broken(reason)),
            }
        }
        Err(broken("the node closed the subscription".into()))
    }

    /// What ledger and store know of an artifact, by any of its ids or `address/name`.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses. What is not known is `None`.
    pub async fn artifact(&self, id: &str) -> Result<Option<Artifact>, ClientError> {
        const NOT_FOUND: i32 = 20_001;
        match self.request("artifact_v1_get", rpc_params![id]).await {
            Err(ClientError::Refused { code: NOT_FOUND, .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Every registration, in the order of the ids.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses.
    pub async fn registrations(&self) -> Result<Vec<Registration>, ClientError> {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page: Page = self.request("artifact_v1_list", rpc_params![cursor]).await?;
            found.extend(page.items);
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(found);
            }
        }
    }

    /// Everything in the node's store.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses.
    pub async fn local_artifacts(&self) -> Result<Vec<LocalArtifact>, ClientError> {
        self.request("artifact_v1_listLocal", rpc_params![]).await
    }

    /// Registers an artifact, opens the commitment to it and states its edges in one extrinsic: all of it
    /// happens, or nothing.
    ///
    /// # Errors
    /// [`SubmitError`] when the node or the ledger refuses.
    pub async fn register(&self, key: &Key, what: Registering<'_>) -> Result<Included, SubmitError> {
        let Registering { entry, opening, edges } = what;
        let open = |(artifact, salt)| Call::open_prior { artifact, salt }.into();
        let state = |edge: &Edge| Call::state_edge { edge: *edge }.into();
        let calls = entry.map(Entry::call).into_iter().chain(opening.map(open));
        self.submit_all(key, "registering", calls.chain(edges.iter().map(state)).collect()).await
    }
}
