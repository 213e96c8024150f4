//! What other nodes have, for JSON-RPC and for serving.

use std::sync::Arc;

use assay_manifest::{ArtifactId, ArtifactKind};
use assay_store::Store;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::model_file::spec_of_file;
use crate::blobs::{Fetch, FetchError, Want};
use crate::rpc::{self, FetchRequest, FetchWatch, NewArtifact, PortError};
use crate::serving::{Supply, SupplyError};

/// Brings artifacts of other nodes into this node's store.
pub struct Peers {
    fetch: Arc<dyn Fetch>,
    store: Arc<Store>,
}

impl Peers {
    /// Fetches by `fetch`, which brings what it fetches into `store`.
    pub const fn new(fetch: Arc<dyn Fetch>, store: Arc<Store>) -> Self {
        Self { fetch, store }
    }
}

impl rpc::Peers for Peers {
    fn fetch<'a>(
        &'a self,
        request: FetchRequest,
        watch: FetchWatch<'a>,
    ) -> BoxFuture<'a, Result<NewArtifact, PortError>> {
        async move {
            let FetchRequest { artifact, kind } = request;
            let manifest = self.fetch.fetch(Want { artifact, kind }, watch).await.map_err(refused)?;
            let store = Arc::clone(&self.store);
            let described = tokio::task::spawn_blocking(move || NewArtifact {
                spec_id: spec_of_file(&store, &manifest),
                manifest,
            });
            described.await.map_err(|error| PortError::Failed(format!("describing an artifact: {error}")))
        }
        .boxed()
    }

    fn announce(&self, artifact: ArtifactId) {
        self.fetch.announce(artifact);
    }

    fn withdraw(&self, artifact: ArtifactId) {
        self.fetch.withdraw(artifact);
    }
}

fn refused(error: FetchError) -> PortError {
    let cause = error.to_string();
    match error {
        FetchError::NoNetwork(_) => PortError::NoNetwork(cause),
        FetchError::NoHolders(_)
        | FetchError::NoManifest { .. }
        | FetchError::HoldersGone { .. }
        | FetchError::TooSlow { .. } => PortError::Unavailable(cause),
        FetchError::TooLarge { .. } | FetchError::TwoLengths { .. } => PortError::Refused(cause),
        FetchError::Store { source, .. } => match source {
            assay_store::StoreError::Io { .. } | assay_store::StoreError::Index(_) => {
                PortError::Failed(cause)
            }
            _ => PortError::Refused(cause),
        },
        FetchError::Panicked(_) => PortError::Failed(cause),
    }
}

impl Supply for Peers {
    fn bring(&self, artifact: ArtifactId) -> BoxFuture<'_, Result<(), SupplyError>> {
        let want = Want { artifact, kind: Some(ArtifactKind::Model) };
        async move {
            let fetched = self.fetch.fetch(want, &|_| {}).await;
            fetched.map(drop).map_err(|error| SupplyError(error.to_string()))
        }
        .boxed()
    }

    fn share(&self, artifact: ArtifactId) {
        self.fetch.announce(artifact);
    }
}
