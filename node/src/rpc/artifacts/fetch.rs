//! Fetching artifacts from other nodes, and what stays in this node's store.

use std::sync::Arc;
use std::time::Duration;

use assay_manifest::{ArtifactId, ArtifactKind, Digest32, Manifest};
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
use crate::rpc::ports::{Artifacts, Collected, FetchRequest, NewArtifact, PortError};

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
                    let fetched = fetched.and_then(|artifact| as_asked(id, artifact));
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
        Ok(FetchRequest { artifact, kind: agreed_kind(known.iter().map(|(_, entry)| &entry.subject)) })
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

/// What all registrations of an artifact take it for: anybody may register it as what it is not.
fn agreed_kind<'a>(subjects: impl IntoIterator<Item = &'a Subject>) -> Option<ArtifactKind> {
    let mut kinds = subjects.into_iter().map(|subject| match subject {
        Subject::Model { .. } => ArtifactKind::Model,
        Subject::Dataset(_) => ArtifactKind::Dataset,
    });
    let first = kinds.next()?;
    kinds.all(|kind| kind == first).then_some(first)
}

/// An artifact that has the id that was asked for: which artifact has a model's id or its weights' is what a
/// registrant said, and nobody checked.
fn as_asked(asked: &str, artifact: NewArtifact) -> Result<NewArtifact, PortError> {
    match asked.parse() {
        Ok(id) if !has_id(&artifact.manifest, &id) => Err(PortError::Refused(format!(
            "fetching {asked}: the artifact {} came, which somebody registered as that and which is not; \
             ask for the id of an artifact",
            artifact.manifest.artifact_id()
        ))),
        // A name is its account's word, and means whatever that says.
        Ok(_) | Err(_) => Ok(artifact),
    }
}

fn has_id(manifest: &Manifest, id: &Digest32) -> bool {
    let parts = manifest.model_parts();
    let of_model =
        parts.is_some_and(|parts| [parts.model_id().digest(), parts.weights_id.digest()].contains(id));
    of_model || manifest.artifact_id().digest() == *id
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

#[cfg(test)]
mod tests {
    use assay_engine::synthetic::Synthetic;
    use assay_manifest::{ModelId, SpecId};
    use assay_store::Store;

    use super::*;

    #[test]
    fn what_came_is_passed_on_only_if_it_has_the_id_that_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.gguf");
        std::fs::write(&path, Synthetic::default().gguf().unwrap()).unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let manifest = store.import(&path, ArtifactKind::Model, &mut |_| {}).unwrap();
        let artifact = || NewArtifact { manifest: manifest.clone(), spec_id: Some(SpecId::ZERO) };
        let parts = manifest.model_parts().unwrap();
        let own = [parts.artifact_id.to_string(), parts.model_id().to_string(), parts.weights_id.to_string()];
        for asked in own.iter().map(String::as_str).chain(["5Grw/model"]) {
            assert!(as_asked(asked, artifact()).is_ok(), "{asked}");
        }
        let claimed = ModelId::from_bytes([7; 32]).to_string();
        let refused = as_asked(&claimed, artifact()).unwrap_err();
        assert!(matches!(&refused, PortError::Refused(cause) if cause.contains(&claimed)), "{refused:?}");
    }

    #[test]
    fn a_kind_is_asked_for_only_where_all_registrations_agree() {
        let data = Subject::Dataset(ArtifactId::ZERO);
        let parts = assay_manifest::ModelParts {
            artifact_id: ArtifactId::ZERO,
            weights_id: assay_manifest::WeightsId::ZERO,
            config_id: assay_manifest::ConfigId::ZERO,
            tokenizer_id: assay_manifest::TokenizerId::ZERO,
            template_id: assay_manifest::TemplateId::ZERO,
        };
        let model = Subject::Model { parts, spec_id: SpecId::ZERO };
        assert_eq!(agreed_kind([]), None);
        assert_eq!(agreed_kind([&data, &data]), Some(ArtifactKind::Dataset));
        assert_eq!(agreed_kind([&model]), Some(ArtifactKind::Model));
        assert_eq!(agreed_kind([&data, &model]), None, "a stranger decides nothing");
    }
}
