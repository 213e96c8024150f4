//! What a server says to requests that are none, too many, or too slow.

use std::num::NonZeroU64;
use std::time::Duration;

use assay_manifest::{ArtifactId, Digest32};
use assay_store::{GROUP_BYTES, Store};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use std::sync::Arc;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::world::{Plain, Stores, World};
use crate::blobs::wire::{Answer, Request, message_length};
use crate::blobs::{Fault, ServeConfig, Server};

/// A server, and how to reach it.
struct Served {
    world: Arc<World>,
    streams: mpsc::Sender<(libp2p::PeerId, Compat<DuplexStream>)>,
    _running: watch::Sender<bool>,
}

impl Served {
    fn new(store: &Arc<Store>, config: ServeConfig) -> Self {
        let world = World::new();
        let (streams, mut receiver) = mpsc::channel(16);
        let server = Server::new(Arc::new(Plain(Arc::clone(&world))), Arc::clone(store), config);
        let (running, stop) = watch::channel(false);
        let incoming = Box::pin(futures::stream::poll_fn(move |context| receiver.poll_recv(context)));
        tokio::spawn(server.run(incoming, stop));
        Self { world, streams, _running: running }
    }

    async fn connect(&self) -> Compat<DuplexStream> {
        let (near, far) = tokio::io::duplex(8 << 20);
        self.streams.send((self.world.me, far.compat())).await.unwrap();
        near.compat()
    }
}

async fn answer<T: AsyncRead + Unpin>(stream: &mut T) -> Answer {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.unwrap();
    let mut bytes = vec![0; message_length(length).unwrap()];
    stream.read_exact(&mut bytes).await.unwrap();
    Answer::parse(&bytes).unwrap()
}

async fn ask<T: AsyncRead + AsyncWrite + Unpin>(stream: &mut T, request: Request) -> Answer {
    stream.write_all(&request.message()).await.unwrap();
    answer(stream).await
}

async fn ends<T: AsyncRead + Unpin>(stream: &mut T) -> bool {
    let mut rest = Vec::new();
    matches!(stream.read_to_end(&mut rest).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn requests_are_answered_in_their_order_and_by_what_is_here() {
    let stores = Stores::new();
    let store = stores.store("store");
    let manifest = stores.artifact(&store, 100_000);
    let served = Served::new(&store, ServeConfig::default());
    let mut stream = served.connect().await;
    let unknown = Digest32::from_bytes([9; 32]);
    let long = manifest.files().iter().find(|file| file.path.as_str() == "long").unwrap();
    let requests = [
        (Request::Manifest(ArtifactId::from_digest(unknown)), Answer::NotFound),
        (Request::range(unknown, &(0..GROUP_BYTES)), Answer::NotFound),
        (Request::range(long.blake3, &(0..GROUP_BYTES + 1)), Answer::Refused),
        (Request::range(long.blake3, &(0..7 * GROUP_BYTES)), Answer::Refused),
    ];
    for (request, _) in requests {
        stream.write_all(&request.message()).await.unwrap();
    }
    for (_, expected) in requests {
        assert_eq!(answer(&mut stream).await, expected);
    }
    let Answer::Manifest { size_bytes } = ask(&mut stream, Request::Manifest(manifest.artifact_id())).await
    else {
        panic!("no manifest")
    };
    let mut bytes = vec![0; size_bytes as usize];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(bytes, manifest.to_bytes());
    assert_eq!(ask(&mut stream, Request::range(long.blake3, &(0..100_000))).await, Answer::Range);
    stream.close().await.unwrap();
    let mut body = Vec::new();
    stream.read_to_end(&mut body).await.unwrap();
    assert_eq!(body.len(), 100_000 + 6 * 64, "seven groups, and the six pairs above them");
    assert!(served.world.faults.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_request_ends_the_stream_and_is_a_fault() {
    let stores = Stores::new();
    let store = stores.store("store");
    for garbage in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        u32::MAX.to_le_bytes().to_vec(),
        vec![0; 4],
        [2u32.to_le_bytes().as_slice(), &[0xff, 0xff]].concat(),
        Request::range(Digest32::ZERO, &(5..6)).message(),
    ] {
        let served = Served::new(&store, ServeConfig::default());
        let mut stream = served.connect().await;
        stream.write_all(&garbage).await.unwrap();
        assert!(ends(&mut stream).await, "{garbage:?}");
        assert_eq!(served.world.faults_of(&served.world.me), [Fault::Malformed], "{garbage:?}");
    }
    // To leave in the middle of one is none.
    let served = Served::new(&store, ServeConfig::default());
    let mut stream = served.connect().await;
    stream.write_all(&Request::Manifest(ArtifactId::ZERO).message()[..9]).await.unwrap();
    stream.close().await.unwrap();
    assert!(ends(&mut stream).await);
    assert!(served.world.faults.lock().unwrap().is_empty());
}

#[tokio::test]
async fn who_sends_no_request_or_reads_no_answer_loses_the_stream() {
    let stores = Stores::new();
    let store = stores.store("store");
    let manifest = stores.artifact(&store, 2_000_000);
    let short = Duration::from_millis(100);
    let config = ServeConfig { request_timeout: short, write_timeout: short, ..ServeConfig::default() };
    let served = Served::new(&store, config);
    assert!(ends(&mut served.connect().await).await, "no request");
    let mut stream = served.connect().await;
    stream.write_all(&Request::Manifest(ArtifactId::ZERO).message()[..9]).await.unwrap();
    assert!(ends(&mut stream).await, "half a request");
    let (near, far) = tokio::io::duplex(1_000);
    served.streams.send((served.world.me, far.compat())).await.unwrap();
    let mut stream = near.compat();
    let long = manifest.files().iter().find(|file| file.path.as_str() == "long").unwrap();
    stream.write_all(&Request::range(long.blake3, &(0..2_000_000)).message()).await.unwrap();
    let mut first = [0];
    stream.read_exact(&mut first).await.unwrap();
    // What waits to be written waits since before; the other streams are served meanwhile.
    let mut other = served.connect().await;
    assert_eq!(ask(&mut other, Request::Manifest(ArtifactId::ZERO)).await, Answer::NotFound);
    assert!(
        ends(&mut other).await,
        "the time for its next request is over, and so is that of the one that reads nothing"
    );
    let mut read = Vec::new();
    let _ = stream.read_to_end(&mut read).await;
    assert!(read.len() < 100_000, "{}", read.len());
}

#[tokio::test]
async fn more_streams_than_are_served_are_told_that_the_node_is_busy() {
    let stores = Stores::new();
    let store = stores.store("store");
    let config = ServeConfig { streams_per_peer_max: 1, ..ServeConfig::default() };
    let served = Served::new(&store, config);
    let request = Request::Manifest(ArtifactId::ZERO);
    let mut first = served.connect().await;
    assert_eq!(ask(&mut first, request).await, Answer::NotFound);
    let mut second = served.connect().await;
    assert_eq!(ask(&mut second, request).await, Answer::Busy);
    assert!(ends(&mut second).await);
    first.close().await.unwrap();
    assert!(ends(&mut first).await);
    let mut third = served.connect().await;
    assert_eq!(ask(&mut third, request).await, Answer::NotFound);
}

/// A server of one stream, that waits for ever unless somebody else wants it.
fn patient() -> ServeConfig {
    let hour = Duration::from_secs(3_600);
    ServeConfig { streams_max: 1, request_timeout: hour, write_timeout: hour, ..ServeConfig::default() }
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_nothing_while_the_node_is_full_loses_the_stream() {
    let stores = Stores::new();
    let served = Served::new(&stores.store("store"), patient());
    let request = Request::Manifest(ArtifactId::ZERO);
    let mut first = served.connect().await;
    assert_eq!(ask(&mut first, request).await, Answer::NotFound);
    let begun = tokio::time::Instant::now();
    assert!(ends(&mut first).await);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(ask(&mut served.connect().await, request).await, Answer::NotFound);
}

/// On the paused clock of a test, which goes on when all tasks wait.
async fn seconds_pass(seconds: u64) {
    let begun = tokio::time::Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    while begun.elapsed() < Duration::from_secs(seconds) {
        ticks.tick().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_takes_next_to_nothing_while_the_node_is_full_loses_the_stream() {
    let stores = Stores::new();
    let store = stores.store("store");
    let manifest = stores.artifact(&store, 2_000_000);
    let long = manifest.files().iter().find(|file| file.path.as_str() == "long").unwrap();
    let served = Served::new(&store, patient());
    let (near, far) = tokio::io::duplex(1_000);
    served.streams.send((served.world.me, far.compat())).await.unwrap();
    let mut slow = near.compat();
    slow.write_all(&Request::range(long.blake3, &(0..20 * GROUP_BYTES)).message()).await.unwrap();
    let mut byte = [0];
    slow.read_exact(&mut byte).await.unwrap();
    // It takes no more; another gets its stream.
    let mut tries = 0;
    while ask(&mut served.connect().await, Request::Manifest(ArtifactId::ZERO)).await == Answer::Busy {
        tries += 1;
        assert!(tries < 60, "it keeps the stream");
        seconds_pass(1).await;
    }
    assert!(tries > 1);
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_nobody_asks_for_any_more_may_be_removed_although_the_stream_is_open() {
    let stores = Stores::new();
    let store = stores.store("store");
    let manifest = stores.artifact(&store, 100_000);
    let long = manifest.files().iter().find(|file| file.path.as_str() == "long").unwrap();
    let served = Served::new(&store, ServeConfig::default());
    let mut stream = served.connect().await;
    assert_eq!(ask(&mut stream, Request::range(long.blake3, &(0..GROUP_BYTES))).await, Answer::Range);
    let mut body = vec![0; GROUP_BYTES as usize + 3 * 64];
    stream.read_exact(&mut body).await.unwrap();
    seconds_pass(5).await;
    assert_eq!(store.evict(0).unwrap().artifacts, [manifest.artifact_id()]);
    assert_eq!(ask(&mut stream, Request::range(long.blake3, &(0..GROUP_BYTES))).await, Answer::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_bytes_a_second_holds_over_all_chunks() {
    let pace = crate::blobs::server::Pace::new(NonZeroU64::new(1_000).unwrap());
    let begun = tokio::time::Instant::now();
    for _ in 0..5 {
        pace.wait_for(500).await;
    }
    assert_eq!(begun.elapsed().as_secs(), 2, "the fifth begins after two seconds of bytes");
}
