//! What other nodes have, for JSON-RPC and for serving.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;

use assay_manifest::{ArtifactId, ArtifactKind, Manifest};
use assay_store::Store;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::model_file::spec_of_file;
use crate::blobs::{Fetch, FetchError, Progress, Want};
use crate::rpc::{self, FetchRequest, FetchWatch, NewArtifact, PortError};
use crate::serving::{Supply, SupplyError};

/// Bytes of the disk that a fetch leaves free: a node whose disk is full stops.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// Brings artifacts of other nodes into this node's store.
pub struct Peers {
    fetch: Arc<dyn Fetch>,
    store: Arc<Store>,
    /// Where the store lies.
    dir: PathBuf,
}

impl Peers {
    /// Fetches by `fetch`, which brings what it fetches into `store`, which lies in `dir`.
    pub const fn new(fetch: Arc<dyn Fetch>, store: Arc<Store>, dir: PathBuf) -> Self {
        Self { fetch, store, dir }
    }

    /// The same, but fetching by `fetch`.
    pub fn by(&self, fetch: Arc<dyn Fetch>) -> Self {
        Self::new(fetch, Arc::clone(&self.store), self.dir.clone())
    }

    /// Fetches, but not what is larger than it may be or has no room: that is known as soon as the manifest is.
    async fn brought(
        &self,
        want: Want,
        bytes_max: Option<u64>,
        watch: FetchWatch<'_>,
    ) -> Result<Manifest, PortError> {
        let (told, mut known) = tokio::sync::watch::channel(None);
        let tell = |now: Progress| {
            if now.total_bytes > 0 {
                told.send_if_modified(|first: &mut Option<Progress>| {
                    let is_first = first.is_none();
                    first.get_or_insert(now);
                    is_first
                });
            }
            watch(now);
        };
        let bounded = async {
            let first = known.wait_for(Option::is_some).await.ok().and_then(|first| *first);
            let Some(Progress { done_bytes, total_bytes, .. }) = first else { return pending().await };
            match self.bound(want.artifact, bytes_max, (done_bytes, total_bytes)).await {
                Ok(()) => pending().await,
                Err(refused) => refused,
            }
        };
        tokio::select! {
            fetched = self.fetch.fetch(want, &tell) => fetched.map_err(refused),
            refused = bounded => Err(refused),
        }
    }

    async fn bound(
        &self,
        artifact: ArtifactId,
        bytes_max: Option<u64>,
        (done_bytes, total_bytes): (u64, u64),
    ) -> Result<(), PortError> {
        if let Some(limit_bytes) = bytes_max.filter(|limit| total_bytes > *limit) {
            return Err(refused(FetchError::TooLarge { artifact, size_bytes: total_bytes, limit_bytes }));
        }
        let dir = self.dir.clone();
        let disk = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&dir)).await;
        let disk = disk.map_err(|_| refused(FetchError::Panicked(artifact)))?;
        let disk = disk.map_err(|error| {
            PortError::Failed(format!("fetching {artifact}: asking how much room there is: {error}"))
        })?;
        let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
        let needed_bytes = total_bytes.saturating_sub(done_bytes);
        if needed_bytes.saturating_add(FREE_BYTES_MIN) <= free_bytes {
            return Ok(());
        }
        Err(PortError::Full(format!(
            "fetching {artifact}: {needed_bytes} bytes are missing of it, and of the {free_bytes} that are free on \
             the disk {FREE_BYTES_MIN} must stay so"
        )))
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
            let manifest = self.brought(Want { artifact, kind }, None, watch).await?;
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

fn not_brought(error: PortError) -> SupplyError {
    let cause = error.to_string();
    match error {
        PortError::Refused(_) | PortError::Full(_) | PortError::NotFound(_) => SupplyError::Refused(cause),
        PortError::Unavailable(_) | PortError::NoNetwork(_) | PortError::Failed(_) => {
            SupplyError::Away(cause)
        }
    }
}

impl Supply for Peers {
    fn bring(&self, artifact: ArtifactId, bytes_max: Option<u64>) -> BoxFuture<'_, Result<(), SupplyError>> {
        let want = Want { artifact, kind: Some(ArtifactKind::Model) };
        async move {
            let fetched = self.brought(want, bytes_max, &|_| {}).await;
            fetched.map(drop).map_err(not_brought)
        }
        .boxed()
    }

    fn share(&self, artifact: ArtifactId) {
        self.fetch.announce(artifact);
    }
}

#[cfg(test)]
mod tests {
    use crate::blobs::Stage;

    use super::*;

    /// Holds an artifact of this size, and never gives it.
    struct Slow(u64);

    impl Fetch for Slow {
        fn fetch<'a>(
            &'a self,
            _: Want,
            watch: FetchWatch<'a>,
        ) -> BoxFuture<'a, Result<Manifest, FetchError>> {
            async move {
                let progress =
                    |stage, total_bytes| Progress { stage, done_bytes: 0, total_bytes, holders: 1 };
                watch(progress(Stage::Finding, 0));
                watch(progress(Stage::Fetching, self.0));
                pending().await
            }
            .boxed()
        }

        fn announce(&self, _: ArtifactId) {}

        fn withdraw(&self, _: ArtifactId) {}
    }

    #[tokio::test]
    async fn what_is_too_large_or_has_no_room_is_given_up_as_soon_as_its_size_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path()).unwrap());
        let peers = |size| Peers::new(Arc::new(Slow(size)), Arc::clone(&store), dir.path().into());
        let large = peers(5).bring(ArtifactId::ZERO, Some(4)).await.unwrap_err().to_string();
        assert!(large.contains("5 bytes, and 4 are allowed"), "{large}");
        let full = peers(1 << 60).bring(ArtifactId::ZERO, None).await.unwrap_err().to_string();
        assert!(full.contains("must stay so"), "{full}");
        assert!(peers(4).bound(ArtifactId::ZERO, Some(4), (0, 4)).await.is_ok());
    }
}
