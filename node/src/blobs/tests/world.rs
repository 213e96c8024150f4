//! A network in memory, whose holders can be made to misbehave.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use assay_manifest::{ArtifactKind, Digest32, Manifest};
use assay_store::Store;
use futures::{AsyncRead, AsyncWrite};
use libp2p::PeerId;
use tempfile::TempDir;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use crate::blobs::{Fault, FetchConfig, Fetcher, OpenError, ServeConfig, Server, Swarm};

/// Bytes that a stream in memory holds.
const STREAM_BYTES: usize = 64 << 10;

/// What goes wrong with what a holder sends, counted over all its streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    None,
    /// The byte after so many is another.
    Corrupts(u64),
    /// After so many bytes nothing comes any more.
    Hangs(u64),
    /// After so many bytes every stream ends.
    Ends(u64),
}

/// The network as one node sees it.
pub struct World {
    holders: Mutex<BTreeMap<PeerId, Holder>>,
    pub faults: Mutex<Vec<(PeerId, Fault)>>,
    pub announced: Mutex<Vec<Digest32>>,
    pub me: PeerId,
}

#[derive(Clone)]
struct Holder {
    streams: mpsc::Sender<(PeerId, Compat<DuplexStream>)>,
    trouble: Trouble,
    sent: Arc<AtomicU64>,
}

impl World {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            holders: Mutex::default(),
            faults: Mutex::default(),
            announced: Mutex::default(),
            me: PeerId::random(),
        })
    }

    /// Adds a node that serves a store.
    pub fn add(&self, store: &Arc<Store>, trouble: Trouble) -> PeerId {
        self.add_with(store, trouble, ServeConfig::default())
    }

    pub fn add_with(&self, store: &Arc<Store>, trouble: Trouble, config: ServeConfig) -> PeerId {
        let (sender, mut receiver) = mpsc::channel(16);
        let server = Server::new(Arc::new(Plain(Self::new())), Arc::clone(store), config);
        let streams = Box::pin(futures::stream::poll_fn(move |context| receiver.poll_recv(context)));
        tokio::spawn(async move {
            let (_running, stop) = watch::channel(false);
            server.run(streams, stop).await;
        });
        self.add_holder(sender, trouble)
    }

    /// Adds a peer that answers in its own way.
    pub fn add_holder(
        &self,
        streams: mpsc::Sender<(PeerId, Compat<DuplexStream>)>,
        trouble: Trouble,
    ) -> PeerId {
        let peer = PeerId::random();
        let holder = Holder { streams, trouble, sent: Arc::default() };
        self.holders.lock().unwrap().insert(peer, holder);
        peer
    }

    pub fn remove(&self, peer: &PeerId) {
        self.holders.lock().unwrap().remove(peer);
    }

    /// Bytes that a holder has sent.
    pub fn sent(&self, peer: &PeerId) -> u64 {
        self.holders.lock().unwrap()[peer].sent.load(Ordering::Relaxed)
    }

    pub fn faults_of(&self, peer: &PeerId) -> Vec<Fault> {
        let faults = self.faults.lock().unwrap();
        faults.iter().filter(|(by, _)| by == peer).map(|(_, fault)| *fault).collect()
    }
}

impl Swarm for World {
    type Stream = Troubled;

    async fn holders(&self, _: Digest32) -> Vec<PeerId> {
        self.holders.lock().unwrap().keys().copied().collect()
    }

    async fn open(&self, holder: PeerId) -> Result<Troubled, OpenError> {
        let found = self.holders.lock().unwrap().get(&holder).cloned();
        let Some(Holder { streams, trouble, sent }) = found else {
            return Err(OpenError("unknown peer".into()));
        };
        let (near, far) = tokio::io::duplex(STREAM_BYTES);
        streams.send((self.me, far.compat())).await.map_err(|_| OpenError("gone".into()))?;
        Ok(Troubled { inner: near.compat(), trouble, sent })
    }

    fn report(&self, peer: PeerId, fault: Fault) {
        self.faults.lock().unwrap().push((peer, fault));
    }

    fn announce(&self, digest: Digest32) {
        self.announced.lock().unwrap().push(digest);
    }

    fn withdraw(&self, _: Digest32) {}
}

/// A network for servers alone.
pub struct Plain(pub Arc<World>);

impl Swarm for Plain {
    type Stream = Compat<DuplexStream>;

    async fn holders(&self, _: Digest32) -> Vec<PeerId> {
        Vec::new()
    }

    async fn open(&self, _: PeerId) -> Result<Self::Stream, OpenError> {
        Err(OpenError("a server opens no streams".into()))
    }

    fn report(&self, peer: PeerId, fault: Fault) {
        self.0.report(peer, fault);
    }

    fn announce(&self, _: Digest32) {}

    fn withdraw(&self, _: Digest32) {}
}

/// A stream whose bytes may not be what the other end sent.
pub struct Troubled {
    inner: Compat<DuplexStream>,
    trouble: Trouble,
    sent: Arc<AtomicU64>,
}

impl AsyncRead for Troubled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let before = self.sent.load(Ordering::Relaxed);
        let limit = match self.trouble {
            Trouble::Hangs(limit) if before >= limit => return Poll::Pending,
            Trouble::Ends(limit) if before >= limit => return Poll::Ready(Ok(0)),
            Trouble::Hangs(limit) | Trouble::Ends(limit) => limit - before,
            Trouble::None | Trouble::Corrupts(_) => u64::MAX,
        };
        let length = buffer.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        let read = Pin::new(&mut self.inner).poll_read(context, &mut buffer[..length]);
        if let Poll::Ready(Ok(read)) = read {
            self.sent.fetch_add(read as u64, Ordering::Relaxed);
            if let Trouble::Corrupts(at) = self.trouble
                && (before..before + read as u64).contains(&at)
            {
                buffer[(at - before) as usize] ^= 1;
            }
        }
        read
    }
}

impl AsyncWrite for Troubled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(context)
    }
}

/// Stores in a directory that vanishes.
pub struct Stores(TempDir);

impl Stores {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn dir(&self) -> &Path {
        self.0.path()
    }

    pub fn store(&self, name: &str) -> Arc<Store> {
        Arc::new(Store::open(&self.dir().join(name)).unwrap())
    }

    /// Imports the same dataset: a long file, and short ones of which two are equal and one is empty.
    pub fn artifact(&self, store: &Store, long_bytes: usize) -> Manifest {
        let dir = self.dir().join("source");
        std::fs::create_dir_all(&dir).unwrap();
        for (name, bytes) in [("long", long_bytes), ("short", 40_000), ("same", 40_000), ("empty", 0)] {
            let mut content = vec![0; bytes];
            blake3::Hasher::new().update(&bytes.to_le_bytes()).finalize_xof().fill(&mut content);
            std::fs::write(dir.join(name), content).unwrap();
        }
        store.import(&dir, ArtifactKind::Dataset, &mut |_| {}).unwrap()
    }
}

/// Short ranges and waits, so that little data has many pieces.
pub fn quick() -> FetchConfig {
    FetchConfig {
        range_bytes: 128 << 10,
        stall: Duration::from_millis(300),
        retry_after: Duration::from_millis(10),
        ..FetchConfig::default()
    }
}

pub fn fetcher(world: &Arc<World>, store: &Arc<Store>) -> Fetcher<World> {
    Fetcher::new(Arc::clone(world), Arc::clone(store), quick())
}
