//! One stream to one holder: requests go out ahead, and what comes is verified and kept.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use assay_manifest::{ArtifactId, Manifest};
use assay_store::{GROUP_BYTES, ReceiveError, Received, Receiving, StoreError};
use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::PeerId;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::config::FetchConfig;
use super::download::Download;
use super::error::Fault;
use super::plan::{Flight, Take};
use super::wire::{Answer, ReadError, Request, read_message};
use super::worker::{Lent, Place};
use crate::supervisor::told_to_stop;

/// Bytes of a manifest that are read at once.
const PART_BYTES: usize = 128 << 10;
/// How often it is looked at what a stream has brought, in the time that it may stall.
const LOOKS_PER_STALL: u32 = 8;

/// Why a stream ended.
#[derive(Debug)]
pub enum Ended {
    /// Nothing is there for the holder to do now.
    Idle,
    /// Others took over what was still to come on it.
    TakenOver,
    /// The holder is busy.
    Busy,
    /// The holder does not have a blob.
    Lacks(usize),
    /// The holder does not answer such requests.
    Refused,
    /// The holder did what no sound peer does.
    Fault(Fault),
    /// Another holder gets the place.
    Replaced,
    /// The stream failed.
    Failed(String),
    /// This node could not keep what came.
    Local(StoreError),
    /// A thread panicked.
    Panicked,
}

/// Fetches pieces from a holder until there is none for it, or something goes wrong. Whatever was asked for and did not
/// come is given back.
pub async fn run<T>(
    stream: T,
    holder: PeerId,
    first: Flight,
    download: &Arc<Download>,
    lent: &mut Lent,
) -> (Ended, Brought)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (read, write) = stream.split();
    let mut conversation = Conversation {
        holder,
        download,
        place: &lent.0,
        write,
        first: Some(first),
        asked: VecDeque::with_capacity(download.config.ahead.max(1)),
        receiving: None,
        brought: Brought::Nothing,
    };
    let ended = tokio::select! {
        ended = conversation.run(read) => {
            let Err(ended) = ended;
            ended
        }
        () = told_to_stop(&mut lent.1) => Ended::Replaced,
    };
    let Conversation { first, asked, receiving, brought, .. } = conversation;
    // What came of it counts from here on, and is not given back.
    drop(receiving);
    for flight in first.into_iter().chain(asked) {
        download.give_back(&flight);
    }
    (ended, brought)
}

/// Whether a stream was of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brought {
    /// No piece came whole.
    Nothing,
    /// Some pieces did.
    Pieces,
}

struct Conversation<'a, T> {
    holder: PeerId,
    download: &'a Arc<Download>,
    /// Where what it brings is noted.
    place: &'a Place,
    write: WriteHalf<T>,
    /// What the stream was opened for, until it is asked for.
    first: Option<Flight>,
    /// Asked for and not here, in order.
    asked: VecDeque<Flight>,
    /// What comes of the first of them, once its answer has begun.
    receiving: Option<Receiving>,
    brought: Brought,
}

/// What came and was not taken yet.
#[derive(Default)]
struct Came {
    chunk: Vec<u8>,
    filled: usize,
    /// Bytes that ever came.
    ever: u64,
}

impl Came {
    fn bytes(&self) -> &[u8] {
        self.chunk.get(..self.filled).unwrap_or_default()
    }

    /// Forgets all but so many bytes, the last.
    fn keep_last(&mut self, left: usize) {
        self.chunk.copy_within(self.filled - left..self.filled, 0);
        self.filled = left;
    }

    /// Reads until so many bytes are here; not so when the stream has ended. Nothing is lost when this is dropped while it
    /// waits.
    async fn fill<R: AsyncRead + Unpin>(&mut self, from: &mut R, wanted: usize) -> io::Result<bool> {
        if self.chunk.len() < wanted {
            self.chunk.resize(wanted, 0);
        }
        while let Some(room) = self.chunk.get_mut(self.filled..wanted).filter(|room| !room.is_empty()) {
            let more = from.read(room).await?;
            if more == 0 {
                return Ok(false);
            }
            self.filled += more;
            self.ever += more as u64;
        }
        Ok(true)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Conversation<'_, T> {
    /// Asks and receives, and returns only why that ended.
    async fn run(&mut self, mut read: ReadHalf<T>) -> Result<Infallible, Ended> {
        let stall = self.download.config.stall;
        let mut pace = interval((stall / LOOKS_PER_STALL).max(Duration::from_millis(1)));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut came = Came::default();
        // The holder has from then on to bring the next group behind so many bytes.
        let (mut since, mut before) = (Instant::now(), 0);
        loop {
            // A stream that always has something does not keep a thread for itself.
            consume_budget().await;
            self.ask().await?;
            if self.asked.is_empty() {
                return Err(Ended::Idle);
            }
            let wanted = match &self.receiving {
                Some(receiving) => receiving.chunk_bytes(),
                None => Answer::MESSAGE_BYTES_MIN.max(came.filled + 1),
            };
            let goes_on = tokio::select! {
                filled = came.fill(&mut read, wanted) => {
                    filled.map_err(|error| Ended::Failed(format!("reading: {error}")))?
                }
                // What comes slowly is looked at before there is much of it.
                _ = pace.tick() => true,
            };
            let begun = Instant::now();
            self.take(&mut came).await?;
            if !goes_on {
                return Err(Ended::Failed("the holder ended the stream".into()));
            }
            // Waiting for our own disk is not the holder's fault.
            since += begun.elapsed();
            if since.elapsed() >= stall {
                if came.ever - before < GROUP_BYTES {
                    return Err(Ended::Fault(Fault::Stalled));
                }
                (since, before) = (Instant::now(), came.ever);
            }
        }
    }

    /// Sends requests as far ahead as is wanted and there are any.
    async fn ask(&mut self) -> Result<(), Ended> {
        while self.asked.len() < self.download.config.ahead.max(1) {
            let flight = match self.first.take() {
                Some(first) => first,
                None => match self.download.take(self.holder) {
                    Take::Piece(flight) => flight,
                    Take::Wait | Take::Useless | Take::Done => break,
                },
            };
            let request = Request::range(self.download.blake3(flight.piece.blob), &flight.piece.range);
            self.asked.push_back(flight);
            let message = request.message();
            let sending = async {
                self.write.write_all(&message).await?;
                self.write.flush().await
            };
            match timeout(self.download.config.stall, sending).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(Ended::Failed(format!("asking: {error}"))),
                Err(_) => return Err(Ended::Fault(Fault::Stalled)),
            }
        }
        Ok(())
    }

    /// Takes what came, but for what is not a whole answer yet.
    async fn take(&mut self, came: &mut Came) -> Result<(), Ended> {
        while let Some(flight) = self.asked.front().cloned() {
            let mut rest = came.bytes();
            let Some(receiving) = &mut self.receiving else {
                match Answer::read(&mut rest) {
                    Ok(Answer::Range) => {}
                    Ok(Answer::NotFound) => return Err(Ended::Lacks(flight.piece.blob)),
                    Ok(Answer::Busy) => return Err(Ended::Busy),
                    Ok(Answer::Refused) => return Err(Ended::Refused),
                    Ok(Answer::Manifest { .. }) | Err(ReadError::Wire(_)) => {
                        return Err(Ended::Fault(Fault::Malformed));
                    }
                    // Its end is still to come.
                    Err(ReadError::Io(_)) => return Ok(()),
                }
                let left = rest.len();
                came.keep_last(left);
                self.receiving = Some(self.begin(&flight).await?);
                continue;
            };
            let watch = |end| {
                self.place.brought(end - flight.reached.swap(end, Ordering::Relaxed));
                if end < flight.end.load(Ordering::Relaxed) {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            };
            let verified = receiving.verify(&mut rest);
            let received = self.download.disk.work(|| verified.keep(watch));
            let left = rest.len();
            came.keep_last(left);
            let Some(received) = received.transpose() else {
                // No more than a few groups are verified at once.
                if left == 0 {
                    return Ok(());
                }
                continue;
            };
            self.download.settle(flight.piece.blob, receiving.partial());
            self.receiving = None;
            match received {
                Ok(Received::Whole) => {
                    // Nobody watches the last group come.
                    let end = flight.piece.range.end;
                    self.place.brought(end - flight.reached.swap(end, Ordering::Relaxed));
                    self.land(&flight);
                }
                Ok(Received::Stopped) => {
                    self.land(&flight);
                    return Err(Ended::TakenOver);
                }
                Err(ReceiveError::Corrupt { blob, at }) => {
                    return Err(Ended::Fault(Fault::CorruptRange { blob, at }));
                }
                Err(ReceiveError::Source { source, .. }) => return Err(Ended::Failed(source.to_string())),
                Err(ReceiveError::Store(error)) => return Err(Ended::Local(error)),
            }
        }
        Ok(())
    }

    /// Begins to receive a piece.
    async fn begin(&self, flight: &Flight) -> Result<Receiving, Ended> {
        let blob = flight.piece.blob;
        let partial = match self.download.opened(blob) {
            Some(partial) => partial,
            None => {
                let download = Arc::clone(self.download);
                let opening = tokio::task::spawn_blocking(move || download.partial(blob));
                opening.await.map_err(|_| Ended::Panicked)?.map_err(Ended::Local)?
            }
        };
        partial.begin(flight.piece.range.clone()).map_err(Ended::Local)
    }

    fn land(&mut self, flight: &Flight) {
        self.asked.pop_front();
        self.download.landed(flight);
        self.brought = Brought::Pieces;
    }
}

/// Asks a holder for an artifact's manifest, which must hash to the id.
pub async fn manifest<T>(
    stream: &mut T,
    artifact: ArtifactId,
    config: &FetchConfig,
) -> Result<Manifest, Ended>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let slow = |_| Ended::Fault(Fault::Stalled);
    let failed = |error: io::Error| Ended::Failed(error.to_string());
    let request = Request::Manifest(artifact).message();
    let asking = async {
        stream.write_all(&request).await?;
        stream.flush().await?;
        read_message(stream).await
    };
    let answer = match timeout(config.stall, asking).await.map_err(slow)? {
        Ok(Some(bytes)) => Answer::parse(&bytes),
        Ok(None) => return Err(Ended::Failed("the holder closed the stream".into())),
        Err(ReadError::Wire(wrong)) => Err(wrong),
        Err(ReadError::Io(error)) => return Err(failed(error)),
    };
    let size_bytes = match answer {
        Ok(Answer::Manifest { size_bytes }) => size_bytes as usize,
        Ok(Answer::NotFound) => return Err(Ended::Lacks(0)),
        Ok(Answer::Busy) => return Err(Ended::Busy),
        Ok(Answer::Refused) => return Err(Ended::Refused),
        Ok(Answer::Range) | Err(_) => return Err(Ended::Fault(Fault::Malformed)),
    };
    let (mut bytes, mut part) = (Vec::new(), vec![0; PART_BYTES]);
    while bytes.len() < size_bytes {
        // No more is kept than has come: the stated size is not to be trusted before.
        match timeout(config.stall, stream.read(&mut part)).await.map_err(slow)?.map_err(failed)? {
            0 => return Err(failed(io::ErrorKind::UnexpectedEof.into())),
            more => bytes.extend_from_slice(part.get(..more).unwrap_or_default()),
        }
    }
    let parsed = tokio::task::spawn_blocking(move || {
        let bytes = bytes.get(..size_bytes).filter(|_| bytes.len() == size_bytes)?;
        Manifest::from_bytes(bytes).ok().filter(|manifest| manifest.artifact_id() == artifact)
    });
    let manifest = parsed.await.map_err(|_| Ended::Panicked)?;
    manifest.ok_or(Ended::Fault(Fault::WrongManifest(artifact)))
}

impl Ended {
    /// In words, for who asks why nothing came.
    pub fn cause(&self) -> String {
        match self {
            Self::Idle | Self::TakenOver | Self::Replaced => "it had nothing to do".into(),
            Self::Busy => "it is busy".into(),
            Self::Lacks(_) => "it does not have it".into(),
            Self::Refused => "it refused".into(),
            Self::Fault(fault) => format!("{fault:?}"),
            Self::Failed(cause) => cause.clone(),
            Self::Local(error) => error.to_string(),
            Self::Panicked => "a thread panicked".into(),
        }
    }
}
