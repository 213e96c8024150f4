//! A store that fails when told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::executor::kv::{Batch, Entry, Kv, StoreError, StoreFault};

/// A store whose n-th commit fails, like a full or dying disk.
#[derive(Clone)]
pub struct FailingKv<K> {
    inner: Arc<K>,
    commits_left: Arc<AtomicU64>,
}

impl<K: Kv> FailingKv<K> {
    /// Lets `commits` through, then fails.
    pub fn new(inner: Arc<K>, commits: u64) -> Self {
        Self { inner, commits_left: Arc::new(AtomicU64::new(commits)) }
    }
}

impl<K: Kv> Kv for FailingKv<K> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }

    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.inner.scan(prefix, from, limit)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let left =
            self.commits_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Ok(_) => self.inner.commit(batch),
            Err(_) => {
                let (cause, fault) = ("no space left on device".into(), StoreFault::Full);
                Err(StoreError { what: "writing to", cause, fault })
            }
        }
    }
}
