//! Bytes between a stream, which async code reads and writes, and a thread that hashes and touches the disk.
//!
//! A pipe holds a few chunks. Who fills it waits while it is full, so a slow disk slows its stream down, and a slow
//! stream its disk. More chunks would only leave a processor's cache before they are taken.

use std::io::{self, BufRead, Read};
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Bytes of a chunk: large against the cost of waking a thread.
pub const CHUNK_BYTES: usize = 128 << 10;
/// Chunks that wait.
const CHUNKS_WAITING_MAX: usize = 2;
/// How long a chunk waits to become full: short against the time of a range, and long enough that a stream that brings a
/// frame at a time does not wake the thread for each.
pub const LINGER: Duration = Duration::from_millis(2);

/// Where a stream's bytes go to.
pub type Chunks = mpsc::Sender<Vec<u8>>;

/// A pipe from a stream to a thread, and where the thread leaves chunks that it has read, to be filled again.
pub fn to_thread() -> (Chunks, PipeReader, mpsc::Receiver<Vec<u8>>) {
    let (sender, chunks) = mpsc::channel(CHUNKS_WAITING_MAX);
    let (spent, spare) = mpsc::channel(CHUNKS_WAITING_MAX + 1);
    (sender, PipeReader { chunks, spent, chunk: Vec::new(), read: 0 }, spare)
}

/// A pipe from a thread to a stream, and where chunks that were sent are left, to be filled again.
pub fn from_thread() -> (PipeWriter, mpsc::Receiver<Vec<u8>>, mpsc::Sender<Vec<u8>>) {
    let (sender, chunks) = mpsc::channel(CHUNKS_WAITING_MAX);
    let (spent, spare) = mpsc::channel(CHUNKS_WAITING_MAX + 1);
    (PipeWriter { chunks: sender, spare }, chunks, spent)
}

/// A chunk that is being filled from a stream.
#[derive(Debug)]
pub struct Filling {
    chunk: Vec<u8>,
    filled: usize,
    /// When it goes on although it is not full.
    goes_at: Instant,
}

impl Filling {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { chunk: vec![0; CHUNK_BYTES], filled: 0, goes_at: Instant::now() }
    }

    /// Fills the chunk, or as much of it as comes in a short while after the first byte. Nothing was filled when the
    /// stream has ended.
    ///
    /// Nothing is lost when this is dropped while it waits.
    ///
    /// # Errors
    /// What the stream fails with before any byte came.
    pub async fn fill<R: AsyncRead + Unpin>(&mut self, from: &mut R) -> io::Result<usize> {
        while let Some(rest) = self.chunk.get_mut(self.filled..).filter(|rest| !rest.is_empty()) {
            if self.filled == 0 {
                self.filled = from.read(rest).await?;
                self.goes_at = Instant::now() + LINGER;
                if self.filled == 0 {
                    break;
                }
                continue;
            }
            // What failed or ended behind bytes that came does so again when it is read next.
            match timeout_at(self.goes_at, from.read(rest)).await {
                Ok(Ok(more @ 1..)) => self.filled += more,
                _ => break,
            }
        }
        Ok(self.filled)
    }

    /// What was filled.
    pub fn bytes(&self) -> &[u8] {
        self.chunk.get(..self.filled).unwrap_or_default()
    }

    /// Takes the chunk, and goes on with a spare one, if there is one.
    pub fn take(&mut self, spare: Option<Vec<u8>>) -> Vec<u8> {
        let mut next = spare.unwrap_or_default();
        next.resize(CHUNK_BYTES, 0);
        let mut chunk = std::mem::replace(&mut self.chunk, next);
        chunk.truncate(self.filled);
        self.filled = 0;
        chunk
    }

    /// Forgets what was filled.
    pub const fn clear(&mut self) {
        self.filled = 0;
    }
}

/// The thread's end of a pipe that comes from a stream; it ends where the stream's end was dropped. It has a chunk
/// buffered, so that who reads it sees when more has to be waited for.
pub struct PipeReader {
    chunks: mpsc::Receiver<Vec<u8>>,
    spent: mpsc::Sender<Vec<u8>>,
    chunk: Vec<u8>,
    read: usize,
}

impl BufRead for PipeReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.read == self.chunk.len() {
            let Some(chunk) = self.chunks.blocking_recv() else { return Ok(&[]) };
            let spent = std::mem::replace(&mut self.chunk, chunk);
            self.read = 0;
            // Where there are enough of them, one is freed.
            drop(self.spent.try_send(spent));
        }
        Ok(self.chunk.get(self.read..).unwrap_or_default())
    }

    fn consume(&mut self, bytes: usize) {
        self.read = self.chunk.len().min(self.read + bytes);
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = Read::read(&mut self.fill_buf()?, buffer)?;
        self.consume(length);
        Ok(length)
    }
}

/// The thread's end of a pipe that goes to a stream.
#[derive(Debug)]
pub struct PipeWriter {
    chunks: mpsc::Sender<Vec<u8>>,
    spare: mpsc::Receiver<Vec<u8>>,
}

impl PipeWriter {
    /// A chunk that was sent, to be filled anew, or an empty one.
    pub fn spare(&mut self) -> Vec<u8> {
        self.spare.try_recv().unwrap_or_default()
    }

    /// Sends a chunk.
    ///
    /// # Errors
    /// When nobody takes chunks any more.
    pub fn send(&self, chunk: Vec<u8>) -> io::Result<()> {
        self.chunks.blocking_send(chunk).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
