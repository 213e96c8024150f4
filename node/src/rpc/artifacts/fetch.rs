//! Fetching artifacts from other nodes, and what stays in this node's store.

use std::sync::Arc;
use std::time::Duration;

use assay_manifest::{ArtifactId, ArtifactKind};
use assay_runtime::queries::RegisteredBy;
use jsonrpsee::PendingSubscriptionSink;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::core::server::SubscriptionCloseResponse;
use pallet_assay_artifacts::Subject;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::import::Imported;
use super::{Context, FETCHES_MAX};
use crate::blobs::Progress;
use crate::rpc::error::{Code, End, Group, RpcError};
use crate::rpc::feed::{Registry, accept, reject, send};
use crate::rpc::ports::{Artifacts, Collected, FetchRequest};

/// From one report of progress to the next.
const PROGRESS_PACE: Duration = Duration::from_millis(200);

/// Methods that fill the node's disk, or free it.
pub(super) fn register<A: Artifacts>(methods: &mut Registry<Context<A>>) -> Result<(), RegisterMethodError> {
    methods
        .method("artifact_v1_pin", |context, mut args| async move {
            let id: String = args.required("id")?;
            args.finish()?;
            context.pin(&id).await
        })?
        .method("artifact_v1_unpin", |context, mut args| async move {
            let id: String = args.required("id")?;
            args.finish()?;
            context.unpin(&id).await
        })?
        .method("artifact_v1_gc", |context, mut args| async move {
            let cap_bytes: Option<u64> = args.optional("capBytes")?;
            args.finish()?;
            context.collect(cap_bytes).await
        })?
        .subscription(
            ["artifact_v1_fetch", "artifact_v1_fetchEvent", "artifact_v1_cancelFetch"],
            |context, mut args, pending| async move {
                let id = args.required::<String>("id").and_then(|id| args.finish().map(|()| id));
                match id {
                    Ok(id) => context.fetch(&id, pending).await.unwrap_or_else(End::as_event),
                    Err(error) => reject(pending, error).await,
                }
            },
        )?;
    Ok(())
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "camelCase")]
enum FetchEvent {
    Progress(Progress),
    Fetched(Box<Imported>),
    Failed { code: i32, message: String, hint: &'static str },
}

impl<A: Artifacts> Context<A> {
    /// Fetches, and tells how far it is. A subscriber that leaves cancels it, and what has come is kept.
    async fn fetch(
        &self,
        id: &str,
        pending: PendingSubscriptionSink,
    ) -> Result<SubscriptionCloseResponse, End> {
        let Ok(_permit) = Arc::clone(&self.fetches).try_acquire_owned() else {
            let cause = format!("{FETCHES_MAX} fetches are running");
            return Ok(reject(pending, RpcError::new(Code::ArtifactBusy, cause)).await);
        };
        let request = match self.wanted(id).await {
            Ok(request) => request,
            Err(error) => return Ok(reject(pending, error).await),
        };
        let sink = accept(pending).await?;
        let (report, mut progress) = watch::channel(None);
        let tell = move |now: Progress| {
            report.send_replace(Some(now));
        };
        let mut fetching = self.peers.fetch(request, &tell);
        let mut pace = tokio::time::interval(PROGRESS_PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                fetched = &mut fetching => {
                    let fetched = fetched.map_err(|error| Group::Artifact.error(error));
                    send(&sink, &FetchEvent::from(fetched.map(Imported::from))).await?;
                    return Err(End::Finished);
                }
                _ = pace.tick() => {
                    let latest = progress.has_changed().unwrap_or(false);
                    let latest = latest.then(|| *progress.borrow_and_update()).flatten();
                    if let Some(progress) = latest {
                        send(&sink, &FetchEvent::Progress(progress)).await?;
                    }
                }
                () = sink.closed() => return Err(End::Gone),
            }
        }
    }

    /// The artifact that is meant, and what it is registered as: its id says nothing of that.
    async fn wanted(&self, id: &str) -> Result<FetchRequest, RpcError> {
        let artifact = self.resolve(id).await?;
        let known: Vec<RegisteredBy> =
            self.ledger.query(None, "ArtifactsApi_registrations", artifact).await?;
        let kind = known.first().map(|(_, entry)| match entry.subject {
            Subject::Model { .. } => ArtifactKind::Model,
            Subject::Dataset(_) => ArtifactKind::Dataset,
        });
        Ok(FetchRequest { artifact, kind })
    }

    async fn pin(&self, id: &str) -> Result<Value, RpcError> {
        let artifact = self.resolve(id).await?;
        self.on_store(move |store| store.pin(&artifact)).await?;
        self.peers.announce(artifact);
        Ok(json!({ "artifactId": artifact }))
    }

    async fn unpin(&self, id: &str) -> Result<Value, RpcError> {
        let artifact = self.resolve(id).await?;
        self.on_store(move |store| store.unpin(&artifact)).await?;
        Ok(json!({ "artifactId": artifact }))
    }

    async fn collect(&self, cap_bytes: Option<u64>) -> Result<Collected, RpcError> {
        let collected = self.on_store(move |store| store.collect(cap_bytes)).await?;
        let gone: &[ArtifactId] = &collected.artifacts;
        gone.iter().for_each(|artifact| self.peers.withdraw(*artifact));
        Ok(collected)
    }
}

impl From<Result<Imported, RpcError>> for FetchEvent {
    fn from(result: Result<Imported, RpcError>) -> Self {
        match result {
            Ok(artifact) => Self::Fetched(Box::new(artifact)),
            Err(error) => Self::Failed {
                code: error.code().number(),
                message: error.cause().to_owned(),
                hint: error.code().hint(),
            },
        }
    }
}
