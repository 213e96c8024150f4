//! One stream to one holder: requests go out ahead, and a thread verifies and keeps what comes.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use assay_manifest::{ArtifactId, Manifest};
use assay_store::{GROUP_BYTES, ReceiveError, Received, StoreError};
use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::PeerId;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::config::FetchConfig;
use super::download::Download;
use super::error::Fault;
use super::pipe::{self, Chunks, Filling, PipeReader};
use super::plan::{Flight, Take};
use super::wire::{Answer, ReadError, Request, read_message};
use super::worker::{Lent, Place};
use crate::supervisor::told_to_stop;

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
    let (chunks, reader, spare) = pipe::to_thread();
    let ahead = download.config.ahead.max(1);
    let (expect, expected) = mpsc::channel(ahead);
    let (tell, outcomes) = mpsc::channel(ahead);
    let (place, leave) = (Arc::clone(&lent.0), &mut lent.1);
    let receiver = Receiver { download: Arc::clone(download), place, reader, expected, outcomes: tell };
    let receiving = tokio::task::spawn_blocking(move || receiver.run());
    let mut conversation = Conversation {
        holder,
        download,
        write,
        expect,
        outcomes,
        spare,
        first: Some(first),
        asked: VecDeque::with_capacity(ahead),
        brought: Brought::Nothing,
    };
    let ended = tokio::select! {
        ended = conversation.run(read, chunks) => ended,
        () = told_to_stop(leave) => Ended::Replaced,
    };
    let Conversation { expect, first, asked, brought, .. } = conversation;
    drop(expect);
    // Its pipe is closed, so it ends when it has kept what had come.
    let received = receiving.await;
    for flight in first.into_iter().chain(asked) {
        download.give_back(&flight);
    }
    (if received.is_err() { Ended::Panicked } else { ended }, brought)
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
    download: &'a Download,
    write: WriteHalf<T>,
    expect: mpsc::Sender<Flight>,
    outcomes: mpsc::Receiver<Outcome>,
    /// Chunks that the thread has read.
    spare: mpsc::Receiver<Vec<u8>>,
    /// What the stream was opened for, until it is asked for.
    first: Option<Flight>,
    /// Asked for and not here, in order.
    asked: VecDeque<Flight>,
    brought: Brought,
}

/// How a piece ended.
type Outcome = Result<Received, Ended>;

/// How long a holder has for the next group of bytes.
struct Window {
    stall: Duration,
    ends: Instant,
    bytes: u64,
}

impl Window {
    fn new(stall: Duration) -> Self {
        Self { stall, ends: Instant::now() + stall, bytes: 0 }
    }

    fn restart(&mut self) {
        *self = Self::new(self.stall);
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Conversation<'_, T> {
    async fn run(&mut self, mut read: ReadHalf<T>, chunks: Chunks) -> Ended {
        let (mut chunks, mut filling) = (Some(chunks), Filling::new());
        let mut window = Window::new(self.download.config.stall);
        loop {
            if let Err(ended) = self.ask().await {
                return ended;
            }
            if self.asked.is_empty() {
                return Ended::Idle;
            }
            tokio::select! {
                biased;
                outcome = self.outcomes.recv() => match outcome {
                    Some(Ok(Received::Whole)) => self.land(),
                    Some(Ok(Received::Stopped)) => {
                        self.land();
                        return Ended::TakenOver;
                    }
                    Some(Err(ended)) => return ended,
                    None => return Ended::Panicked,
                },
                filled = filling.fill(&mut read), if chunks.is_some() => match (filled, &chunks) {
                    (Ok(bytes @ 1..), Some(to)) => {
                        window.bytes += bytes as u64;
                        let chunk = filling.take(self.spare.try_recv().ok());
                        // A receiver that has ended says why by its outcome.
                        if to.send(chunk).await.is_err() {
                            chunks = None;
                        }
                        // Waiting for our own disk is not the holder's fault.
                        if window.ends <= Instant::now() {
                            window.restart();
                        }
                    }
                    // The receiver finds the end where it comes too early.
                    (Ok(_), _) => chunks = None,
                    (Err(error), _) => return Ended::Failed(format!("reading: {error}")),
                },
                () = sleep_until(window.ends) => {
                    let waits_for_us = chunks.as_ref().is_none_or(|to| to.capacity() < to.max_capacity());
                    if window.bytes < GROUP_BYTES && !waits_for_us {
                        return Ended::Fault(Fault::Stalled);
                    }
                    window.restart();
                }
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
            self.asked.push_back(flight.clone());
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
            if self.expect.send(flight).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn land(&mut self) {
        if let Some(flight) = self.asked.pop_front() {
            self.download.landed(&flight);
            self.brought = Brought::Pieces;
        }
    }
}

/// The thread that reads answers, verifies and keeps.
struct Receiver {
    download: Arc<Download>,
    /// Where what it brings is noted.
    place: Arc<Place>,
    reader: PipeReader,
    expected: mpsc::Receiver<Flight>,
    outcomes: mpsc::Sender<Outcome>,
}

impl Receiver {
    fn run(mut self) {
        while let Some(flight) = self.expected.blocking_recv() {
            let outcome = self.receive(&flight);
            let goes_on = matches!(outcome, Ok(Received::Whole));
            if self.outcomes.blocking_send(outcome).is_err() || !goes_on {
                return;
            }
        }
    }

    fn receive(&mut self, flight: &Flight) -> Outcome {
        let blob = flight.piece.blob;
        match Answer::read(&mut self.reader) {
            Ok(Answer::Range) => {}
            Ok(Answer::NotFound) => return Err(Ended::Lacks(blob)),
            Ok(Answer::Busy) => return Err(Ended::Busy),
            Ok(Answer::Refused) => return Err(Ended::Refused),
            Ok(Answer::Manifest { .. }) | Err(ReadError::Wire(_)) => {
                return Err(Ended::Fault(Fault::Malformed));
            }
            Err(ReadError::Io(error)) => return Err(Ended::Failed(error.to_string())),
        }
        let partial = self.download.partial(blob).map_err(Ended::Local)?;
        let watch = |end| {
            self.place.brought(end - flight.reached.swap(end, Ordering::Relaxed));
            if end < flight.end.load(Ordering::Relaxed) {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        let received = partial.receive(flight.piece.range.clone(), &mut self.reader, watch);
        self.download.settle(blob, &partial);
        if let Ok(Received::Whole) = received {
            // Nobody watches the last group come.
            let end = flight.piece.range.end;
            self.place.brought(end - flight.reached.swap(end, Ordering::Relaxed));
        }
        match received {
            Ok(received) => Ok(received),
            Err(ReceiveError::Corrupt { blob, at }) => Err(Ended::Fault(Fault::CorruptRange { blob, at })),
            Err(ReceiveError::Source { source, .. }) => Err(Ended::Failed(source.to_string())),
            Err(ReceiveError::Store(error)) => Err(Ended::Local(error)),
        }
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
    let (mut bytes, mut filling) = (Vec::new(), Filling::new());
    while bytes.len() < size_bytes {
        // No more is kept than has come: the stated size is not to be trusted before.
        if timeout(config.stall, filling.fill(stream)).await.map_err(slow)?.map_err(failed)? == 0 {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        bytes.extend_from_slice(filling.bytes());
        filling.clear();
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
