//! One pass over a file: every buffer that is read goes to the copy, to SHA-256 and to BLAKE3, and whoever
//! parses the content reads along.
//!
//! SHA-256 of a file cannot be split, so it has a thread of its own, and BLAKE3 another; reading, writing
//! and parsing stay on the caller's.

use assay_manifest::Digest32;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Bytes of a buffer: large against the cost of handing it over, small against the processor's cache.
const CHUNK_BYTES: usize = 1 << 20;
/// Buffers that wait for a hash; when it falls behind by so many, reading waits.
const CHUNKS_WAITING_MAX: usize = 4;
/// Those that wait, the one that is hashed, and the one that is filled.
const CHUNKS: usize = CHUNKS_WAITING_MAX + 2;

/// What is known of a file that was read to its end.
pub(super) struct Hashes {
    pub(super) size: u64,
    pub(super) sha256: Digest32,
    pub(super) blake3: Digest32,
}

type Chunk = Arc<Vec<u8>>;

/// The file as it is read; what has been read has also been copied and handed to the hashes.
pub(super) struct Pass<'a> {
    source: Box<dyn Read>,
    copy: Option<&'a File>,
    on_bytes: &'a mut dyn FnMut(u64),
    hashers: [SyncSender<Chunk>; 2],
    /// Used in turn; when one's turn comes again, both hashes are done with it.
    chunks: [Chunk; CHUNKS],
    current: usize,
    consumed: usize,
    /// Bytes read before the current chunk.
    chunk_offset: u64,
}

/// Runs `consume` over the file, copying it where there is a `copy`, and returns the hashes of what it read; it must
/// read to the end.
pub(super) fn run<E>(
    source: Box<dyn Read>,
    copy: Option<&File>,
    on_bytes: &mut dyn FnMut(u64),
    consume: impl FnOnce(&mut Pass<'_>) -> Result<(), E>,
) -> Result<Hashes, E> {
    thread::scope(|scope| {
        let (to_sha256, chunks) = sync_channel(CHUNKS_WAITING_MAX);
        let sha256 = scope.spawn(move || sha256(&chunks));
        let (to_blake3, chunks) = sync_channel(CHUNKS_WAITING_MAX);
        let blake3 = scope.spawn(move || blake3(&chunks));
        let mut pass = Pass {
            source,
            copy,
            on_bytes,
            hashers: [to_sha256, to_blake3],
            chunks: std::array::from_fn(|_| Arc::new(Vec::new())),
            current: 0,
            consumed: 0,
            chunk_offset: 0,
        };
        let consumed = consume(&mut pass);
        let size = pass.position();
        // Ends the threads.
        drop(pass);
        let sha256 = sha256.join().unwrap_or_else(|panic| resume_unwind(panic));
        let blake3 = blake3.join().unwrap_or_else(|panic| resume_unwind(panic));
        consumed.map(|()| Hashes { size, sha256, blake3 })
    })
}

fn sha256(chunks: &Receiver<Chunk>) -> Digest32 {
    let mut hasher = Sha256::new();
    for chunk in chunks {
        hasher.update(chunk.as_slice());
    }
    Digest32::from_bytes(hasher.finalize().into())
}

fn blake3(chunks: &Receiver<Chunk>) -> Digest32 {
    let mut hasher = blake3::Hasher::new();
    for chunk in chunks {
        hasher.update(&chunk);
    }
    Digest32::from_bytes(hasher.finalize().into())
}

impl Pass<'_> {
    /// Bytes consumed.
    pub(super) fn position(&self) -> u64 {
        self.chunk_offset + self.consumed as u64
    }

    /// Consumes up to an offset that is not behind.
    pub(super) fn skip_to(&mut self, offset: u64) -> io::Result<()> {
        let behind = offset.checked_sub(self.position()).ok_or(io::ErrorKind::InvalidInput)?;
        self.consume_exactly(behind, |_| {})
    }

    /// BLAKE3 of the next `nbytes` bytes.
    pub(super) fn blake3(&mut self, nbytes: u64) -> io::Result<Digest32> {
        let mut hasher = blake3::Hasher::new();
        self.consume_exactly(nbytes, |bytes| {
            hasher.update(bytes);
        })?;
        Ok(Digest32::from_bytes(hasher.finalize().into()))
    }

    /// Consumes to the end of the file.
    pub(super) fn skip_rest(&mut self) -> io::Result<()> {
        while let len @ 1.. = self.fill_buf()?.len() {
            self.consume(len);
        }
        Ok(())
    }

    fn consume_exactly(&mut self, nbytes: u64, mut see: impl FnMut(&[u8])) -> io::Result<()> {
        let mut left = nbytes;
        while left > 0 {
            let buffer = self.fill_buf()?;
            let len = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let bytes = buffer.get(..len).filter(|bytes| !bytes.is_empty());
            see(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            self.consume(len);
            left -= len as u64;
        }
        Ok(())
    }

    /// Reads the next chunk, copies it if that is wanted, and hands it to the hashes.
    fn next_chunk(&mut self) -> io::Result<()> {
        self.chunk_offset += self.consumed as u64;
        self.consumed = 0;
        self.current = (self.current + 1) % CHUNKS;
        let chunk = &mut self.chunks[self.current];
        let buffer = Arc::make_mut(chunk);
        buffer.resize(CHUNK_BYTES, 0);
        let len = read_full(&mut *self.source, buffer)?;
        buffer.truncate(len);
        if let Some(mut copy) = self.copy {
            copy.write_all(buffer)?;
        }
        for hasher in &self.hashers {
            let ended = |_| io::Error::other("a hashing thread has ended");
            hasher.send(Arc::clone(chunk)).map_err(ended)?;
        }
        (self.on_bytes)(len as u64);
        Ok(())
    }
}

fn read_full(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => break,
            Ok(len) => filled += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl BufRead for Pass<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.consumed == self.chunks[self.current].len() {
            self.next_chunk()?;
        }
        Ok(self.chunks[self.current].get(self.consumed..).unwrap_or_default())
    }

    fn consume(&mut self, len: usize) {
        self.consumed += len;
    }
}

impl Read for Pass<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.fill_buf()?.read(buffer)?;
        self.consume(len);
        Ok(len)
    }
}
