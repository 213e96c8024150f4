//! The ledger's store in one redb file.

use std::fs::File;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use assay_runtime::executor::{Batch, Entry, Kv, StoreError, StoreFault};
use redb::{Builder, Database, ReadOnlyTable, ReadableDatabase, StorageBackend, TableDefinition};

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("ledger");

/// Memory of the page cache; the trie cache above it holds the hot nodes.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// A store in a redb file. One process at a time.
pub struct RedbKv {
    db: Database,
    /// What the last batch left. Opening it for every read costs more than the read.
    table: RwLock<Table>,
}

type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

impl RedbKv {
    /// Opens or creates the file at `path`.
    ///
    /// # Errors
    /// [`StoreError`] when the file is damaged, not writable, or held by another process.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::with(|builder| open_or_create(builder, path))
    }

    /// Opens or creates the store in anything that can be read and written like a file.
    ///
    /// # Errors
    /// [`StoreError`] when it is damaged or cannot be written.
    pub fn open_in(backend: impl StorageBackend) -> Result<Self, StoreError> {
        Self::with(|builder| Ok(builder.create_with_backend(backend)?))
    }

    fn with(open: impl FnOnce(&Builder) -> Result<Database, redb::Error>) -> Result<Self, StoreError> {
        let attempt = || -> Result<Self, redb::Error> {
            let db = open(Builder::new().set_cache_size(CACHE_BYTES))?;
            let write = db.begin_write()?;
            write.open_table(TABLE)?;
            write.commit()?;
            Ok(Self { table: RwLock::new(opened(&db)?), db })
        };
        attempt().map_err(failed("opening"))
    }

    fn read<T>(&self, read: impl FnOnce(&Table) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        read(&self.table.read().unwrap_or_else(PoisonError::into_inner)).map_err(failed("reading"))
    }
}

impl Kv for RedbKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|table| Ok(table.get(key)?.map(|value| value.value().to_vec())))
    }

    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.read(|table| {
            let mut found = Vec::new();
            for entry in table.range::<&[u8]>(from.max(prefix)..)?.take(limit) {
                let (key, value) = entry?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                found.push((key.value().to_vec(), value.value().to_vec()));
            }
            Ok(found)
        })
    }

    fn commit(&self, mut batch: Batch) -> Result<(), StoreError> {
        // Neighbouring keys share pages of the tree, so writing in order is several times faster.
        batch.sort_by(|a, b| a.0.cmp(&b.0));
        let attempt = || -> Result<(), redb::Error> {
            let write = self.db.begin_write()?;
            {
                let mut table = write.open_table(TABLE)?;
                for (key, value) in &batch {
                    match value {
                        Some(value) => table.insert(key.as_slice(), value.as_slice())?,
                        None => table.remove(key.as_slice())?,
                    };
                }
            }
            write.commit()?;
            *self.table.write().unwrap_or_else(PoisonError::into_inner) = opened(&self.db)?;
            Ok(())
        };
        attempt().map_err(failed("writing to"))
    }
}

/// The table as it is now.
fn opened(db: &Database) -> Result<Table, redb::Error> {
    Ok(db.begin_read()?.open_table(TABLE)?)
}

/// Opens the database at `path`, or creates it. It gets its name when it is complete: redb refuses a file whose
/// creation was cut off.
pub(super) fn open_or_create(builder: &Builder, path: &Path) -> Result<Database, redb::Error> {
    if !path.exists() {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let unfinished =
            tempfile::Builder::new().prefix(".writing-").tempfile_in(parent).map_err(redb::Error::Io)?;
        drop(builder.create(unfinished.path())?);
        unfinished.persist_noclobber(path).map_err(|error| redb::Error::Io(error.error))?;
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(redb::Error::Io)?;
    }
    Ok(builder.open(path)?)
}

fn failed(what: &'static str) -> impl FnOnce(redb::Error) -> StoreError {
    move |error| StoreError { what, fault: fault(&error), cause: error.to_string() }
}

/// What kind of trouble a redb file is in.
pub fn fault(error: &redb::Error) -> StoreFault {
    match error {
        redb::Error::DatabaseAlreadyOpen => StoreFault::Held,
        redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_) => StoreFault::Damaged,
        redb::Error::Io(error) => StoreFault::of_io(error),
        _ => StoreFault::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_runtime::executor::testing::conformance;

    #[test]
    fn the_file_keeps_the_contract() {
        let dir = tempfile::tempdir().unwrap();
        conformance(|| RedbKv::open(&dir.path().join("ledger.redb"))).unwrap();
    }

    #[test]
    fn a_ledger_that_has_become_empty_is_damaged_and_not_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.redb");
        RedbKv::open(&path).unwrap().commit(vec![(b"k".to_vec(), Some(b"v".to_vec()))]).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        std::fs::write(&path, b"").unwrap();
        assert!(RedbKv::open(&path).is_err());
    }

    #[test]
    fn a_held_or_damaged_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.redb");
        let _held = RedbKv::open(&path).unwrap();
        assert!(RedbKv::open(&path).is_err());
        let damaged = dir.path().join("damaged.redb");
        std::fs::write(&damaged, b"not a database").unwrap();
        assert!(RedbKv::open(&damaged).is_err());
    }
}
