//! Artifacts of other nodes, and what stays in the node's store.

use assay_manifest::ArtifactId;
use jsonrpsee::rpc_params;
use serde::{Deserialize, Serialize};

use super::artifacts::Imported;
use super::chain::{Client, ClientError};
use crate::blobs::Progress;
use crate::rpc::Collected;

/// The artifact that an answer is about.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// Its primary id.
    pub artifact_id: ArtifactId,
}

impl Client {
    /// Has the node fetch an artifact from other nodes. `id` is of an artifact or model, or `address/name`. Dropping
    /// the future cancels; what has come is kept.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses, or nobody gives the artifact.
    pub async fn fetch_artifact(
        &self,
        id: &str,
        progress: impl FnMut(&Progress),
    ) -> Result<Imported, ClientError> {
        self.bring(["artifact_v1_fetch", "artifact_v1_cancelFetch"], rpc_params![id], progress).await
    }

    /// Keeps an artifact when the node's store has to shrink.
    ///
    /// # Errors
    /// [`ClientError`] when it is not in the store.
    pub async fn pin_artifact(&self, id: &str) -> Result<Subject, ClientError> {
        self.request("artifact_v1_pin", rpc_params![id]).await
    }

    /// Takes back what [`Self::pin_artifact`] said.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses.
    pub async fn unpin_artifact(&self, id: &str) -> Result<Subject, ClientError> {
        self.request("artifact_v1_unpin", rpc_params![id]).await
    }

    /// Removes what belongs to no artifact, and artifacts that nothing keeps until the store has `cap_bytes` or less.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses.
    pub async fn collect_artifacts(&self, cap_bytes: Option<u64>) -> Result<Collected, ClientError> {
        self.request("artifact_v1_gc", rpc_params![cap_bytes]).await
    }
}
