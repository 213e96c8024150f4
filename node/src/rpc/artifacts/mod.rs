//! `artifact_v1_*`: models and datasets, on the ledger and in this node's store.

mod import;
mod fetch;
mod views;

use std::sync::Arc;

use assay_manifest::status::StatusSubject;
use assay_manifest::{ArtifactId, Digest32, ModelId, WeightsId};
use assay_runtime::AccountId;
use assay_runtime::queries::{CurrentStatus, PAGE_MAX, RegisteredBy, Stated};
use codec::{Decode, Encode};
use jsonrpsee::core::RegisterMethodError;
use pallet_assay_artifacts::{Prior, Subject};
use serde::Serialize;
use sp_core::Bytes;
use sp_core::crypto::Ss58Codec;
use tokio::sync::Semaphore;

use super::blocking::Blocking;
use super::error::{Code, End, Group, RpcError};
use super::feed::{Registry, reject};
use super::params::Args;
use super::ports::{Artifacts, Peers};
use crate::ledger::LedgerHandle;
use import::Source;
use views::{ArtifactView, EdgeView, PriorView, RegistrationView, StatusView};

/// Registrations of a page when nobody says how many.
const PAGE_DEFAULT: u32 = 100;
/// Pages of registrations that are searched for a weights id, which the ledger does not index.
const PAGES_SEARCHED_MAX: usize = 16;
/// Imports at the same time: they read and write the same disk.
const IMPORTS_MAX: usize = 2;
/// Fetches that callers wait for at the same time: they share the line and the disk.
const FETCHES_MAX: usize = 4;

/// Methods that touch the node's disk.
pub const UNSAFE: [&str; 6] = [
    "artifact_v1_import",
    "artifact_v1_listLocal",
    "artifact_v1_fetch",
    "artifact_v1_pin",
    "artifact_v1_unpin",
    "artifact_v1_gc",
];

/// What the methods work with.
pub struct Context<A> {
    ledger: LedgerHandle,
    artifacts: Arc<A>,
    peers: Arc<dyn Peers>,
    blocking: Blocking,
    imports: Arc<Semaphore>,
    fetches: Arc<Semaphore>,
}

impl<A> Context<A> {
    pub fn new(ledger: LedgerHandle, artifacts: Arc<A>, peers: Arc<dyn Peers>, blocking: Blocking) -> Self {
        let (imports, fetches) = (Semaphore::new(IMPORTS_MAX), Semaphore::new(FETCHES_MAX));
        Self { ledger, artifacts, peers, blocking, imports: Arc::new(imports), fetches: Arc::new(fetches) }
    }
}

pub fn register<A: Artifacts>(methods: &mut Registry<Context<A>>) -> Result<(), RegisterMethodError> {
    methods
        .method("artifact_v1_get", |context, mut args| async move {
            let id: String = args.required("id")?;
            args.finish()?;
            context.get(&id).await
        })?
        .method("artifact_v1_list", |context, args| async move { context.list(args).await })?
        .method("artifact_v1_status", |context, mut args| async move {
            let (subject, account) = (args.required("subject")?, args.account("account")?);
            args.finish()?;
            context.status(subject, account).await
        })?
        .method("artifact_v1_commitments", |context, mut args| async move {
            let account = args.account("account")?;
            args.finish()?;
            context.commitments(account).await
        })?;
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
    fetch::register(methods)
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
        let mut registrations = self.registrations(registrations).await?;
        registrations.sort_by_key(|registration| registration.log_index);
        if let Some(manifest) = &manifest {
            registrations.iter_mut().for_each(|registration| registration.compare(manifest));
        }
        let edges = self.edges(edges).await?;
        Ok(ArtifactView { artifact_id, local: manifest.is_some(), manifest, registrations, edges })
    }

    /// Registrations with what their accounts say of them now.
    async fn registrations(&self, found: Vec<RegisteredBy>) -> Result<Vec<RegistrationView>, RpcError> {
        let of = found
            .iter()
            .map(|(account, entry)| (StatusSubject::Artifact(entry.subject.artifact()), account.clone()));
        let statuses = self.statuses(of.collect()).await?;
        Ok(found.into_iter().zip(statuses).map(RegistrationView::from).collect())
    }

    async fn edges(&self, found: Vec<Stated>) -> Result<Vec<EdgeView>, RpcError> {
        let of = found.iter().map(|Stated { edge, account, .. }| {
            (StatusSubject::Edge { child: edge.child, id: edge.id() }, account.clone())
        });
        let statuses = self.statuses(of.collect()).await?;
        Ok(found.into_iter().zip(statuses).map(EdgeView::from).collect())
    }

    /// What each account says now of its own, one answer a question.
    async fn statuses(
        &self,
        of: Vec<(StatusSubject, AccountId)>,
    ) -> Result<Vec<Option<CurrentStatus>>, RpcError> {
        let mut answers = Vec::with_capacity(of.len());
        for questions in of.chunks(PAGE_MAX as usize) {
            let page: Vec<Option<CurrentStatus>> =
                self.ledger.query(None, "ArtifactsApi_statuses", questions).await?;
            answers.extend(page);
        }
        Ok(answers)
    }

    async fn status(
        &self,
        subject: StatusSubject,
        account: AccountId,
    ) -> Result<Option<StatusView>, RpcError> {
        Ok(self.statuses(vec![(subject, account)]).await?.pop().flatten().map(Into::into))
    }

    async fn commitments(&self, account: AccountId) -> Result<Vec<PriorView>, RpcError> {
        let found: Vec<Prior<_>> = self.ledger.query(None, "ArtifactsApi_priors", account).await?;
        Ok(found.into_iter().map(Into::into).collect())
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
                Subject::Model { parts, .. } => parts.weights_id == weights,
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
}

fn place((account, entry): &RegisteredBy) -> (ArtifactId, AccountId) {
    (entry.subject.artifact(), account.clone())
}

#[derive(Clone, Serialize)]
struct Page {
    items: Vec<RegistrationView>,
    cursor: Option<Bytes>,
}

impl<A: Artifacts> Context<A> {
    async fn list(&self, mut args: Args) -> Result<Page, RpcError> {
        let cursor: Option<Bytes> = args.optional("cursor")?;
        let limit = args.optional("limit")?.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX);
        args.finish()?;
        let after = cursor.map(|Bytes(bytes)| <(ArtifactId, AccountId)>::decode(&mut bytes.as_slice()));
        let after = after.transpose();
        let after = after.map_err(|_| RpcError::params("cursor: it is not one of this method's"))?;
        let found: Vec<RegisteredBy> = self.ledger.query(None, "ArtifactsApi_list", (after, limit)).await?;
        let full = u32::try_from(found.len()).is_ok_and(|count| count == limit);
        let cursor = found.last().filter(|_| full).map(|last| Bytes(place(last).encode()));
        Ok(Page { items: self.registrations(found).await?, cursor })
    }
}
