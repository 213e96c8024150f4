//! Reads everything that a store must hold of a chain, and compares it with its hashes.
//!
//! Opening a chain reads its head alone. This reads all of it: for people whose disk they no longer trust, and for
//! the tests that kill nodes.

use std::sync::Arc;

use assay_manifest::Digest32;
use assay_manifest::merkle::{self, leaf_hash};
use assay_protocol::header::HeaderView;
use assay_protocol::receipt::{Succession, Trust};
use assay_protocol::units::Height;
use codec::{DecodeAll, Encode};
use pallet_assay_validators::set_of;
use sp_core::H256;
use sp_runtime::traits::{BlakeTwo256, Hash as _};
use sp_state_machine::{DBValue, TrieBackendStorage};

use crate::{Block, BlockNumber, GenesisSpec, Hash, Runtime};

use super::chain::{Chain, Retention};
use super::error::ChainError;
use super::kv::Kv;
use super::log;
use super::own::check_commit;
use super::query::{Lease, Reader};
use super::store::{Column, GENESIS, Nodes, Store};

/// What a store holds that was read and found whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The lowest height whose block is here: that of the snapshot that the chain began with, or 0.
    pub base: BlockNumber,
    /// The finalized height.
    pub height: BlockNumber,
    /// Its block.
    pub head: Hash,
    /// Keys of the head's state.
    pub state_keys: usize,
    /// Entries of the log.
    pub log_entries: u64,
}

/// Reads the whole chain in `kv` and writes nothing: every block with its certificate and events, every node of the
/// head's state, every entry of the log, and the ledger's invariants.
///
/// # Errors
/// [`ChainError::Corrupt`] with the first thing that is missing or not what its hash says;
/// [`ChainError::ForeignGenesis`] when it is another chain's.
pub fn check<K: Kv>(kv: K, genesis: &GenesisSpec) -> Result<Checked, ChainError> {
    let kv = Arc::new(kv);
    let store = Store::new(Arc::clone(&kv));
    if store.get(Column::Meta, GENESIS)?.is_none() {
        return Err(corrupt("there is no chain"));
    }
    let chain = Chain::open(kv, genesis, Retention::Archive)?;
    let reader = chain.reader();
    let lease = reader.at(None)?;
    let head = lease.header().clone();
    let mut before = Before { hash: H256::zero(), next: set_of(&genesis.validators).hash() };
    if reader.base() > 0 {
        before = before_snapshot(&reader, &chain.genesis(), genesis)?;
    }
    for height in reader.base()..=head.number {
        before = check_block(&reader, height, &before, &chain.genesis())?;
    }
    if before.hash != head.hash() {
        return Err(corrupt("the head is not the block of its height"));
    }
    let state_keys = lease.walk()?;
    let log_entries = check_log(&store, &reader, &lease)?;
    let invariants: Result<(), Vec<u8>> = ask(&lease, "LedgerApi_check_invariants")?;
    invariants.map_err(|broken| corrupt(&format!("an invariant: {}", String::from_utf8_lossy(&broken))))?;
    Ok(Checked { base: reader.base(), height: head.number, head: head.hash(), state_keys, log_entries })
}

/// What a block follows from.
struct Before {
    hash: Hash,
    /// The hash of the validators that it names for the next height.
    next: Digest32,
}

/// What the first block of a chain follows from that began with a snapshot: hand-overs lead to who decided it.
fn before_snapshot<K: Kv>(
    reader: &Reader<K>,
    hash: &Hash,
    genesis: &GenesisSpec,
) -> Result<Before, ChainError> {
    let (base, lacks) = (reader.base(), || corrupt("the snapshot's block is missing"));
    let block = reader.hash_of(base)?.map(|hash| reader.block(hash)).transpose()?.flatten();
    let trust = Trust::of_genesis(Digest32::from_bytes(hash.0), set_of(&genesis.validators));
    let succession = Succession::follow(&trust, &reader.hand_overs(base)?);
    let succession = succession.map_err(|error| corrupt(&format!("who decided the snapshot: {error}")))?;
    let decided_by = succession.at(Height::new(base)).ok_or_else(lacks)?;
    Ok(Before { hash: block.ok_or_else(lacks)?.header.parent_hash, next: decided_by.hash() })
}

/// Checks the block of a height; what the next follows from.
fn check_block<K: Kv>(
    reader: &Reader<K>,
    height: BlockNumber,
    before: &Before,
    genesis: &Hash,
) -> Result<Before, ChainError> {
    let lacks = |what: &str| corrupt(&format!("block {height} {what}"));
    let hash = reader.hash_of(height)?.ok_or_else(|| lacks("is missing"))?;
    let block = reader.block(hash)?.ok_or_else(|| lacks("is missing"))?;
    if block.header.hash() != hash || block.header.number != height || block.header.parent_hash != before.hash
    {
        return Err(lacks("does not follow the one before it"));
    }
    if extrinsics_root(&block) != block.header.extrinsics_root {
        return Err(lacks("does not hold the transactions that its header names"));
    }
    if height == 0 {
        return Ok(Before { hash, next: before.next });
    }
    reader.events(hash)?.ok_or_else(|| lacks("has no events"))?;
    let certificate = reader.certificate(hash)?.ok_or_else(|| lacks("has no certificate"))?;
    let decided_before = match height {
        1 => None,
        _ => Some(reader.validators_of(height.saturating_sub(1))?),
    };
    check_commit(&block, genesis, decided_before.as_ref())
        .map_err(|error| lacks(&format!("is not as it was decided: {error}")))?;
    let (genesis, value) = (Digest32::from_bytes(genesis.0), Digest32::from_bytes(hash.0));
    let validators = reader.validators_of(height)?;
    if validators.hash() != before.next {
        return Err(lacks("is not decided by those to whom the one before handed over"));
    }
    certificate
        .verify(&genesis, &validators, (Height::new(height), &value))
        .map_err(|error| lacks(&format!("is not certified: {error}")))?;
    let header = HeaderView::decode(&block.header.encode());
    let next =
        header.and_then(|header| header.next_validators()).map_err(|error| lacks(&error.to_string()))?;
    Ok(Before { hash, next })
}

/// The root that the header of a block with these transactions names.
pub fn extrinsics_root(block: &Block) -> Hash {
    let version = <Runtime as frame_system::Config>::Version::get().extrinsics_root_state_version();
    BlakeTwo256::ordered_trie_root(block.extrinsics.iter().map(Encode::encode).collect(), version)
}

/// Compares the entries with the root in the state, and the subtrees with the entries; how many there are.
fn check_log<K: Kv>(store: &Store<K>, reader: &Reader<K>, lease: &Lease<K>) -> Result<u64, ChainError> {
    let (size, root): (u64, Digest32) = ask(lease, "LedgerApi_log")?;
    let leaves: Vec<_> = reader.log_entries(0, usize::MAX)?.iter().map(|entry| leaf_hash(entry)).collect();
    if u64::try_from(leaves.len()) != Ok(size) || merkle::root(&leaves) != root {
        let found = leaves.len();
        return Err(corrupt(&format!("the log has {found} entries that are not the {size} of its root")));
    }
    log::check(store, &leaves)?;
    Ok(size)
}

fn ask<K: Kv, T: DecodeAll>(lease: &Lease<K>, function: &'static str) -> Result<T, ChainError> {
    let answer = lease.call(function, &[])?;
    T::decode_all(&mut answer.as_slice()).map_err(|error| corrupt(&format!("{function}: {error}")))
}

fn corrupt(cause: &str) -> ChainError {
    ChainError::Corrupt(cause.into())
}

/// Trie nodes, each compared with its hash.
pub struct CheckedNodes<K>(pub Nodes<K>);

impl<K: Kv> TrieBackendStorage<BlakeTwo256> for CheckedNodes<K> {
    fn get(&self, key: &H256, prefix: hash_db::Prefix<'_>) -> Result<Option<DBValue>, String> {
        match self.0.get(key, prefix)? {
            Some(node) if BlakeTwo256::hash(&node) != *key => {
                Err(format!("the state's node {key:?} is damaged"))
            }
            found => Ok(found),
        }
    }
}
