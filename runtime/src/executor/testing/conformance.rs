//! The contract of [`Kv`], as one test for every store.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::executor::kv::{Batch, Entry, Kv, StoreError};

/// A rule of the contract that a store does not keep.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The store said so itself.
    #[error("the store failed: {0}")]
    Failed(#[from] StoreError),
    /// It did not do what it should.
    #[error("violated: {0}")]
    Rule(String),
}

/// Checks the contract of [`Kv`]. `open` opens the same store each time, which is empty at first and never opened
/// twice at once.
///
/// # Errors
/// The first rule that does not hold.
pub fn conformance<K: Kv>(open: impl Fn() -> Result<K, StoreError>) -> Result<(), Violation> {
    values_are_kept(&open()?)?;
    scans_are_ordered(&open()?)?;
    the_last_word_on_a_key_counts(&open()?)?;
    values_of_every_size_are_kept(&open)?;
    many_entries_are_kept(&open)?;
    a_batch_is_seen_whole(&open()?)
}

/// Entries of a batch that replaces what [`many_entries_are_kept`] wrote.
const MANY: u32 = 5_000;
/// Around everything at which a store may begin to keep a value in another way: the empty value, its own pages,
/// and what a full block and its events take.
const SIZES: [usize; 13] =
    [0, 1, 255, 4_095, 4_096, 4_097, 8_192, 65_535, 65_536, 131_073, 524_289, (2 << 20) + 1, (8 << 20) + 1];

fn values_are_kept(kv: &impl Kv) -> Result<(), Violation> {
    kv.commit(vec![put(b"b2", b"2"), put(b"a1", b"1"), put(b"b1", b""), put(b"c", b"3")])?;
    check(kv.get(b"a1")? == Some(b"1".to_vec()), "a written key is read")?;
    check(kv.get(b"b1")? == Some(Vec::new()), "an empty value is a value")?;
    check(kv.get(b"zz")?.is_none(), "an absent key is absent")?;
    check(kv.get(b"b")?.is_none(), "the beginning of a key is no key")?;
    kv.commit(vec![delete(b"b1"), put(b"b2", b"new"), delete(b"none")])?;
    check(kv.get(b"b1")?.is_none(), "a deleted key is gone")?;
    check(kv.get(b"b2")? == Some(b"new".to_vec()), "a later value replaces an earlier")?;
    kv.commit(Batch::new())?;
    clear(kv)
}

fn scans_are_ordered(kv: &impl Kv) -> Result<(), Violation> {
    // The first and last bytes there are, keys that begin like others, and neighbours of the prefix.
    let ordered: [&[u8]; 9] =
        [b"a", b"b", b"b\0", b"b\0\0", b"b\x01", b"b\xff", b"b\xff\xff", b"c", b"\xff\xff"];
    let of = |prefix: &[u8], from: &[u8], limit| kv.scan(prefix, from, limit).map(keys);
    kv.commit(ordered.iter().rev().map(|key| put(key, key)).collect())?;
    check(of(b"", b"", usize::MAX)? == ordered, "a scan goes in the order of the bytes")?;
    check(of(b"b", b"", 9)? == ordered[1..7], "a scan keeps to its prefix")?;
    check(of(b"b\xff", b"b\xff", 9)? == ordered[5..7], "a prefix may end in the last byte")?;
    check(of(b"b", b"b\0\x07", 9)? == ordered[4..7], "a scan begins at the next key there is")?;
    check(of(b"b", b"b\x01", 2)? == ordered[4..6], "a scan keeps to its limit")?;
    check(of(b"b", b"c", 9)?.is_empty(), "a scan that begins after its prefix is empty")?;
    check(of(b"b", b"", 0)?.is_empty(), "a scan of nothing is empty")?;
    let whole = kv.scan(b"", b"", 9)?;
    check(whole.iter().all(|(key, value)| key == value), "a scan has the values of its keys")?;
    clear(kv)
}

fn the_last_word_on_a_key_counts(kv: &impl Kv) -> Result<(), Violation> {
    kv.commit(vec![put(b"x", b"1"), delete(b"x"), put(b"y", b"1"), put(b"x", b"2"), delete(b"y")])?;
    check(kv.get(b"x")? == Some(b"2".to_vec()), "of two values in a batch the later counts")?;
    check(kv.get(b"y")?.is_none(), "a deletion counts after a value")?;
    clear(kv)
}

fn values_of_every_size_are_kept<K: Kv>(open: &impl Fn() -> Result<K, StoreError>) -> Result<(), Violation> {
    // A pattern whose length divides no page, so that no two parts of a value are equal.
    let value = |size: usize, round: u8| -> Vec<u8> {
        let pattern: Vec<u8> = (0..251u8).map(|byte| byte ^ round).collect();
        let mut value = pattern.repeat(size / pattern.len() + 1);
        value.truncate(size);
        value
    };
    let key = |size: usize| format!("size {size}").into_bytes();
    let batch = |round| SIZES.map(|size| (key(size), Some(value(size, round)))).to_vec();
    open()?.commit(batch(0))?;
    let kept = |kv: &K, round| -> Result<(), Violation> {
        for size in SIZES {
            let whole = kv.get(&key(size))? == Some(value(size, round));
            check(whole, &format!("a value of {size} bytes is read as it was written"))?;
        }
        check(kv.scan(b"size", b"", 99)?.len() == SIZES.len(), "a value of any size is one entry")
    };
    kept(&open()?, 0)?;
    open()?.commit(batch(1))?;
    kept(&open()?, 1)?;
    // Each takes the size of another, so that long ones become short and short ones long.
    let turned = SIZES.iter().zip(SIZES.iter().rev());
    open()?.commit(turned.clone().map(|(at, size)| (key(*at), Some(value(*size, 2)))).collect())?;
    let kv = open()?;
    for (at, size) in turned {
        check(kv.get(&key(*at))? == Some(value(*size, 2)), "a value may be replaced by one of any size")?;
    }
    clear(&kv)
}

fn many_entries_are_kept<K: Kv>(open: &impl Fn() -> Result<K, StoreError>) -> Result<(), Violation> {
    // Multiplying by an odd number scatters the keys without meeting one twice.
    let key = |n: u32| n.wrapping_mul(2_654_435_761).to_be_bytes();
    open()?.commit((0..MANY).map(|n| put(&key(n), &n.to_le_bytes())).collect())?;
    open()?.commit((0..MANY).filter(|n| n % 3 == 0).map(|n| delete(&key(n))).collect())?;
    let kv = open()?;
    let mut expected: Vec<Entry> =
        (0..MANY).filter(|n| n % 3 != 0).map(|n| (key(n).to_vec(), n.to_le_bytes().to_vec())).collect();
    expected.sort();
    check(kv.scan(b"", b"", usize::MAX)? == expected, "all entries of many are there, and no deleted one")?;
    clear(&kv)
}

/// Reads on one thread while another commits batches that each give every key the same value.
fn a_batch_is_seen_whole(kv: &impl Kv) -> Result<(), Violation> {
    const KEYS: u8 = 40;
    const BATCHES: u32 = 60;
    let batch = |n: u32| -> Batch { (0..KEYS).map(|key| put(&[b'k', key], &n.to_be_bytes())).collect() };
    kv.commit(batch(0))?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| -> Result<(), Violation> {
            let mut newest = Vec::new();
            while !done.load(Ordering::Acquire) {
                let seen = kv.scan(b"k", b"", usize::MAX)?;
                let Some((_, first)) = seen.first() else { return check(false, "what was there stays") };
                let same = seen.len() == usize::from(KEYS) && seen.iter().all(|(_, value)| value == first);
                check(same, "a scan sees a batch whole or not at all")?;
                check(*first >= newest, "what was seen once is not unseen")?;
                newest.clone_from(first);
            }
            Ok(())
        });
        let written = (1..=BATCHES).try_for_each(|n| kv.commit(batch(n)));
        done.store(true, Ordering::Release);
        let read = reader.join().unwrap_or_else(|_| check(false, "a reader does not panic"));
        written?;
        read
    })?;
    clear(kv)
}

fn put(key: &[u8], value: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    (key.to_vec(), Some(value.to_vec()))
}

fn delete(key: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    (key.to_vec(), None)
}

fn keys(entries: Vec<Entry>) -> Vec<Vec<u8>> {
    entries.into_iter().map(|(key, _)| key).collect()
}

/// Deletes every entry, for the next rule.
fn clear(kv: &impl Kv) -> Result<(), Violation> {
    let all = keys(kv.scan(b"", b"", usize::MAX)?);
    kv.commit(all.into_iter().map(|key| (key, None)).collect())?;
    check(kv.scan(b"", b"", 1)?.is_empty(), "a store whose entries are all deleted is empty")
}

fn check(holds: bool, rule: &str) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation::Rule(rule.into())) }
}
