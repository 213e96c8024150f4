//! Answers the requests of peers.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use assay_manifest::{ArtifactId, Digest32};
use assay_store::{BlobReader, Store, StoreError, is_range_of_groups};
use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncReadExt, AsyncWriteExt, Stream, StreamExt};
use libp2p::PeerId;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error, warn};

use super::config::ServeConfig;
use super::error::Fault;
use super::pipe::{self, PipeWriter};
use super::ports::Swarm;
use super::wire::{Answer, MANIFEST_BYTES_MAX, ReadError, Request, read_message};
use crate::supervisor::told_to_stop;

/// Streams that are told at the same time that this node is busy; beyond them they are closed without a word.
const TOLD_BUSY_MAX: usize = 64;

/// A blob that a stream asks nothing more of for so long is closed: an open one cannot be removed.
const OPEN_IDLE_MAX: Duration = Duration::from_secs(2);
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
}

impl<S: Swarm> Server<S> {
    /// Serves what is in `store`. Whom it serves is noted in `uploads`, for whoever fetches.
    pub fn new(swarm: Arc<S>, store: Arc<Store>, config: ServeConfig, uploads: Uploads) -> Self {
        let pace = config.bytes_per_second.map(Pace::new);
        let busy = Semaphore::new(TOLD_BUSY_MAX);
        Self { shared: Arc::new(Shared { swarm, store, config, uploads, busy, pace }) }
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

    async fn answer_all(&self, stream: S::Stream) -> Result<(), ServeError> {
        let (requests, answers) = stream.split();
        let (writer, chunks, spent) = pipe::from_thread();
        let idle = Idle::default();
        let mut sending = std::pin::pin!(self.send((chunks, spent), answers, &idle));
        let answering = self.answer_each(requests, writer, &idle);
        let answered = tokio::select! {
            biased;
            // Nobody takes what is answered.
            sent = &mut sending => return sent.and(Err(ServeError::Panicked)),
            answered = answering => answered,
        };
        let sent = sending.await;
        answered.and(sent)
    }

    /// Prepares the answers one after the other. What was prepared waits in the pipe, so that the next one is begun
    /// while the one before is sent.
    async fn answer_each(
        &self,
        mut requests: ReadHalf<S::Stream>,
        mut writer: PipeWriter,
        idle: &Idle,
    ) -> Result<(), ServeError> {
        let mut opened = None;
        while let Some(request) = self.next_request(&mut requests, &mut opened, idle).await? {
            let job = Job { store: Arc::clone(&self.store), request, opened };
            let answering = tokio::task::spawn_blocking(move || job.run(writer));
            (opened, writer) = answering.await.map_err(|_| ServeError::Panicked)??;
        }
        Ok(())
    }

    /// Waits for a request; a blob that nobody asks for meanwhile is closed, so that it may be removed.
    async fn next_request(
        &self,
        requests: &mut ReadHalf<S::Stream>,
        opened: &mut Opened,
        idle: &Idle,
    ) -> Result<Option<Request>, ServeError> {
        let ServeConfig { request_timeout, full, .. } = self.config;
        let mut message = std::pin::pin!(read_message(requests));
        idle.ends();
        loop {
            let step = request_timeout.min(STEP);
            if let Ok(message) = timeout(step, &mut message).await {
                let parsed = message?.map(|bytes| Request::parse(&bytes)).transpose();
                return Ok(parsed.map_err(ReadError::from)?);
            }
            let since = idle.since().elapsed();
            if since >= OPEN_IDLE_MAX {
                *opened = None;
            }
            if since >= request_timeout || (self.is_full() && since >= full.request_timeout) {
                return Err(ServeError::Idle);
            }
        }
    }

    /// Sends what comes out of the pipe, to its end.
    async fn send(
        &self,
        (mut chunks, spent): (mpsc::Receiver<Vec<u8>>, mpsc::Sender<Vec<u8>>),
        mut answers: WriteHalf<S::Stream>,
        idle: &Idle,
    ) -> Result<(), ServeError> {
        loop {
            let next = match timeout(pipe::LINGER, chunks.recv()).await {
                Ok(next) => next,
                Err(_) => {
                    self.in_time(0, answers.flush()).await?;
                    chunks.recv().await
                }
            };
            let Some(chunk) = next else { break };
            if let Some(pace) = &self.pace {
                pace.wait_for(chunk.len()).await;
            }
            self.in_time(chunk.len(), answers.write_all(&chunk)).await?;
            idle.ends();
            // Where there are enough of them, one is freed.
            drop(spent.try_send(chunk));
        }
        self.in_time(0, answers.close()).await
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

/// Since when nothing was done on a stream.
struct Idle(Mutex<Instant>);

impl Default for Idle {
    fn default() -> Self {
        Self(Mutex::new(Instant::now()))
    }
}

impl Idle {
    fn ends(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn since(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    Damaged(StoreError),
    #[error("answering: the thread panicked")]
    Panicked,
}

type Opened = Option<(Digest32, BlobReader)>;

/// An answer in the making, on a thread where that may take long.
struct Job {
    store: Arc<Store>,
    request: Request,
    /// The blob that the stream asked for last.
    opened: Opened,
}

impl Job {
    /// Returns the blob that was asked for, and what to write the next answer to.
    fn run(self, mut out: PipeWriter) -> Result<(Opened, PipeWriter), ServeError> {
        let opened = self.answer(&mut out)?;
        Ok((opened, out))
    }

    fn answer(self, out: &mut PipeWriter) -> Result<Opened, ServeError> {
        let Self { store, request, opened } = self;
        match request {
            Request::Manifest(artifact) => {
                for chunk in manifest(&store, &artifact)?.chunks(pipe::CHUNK_BYTES) {
                    out.send(chunk.to_vec()).map_err(ServeError::Write)?;
                }
                Ok(opened)
            }
            Request::Range { blob, start, end } => {
                let reader = match opened {
                    Some((known, reader)) if known == blob => Some(reader),
                    _ => open(&store, &blob)?,
                };
                let (answer, reader) = match reader {
                    Some(reader) if is_range_of_groups(reader.size_bytes(), &(start..end)) => {
                        (Answer::Range, Some(reader))
                    }
                    Some(_) => (Answer::Refused, None),
                    None => (Answer::NotFound, None),
                };
                out.send(answer.message()).map_err(ServeError::Write)?;
                if let Some(reader) = &reader {
                    let mut range = reader.encode(start..end).map_err(ServeError::Damaged)?;
                    while let Some(chunk) = range.next_chunk(out.spare()).map_err(ServeError::Damaged)? {
                        out.send(chunk).map_err(ServeError::Write)?;
                    }
                }
                Ok(reader.map(|reader| (blob, reader)))
            }
        }
    }
}

/// The whole answer to who asks for a manifest.
fn manifest(store: &Store, artifact: &ArtifactId) -> Result<Vec<u8>, ServeError> {
    let bytes = match store.get(artifact) {
        Ok(manifest) => manifest.to_bytes(),
        Err(StoreError::UnknownArtifact(_)) => return Ok(Answer::NotFound.message()),
        Err(damage) => return Err(ServeError::Damaged(damage)),
    };
    note_use(store, artifact);
    Ok(match u32::try_from(bytes.len()) {
        Ok(size_bytes) if size_bytes <= MANIFEST_BYTES_MAX => {
            [Answer::Manifest { size_bytes }.message(), bytes].concat()
        }
        _ => Answer::Refused.message(),
    })
}

fn open(store: &Store, blob: &Digest32) -> Result<Option<BlobReader>, ServeError> {
    let reader = match store.reader(blob) {
        Ok(reader) => reader,
        Err(StoreError::UnknownBlob(_)) => return Ok(None),
        Err(damage) => return Err(ServeError::Damaged(damage)),
    };
    for found in store.find(blob).map_err(ServeError::Damaged)? {
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
pub struct Uploads(Arc<Mutex<HashMap<PeerId, usize>>>);

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
