//! Shared by the tests of every store: the contract of [`Kv`], and a store that fails when told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::kv::{Batch, Entry, Kv, StoreError};

/// Checks the contract of [`Kv`] on a fresh store.
///
/// # Errors
/// The first rule that does not hold.
pub fn conformance(kv: &impl Kv) -> Result<(), String> {
    let put = |key: &[u8], value: &[u8]| (key.to_vec(), Some(value.to_vec()));
    let say = |error: StoreError| error.to_string();
    kv.commit(vec![put(b"b2", b"2"), put(b"a1", b"1"), put(b"b1", b""), put(b"c", b"3")]).map_err(say)?;
    check(kv.get(b"a1").map_err(say)? == Some(b"1".to_vec()), "a written key is read")?;
    check(kv.get(b"b1").map_err(say)? == Some(Vec::new()), "an empty value is a value")?;
    check(kv.get(b"zz").map_err(say)?.is_none(), "an absent key is absent")?;
    let keys = |prefix: &[u8], from: &[u8], limit| {
        kv.scan(prefix, from, limit).map(|found| found.into_iter().map(|(key, _)| key).collect::<Vec<_>>())
    };
    check(keys(b"b", b"", 9).map_err(say)? == [b"b1", b"b2"], "a scan is ordered and keeps to its prefix")?;
    check(keys(b"b", b"b2", 9).map_err(say)? == [b"b2"], "a scan begins where it is told")?;
    check(keys(b"", b"", 2).map_err(say)?.len() == 2, "a scan keeps to its limit")?;
    kv.commit(vec![(b"b1".to_vec(), None), put(b"b2", b"new"), (b"none".to_vec(), None)]).map_err(say)?;
    check(kv.get(b"b1").map_err(say)?.is_none(), "a deleted key is gone")?;
    check(kv.get(b"b2").map_err(say)? == Some(b"new".to_vec()), "a later value replaces an earlier")
}

fn check(holds: bool, rule: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("violated: {rule}")) }
}

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
            Err(_) => Err(StoreError { what: "writing to", cause: "no space left on device".into() }),
        }
    }
}
