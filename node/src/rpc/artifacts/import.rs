//! Importing files of the node's machine into its store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use assay_manifest::{
    ArtifactId, ArtifactKind, ArtifactName, Digest32, Manifest, ModelId, ModelParts, SpecId, WeightsId,
};
use jsonrpsee::PendingSubscriptionSink;
use jsonrpsee::core::server::SubscriptionCloseResponse;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::{Context, IMPORTS_MAX};
use crate::rpc::error::{Code, End, RpcError};
use crate::rpc::feed::{accept, reject, send};
use crate::rpc::params::Args;
use crate::rpc::ports::{Artifacts, ImportProgress, ImportRequest, NewArtifact};

/// From one report of progress to the next.
const PROGRESS_PACE: Duration = Duration::from_millis(100);

impl<A: Artifacts> Context<A> {
    /// Imports, and tells how far it is.
    pub(super) async fn import(
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
            let Source { path, name, kind, expect } = &source;
            let request = ImportRequest { path, kind: *kind, name: name.as_ref(), expected: expect.as_ref() };
            store.import(&request, &mut tell)
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

/// What is to be imported.
pub(super) struct Source {
    path: PathBuf,
    name: Option<ArtifactName>,
    kind: ArtifactKind,
    /// An id that the files must turn out to have.
    expect: Option<Digest32>,
}

impl Source {
    pub(super) fn read(mut args: Args) -> Result<Self, RpcError> {
        let (path, name) = (args.required("path")?, args.optional("name")?);
        let kind = args.optional("kind")?.unwrap_or(ArtifactKind::Model);
        let expect = args.optional("expect")?;
        args.finish()?;
        Ok(Self { path, name, kind, expect })
    }
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "camelCase")]
enum ImportEvent {
    Progress(ImportProgress),
    Imported(Box<Imported>),
    Failed { code: i32, message: String, hint: &'static str },
}

/// An artifact that came into the store, with every id.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Imported {
    artifact_id: ArtifactId,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_id: Option<ModelId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weights_id: Option<WeightsId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spec_id: Option<SpecId>,
    size_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<ModelParts>,
    manifest: Manifest,
}

impl From<NewArtifact> for Imported {
    fn from(NewArtifact { manifest, spec_id }: NewArtifact) -> Self {
        let parts = manifest.model_parts();
        Self {
            artifact_id: manifest.artifact_id(),
            model_id: parts.map(|parts| parts.model_id()),
            weights_id: parts.map(|parts| parts.weights_id),
            spec_id,
            size_bytes: manifest.size_bytes(),
            parts,
            manifest,
        }
    }
}

impl From<Result<NewArtifact, RpcError>> for ImportEvent {
    fn from(result: Result<NewArtifact, RpcError>) -> Self {
        match result {
            Ok(artifact) => Self::Imported(Box::new(artifact.into())),
            Err(error) => Self::Failed {
                code: error.code().number(),
                message: error.cause().to_owned(),
                hint: error.code().hint(),
            },
        }
    }
}
