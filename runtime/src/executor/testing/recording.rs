//! A store that remembers what was written.

use std::sync::{Mutex, PoisonError};

use crate::executor::kv::{Batch, Entry, Kv, StoreError};

/// A store whose latest batch can be taken, to write it elsewhere.
#[derive(Default)]
pub struct RecordingKv<K> {
    inner: K,
    latest: Mutex<Batch>,
}

impl<K: Kv> RecordingKv<K> {
    /// Remembers what is written to `inner`.
    pub fn new(inner: K) -> Self {
        Self { inner, latest: Mutex::default() }
    }

    /// The batch that was written last; empty if it was taken before.
    pub fn take(&self) -> Batch {
        std::mem::take(&mut self.latest.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<K: Kv> Kv for RecordingKv<K> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }

    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.inner.scan(prefix, from, limit)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&batch);
        self.inner.commit(batch)
    }
}
