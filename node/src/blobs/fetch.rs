//! Fetches an artifact from many holders.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use assay_manifest::{ArtifactId, ArtifactKind, Digest32, Manifest};
use assay_store::{Store, StoreError};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use libp2p::PeerId;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;
use tokio::time::{interval, timeout};
use tracing::{info, warn};

use super::config::FetchConfig;
use super::disk::Disk;
use super::download::Download;
use super::error::FetchError;
use super::gather::Gathering;
use super::ports::Swarm;
use super::server::{Uploads, announce};
use super::session::{self, Ended};

/// From one report of progress to the next.
pub(super) const PROGRESS_PACE: Duration = Duration::from_millis(200);
/// Holders that are asked for the manifest at the same time.
const MANIFESTS_ASKED_MAX: usize = 4;
/// A manifest may take so many times as long as a stream may stall.
const MANIFEST_STALLS_MAX: u32 = 8;

/// What is to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// The artifact.
    pub artifact: ArtifactId,
    /// What it must be; the id binds the files and not what they are taken for. Without it the holder's word counts.
    pub kind: Option<ArtifactKind>,
}

/// What a fetch is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// Looking for holders and the manifest.
    Finding,
    /// Receiving ranges.
    Fetching,
    /// Computing every id anew.
    Checking,
}

/// How far a fetch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// What it is doing.
    pub stage: Stage,
    /// Bytes that are here, or were checked.
    pub done_bytes: u64,
    /// Bytes of all files; 0 while no manifest is here.
    pub total_bytes: u64,
    /// Holders that are asked now.
    pub holders: usize,
}

/// Hears how far a fetch is; called often, and does not block.
pub type Watch<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// Fetches artifacts, from whatever network there is.
pub trait Fetch: Send + Sync + 'static {
    /// Brings an artifact into the store, unless it is there, and returns its manifest as it was computed here. Dropping
    /// the future cancels; what was verified is kept for the next time.
    ///
    /// # Errors
    /// [`FetchError`].
    fn fetch<'a>(&'a self, want: Want, watch: Watch<'a>) -> BoxFuture<'a, Result<Manifest, FetchError>>;

    /// Tells others that this node holds an artifact, as soon as it can be served. Does not block; called from a task
    /// of the runtime.
    fn announce(&self, artifact: ArtifactId);

    /// Tells nobody any more. Does not block.
    fn withdraw(&self, artifact: ArtifactId);
}

/// A node that talks to no others.
#[derive(Clone, Copy, Debug)]
pub struct NoNetwork;

impl Fetch for NoNetwork {
    fn fetch<'a>(&'a self, want: Want, _: Watch<'a>) -> BoxFuture<'a, Result<Manifest, FetchError>> {
        async move { Err(FetchError::NoNetwork(want.artifact)) }.boxed()
    }

    fn announce(&self, _: ArtifactId) {}

    fn withdraw(&self, _: ArtifactId) {}
}

/// Whether the blobs of a manifest are in the store.
enum Blobs {
    AllHere,
    SomeGone,
}

/// Held by who fetches an artifact.
type Turn = Arc<OwnedMutexGuard<()>>;

/// Fetches from the holders that a network knows.
pub struct Fetcher<S> {
    pub(super) swarm: Arc<S>,
    store: Arc<Store>,
    /// Where the store is.
    disk: Arc<Disk>,
    config: FetchConfig,
    uploads: Uploads,
    /// One lock an artifact: who asks for one that is being fetched waits and finds it in the store.
    running: Mutex<HashMap<ArtifactId, Weak<tokio::sync::Mutex<()>>>>,
}

impl<S: Swarm> Fetch for Fetcher<S> {
    fn fetch<'a>(&'a self, want: Want, watch: Watch<'a>) -> BoxFuture<'a, Result<Manifest, FetchError>> {
        self.fetch_once(want, watch).boxed()
    }

    fn announce(&self, artifact: ArtifactId) {
        let (swarm, store) = (Arc::clone(&self.swarm), Arc::clone(&self.store));
        // Nobody waits for it, and what goes wrong is logged where it does.
        drop(tokio::task::spawn_blocking(move || announce(&*swarm, &store, artifact)));
    }

    fn withdraw(&self, artifact: ArtifactId) {
        self.swarm.withdraw(artifact.digest());
    }
}

impl<S: Swarm> Fetcher<S> {
    /// Fetches into `store`, of which nothing is served; [`Server::fetcher`](super::Server::fetcher) does both.
    pub fn new(swarm: Arc<S>, store: Arc<Store>, config: FetchConfig) -> Self {
        Self::beside(Default::default(), swarm, store, config)
    }

    /// Fetches beside a server, which tells whom it serves, from the same disk.
    pub(super) fn beside(
        (uploads, disk): (Uploads, Arc<Disk>),
        swarm: Arc<S>,
        store: Arc<Store>,
        config: FetchConfig,
    ) -> Self {
        Self { swarm, store, disk, config, uploads, running: Mutex::default() }
    }

    async fn fetch_once(&self, want: Want, watch: Watch<'_>) -> Result<Manifest, FetchError> {
        let artifact = want.artifact;
        let turn = Arc::new(self.turn(artifact).lock_owned().await);
        let here = self.here(want).await?;
        if let Some((manifest, Blobs::AllHere)) = here {
            return Ok(manifest);
        }
        watch(Progress { stage: Stage::Finding, done_bytes: 0, total_bytes: 0, holders: 0 });
        let mut holders = self.holders(artifact).await;
        if holders.is_empty() {
            return Err(FetchError::NoHolders(artifact));
        }
        let claimed = match here {
            Some((manifest, Blobs::SomeGone)) => manifest,
            _ => self.manifest(artifact, &mut holders).await?,
        };
        let kind = want.kind.unwrap_or_else(|| claimed.kind());
        let mut published = self.bring(&claimed, kind, &turn, holders.clone(), watch).await;
        if let Err(FetchError::Store { source: damage @ StoreError::CorruptBlob { .. }, .. }) = &published {
            warn!(%artifact, %damage, "a damaged blob is fetched anew");
            published = self.bring(&claimed, kind, &turn, holders, watch).await;
        }
        let manifest = published?;
        info!(%artifact, size_bytes = manifest.size_bytes(), "an artifact was fetched");
        self.swarm.announce(artifact.digest());
        Ok(manifest)
    }

    /// What the store has of an artifact.
    async fn here(&self, want: Want) -> Result<Option<(Manifest, Blobs)>, FetchError> {
        let artifact = want.artifact;
        let store = Arc::clone(&self.store);
        let look = move || {
            // A manifest that is damaged is fetched anew.
            let Ok(manifest) = store.get(&artifact) else { return Ok(None) };
            let blobs = if store.holds_all(&manifest)? { Blobs::AllHere } else { Blobs::SomeGone };
            Ok(Some((manifest, blobs)))
        };
        let here = on_disk(artifact, look).await?;
        match here {
            Some((manifest, _)) if want.kind.is_some_and(|kind| kind != manifest.kind()) => {
                Err(FetchError::Store { artifact, source: StoreError::OtherKind(artifact) })
            }
            here => Ok(here),
        }
    }

    /// Has holders bring what is missing, and makes the artifact of it.
    async fn bring(
        &self,
        claimed: &Manifest,
        kind: ArtifactKind,
        turn: &Turn,
        holders: VecDeque<PeerId>,
        watch: Watch<'_>,
    ) -> Result<Manifest, FetchError> {
        let artifact = claimed.artifact_id();
        let download = self.download(artifact, claimed).await?;
        Gathering::new(self, artifact, Arc::clone(&download), holders).run(watch).await?;
        // It lives on, so that the blobs keep their lease until the artifact has entered.
        self.publish(claimed.clone(), kind, Arc::clone(turn), watch).await
    }

    fn turn(&self, artifact: ArtifactId) -> Arc<tokio::sync::Mutex<()>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = running.get(&artifact).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        running.insert(artifact, Arc::downgrade(&turn));
        turn
    }

    /// Holders, each once, and those last to which this node is sending.
    pub(super) async fn holders(&self, artifact: ArtifactId) -> VecDeque<PeerId> {
        let mut seen = HashSet::new();
        let mut holders = self.swarm.holders(artifact.digest()).await;
        holders.retain(|holder| seen.insert(*holder));
        holders.sort_by_key(|holder| self.uploads.is_to(holder));
        holders.into()
    }

    /// The manifest from the first of a few holders that gives it. Holders at fault are not asked again.
    async fn manifest(
        &self,
        artifact: ArtifactId,
        holders: &mut VecDeque<PeerId>,
    ) -> Result<Manifest, FetchError> {
        let ask = |holder| async move { (holder, self.manifest_of(holder, artifact).await) };
        let asked = holders.len();
        let mut answers = stream::iter(holders.clone()).map(ask).buffer_unordered(MANIFESTS_ASKED_MAX);
        let mut cause = String::new();
        while let Some((holder, answer)) = answers.next().await {
            let ended = match answer {
                Ok(manifest) => {
                    holders.retain(|other| *other != holder);
                    holders.push_front(holder);
                    return Ok(manifest);
                }
                Err(ended) => ended,
            };
            cause = ended.cause();
            if let Ended::Fault(fault) = ended {
                self.swarm.report(holder, fault);
                holders.retain(|other| *other != holder);
            }
        }
        Err(FetchError::NoManifest { artifact, holders: asked, cause })
    }

    async fn manifest_of(&self, holder: PeerId, artifact: ArtifactId) -> Result<Manifest, Ended> {
        let slow = |_| Ended::Failed("opening a stream: it took too long".into());
        let opened = timeout(self.config.open_timeout, self.swarm.open(holder)).await.map_err(slow)?;
        let mut stream = opened.map_err(|error| Ended::Failed(error.to_string()))?;
        let limit = self.config.stall.saturating_mul(MANIFEST_STALLS_MAX);
        let asking = session::manifest(&mut stream, artifact, &self.config);
        timeout(limit, asking).await.unwrap_or(Err(Ended::Fault(super::Fault::Stalled)))
    }

    async fn download(&self, artifact: ArtifactId, claimed: &Manifest) -> Result<Arc<Download>, FetchError> {
        let (size_bytes, limit_bytes) = (claimed.size_bytes(), self.config.artifact_bytes_max);
        if size_bytes > limit_bytes {
            return Err(FetchError::TooLarge { artifact, size_bytes, limit_bytes });
        }
        let blobs = blobs(claimed).map_err(|blob| FetchError::TwoLengths { artifact, blob })?;
        let lease = self.store.lease(claimed);
        let (written, config) = ((Arc::clone(&self.store), Arc::clone(&self.disk)), self.config.clone());
        on_disk(artifact, move || Download::new(written, config, blobs, lease)).await.map(Arc::new)
    }

    /// Computes every id anew. A call that is dropped meanwhile does so to the end, and keeps its turn until then.
    async fn publish(
        &self,
        claimed: Manifest,
        kind: ArtifactKind,
        turn: Turn,
        watch: Watch<'_>,
    ) -> Result<Manifest, FetchError> {
        let (artifact, total_bytes) = (claimed.artifact_id(), claimed.size_bytes());
        let (told, mut checked) = tokio::sync::watch::channel(0);
        let store = Arc::clone(&self.store);
        let checking = on_disk(artifact, move || {
            let mut tell = |now: assay_store::Progress<'_>| {
                told.send_replace(now.bytes_done);
            };
            let published = store.publish_download(&claimed, kind, &mut tell);
            drop(turn);
            published
        });
        let mut checking = std::pin::pin!(checking);
        let mut pace = interval(PROGRESS_PACE);
        loop {
            tokio::select! {
                published = &mut checking => return published,
                _ = pace.tick() => {
                    let done_bytes = *checked.borrow_and_update();
                    watch(Progress { stage: Stage::Checking, done_bytes, total_bytes, holders: 0 });
                }
            }
        }
    }
}

/// The blobs of a manifest with their lengths, each once; or one for which it states two.
fn blobs(manifest: &Manifest) -> Result<Vec<(Digest32, u64)>, Digest32> {
    let mut blobs = BTreeMap::new();
    for file in manifest.files() {
        if blobs.insert(file.blake3, file.size).is_some_and(|size| size != file.size) {
            return Err(file.blake3);
        }
    }
    Ok(blobs.into_iter().collect())
}

/// Runs what touches the disk on a thread where it may take long.
async fn on_disk<T: Send + 'static>(
    artifact: ArtifactId,
    call: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, FetchError> {
    let called = tokio::task::spawn_blocking(call).await;
    called
        .map_err(|_| FetchError::Panicked(artifact))?
        .map_err(|source| FetchError::Store { artifact, source })
}
