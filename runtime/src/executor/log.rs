//! The log beside the state: entries, and the roots of complete subtrees by which proofs are made.

use std::collections::BTreeMap;

use assay_manifest::Digest32;
use assay_manifest::merkle::{self, InclusionProof, ProofError, Subtree};
use sp_core::offchain::OffchainOverlayedChange;
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::StorageChanges;

use super::error::ChainError;
use super::kv::{Batch, Kv};
use super::store::{Column, Store};

/// What a block appended: its entries, and the subtrees that they complete.
///
/// # Errors
/// [`ChainError`] when the store fails or lacks an earlier subtree.
pub fn appended<K: Kv>(store: &Store<K>, changes: &StorageChanges<BlakeTwo256>) -> Result<Batch, ChainError> {
    let mut batch = Batch::new();
    let mut fresh = BTreeMap::new();
    for (index, entry) in entries(changes) {
        let leaf = merkle::leaf_hash(entry);
        batch.push((Column::Leaf.key(&index.to_be_bytes()), Some(entry.to_vec())));
        fresh.insert(Subtree { level: 0, index }, leaf);
        let root_of = |subtree| fresh.get(&subtree).copied().map_or_else(|| stored(store, subtree), Ok);
        for (subtree, root) in merkle::completed_by(index, leaf, root_of)? {
            batch.push((Column::LogNode.key(&key(subtree)), Some(root.as_bytes().to_vec())));
            fresh.insert(subtree, root);
        }
    }
    Ok(batch)
}

/// A whole log, from its first entry on.
///
/// # Errors
/// [`ChainError`] when there are more entries than a log can have.
pub fn whole(entries: &[Vec<u8>]) -> Result<Batch, ChainError> {
    let mut batch = Batch::new();
    let mut known = BTreeMap::new();
    for (index, entry) in (0u64..).zip(entries) {
        let leaf = merkle::leaf_hash(entry);
        batch.push((Column::Leaf.key(&index.to_be_bytes()), Some(entry.clone())));
        known.insert(Subtree { level: 0, index }, leaf);
        let root_of = |subtree| known.get(&subtree).copied().ok_or(ProofError::OutOfRange);
        for (subtree, root) in merkle::completed_by(index, leaf, root_of)? {
            batch.push((Column::LogNode.key(&key(subtree)), Some(root.as_bytes().to_vec())));
            known.insert(subtree, root);
        }
    }
    Ok(batch)
}

/// Proves the entry at `index` among the first `size`.
///
/// # Errors
/// [`ChainError`] when the store fails or the log is shorter.
pub fn inclusion<K: Kv>(store: &Store<K>, index: u64, size: u64) -> Result<InclusionProof, ChainError> {
    InclusionProof::from_subtrees(index, size, |subtree| stored(store, subtree))
}

/// Compares every subtree that is kept with the leaves below it.
///
/// # Errors
/// [`ChainError`] when the store fails, or a subtree is missing or another.
pub fn check<K: Kv>(store: &Store<K>, leaves: &[Digest32]) -> Result<(), ChainError> {
    let mut known = BTreeMap::new();
    for (index, leaf) in (0..).zip(leaves) {
        known.insert(Subtree { level: 0, index }, *leaf);
        let root_of = |subtree| known.get(&subtree).copied().map_or_else(|| stored(store, subtree), Ok);
        for (subtree, root) in merkle::completed_by(index, *leaf, root_of)? {
            if stored(store, subtree)? != root {
                let Subtree { level, index } = subtree;
                let cause = format!("the log's subtree {index} of level {level} is another");
                return Err(ChainError::Corrupt(cause));
            }
            known.insert(subtree, root);
        }
    }
    Ok(())
}

impl From<ProofError> for ChainError {
    fn from(error: ProofError) -> Self {
        Self::Corrupt(format!("the log: {error}"))
    }
}

/// In the order in which they were appended.
fn entries(changes: &StorageChanges<BlakeTwo256>) -> BTreeMap<u64, &[u8]> {
    let entry = |key: &[u8]| {
        let index = key.strip_prefix(pallet_assay_transparency::LEAF_PREFIX)?;
        Some(u64::from_be_bytes(index.try_into().ok()?))
    };
    let changed = changes.offchain_storage_changes.iter();
    changed
        .filter_map(|((_, key), change)| match change {
            OffchainOverlayedChange::SetValue(value) => Some((entry(key)?, value.as_slice())),
            OffchainOverlayedChange::Remove => None,
        })
        .collect()
}

fn stored<K: Kv>(store: &Store<K>, subtree: Subtree) -> Result<Digest32, ChainError> {
    let found = match subtree.level {
        0 => {
            let entry = store.get(Column::Leaf, &subtree.index.to_be_bytes())?;
            entry.map(|entry| merkle::leaf_hash(&entry))
        }
        _ => {
            let root = store.get(Column::LogNode, &key(subtree))?;
            root.and_then(|root| root.try_into().ok()).map(Digest32::from_bytes)
        }
    };
    let Subtree { level, index } = subtree;
    found.ok_or_else(|| ChainError::Corrupt(format!("the log has no subtree {index} of level {level}")))
}

fn key(subtree: Subtree) -> [u8; 9] {
    let mut key = [subtree.level; 9];
    if let Some(index) = key.last_chunk_mut() {
        *index = subtree.index.to_be_bytes();
    }
    key
}
