//! What the ledger needs from a store.

use std::io;

/// Keys to write, or to delete where there is no value.
pub type Batch = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A key with its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// The store failed; after the first failure nothing that it says is trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} the ledger store: {cause}")]
pub struct StoreError {
    /// What was attempted.
    pub what: &'static str,
    /// What went wrong.
    pub cause: String,
    /// What kind of trouble that is.
    pub fault: StoreFault,
}

/// What kind of trouble a store is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// Another process has it open.
    Held,
    /// It does not hold what it should.
    Damaged,
    /// The disk has no space left.
    Full,
    /// It may not be written.
    ReadOnly,
    /// Anything else.
    Other,
}

impl StoreFault {
    /// What an error of the operating system means for a store.
    pub fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::IsADirectory => {
                Self::Damaged
            }
            io::ErrorKind::WouldBlock => Self::Held,
            _ => Self::Other,
        }
    }
}

/// An ordered key-value store. One thread writes; any number read beside it.
///
/// A batch becomes visible when it is durable, and whole: a scan sees every batch entirely or not at all. Of two
/// entries of a batch with the same key the later counts. `testing::conformance` checks all of it.
pub trait Kv: Send + Sync + 'static {
    /// The value of a key.
    ///
    /// # Errors
    /// [`StoreError`] when reading fails.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Up to `limit` entries whose keys begin with `prefix`, from the key `from` on, in order.
    ///
    /// # Errors
    /// [`StoreError`] when reading fails.
    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Writes the whole batch or nothing; durable when it returns.
    ///
    /// # Errors
    /// [`StoreError`] when writing fails; the store may then hold the batch or not, but never a part.
    fn commit(&self, batch: Batch) -> Result<(), StoreError>;
}

impl<T: Kv + ?Sized> Kv for std::sync::Arc<T> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).get(key)
    }

    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        (**self).scan(prefix, from, limit)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        (**self).commit(batch)
    }
}
