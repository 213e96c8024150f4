//! The chain's data in the store: columns by a first byte, and a guard that remembers the first failure.

use std::sync::{Arc, OnceLock};

use codec::{Decode, DecodeAll};
use sp_core::H256;
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::{DBValue, TrieBackendStorage};

use super::error::ChainError;
use super::kv::{Batch, Entry, Kv, StoreError};

/// What a key is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Trie nodes by prefixed hash.
    Node,
    /// Head and genesis.
    Meta,
    /// Blocks by hash.
    Block,
    /// Hashes by big-endian height.
    Height,
    /// Certificates by block hash.
    Certificate,
    /// Validators by the first height that they decide, the highest first.
    Validators,
    /// Events by block hash, since pruning takes them from the state.
    Events,
    /// Log entries by big-endian index.
    Leaf,
    /// Roots of the log's complete subtrees, by level and big-endian index.
    LogNode,
    /// Nodes that a height stopped using.
    Garbage,
}

impl Column {
    /// The store's key.
    pub fn key(self, key: &[u8]) -> Vec<u8> {
        let tag = match self {
            Self::Node => b'n',
            Self::Meta => b'm',
            Self::Block => b'b',
            Self::Height => b'h',
            Self::Certificate => b'c',
            Self::Validators => b'v',
            Self::Events => b'e',
            Self::Leaf => b'l',
            Self::LogNode => b'r',
            Self::Garbage => b'g',
        };
        let mut whole = Vec::with_capacity(key.len().saturating_add(1));
        whole.push(tag);
        whole.extend_from_slice(key);
        whole
    }
}

/// Key of the head's header in [`Column::Meta`].
pub const HEAD: &[u8] = b"head";
/// Key of the genesis hash in [`Column::Meta`].
pub const GENESIS: &[u8] = b"genesis";

/// Key in [`Column::Meta`] of the height of the snapshot that the chain here begins with; absent where it begins with
/// the first block.
pub const BASE: &[u8] = b"base";

/// A store that fails for ever once it has failed: later answers could contradict what was lost.
pub struct Store<K> {
    kv: K,
    failure: OnceLock<StoreError>,
}

impl<K: Kv> Store<K> {
    pub fn new(kv: K) -> Arc<Self> {
        Arc::new(Self { kv, failure: OnceLock::new() })
    }

    /// The first failure, if there was one.
    ///
    /// # Errors
    /// That failure.
    pub fn check(&self) -> Result<(), StoreError> {
        self.failure.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    fn guard<T>(&self, act: impl FnOnce(&K) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.check()?;
        act(&self.kv).inspect_err(|failure| {
            tracing::error!(%failure, "the ledger store failed; nothing is read or written any more");
            self.failure.get_or_init(|| failure.clone());
        })
    }

    pub fn get(&self, column: Column, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.guard(|kv| kv.get(&column.key(key)))
    }

    pub fn get_decoded<T: Decode>(&self, column: Column, key: &[u8]) -> Result<Option<T>, ChainError> {
        let Some(bytes) = self.get(column, key)? else { return Ok(None) };
        let decoded = T::decode_all(&mut bytes.as_slice());
        decoded.map(Some).map_err(|error| ChainError::Corrupt(format!("{column:?} entry: {error}")))
    }

    pub fn scan(&self, column: Column, from: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.guard(|kv| kv.scan(&column.key(&[]), &column.key(from), limit))
    }

    pub fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.guard(|kv| kv.commit(batch))
    }
}

/// Trie nodes as the state machine reads them.
pub struct Nodes<K>(pub Arc<Store<K>>);

impl<K> Clone for Nodes<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Kv> TrieBackendStorage<BlakeTwo256> for Nodes<K> {
    fn get(&self, key: &H256, prefix: hash_db::Prefix<'_>) -> Result<Option<DBValue>, String> {
        let key = sp_trie::prefixed_key::<BlakeTwo256>(key, prefix);
        self.0.get(Column::Node, &key).map_err(|error| error.to_string())
    }
}
