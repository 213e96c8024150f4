//! Answers the requests of peers.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use assay_manifest::{ArtifactId, Digest32};
use assay_store::{BlobReader, Store, StoreError, is_range_of_groups};
use futures::{AsyncWriteExt, Stream, StreamExt};
use libp2p::PeerId;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error, warn};

use super::config::{FetchConfig, ServeConfig};
use super::disk::Disk;
use super::error::Fault;
use super::fetch::Fetcher;
use super::ports::Swarm;
use super::wire::{Answer, MANIFEST_BYTES_MAX, ReadError, Request, read_message};
use crate::supervisor::told_to_stop;

/// Streams that are told at the same time that this node is busy; beyond them they are closed without a word.
const TOLD_BUSY_MAX: usize = 64;

/// A blob that a stream asks nothing more of for so long is closed: an open one cannot be removed.
const OPEN_IDLE_MAX: Duration = Duration::from_secs(2);
/// Bytes of a manifest that are sent at once.
const PART_BYTES: usize = 128 << 10;
/// How often whoever waits for a peer looks whether it waited long enough.
const STEP: Duration = Duration::from_secs(1);

/// The service; [`Server::run`] returns when it is told to stop.
pub struct Server<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    swarm: Arc<S>,
    store: Arc<Store>,
    config: ServeConfig,
    uploads: Uploads,
    busy: Semaphore,
    pace: Option<Pace>,
    /// Where the store is.
    disk: Arc<Disk>,
}

impl<S: Swarm> Server<S> {
    /// Serves what is in `store`.
    pub fn new(swarm: Arc<S>, store: Arc<Store>, config: ServeConfig) -> Self {
        let pace = config.bytes_per_second.map(Pace::new);
        let busy = Semaphore::new(TOLD_BUSY_MAX);
        let (uploads, disk) = (Uploads::default(), Arc::default());
        Self { shared: Arc::new(Shared { swarm, store, config, uploads, busy, pace, disk }) }
    }

    /// Fetches into the same store, by preference from peers that are not served at the time.
    pub fn fetcher(&self, config: FetchConfig) -> Fetcher<S> {
        let Shared { swarm, store, uploads, disk, .. } = &*self.shared;
        let (swarm, store) = (Arc::clone(swarm), Arc::clone(store));
        Fetcher::beside((uploads.clone(), Arc::clone(disk)), swarm, store, config)
    }

    /// Answers on every stream that comes until `stop` turns true.
    pub async fn run(
        self,
        mut streams: impl Stream<Item = (PeerId, S::Stream)> + Unpin,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut serving = JoinSet::new();
        serving.spawn(announce_pinned(Arc::clone(&self.shared), stop.clone()));
        loop {
            tokio::select! {
                stream = streams.next() => match stream {
                    Some((peer, stream)) => {
                        serving.spawn(Arc::clone(&self.shared).serve(peer, stream));
                    }
                    // The end of the network is what ends the node, with its own cause.
                    None => break told_to_stop(&mut stop).await,
                },
                Some(ended) = serving.join_next(), if !serving.is_empty() => {
                    if let Err(panic) = ended {
                        error!(%panic, "serving a peer panicked");
                    }
                }
                () = told_to_stop(&mut stop) => break,
            }
        }
        serving.shutdown().await;
    }
}

/// Tells of what is meant to stay here, as soon as it can be served without reading all of it first.
async fn announce_pinned<S: Swarm>(shared: Arc<Shared<S>>, stop: watch::Receiver<bool>) {
    let told = tokio::task::spawn_blocking(move || {
        let artifacts: BTreeSet<_> = shared.store.pins()?.into_iter().map(|(artifact, _)| artifact).collect();
        for artifact in artifacts.into_iter().take_while(|_| !*stop.borrow()) {
            announce(&*shared.swarm, &shared.store, artifact);
        }
        Ok::<_, StoreError>(())
    });
    match told.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => error!(%error, "reading what is pinned"),
        Err(panic) => error!(%panic, "preparing what is pinned panicked"),
    }
}

/// Makes the hashes that serving an artifact needs and that are missing, for which all of it is read, and then tells
/// others of it. Blocks.
pub(super) fn announce<S: Swarm>(swarm: &S, store: &Store, artifact: ArtifactId) {
    let prepare = || {
        let manifest = store.get(&artifact)?;
        manifest.files().iter().try_for_each(|file| store.reader(&file.blake3).map(drop))
    };
    match prepare() {
        Ok(()) => swarm.announce(artifact.digest()),
        Err(damage) => error!(%artifact, %damage, "an artifact cannot be served"),
    }
}

impl<S: Swarm> Shared<S> {
    async fn serve(self: Arc<Self>, peer: PeerId, mut stream: S::Stream) {
        let ServeConfig { streams_max, streams_per_peer_max, .. } = self.config;
        let ended = match self.uploads.begin(peer, streams_max, streams_per_peer_max) {
            Some(_upload) => self.answer_all(stream).await,
            None => match self.busy.try_acquire() {
                Ok(_permit) => {
                    let told = self.tell_busy(&mut stream);
                    timeout(self.config.request_timeout, told).await.unwrap_or(Ok(()))
                }
                Err(_) => Ok(()),
            },
        };
        match ended {
            Ok(()) => {}
            Err(ServeError::Read(ReadError::Wire(wrong))) => {
                debug!(%peer, %wrong, "a peer sent what is no request");
                self.swarm.report(peer, Fault::Malformed);
            }
            Err(ServeError::Damaged(damage)) => error!(%damage, "an artifact in the store cannot be served"),
            Err(gone) => debug!(%peer, %gone, "serving a peer ended"),
        }
    }

    /// Reads the first request, as its sender expects, and says that it will not be answered now.
    async fn tell_busy(&self, stream: &mut S::Stream) -> Result<(), ServeError> {
        if read_message(stream).await?.is_some() {
            stream.write_all(&Answer::Busy.message()).await.map_err(ServeError::Write)?;
            stream.close().await.map_err(ServeError::Write)?;
        }
        Ok(())
    }

    /// Answers requests one after the other.
    async fn answer_all(&self, mut stream: S::Stream) -> Result<(), ServeError> {
        let (mut opened, mut chunk) = (None, Vec::new());
        while let Some(request) = self.next_request(&mut stream, &mut opened).await? {
            match request {
                Request::Manifest(artifact) => {
                    let store = Arc::clone(&self.store);
                    let answer = on_thread(move || manifest(&store, &artifact)).await?;
                    for part in answer.chunks(PART_BYTES) {
                        self.send(&mut stream, part).await?;
                    }
                }
                Request::Range { blob, start, end } => {
                    let range = match self.open(&mut opened, blob).await? {
                        Some(reader) if is_range_of_groups(reader.size_bytes(), &(start..end)) => {
                            Ok(reader.encode(start..end)?)
                        }
                        Some(_) => Err(Answer::Refused),
                        None => Err(Answer::NotFound),
                    };
                    let answer = range.as_ref().err().copied().unwrap_or(Answer::Range);
                    self.send(&mut stream, &answer.message()).await?;
                    if let Ok(mut range) = range {
                        while let Some(read) = self.disk.work(|| range.read(chunk))? {
                            chunk = range.verify(read)?;
                            self.send(&mut stream, &chunk).await?;
                        }
                        chunk = Vec::new();
                    }
                }
            }
            self.in_time(0, stream.flush()).await?;
        }
        self.in_time(0, stream.close()).await
    }

    /// Waits for a request; a blob that nobody asks for meanwhile is closed, so that it may be removed.
    async fn next_request(
        &self,
        stream: &mut S::Stream,
        opened: &mut Opened,
    ) -> Result<Option<Request>, ServeError> {
        let ServeConfig { request_timeout, full, .. } = self.config;
        let mut message = std::pin::pin!(read_message(stream));
        let begun = Instant::now();
        loop {
            let step = request_timeout.min(STEP);
            if let Ok(message) = timeout(step, &mut message).await {
                let parsed = message?.map(|bytes| Request::parse(&bytes)).transpose();
                return Ok(parsed.map_err(ReadError::from)?);
            }
            let since = begun.elapsed();
            if since >= OPEN_IDLE_MAX {
                *opened = None;
            }
            if since >= request_timeout || (self.is_full() && since >= full.request_timeout) {
                return Err(ServeError::Idle);
            }
        }
    }

    /// The blob that a stream asks for, which is often the one that it asked for last.
    async fn open<'a>(
        &self,
        opened: &'a mut Opened,
        blob: Digest32,
    ) -> Result<Option<&'a BlobReader>, ServeError> {
        if opened.as_ref().is_none_or(|(known, _)| *known != blob) {
            let store = Arc::clone(&self.store);
            let reader = on_thread(move || open(&store, &blob)).await?;
            *opened = reader.map(|reader| (blob, reader));
        }
        Ok(opened.as_ref().map(|(_, reader)| reader))
    }

    /// Sends some bytes in their turn.
    async fn send(&self, stream: &mut S::Stream, bytes: &[u8]) -> Result<(), ServeError> {
        // A peer that always takes something does not keep a thread for itself.
        consume_budget().await;
        if let Some(pace) = &self.pace {
            pace.wait_for(bytes.len()).await;
        }
        self.in_time(bytes.len(), stream.write_all(bytes)).await
    }

    /// Gives a peer the time that it may take for so many bytes: less while others wait for a stream.
    async fn in_time(
        &self,
        bytes: usize,
        writing: impl Future<Output = io::Result<()>>,
    ) -> Result<(), ServeError> {
        let ServeConfig { write_timeout, full, .. } = self.config;
        let when_full = Duration::from_secs_f64(bytes as f64 / full.bytes_per_second_min.get() as f64);
        let when_full = when_full.max(full.request_timeout);
        let begun = Instant::now();
        let mut writing = std::pin::pin!(writing);
        loop {
            if let Ok(written) = timeout(write_timeout.min(STEP), &mut writing).await {
                return written.map_err(ServeError::Write);
            }
            let since = begun.elapsed();
            if since >= write_timeout || (self.is_full() && since >= when_full) {
                return Err(ServeError::Write(io::ErrorKind::TimedOut.into()));
            }
        }
    }

    fn is_full(&self) -> bool {
        self.uploads.count() >= self.config.streams_max
    }
}

/// Serving a stream ended before its peer ended it.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("waiting for the next request: none came in time")]
    Idle,
    #[error("sending an answer: {0}")]
    Write(io::Error),
    #[error(transparent)]
    Damaged(#[from] StoreError),
    #[error("answering: the thread panicked")]
    Panicked,
}

/// The blob that a stream asked for last.
type Opened = Option<(Digest32, BlobReader)>;

/// Runs what may take long on a thread of its own.
async fn on_thread<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ServeError> {
    let called = tokio::task::spawn_blocking(call).await;
    Ok(called.map_err(|_| ServeError::Panicked)??)
}

/// The whole answer to who asks for a manifest.
fn manifest(store: &Store, artifact: &ArtifactId) -> Result<Vec<u8>, StoreError> {
    let bytes = match store.get(artifact) {
        Ok(manifest) => manifest.to_bytes(),
        Err(StoreError::UnknownArtifact(_)) => return Ok(Answer::NotFound.message()),
        Err(damage) => return Err(damage),
    };
    note_use(store, artifact);
    Ok(match u32::try_from(bytes.len()) {
        Ok(size_bytes) if size_bytes <= MANIFEST_BYTES_MAX => {
            [Answer::Manifest { size_bytes }.message(), bytes].concat()
        }
        _ => Answer::Refused.message(),
    })
}

/// A blob, if it is here.
fn open(store: &Store, blob: &Digest32) -> Result<Option<BlobReader>, StoreError> {
    let reader = match store.reader(blob) {
        Ok(reader) => reader,
        Err(StoreError::UnknownBlob(_)) => return Ok(None),
        Err(damage) => return Err(damage),
    };
    for found in store.find(blob)? {
        note_use(store, &found.artifact_id);
    }
    Ok(Some(reader))
}

/// What is served stays longer when the store must shrink; that it could not be noted is no reason not to serve.
fn note_use(store: &Store, artifact: &ArtifactId) {
    if let Err(error) = store.note_use(artifact) {
        warn!(%error, "noting that an artifact was used");
    }
}

/// The peers that this node is sending to.
#[derive(Clone, Debug, Default)]
pub(super) struct Uploads(Arc<Mutex<HashMap<PeerId, usize>>>);

struct Upload {
    uploads: Uploads,
    peer: PeerId,
}

impl Uploads {
    /// Whether the peer is being sent to. Bulk in both directions on one connection is what to avoid: some
    /// multiplexers fail under it.
    pub fn is_to(&self, peer: &PeerId) -> bool {
        self.lock().contains_key(peer)
    }

    /// Streams that are being answered.
    fn count(&self) -> usize {
        self.lock().values().sum()
    }

    fn begin(&self, peer: PeerId, streams_max: usize, per_peer_max: usize) -> Option<Upload> {
        let mut streams = self.lock();
        let all: usize = streams.values().sum();
        let own = streams.get(&peer).copied().unwrap_or(0);
        if all >= streams_max || own >= per_peer_max {
            return None;
        }
        streams.insert(peer, own + 1);
        Some(Upload { uploads: self.clone(), peer })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PeerId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut streams = self.uploads.lock();
        match streams.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(streams.remove(&self.peer)),
        }
    }
}

/// Bytes a second over all streams: each chunk has its turn after those before it.
pub(super) struct Pace {
    bytes_per_second: NonZeroU64,
    next: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(bytes_per_second: NonZeroU64) -> Self {
        Self { bytes_per_second, next: Mutex::new(Instant::now()) }
    }

    pub(super) async fn wait_for(&self, bytes: usize) {
        let seconds = bytes as f64 / self.bytes_per_second.get() as f64;
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = Instant::now().max(*next);
            *next = turn + Duration::from_secs_f64(seconds);
            turn
        };
        sleep_until(turn).await;
    }
}
