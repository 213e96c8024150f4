//! An endless run of batches, and what must be there after each.

use std::collections::BTreeMap;

use assay_runtime::executor::{Batch, Kv};

pub type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// Keys that the batches write and delete.
const KEYS: u32 = 48;
const HEAD: &[u8] = b"head";

/// The `number`-th batch, from 1: some new values, a deletion, now and then a long value that stays for long, and its
/// own number.
pub fn batch(number: u32) -> Batch {
    let key = |n: u32| format!("key {}", n % KEYS).into_bytes();
    let mut batch: Batch =
        (0..7).map(|n| (key(number * 5 + n * 11), Some(value(number + n, 20 + (n as usize * 37))))).collect();
    batch.push((key(number * 3), None));
    if number.is_multiple_of(3) {
        batch.push((format!("long {}", number % 300).into_bytes(), Some(value(number, 20_000))));
    }
    batch.push((HEAD.to_vec(), Some(number.to_be_bytes().to_vec())));
    batch
}

/// What a store holds after the first `number` batches.
pub fn state_after(number: u32) -> State {
    let mut state = State::new();
    for (key, value) in (1..=number).flat_map(batch) {
        match value {
            Some(value) => drop(state.insert(key, value)),
            None => drop(state.remove(&key)),
        }
    }
    state
}

/// How many batches the store holds, each of them whole.
pub fn whole(kv: &impl Kv) -> u32 {
    let found: State = kv.scan(b"", b"", usize::MAX).unwrap().into_iter().collect();
    let head = found.get(HEAD).map_or(0, |head| u32::from_be_bytes(head.as_slice().try_into().unwrap()));
    assert!(found == state_after(head), "batch {head} is there in part");
    for (key, value) in found {
        assert_eq!(kv.get(&key).unwrap(), Some(value));
    }
    head
}

/// After a crash: all that was acknowledged is whole, at most one more is, and the store goes on.
pub fn survived(kv: &impl Kv, acknowledged: u32) -> u32 {
    let found = whole(kv);
    assert!((acknowledged..=acknowledged + 1).contains(&found), "{found} batches of {acknowledged}");
    kv.commit(batch(found + 1)).unwrap();
    assert_eq!(whole(kv), found + 1);
    found
}

fn value(seed: u32, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (seed as usize).wrapping_mul(31).wrapping_add(index * 7) as u8).collect()
}
