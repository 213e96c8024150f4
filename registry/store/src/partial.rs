//! A blob on its way in: its ranges arrive in any order and from anybody, and each is verified before it counts.

use crate::encode::Source;
use crate::error::StoreError;
use crate::layout::{Layout, PartialFile};
use crate::ranges::{GROUP_BYTES, check_range, tree_of};
use crate::record::{Claims, Record};
use assay_manifest::Digest32;
use bao_tree::ByteRanges;
use bao_tree::io::sync::ReadAt;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Verified bytes of a range, from its start, after which they are claimed, so that a process that is killed then does
/// not fetch them again.
pub const CLAIM_BYTES: u64 = 1 << 20;
/// Claimed bytes after which they should be synced: about what a power cut leaves to be verified again, which takes half
/// a second. To sync more often slows what comes meanwhile down.
const UNSYNCED_BYTES_MAX: u64 = 2 << 30;
const _: () = assert!(CLAIM_BYTES.is_multiple_of(GROUP_BYTES) && CLAIM_BYTES < UNSYNCED_BYTES_MAX);

/// A blob of which some ranges are here.
///
/// All methods take `&self`, and ranges may arrive on several threads at the same time.
#[derive(Debug)]
pub struct Partial {
    blake3: Digest32,
    size: u64,
    data: File,
    /// Where `data` is, for errors.
    path: PathBuf,
    hashes: File,
    state: Mutex<State>,
    /// Held by whoever syncs: of two syncs at once one may be told of a failure and the other of success.
    sync_turn: Mutex<()>,
    /// Tests let syncs fail.
    #[cfg(test)]
    pub(crate) syncs_fail: std::sync::atomic::AtomicBool,
}

#[derive(Debug)]
struct State {
    have: ByteRanges,
    /// What of `have` was synced.
    durable: ByteRanges,
    record: Record,
    unsynced_bytes: u64,
    syncing: Syncing,
    /// How many syncs failed. What was written before the last of them may be nowhere but in memory.
    failed_syncs: u64,
}

/// What is known of syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syncing {
    /// None runs.
    Idle,
    /// One runs, or is about to.
    Running,
    /// One failed, and what it was for could not be taken back. What the system says of the next is no use: it may
    /// have forgotten what it could not write.
    Broken,
}

/// The downloads that somebody has open. Whoever asks for one that is open shares it.
#[derive(Debug, Default)]
pub(crate) struct Downloads(Mutex<HashMap<(Digest32, u64), Weak<Partial>>>);

/// Whether the files of a download were still its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// They were.
    Now,
    /// Somebody else had placed or removed them.
    Before,
}

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

    /// Runs `change` on the files of a download, unless whoever has them open is another than `partial`; then they are
    /// not its own any more, if they are there. What is open of it goes on writing where nobody finds it.
    pub(crate) fn close(
        &self,
        partial: &Arc<Partial>,
        change: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<Closed, StoreError> {
        let mut open = self.lock();
        let key = (partial.blake3, partial.size);
        if !open.get(&key).and_then(Weak::upgrade).is_some_and(|open| Arc::ptr_eq(&open, partial)) {
            return Ok(Closed::Before);
        }
        // Nobody opens it meanwhile: the lock is held.
        change()?;
        open.remove(&key);
        Ok(Closed::Now)
    }

    /// Runs `change` on the files of a download that nobody has open.
    pub(crate) fn unless_open(
        &self,
        blake3: &Digest32,
        size: u64,
        change: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let open = self.lock();
        let is_open = open.get(&(*blake3, size)).is_some_and(|partial| partial.strong_count() > 0);
        if is_open { Ok(()) } else { change() }
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
        let state = State {
            have: ByteRanges::empty(),
            durable: ByteRanges::empty(),
            record,
            unsynced_bytes,
            syncing: Syncing::Idle,
            failed_syncs: 0,
        };
        let partial = Self {
            blake3: *blake3,
            size,
            data,
            path: at(PartialFile::Data),
            hashes,
            state: Mutex::new(state),
            sync_turn: Mutex::default(),
            #[cfg(test)]
            syncs_fail: Default::default(),
        };
        partial.trust(claims)?;
        Ok(partial)
    }

    /// Takes over what a record claims: what was synced as it stands, the rest after it was verified again.
    fn trust(&self, claims: Claims) -> Result<(), StoreError> {
        let Self { blake3, size, data, hashes, .. } = self;
        let source = Source { blake3, size_bytes: *size, data, pairs: Some(hashes) };
        let is_sound =
            |range: &Range<u64>| check_range(blake3, *size, range).is_ok() && source.verify(range).is_ok();
        let Claims { durable, doubtful } = claims;
        let claimed = doubtful.len();
        let verified: Vec<_> = doubtful.into_iter().filter(is_sound).collect();
        let mut state = self.state();
        if verified.len() < claimed {
            // The next mark would cover what is not there.
            let record = &mut state.record;
            record
                .cut_to_mark()
                .and_then(|()| verified.iter().try_for_each(|range| record.claim(range)))
                .map_err(|error| self.failed("recording", error))?;
        }
        let all = |ranges: Vec<Range<u64>>| {
            let union =
                ranges.into_iter().fold(ByteRanges::empty(), |all, range| all | ByteRanges::from(range));
            union & ByteRanges::from(0..self.size)
        };
        state.durable = all(durable);
        state.have = all(verified) | &state.durable;
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

    /// Its content and pairs, to be written.
    pub(crate) const fn files(&self) -> (&File, &File) {
        (&self.data, &self.hashes)
    }

    /// How many syncs have failed, for [`Self::claim`].
    pub(crate) fn failed_syncs(&self) -> u64 {
        self.state().failed_syncs
    }

    /// Notes that a range was verified, and written after so many syncs had failed.
    pub(crate) fn claim(&self, range: &Range<u64>, failed_syncs: u64) -> Result<(), StoreError> {
        if range.is_empty() {
            return Ok(());
        }
        let mut state = self.state();
        if state.syncing == Syncing::Broken || state.failed_syncs != failed_syncs {
            return Err(self.failed("recording", io::Error::other("a sync failed meanwhile")));
        }
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

    /// Makes all that was claimed so far last. When that fails, what was claimed since the last time counts no more:
    /// the system may keep it in memory as if it were on the disk.
    ///
    /// # Errors
    /// When the file system fails, or did so before and what it lost could not be taken back.
    pub fn sync(&self) -> Result<(), StoreError> {
        let _turn = self.sync_turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (entries, bytes, have) = {
            let state = self.state();
            if state.syncing == Syncing::Broken {
                return Err(self.failed("syncing", io::Error::other("an earlier sync failed")));
            }
            (state.record.entries(), state.unsynced_bytes, state.have.clone())
        };
        let synced = self.sync_files();
        let mut state = self.state();
        if let Err(error) = synced {
            state.take_back().map_err(|error| self.failed("recording", error))?;
            return Err(self.failed("syncing", error));
        }
        state.syncing = Syncing::Idle;
        state.durable = have;
        state.unsynced_bytes -= bytes.min(state.unsynced_bytes);
        state.record.mark(entries).map_err(|error| self.failed("recording", error))
    }

    fn sync_files(&self) -> io::Result<()> {
        #[cfg(test)]
        if self.syncs_fail.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(io::Error::other("failed by the test"));
        }
        self.data.sync_data().and_then(|()| self.hashes.sync_data())
    }

    /// What the content is, if it is not the blob's: hashes all of it.
    pub(crate) fn damage(self: &Arc<Self>) -> Result<Option<StoreError>, StoreError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(PartialReader::new(self)).map_err(|error| self.failed("reading", error))?;
        let found = Digest32::from_bytes(hasher.finalize().into());
        Ok((found != self.blake3).then_some(StoreError::CorruptBlob { expected: self.blake3, found }))
    }

    pub(crate) fn failed(&self, doing: &'static str, error: io::Error) -> StoreError {
        StoreError::io(doing, &self.path)(error)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a download from its beginning, wherever its file was moved meanwhile.
pub(crate) struct PartialReader {
    partial: Arc<Partial>,
    at: u64,
}

impl PartialReader {
    pub(crate) fn new(partial: &Arc<Partial>) -> Self {
        Self { partial: Arc::clone(partial), at: 0 }
    }
}

impl Read for PartialReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.partial.data.read_at(self.at, buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl State {
    /// Forgets what was not synced, here and in the record.
    fn take_back(&mut self) -> io::Result<()> {
        self.failed_syncs += 1;
        self.syncing = Syncing::Broken;
        self.have = self.durable.clone();
        self.unsynced_bytes = 0;
        self.record.cut_to_mark()?;
        self.syncing = Syncing::Idle;
        Ok(())
    }
}

fn open_file(path: &Path) -> Result<File, StoreError> {
    let file = File::options().create(true).truncate(false).read(true).write(true).open(path);
    file.map_err(StoreError::io("opening", path))
}
