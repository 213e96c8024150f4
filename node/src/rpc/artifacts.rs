//! `artifact_v1_*`: models and datasets, on the ledger and in this node's store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use assay_manifest::lineage::Edge;
use assay_manifest::{
    ArtifactId, ArtifactKind, ArtifactName, Digest32, Manifest, ModelId, ModelParts, WeightsId,
};
use assay_protocol::units::{Amount, Height};
use assay_runtime::AccountId;
use assay_runtime::queries::{PAGE_MAX, RegisteredBy, Stated};
use codec::{Decode, Encode};
use jsonrpsee::PendingSubscriptionSink;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::core::server::SubscriptionCloseResponse;
use pallet_assay_artifacts::Subject;
use serde::Serialize;
use sp_core::Bytes;
use sp_core::crypto::Ss58Codec;
use tokio::sync::{Semaphore, watch};
use tokio::time::MissedTickBehavior;

use super::blocking::Blocking;
use super::error::{Code, End, Group, RpcError};
use super::feed::{Registry, accept, reject, send};
use super::params::Args;
use super::ports::{Artifacts, ImportProgress};
use crate::ledger::LedgerHandle;

/// Registrations of a page when nobody says how many.
const PAGE_DEFAULT: u32 = 100;
/// Pages of registrations that are searched for a weights id, which the ledger does not index.
const PAGES_SEARCHED_MAX: usize = 16;
/// Imports at the same time: they read and write the same disk.
const IMPORTS_MAX: usize = 2;
/// From one report of progress to the next.
const PROGRESS_PACE: Duration = Duration::from_millis(100);

/// What the methods work with.
pub struct Context<A> {
    ledger: LedgerHandle,
    artifacts: Arc<A>,
    blocking: Blocking,
    imports: Arc<Semaphore>,
}

impl<A> Context<A> {
    pub fn new(ledger: LedgerHandle, artifacts: Arc<A>, blocking: Blocking) -> Self {
        Self { ledger, artifacts, blocking, imports: Arc::new(Semaphore::new(IMPORTS_MAX)) }
    }
}

pub fn register<A: Artifacts>(methods: &mut Registry<Context<A>>) -> Result<(), RegisterMethodError> {
    methods
        .method("artifact_v1_get", |context, mut args| async move {
            let id: String = args.required("id")?;
            args.finish()?;
            context.get(&id).await
        })?
        .method("artifact_v1_list", |context, args| async move { list(&context.ledger, args).await })?;
    Ok(())
}

/// Methods that touch the node's disk.
pub fn register_unsafe<A: Artifacts>(methods: &mut Registry<Context<A>>) -> Result<(), RegisterMethodError> {
    methods
        .method("artifact_v1_listLocal", |context, args| async move {
            args.finish()?;
            context.on_store(|store| store.list()).await
        })?
        .subscription(
            ["artifact_v1_import", "artifact_v1_importEvent", "artifact_v1_cancelImport"],
            |context, args, pending| async move {
                match Source::read(args) {
                    Ok(source) => context.import(source, pending).await.unwrap_or_else(End::as_event),
                    Err(error) => reject(pending, error).await,
                }
            },
        )?;
    Ok(())
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct ArtifactView {
    artifact_id: ArtifactId,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<Manifest>,
    registrations: Vec<RegistrationView>,
    edges: Vec<EdgeView>,
    /// Whether the artifact is in this node's store.
    local: bool,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct RegistrationView {
    artifact_id: ArtifactId,
    account: AccountId,
    kind: ArtifactKind,
    name: String,
    /// As declared; null when none is.
    license: Option<String>,
    size_bytes: u64,
    at: Height,
    log_index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_id: Option<ModelId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<ModelParts>,
    deposit: Amount,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct EdgeView {
    #[serde(flatten)]
    edge: Edge,
    account: AccountId,
    at: Height,
    log_index: u64,
}

impl From<RegisteredBy> for RegistrationView {
    fn from((account, entry): RegisteredBy) -> Self {
        let (kind, parts) = match entry.subject {
            Subject::Model(parts) => (ArtifactKind::Model, Some(parts)),
            Subject::Dataset(_) => (ArtifactKind::Dataset, None),
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
            model_id: parts.map(|parts| parts.model_id()),
            parts,
            deposit: Amount::new(entry.deposit),
        }
    }
}

impl From<Stated> for EdgeView {
    fn from(stated: Stated) -> Self {
        let Stated { edge, account, at, log_index, .. } = stated;
        Self { edge, account, at: Height::new(at), log_index }
    }
}

impl<A: Artifacts> Context<A> {
    async fn on_store<T: Send + 'static>(
        &self,
        call: impl FnOnce(&A) -> Result<T, super::PortError> + Send + 'static,
    ) -> Result<T, RpcError> {
        let artifacts = Arc::clone(&self.artifacts);
        self.blocking.run(Group::Artifact, move || call(&artifacts)).await
    }

    async fn get(&self, id: &str) -> Result<ArtifactView, RpcError> {
        let artifact_id = self.resolve(id).await?;
        let ledger = &self.ledger;
        let registrations: Vec<RegisteredBy> =
            ledger.query(None, "ArtifactsApi_registrations", artifact_id).await?;
        let edges: Vec<Stated> = ledger.query(None, "ArtifactsApi_edges", artifact_id).await?;
        let manifest = self.on_store(move |store| store.manifest(&artifact_id)).await?;
        if registrations.is_empty() && manifest.is_none() {
            let cause = format!("{id} is neither registered nor in this node's store");
            return Err(RpcError::new(Code::ArtifactNotFound, cause));
        }
        Ok(ArtifactView {
            artifact_id,
            local: manifest.is_some(),
            manifest,
            registrations: registrations.into_iter().map(Into::into).collect(),
            edges: edges.into_iter().map(Into::into).collect(),
        })
    }

    /// The artifact that `id` names: its own id, its weights' or its model's, or `account/name`.
    async fn resolve(&self, id: &str) -> Result<ArtifactId, RpcError> {
        if let Some((account, name)) = id.split_once('/') {
            return self.named(account, name).await;
        }
        let digest: Digest32 = id.parse().map_err(|error| RpcError::params(format!("id {id:?}: {error}")))?;
        let model = ModelId::from_digest(digest);
        let of_model: Option<ArtifactId> = self.ledger.query(None, "ArtifactsApi_model", model).await?;
        if let Some(artifact) = of_model {
            return Ok(artifact);
        }
        let local = self.on_store(move |store| store.find(&digest)).await?;
        if let Some(artifact) = local.first() {
            return Ok(*artifact);
        }
        let artifact = ArtifactId::from_digest(digest);
        let known: Vec<RegisteredBy> =
            self.ledger.query(None, "ArtifactsApi_registrations", artifact).await?;
        if !known.is_empty() {
            return Ok(artifact);
        }
        Ok(self.with_weights(WeightsId::from_digest(digest)).await?.unwrap_or(artifact))
    }

    async fn named(&self, account: &str, name: &str) -> Result<ArtifactId, RpcError> {
        let account_id = AccountId::from_ss58check(account)
            .map_err(|error| RpcError::params(format!("{account:?} is no address: {error}")))?;
        let arguments = (account_id, name.as_bytes().to_vec());
        let found: Option<ArtifactId> = self.ledger.query(None, "ArtifactsApi_named", arguments).await?;
        found.ok_or_else(|| {
            RpcError::new(Code::ArtifactNotFound, format!("{account} has nothing registered as {name:?}"))
        })
    }

    async fn with_weights(&self, weights: WeightsId) -> Result<Option<ArtifactId>, RpcError> {
        let at = Some(self.ledger.head().hash());
        let mut after = None;
        for _ in 0..PAGES_SEARCHED_MAX {
            let page: Vec<RegisteredBy> =
                self.ledger.query(at, "ArtifactsApi_list", (after, PAGE_MAX)).await?;
            let holds = |(_, entry): &&RegisteredBy| match &entry.subject {
                Subject::Model(parts) => parts.weights_id == weights,
                Subject::Dataset(_) => false,
            };
            if let Some((_, entry)) = page.iter().find(holds) {
                return Ok(Some(entry.subject.artifact()));
            }
            after = page.last().map(place);
            if after.is_none() {
                break;
            }
        }
        Ok(None)
    }

    async fn import(
        &self,
        source: Source,
        pending: PendingSubscriptionSink,
    ) -> Result<SubscriptionCloseResponse, End> {
        let Ok(permit) = Arc::clone(&self.imports).try_acquire_owned() else {
            let cause = format!("{IMPORTS_MAX} imports are running");
            return Ok(reject(pending, RpcError::new(Code::ArtifactBusy, cause)).await);
        };
        let sink = accept(pending).await?;
        let (report, mut progress) = watch::channel(None);
        // An import whose subscriber leaves goes on to its end: what it has read is then in the store.
        let mut importing = std::pin::pin!(self.on_store(move |store| {
            let _permit = permit;
            let mut tell = |now: ImportProgress| drop(report.send_replace(Some(now)));
            store.import(&source.path, source.kind, source.name.as_ref(), &mut tell)
        }));
        let mut pace = tokio::time::interval(PROGRESS_PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                imported = &mut importing => {
                    send(&sink, &ImportEvent::from(imported)).await?;
                    return Err(End::Finished);
                }
                _ = pace.tick() => {
                    let latest = progress.has_changed().unwrap_or(false);
                    let latest = latest.then(|| progress.borrow_and_update().clone()).flatten();
                    if let Some(progress) = latest {
                        send(&sink, &ImportEvent::Progress(progress)).await?;
                    }
                }
                () = sink.closed() => return Err(End::Gone),
            }
        }
    }
}

fn place((account, entry): &RegisteredBy) -> (ArtifactId, AccountId) {
    (entry.subject.artifact(), account.clone())
}

#[derive(Clone, Serialize)]
struct Page {
    items: Vec<RegistrationView>,
    cursor: Option<Bytes>,
}

async fn list(ledger: &LedgerHandle, mut args: Args) -> Result<Page, RpcError> {
    let cursor: Option<Bytes> = args.optional("cursor")?;
    let limit = args.optional("limit")?.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX);
    args.finish()?;
    let after = cursor.map(|Bytes(bytes)| <(ArtifactId, AccountId)>::decode(&mut bytes.as_slice()));
    let after = after.transpose().map_err(|_| RpcError::params("cursor: it is not one of this method's"))?;
    let found: Vec<RegisteredBy> = ledger.query(None, "ArtifactsApi_list", (after, limit)).await?;
    let full = u32::try_from(found.len()).is_ok_and(|count| count == limit);
    let cursor = found.last().filter(|_| full).map(|last| Bytes(place(last).encode()));
    Ok(Page { items: found.into_iter().map(Into::into).collect(), cursor })
}

/// What is to be imported.
struct Source {
    path: PathBuf,
    name: Option<ArtifactName>,
    kind: ArtifactKind,
}

impl Source {
    fn read(mut args: Args) -> Result<Self, RpcError> {
        let (path, name) = (args.required("path")?, args.optional("name")?);
        let kind = args.optional("kind")?.unwrap_or(ArtifactKind::Model);
        args.finish()?;
        Ok(Self { path, name, kind })
    }
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "camelCase")]
enum ImportEvent {
    Progress(ImportProgress),
    Imported(Box<Imported>),
    Failed { code: i32, message: String, hint: &'static str },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Imported {
    artifact_id: ArtifactId,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_id: Option<ModelId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weights_id: Option<WeightsId>,
    size_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<ModelParts>,
    manifest: Manifest,
}

impl From<Result<Manifest, RpcError>> for ImportEvent {
    fn from(result: Result<Manifest, RpcError>) -> Self {
        match result {
            Ok(manifest) => {
                let parts = manifest.model_parts();
                Self::Imported(Box::new(Imported {
                    artifact_id: manifest.artifact_id(),
                    model_id: parts.map(|parts| parts.model_id()),
                    weights_id: parts.map(|parts| parts.weights_id),
                    size_bytes: manifest.size_bytes(),
                    parts,
                    manifest,
                }))
            }
            Err(error) => Self::Failed {
                code: error.code().number(),
                message: error.cause().to_owned(),
                hint: error.code().hint(),
            },
        }
    }
}
