//! A blob on its way in: its ranges arrive in any order and from anybody, and each is verified before it counts.

use crate::error::StoreError;
use crate::layout::{Layout, PartialFile};
use crate::outboard::root;
use crate::ranges::{GROUP_BYTES, chunks_of, tree_of};
use crate::record::{Claims, Record};
use assay_manifest::Digest32;
use bao_tree::io::outboard::PostOrderOutboard;
use bao_tree::io::sync::{DecodeResponseIter, OutboardMut, WriteAt, encode_ranges_validated};
use bao_tree::io::{BaoContentItem, DecodeError};
use bao_tree::{BaoTree, ByteRanges};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Verified bytes after which a claim is written, which a process that is killed then does not fetch again.
const CLAIM_BYTES: u64 = 1 << 20;
/// Claimed bytes after which they should be synced: about what a power cut leaves to be verified again.
const UNSYNCED_BYTES_MAX: u64 = 64 << 20;
const _: () = assert!(CLAIM_BYTES.is_multiple_of(GROUP_BYTES) && CLAIM_BYTES < UNSYNCED_BYTES_MAX);

/// A blob of which some ranges are here.
///
/// All methods take `&self`, and ranges may arrive on several threads at the same time.
#[derive(Debug)]
pub struct Partial {
    blake3: Digest32,
    size: u64,
    tree: BaoTree,
    data: File,
    /// Where `data` is, for errors.
    path: PathBuf,
    hashes: File,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    have: ByteRanges,
    record: Record,
    unsynced_bytes: u64,
    syncing: Syncing,
}

/// What is known of syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syncing {
    /// None runs.
    Idle,
    /// One runs, or is about to.
    Running,
    /// One failed. What the system says of the next is no use: it may have forgotten what it could not write.
    Failed,
}

/// How receiving a range ended, when nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// All of it arrived.
    Whole,
    /// Whoever watched it had enough.
    Stopped,
}

/// A range did not arrive. What was verified of it before counts.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The bytes are not those of the blob.
    #[error("receiving blob {blob}: what came for byte {at} is not of this blob")]
    Corrupt {
        /// The blob.
        blob: Digest32,
        /// Where in the blob, in bytes.
        at: u64,
    },
    /// The bytes ended, or could not be read.
    #[error("receiving blob {blob}: {source}")]
    Source {
        /// The blob.
        blob: Digest32,
        /// What went wrong.
        source: io::Error,
    },
    /// They could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The downloads that somebody has open. Whoever asks for one that is open shares it.
#[derive(Debug, Default)]
pub(crate) struct Downloads(Mutex<HashMap<(Digest32, u64), Weak<Partial>>>);

impl Downloads {
    pub(crate) fn open(
        &self,
        layout: &Layout,
        blake3: &Digest32,
        size: u64,
    ) -> Result<Arc<Partial>, StoreError> {
        let mut open = self.lock();
        open.retain(|_, partial| partial.strong_count() > 0);
        if let Some(partial) = open.get(&(*blake3, size)).and_then(Weak::upgrade) {
            return Ok(partial);
        }
        let partial = Arc::new(Partial::open(layout, blake3, size)?);
        open.insert((*blake3, size), Arc::downgrade(&partial));
        Ok(partial)
    }

    pub(crate) fn is_open(&self, blake3: &Digest32, size: u64) -> bool {
        self.lock().get(&(*blake3, size)).is_some_and(|partial| partial.strong_count() > 0)
    }

    /// What is open of this goes on writing where nobody finds it.
    pub(crate) fn forget(&self, blake3: &Digest32, size: u64) {
        self.lock().remove(&(*blake3, size));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Digest32, u64), Weak<Partial>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Partial {
    fn open(layout: &Layout, blake3: &Digest32, size: u64) -> Result<Self, StoreError> {
        let tree = tree_of(blake3, size)?;
        let at = |file| layout.partial_path(blake3, size, file);
        // A record of files that are gone claims what is not there.
        if !at(PartialFile::Data).exists() || !at(PartialFile::Outboard).exists() {
            layout.remove_partial(blake3, size)?;
        }
        let (data, hashes) = (open_file(&at(PartialFile::Data))?, open_file(&at(PartialFile::Outboard))?);
        for (file, kind, length) in
            [(&data, PartialFile::Data, size), (&hashes, PartialFile::Outboard, tree.outboard_size())]
        {
            file.set_len(length).map_err(StoreError::io("creating", &at(kind)))?;
        }
        let record_path = at(PartialFile::Record);
        let (record, claims) = Record::open(open_file(&record_path)?, blake3)
            .map_err(StoreError::io("reading", &record_path))?;
        let unsynced_bytes = claims.doubtful.iter().map(|range| range.end - range.start).sum();
        let state = State { have: ByteRanges::empty(), record, unsynced_bytes, syncing: Syncing::Idle };
        let path = at(PartialFile::Data);
        let partial = Self { blake3: *blake3, size, tree, data, path, hashes, state: Mutex::new(state) };
        partial.trust(claims)?;
        Ok(partial)
    }

    /// Takes over what a record claims: what was synced as it stands, the rest after it was verified again.
    fn trust(&self, claims: Claims) -> Result<(), StoreError> {
        let hashes = self.outboard()?;
        let Claims { durable, doubtful } = claims;
        let is_sound = |range: &Range<u64>| {
            let chunks = chunks_of(&self.blake3, self.size, range);
            chunks
                .is_ok_and(|chunks| encode_ranges_validated(&self.data, &hashes, &chunks, io::sink()).is_ok())
        };
        let verified: Vec<_> = doubtful.into_iter().filter(is_sound).collect();
        let mut state = self.state();
        for range in durable.into_iter().chain(verified) {
            state.have |= ByteRanges::from(range);
        }
        state.have &= ByteRanges::from(0..self.size);
        Ok(())
    }

    /// The blob's name.
    pub const fn blake3(&self) -> &Digest32 {
        &self.blake3
    }

    /// The blob's length in bytes.
    pub const fn size_bytes(&self) -> u64 {
        self.size
    }

    /// The ranges of `within` that are still to come.
    pub fn missing(&self, within: Range<u64>) -> Vec<Range<u64>> {
        let missing = ByteRanges::from(within) - &self.state().have;
        missing.boundaries().as_chunks::<2>().0.iter().map(|[start, end]| *start..*end).collect()
    }

    /// Whether bytes were claimed that were not synced yet.
    pub fn is_synced(&self) -> bool {
        self.state().unsynced_bytes == 0
    }

    /// Bytes that are still to come.
    pub fn missing_bytes(&self) -> u64 {
        self.missing(0..self.size).into_iter().map(|range| range.end - range.start).sum()
    }

    /// Reads a range with its hashes, as [`crate::BlobReader::encode`] writes it, and keeps what is verified.
    /// `watch` hears of each group where it ends, and may stop there.
    ///
    /// # Errors
    /// When something is not of this blob, `encoded` ends or fails, or the file system does. What was verified before
    /// counts.
    pub fn receive(
        &self,
        range: Range<u64>,
        encoded: impl Read,
        mut watch: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Received, ReceiveError> {
        let chunks = chunks_of(&self.blake3, self.size, &range)?;
        let mut hashes = self.outboard()?;
        let mut data = self.data.try_clone().map_err(|error| self.failed("writing", error))?;
        let mut claimed = range.start..range.start;
        let mut ended = Ok(Received::Whole);
        for item in DecodeResponseIter::new(root(&self.blake3), self.tree, encoded, &chunks) {
            let kept = item.map_err(|error| self.refused(error)).and_then(|item| match item {
                BaoContentItem::Parent(parent) => hashes
                    .save(parent.node, &parent.pair)
                    .map_err(|error| self.failed("writing", error).into()),
                BaoContentItem::Leaf(leaf) => {
                    data.write_all_at(leaf.offset, &leaf.data)
                        .map_err(|error| self.failed("writing", error))?;
                    claimed.end = leaf.offset + leaf.data.len() as u64;
                    Ok(())
                }
            });
            if let Err(error) = kept {
                ended = Err(error);
                break;
            }
            if claimed.end - claimed.start >= CLAIM_BYTES {
                self.claim(&claimed)?;
                claimed.start = claimed.end;
            }
            if claimed.end < range.end && watch(claimed.end).is_break() {
                ended = Ok(Received::Stopped);
                break;
            }
        }
        self.claim(&claimed)?;
        ended
    }

    /// Notes that a range was verified and written.
    fn claim(&self, range: &Range<u64>) -> Result<(), StoreError> {
        if range.is_empty() {
            return Ok(());
        }
        let mut state = self.state();
        state.record.claim(range).map_err(|error| self.failed("recording", error))?;
        state.have |= ByteRanges::from(range.clone());
        state.unsynced_bytes += range.end - range.start;
        Ok(())
    }

    /// Whether so much was claimed that it should be synced, and nobody does. Whoever is told so calls [`Self::sync`],
    /// best where nothing waits for it.
    pub fn begin_sync(&self) -> bool {
        let mut state = self.state();
        let is_due = state.unsynced_bytes >= UNSYNCED_BYTES_MAX && state.syncing == Syncing::Idle;
        if is_due {
            state.syncing = Syncing::Running;
        }
        is_due
    }

    /// Makes all that was claimed so far last.
    ///
    /// # Errors
    /// When the file system fails, or did so in an earlier sync.
    pub fn sync(&self) -> Result<(), StoreError> {
        let (entries, bytes) = {
            let state = self.state();
            if state.syncing == Syncing::Failed {
                return Err(self.failed("syncing", io::Error::other("an earlier sync failed")));
            }
            (state.record.entries(), state.unsynced_bytes)
        };
        let synced = self.data.sync_data().and_then(|()| self.hashes.sync_data());
        let mut state = self.state();
        state.syncing = if synced.is_ok() { Syncing::Idle } else { Syncing::Failed };
        synced.map_err(|error| self.failed("syncing", error))?;
        state.record.mark(entries).map_err(|error| self.failed("recording", error))?;
        state.unsynced_bytes -= bytes.min(state.unsynced_bytes);
        Ok(())
    }

    fn outboard(&self) -> Result<PostOrderOutboard<File>, StoreError> {
        let data = self.hashes.try_clone().map_err(|error| self.failed("opening", error))?;
        Ok(PostOrderOutboard { root: root(&self.blake3), tree: self.tree, data })
    }

    fn refused(&self, error: DecodeError) -> ReceiveError {
        let blob = self.blake3;
        let ended = || io::ErrorKind::UnexpectedEof.into();
        match error {
            DecodeError::ParentHashMismatch(node) => {
                ReceiveError::Corrupt { blob, at: node.mid().to_bytes() }
            }
            DecodeError::LeafHashMismatch(chunk) => ReceiveError::Corrupt { blob, at: chunk.to_bytes() },
            DecodeError::ParentNotFound(_) | DecodeError::LeafNotFound(_) => {
                ReceiveError::Source { blob, source: ended() }
            }
            DecodeError::Io(source) => ReceiveError::Source { blob, source },
        }
    }

    fn failed(&self, doing: &'static str, error: io::Error) -> StoreError {
        StoreError::io(doing, &self.path)(error)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_file(path: &Path) -> Result<File, StoreError> {
    let file = File::options().create(true).truncate(false).read(true).write(true).open(path);
    file.map_err(StoreError::io("opening", path))
}
