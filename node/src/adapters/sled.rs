//! The ledger's store in one sled tree.
//!
//! sled 0.34 promises less than a ledger needs; three things are added here.
//!
//! - Its flush starts the writing of dirty pages but leaves the disk's own cache and the length of the file alone,
//!   so every commit ends with an fsync of ours.
//! - A tree page larger than a quarter of a segment goes to a file of its own, which is never synced and whose
//!   absence recovery takes for an update that never was. Long values are therefore cut into parts, small enough
//!   that no page grows that large.
//! - A reader of several keys may see a batch half applied, so readers wait while a batch is written.
//!
//! sled panics on some damaged files; a panic is a failure of the store like any other.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use assay_runtime::executor::{Batch, Entry, Kv, StoreError, StoreFault};
use sled::IVec;

/// Memory of the page cache; the trie cache above it holds the hot nodes.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of a value that stay together.
const PART_BYTES: usize = 4 * 1024;
/// Entries of a sled leaf at most: it is split when a seventeenth has been added.
const LEAF_ENTRIES_MAX: usize = 17;
/// The same for an inner page.
const INNER_ENTRIES_MAX: usize = 257;
/// Bytes of the longest key, with room to spare: those of a trie node are the nibbles above it and its hash.
const KEY_BYTES_MAX: usize = 320;
/// Bytes that sled spends on an entry, with room to spare.
const ENTRY_BYTES: usize = 32;
/// sled's name of its log.
const LOG: &str = "db";
/// sled's own segment size.
const SEGMENT_BYTES: usize = 512 * 1024;
/// The page above which sled writes a file of its own, with room for its headers.
const PAGE_BYTES_MAX: usize = SEGMENT_BYTES / 4 - 1024;
const _: () = assert!(LEAF_ENTRIES_MAX * (PART_BYTES + KEY_BYTES_MAX + ENTRY_BYTES) < PAGE_BYTES_MAX);
const _: () = assert!(INNER_ENTRIES_MAX * (KEY_BYTES_MAX + ENTRY_BYTES) < PAGE_BYTES_MAX);

/// `0 ‖ key`: the number of further parts (u32, big-endian) and the beginning of the value.
const HEADS: u8 = 0;
/// `1 ‖ key ‖ number`: a further part.
const PARTS: u8 = 1;
/// `2`: [`LAYOUT_VERSION`].
const LAYOUT: u8 = 2;
/// How keys and values are written here.
const LAYOUT_VERSION: &[u8] = b"1";
/// Bytes of a part's number.
const NUMBER_BYTES: usize = 4;

/// A store in a sled directory. One process at a time, and once in each: sled holds its lock for a while after it
/// was dropped.
pub struct SledKv {
    tree: sled::Db,
    /// The tree's log, for syncing.
    log: File,
    /// Held for writing by a batch, for reading by whoever reads more than one key.
    between_batches: RwLock<()>,
}

impl SledKv {
    /// Opens or creates the directory at `path`.
    ///
    /// # Errors
    /// [`StoreError`] when it is damaged, not writable, or held by another process.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return attempt("creating", || Self::create(path));
        }
        attempt("opening", || {
            // Where there is no log, or an empty one, sled would begin another.
            if !path.join(LOG).exists() {
                return Err(damaged("its log is missing"));
            }
            let kv = Self::open_in(path)?;
            match kv.tree.get([LAYOUT])? {
                Some(version) if version == LAYOUT_VERSION => Ok(kv),
                Some(_) => Err(damaged("another version has written it")),
                None => Err(damaged("it is empty")),
            }
        })
    }

    /// Creates an empty store. It gets its name when it is complete: sled refuses files whose creation was cut off.
    fn create(path: &Path) -> sled::Result<Self> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let private = fs::Permissions::from_mode(0o700);
        let unfinished =
            tempfile::Builder::new().prefix(".writing-").permissions(private).tempdir_in(parent)?;
        let kv = Self::open_in(unfinished.path())?;
        kv.tree.insert([LAYOUT], LAYOUT_VERSION)?;
        kv.sync()?;
        File::open(unfinished.path())?.sync_all()?;
        // Nothing is opened by its name any more while the store is open.
        fs::rename(unfinished.keep(), path)?;
        File::open(parent)?.sync_all()?;
        Ok(kv)
    }

    fn open_in(dir: &Path) -> sled::Result<Self> {
        let tree =
            sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).segment_size(SEGMENT_BYTES).open()?;
        Ok(Self { tree, log: File::open(dir.join(LOG))?, between_batches: RwLock::new(()) })
    }

    /// The value whose first part is `head`.
    fn value(&self, key: &[u8], head: &[u8]) -> sled::Result<Vec<u8>> {
        let (count, first) = split_head(head)?;
        let mut value = first.to_vec();
        for number in 0..count {
            let part = self.tree.get(part_key(key, number))?;
            value.extend_from_slice(&part.ok_or_else(|| damaged("a part of a value is missing"))?);
        }
        Ok(value)
    }

    /// How many further parts the value of a key has now.
    fn parts(&self, key: &[u8]) -> sled::Result<u32> {
        self.tree.get(head_key(key))?.map_or(Ok(0), |head| split_head(&head).map(|(count, _)| count))
    }

    fn apply(&self, entries: BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> sled::Result<()> {
        let mut batch = sled::Batch::default();
        for (key, value) in entries {
            let before = self.parts(&key)?;
            let now = match value {
                Some(value) => put(&mut batch, &key, &value)?,
                None => {
                    batch.remove(head_key(&key));
                    0
                }
            };
            (now..before).for_each(|number| batch.remove(part_key(&key, number)));
        }
        self.tree.apply_batch(batch)?;
        self.sync()
    }

    fn sync(&self) -> sled::Result<()> {
        self.tree.flush()?;
        Ok(self.log.sync_data()?)
    }
}

impl Kv for SledKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        attempt("reading", || {
            let _whole = self.between_batches.read().unwrap_or_else(PoisonError::into_inner);
            self.tree.get(head_key(key))?.map(|head| self.value(key, &head)).transpose()
        })
    }

    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        attempt("reading", || {
            let _whole = self.between_batches.read().unwrap_or_else(PoisonError::into_inner);
            let from = head_key(from.max(prefix));
            let within = |entry: &sled::Result<(IVec, IVec)>| {
                entry
                    .as_ref()
                    .map_or(true, |(key, _)| key.get(1..).is_some_and(|key| key.starts_with(prefix)))
            };
            let heads = self.tree.range(from..vec![PARTS]).take_while(within).take(limit);
            heads
                .map(|entry| {
                    let (key, head) = entry?;
                    let key = key.get(1..).unwrap_or_default().to_vec();
                    let value = self.value(&key, &head)?;
                    Ok((key, value))
                })
                .collect()
        })
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        attempt("writing to", || {
            let _alone = self.between_batches.write().unwrap_or_else(PoisonError::into_inner);
            // The last of the entries with the same key counts.
            self.apply(batch.into_iter().collect())
        })
    }
}

/// Adds a value to a batch, and says how many further parts it has.
fn put(batch: &mut sled::Batch, key: &[u8], value: &[u8]) -> sled::Result<u32> {
    let (first, rest) = value.split_at(value.len().min(PART_BYTES));
    let parts = rest.chunks(PART_BYTES);
    let count = u32::try_from(parts.len()).map_err(|_| damaged("a value has too many parts"))?;
    batch.insert(head_key(key), [&count.to_be_bytes(), first].concat());
    for (number, part) in (0..count).zip(parts) {
        batch.insert(part_key(key, number), part);
    }
    Ok(count)
}

/// The number of further parts, and the first.
fn split_head(head: &[u8]) -> sled::Result<(u32, &[u8])> {
    let (count, first) =
        head.split_first_chunk::<NUMBER_BYTES>().ok_or_else(|| damaged("a value has no beginning"))?;
    Ok((u32::from_be_bytes(*count), first))
}

fn head_key(key: &[u8]) -> Vec<u8> {
    [&[HEADS], key].concat()
}

fn part_key(key: &[u8], number: u32) -> Vec<u8> {
    [&[PARTS], key, &number.to_be_bytes()].concat()
}

fn damaged(cause: &str) -> sled::Error {
    sled::Error::Io(io::Error::new(io::ErrorKind::InvalidData, cause))
}

fn attempt<T>(what: &'static str, act: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    let (cause, fault) = match catch_unwind(AssertUnwindSafe(act)) {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(error)) => (error.to_string(), fault(&error)),
        Err(panic) => (format!("sled panicked: {}", words(&*panic)), StoreFault::Other),
    };
    Err(StoreError { what, cause, fault })
}

/// What kind of trouble a sled directory is in.
pub fn fault(error: &sled::Error) -> StoreFault {
    match error {
        sled::Error::Io(error) => StoreFault::of_io(error),
        sled::Error::Corruption { .. } => StoreFault::Damaged,
        _ => StoreFault::Other,
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use assay_runtime::executor::testing::conformance;

    #[test]
    fn the_directory_keeps_the_contract() {
        let dir = tempfile::tempdir().unwrap();
        let openings = AtomicU32::new(0);
        // Each opening takes a copy: sled keeps its lock for a while after it was dropped.
        conformance(|| {
            let number = openings.fetch_add(1, Ordering::Relaxed);
            let path = dir.path().join(number.to_string());
            if let Some(last) = number.checked_sub(1) {
                let last = dir.path().join(last.to_string());
                std::fs::create_dir(&path).unwrap();
                for file in std::fs::read_dir(last).unwrap().map(Result::unwrap) {
                    if file.file_type().unwrap().is_file() {
                        std::fs::copy(file.path(), path.join(file.file_name())).unwrap();
                    }
                }
            }
            SledKv::open(&path)
        })
        .unwrap();
    }

    #[test]
    fn a_held_or_foreign_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sled");
        let held = SledKv::open(&path).unwrap();
        assert!(SledKv::open(&path).is_err());
        drop(held);
        let file = dir.path().join("file");
        std::fs::write(&file, b"not a directory").unwrap();
        assert!(SledKv::open(&file).is_err());
    }

    #[test]
    fn a_ledger_that_has_become_empty_is_damaged_and_not_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        drop(SledKv::open(&path("ledger.sled")).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        std::fs::create_dir(path("without-log")).unwrap();
        assert!(SledKv::open(&path("without-log")).is_err());
        std::fs::create_dir(path("empty-log")).unwrap();
        std::fs::write(path("empty-log").join(LOG), b"").unwrap();
        assert!(SledKv::open(&path("empty-log")).is_err());
    }

    #[test]
    fn no_value_is_kept_in_a_file_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sled");
        let kv = SledKv::open(&path).unwrap();
        let longest_key = |n: u8| vec![n; KEY_BYTES_MAX];
        kv.commit((0..24).map(|n| (longest_key(n), Some(vec![n; 1 << 20]))).collect()).unwrap();
        assert_eq!(std::fs::read_dir(path.join("blobs")).unwrap().count(), 0);
    }

    #[test]
    fn a_shorter_or_deleted_value_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sled");
        let kv = SledKv::open(&path).unwrap();
        let put = |bytes: usize| kv.commit(vec![(b"k".to_vec(), Some(vec![7; bytes]))]).unwrap();
        put(5 * PART_BYTES + 1);
        assert_eq!(kv.tree.len(), 1 + 6);
        put(2 * PART_BYTES);
        assert_eq!(kv.tree.len(), 1 + 2);
        kv.commit(vec![(b"k".to_vec(), None)]).unwrap();
        assert_eq!(kv.tree.len(), 1, "its layout is left");
    }

    #[test]
    fn a_panic_is_a_failure_of_the_store() {
        let failed = attempt("reading", || -> sled::Result<()> { panic!("page {} is gone", 7) });
        assert_eq!(
            failed.unwrap_err().to_string(),
            "reading the ledger store: sled panicked: page 7 is gone"
        );
    }
}
