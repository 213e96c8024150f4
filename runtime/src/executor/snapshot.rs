//! A chain at one height as a file: what a node needs to go on from there, and to prove to itself that it may.
//!
//! Nothing in the file is believed: the certificates lead from the chain's first validators to those of the height,
//! they certify the header, and transactions, state and log have to hash to the roots that the header names.
//!
//! ```text
//! "assay-snapshot/2\n"
//! head        genesis, block, certificate, number of hand-overs, state keys and log entries
//! hand-overs  lists of them, in the order of their heights
//! state       lists of keys with their values, strictly ascending
//! log         lists of entries, in order
//! ```
//! Head and lists are SCALE behind their length in four bytes, little-endian.

use std::io::{self, Read, Write};

use assay_manifest::merkle::{self, leaf_hash};
use assay_manifest::{Digest32, merkle::ProofError};
use assay_protocol::certificate::CommitCertificate;
use assay_protocol::header::HeaderView;
use assay_protocol::receipt::{Evidence, HandOver, Succession, SuccessionError, Trust};
use assay_protocol::units::Height;
use codec::{Decode, DecodeAll, Encode};
use pallet_assay_validators::set_of;
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::{Backend, TrieBackendBuilder};

use crate::{Block, BlockNumber, GenesisSpec, Hash};

use super::chain::{block_entries, events_key, first_block};
use super::check::extrinsics_root;
use super::decode::decode_block;
use super::error::ChainError;
use super::kv::{Batch, Kv};
use super::log;
use super::query::Reader;
use super::run::STATE_VERSION;
use super::store::{BASE, Column, GENESIS, Nodes, Store};
use super::succession;

const MAGIC: &[u8] = b"assay-snapshot/2\n";
/// Largest list: of a value or an entry of any size that the ledger allows, and of many small ones.
const LIST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes after which a list is written, unless one entry has more.
const LIST_BYTES: usize = 1024 * 1024;
/// Entries of the log that are read at a time.
const ENTRIES_AT_ONCE: usize = 1_024;

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The height.
    pub height: BlockNumber,
    /// Its block.
    pub block: Hash,
    /// Keys of the state.
    pub state_keys: u64,
    /// Entries of the log.
    pub log_entries: u64,
}

/// A snapshot could not be written, or is not to be believed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file.
    #[error("the snapshot's file: {0}")]
    Io(#[from] io::Error),
    /// It is not one, or not whole.
    #[error("the file is not a whole snapshot: {0}")]
    Malformed(&'static str),
    /// It is of another chain.
    #[error("the snapshot is of the chain {found}, not {expected}")]
    OtherChain {
        /// Genesis in the file.
        found: Hash,
        /// Genesis of the chain.
        expected: Hash,
    },
    /// Its block is not decided by the chain's validators.
    #[error("the snapshot's block is not certified: {0}")]
    NotCertified(#[from] SuccessionError),
    /// State or log are not those of its block.
    #[error("the snapshot's {0} is not the one that its block names")]
    OtherContent(&'static str),
    /// There is a chain already.
    #[error("the ledger is not empty")]
    NotEmpty,
    /// The store.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl From<super::kv::StoreError> for SnapshotError {
    fn from(error: super::kv::StoreError) -> Self {
        Self::Chain(error.into())
    }
}

impl From<ProofError> for SnapshotError {
    fn from(error: ProofError) -> Self {
        Self::Chain(error.into())
    }
}

#[derive(Encode, Decode)]
struct Head {
    genesis: Hash,
    block: Vec<u8>,
    certificate: CommitCertificate,
    hand_overs: u64,
    state_keys: u64,
    log_entries: u64,
}

/// Writes the chain at its head.
///
/// # Errors
/// [`SnapshotError`] when the store or the file fails.
pub fn export<K: Kv>(
    reader: &Reader<K>,
    genesis: Hash,
    file: &mut impl Write,
) -> Result<Snapshot, SnapshotError> {
    let lease = reader.at(None)?;
    let header = lease.header();
    let missing = |what| SnapshotError::Chain(ChainError::Corrupt(format!("the head has no {what}")));
    let block = reader.block(header.hash())?.ok_or_else(|| missing("block"))?;
    let certificate = reader.certificate(header.hash())?.ok_or_else(|| missing("certificate"))?;
    let view = HeaderView::decode(&header.encode()).map_err(SuccessionError::from)?;
    let (log_entries, _) = view.log().map_err(SuccessionError::from)?;
    let state_keys = lease.walk()? as u64;
    let hand_overs = reader.hand_overs(header.number.saturating_add(1))?;
    let (block, count) = (block.encode(), hand_overs.len() as u64);
    let head = Head { genesis, block, certificate, hand_overs: count, state_keys, log_entries };
    file.write_all(MAGIC)?;
    write_frame(file, &head.encode())?;
    let mut lists = Lists::of(file);
    for hand_over in hand_overs {
        let size_bytes = hand_over.encoded_size();
        lists.push(hand_over, size_bytes)?;
    }
    lists.finish()?;
    let mut lists = Lists::of(file);
    lease.pairs(|key, value| {
        let size_bytes = key.len() + value.len();
        lists.push((key, value), size_bytes)
    })??;
    lists.finish()?;
    write_log(reader, log_entries, file)?;
    file.flush()?;
    Ok(Snapshot { height: header.number, block: header.hash(), state_keys, log_entries })
}

fn write_log<K: Kv>(reader: &Reader<K>, count: u64, file: &mut impl Write) -> Result<(), SnapshotError> {
    let mut lists = Lists::of(file);
    let mut next = 0;
    while next < count {
        let entries = reader.log_entries(next, ENTRIES_AT_ONCE)?;
        if entries.is_empty() {
            return Err(ChainError::Corrupt("the head has no whole log".into()).into());
        }
        // Entries that were appended since are not the head's.
        for entry in entries.into_iter().take((count - next) as usize) {
            let size_bytes = entry.len();
            lists.push(entry, size_bytes)?;
            next += 1;
        }
    }
    lists.finish()
}

/// Begins the chain in an empty store with a snapshot. Nothing is written unless all of it is right.
///
/// # Errors
/// [`SnapshotError`] when it is not, the store is not empty, or fails.
pub fn import<K: Kv>(kv: K, genesis: &GenesisSpec, file: &mut impl Read) -> Result<Snapshot, SnapshotError> {
    let store = Store::new(kv);
    if store.get(Column::Meta, GENESIS)?.is_some() {
        return Err(SnapshotError::NotEmpty);
    }
    let head = read_head(file)?;
    let (expected, _) = first_block(&store, genesis)?;
    if head.genesis != expected {
        return Err(SnapshotError::OtherChain { found: head.genesis, expected });
    }
    let block = decode_block(&head.block)?;
    if extrinsics_root(&block) != block.header.extrinsics_root {
        return Err(SnapshotError::OtherContent("block"));
    }
    let hand_overs = read_lists(file, head.hand_overs)?;
    let view = certified(&head, &block, &hand_overs, genesis)?;
    let (mut batch, events) = read_state(&store, &head, &block, file)?;
    batch.extend(read_log(&head, &view, file)?);
    if file.read(&mut [0])? > 0 {
        return Err(SnapshotError::Malformed("something follows its end"));
    }
    let hash = block.header.hash();
    batch.push((Column::Events.key(hash.as_bytes()), Some(events)));
    batch.push((Column::Certificate.key(hash.as_bytes()), Some(head.certificate.encode())));
    batch.push(succession::first(&set_of(&genesis.validators)));
    batch.extend(hand_overs.iter().map(succession::entry));
    batch.extend(block_entries(&block));
    batch.push((Column::Meta.key(BASE), Some(block.header.number.encode())));
    batch.push((Column::Height.key(&super::chain::height_key(0)), Some(expected.encode())));
    batch.push((Column::Meta.key(GENESIS), Some(expected.encode())));
    store.commit(batch)?;
    let Head { state_keys, log_entries, .. } = head;
    Ok(Snapshot { height: block.header.number, block: hash, state_keys, log_entries })
}

fn read_head(file: &mut impl Read) -> Result<Head, SnapshotError> {
    let mut magic = vec![0; MAGIC.len()];
    read_exact(file, &mut magic)?;
    if magic != MAGIC {
        return Err(SnapshotError::Malformed("it does not begin as one"));
    }
    read_frame(file)
}

/// The header, if the validators of its height have decided it.
fn certified(
    head: &Head,
    block: &Block,
    hand_overs: &[HandOver],
    genesis: &GenesisSpec,
) -> Result<HeaderView, SnapshotError> {
    let digest = Digest32::from_bytes(head.genesis.0);
    let trust = Trust::of_genesis(digest, set_of(&genesis.validators));
    let succession = Succession::follow(&trust, hand_overs)?;
    let evidence = Evidence { header: block.header.encode(), certificate: head.certificate.clone() };
    // The block itself may hand over.
    let height = Height::new(block.header.number.saturating_add(1));
    match succession.newest() {
        Some((from, _)) if *from > height && *from > trust.from => {
            Err(SuccessionError::Unneeded(*from).into())
        }
        _ => Ok(succession.check(&evidence, None)?),
    }
}

/// The state's nodes, if they make the header's root; and the block's events.
fn read_state<K: Kv>(
    store: &std::sync::Arc<Store<K>>,
    head: &Head,
    block: &Block,
    file: &mut impl Read,
) -> Result<(Batch, Vec<u8>), SnapshotError> {
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = read_lists(file, head.state_keys)?;
    // Of a key that is there twice the root would count one value, and the chain could be given the other.
    if !pairs.is_sorted_by(|(one, _), (next, _)| one < next) {
        return Err(SnapshotError::Malformed("the state's keys are not in order"));
    }
    let empty = sp_trie::empty_trie_root::<sp_trie::LayoutV1<BlakeTwo256>>();
    let state = TrieBackendBuilder::<_, BlakeTwo256>::new(Nodes(std::sync::Arc::clone(store)), empty).build();
    let top = pairs.iter().map(|(key, value)| (&key[..], Some(&value[..])));
    let (root, mut nodes) = state.storage_root(top, STATE_VERSION);
    store.check()?;
    if root != block.header.state_root {
        return Err(SnapshotError::OtherContent("state"));
    }
    let inserted = nodes.drain().into_iter().filter(|(_, (_, count))| *count > 0);
    let batch = inserted.map(|(key, (value, _))| (Column::Node.key(&key), Some(value.to_vec()))).collect();
    let key = events_key();
    let events = pairs.into_iter().find(|(found, _)| found.as_slice() == key);
    Ok((batch, events.map_or_else(|| Vec::<u8>::new().encode(), |(_, value)| value)))
}

/// The log's entries and subtrees, if they make the header's root.
fn read_log(head: &Head, view: &HeaderView, file: &mut impl Read) -> Result<Batch, SnapshotError> {
    let entries: Vec<Vec<u8>> = read_lists(file, head.log_entries)?;
    let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let (size, root) = view.log().map_err(SuccessionError::from)?;
    if size != head.log_entries || merkle::root(&leaves) != root {
        return Err(SnapshotError::OtherContent("log"));
    }
    Ok(log::whole(&entries)?)
}

/// Lists of entries, written as they fill.
struct Lists<'a, W, T> {
    file: &'a mut W,
    pending: Vec<T>,
    size_bytes: usize,
}

impl<'a, W: Write, T: Encode> Lists<'a, W, T> {
    const fn of(file: &'a mut W) -> Self {
        Self { file, pending: Vec::new(), size_bytes: 0 }
    }

    fn push(&mut self, entry: T, size_bytes: usize) -> Result<(), SnapshotError> {
        if size_bytes > LIST_BYTES_MAX / 2 {
            return Err(SnapshotError::Malformed("an entry is larger than any may be"));
        }
        self.pending.push(entry);
        self.size_bytes += size_bytes;
        if self.size_bytes >= LIST_BYTES {
            write_frame(self.file, &std::mem::take(&mut self.pending).encode())?;
            self.size_bytes = 0;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), SnapshotError> {
        if self.pending.is_empty() { Ok(()) } else { write_frame(self.file, &self.pending.encode()) }
    }
}

fn write_frame(file: &mut impl Write, bytes: &[u8]) -> Result<(), SnapshotError> {
    let too_large = || SnapshotError::Malformed("a part is larger than any may be");
    if bytes.len() > LIST_BYTES_MAX {
        return Err(too_large());
    }
    let length = u32::try_from(bytes.len()).map_err(|_| too_large())?;
    file.write_all(&length.to_le_bytes())?;
    Ok(file.write_all(bytes)?)
}

/// Lists up to so many entries. Memory grows with what the file really holds.
fn read_lists<T: Decode>(file: &mut impl Read, count: u64) -> Result<Vec<T>, SnapshotError> {
    let mut entries = Vec::new();
    while (entries.len() as u64) < count {
        let list: Vec<T> = read_frame(file)?;
        if list.is_empty() {
            return Err(SnapshotError::Malformed("a list is empty"));
        }
        entries.extend(list);
    }
    if entries.len() as u64 == count {
        Ok(entries)
    } else {
        Err(SnapshotError::Malformed("it holds more than it says"))
    }
}

fn read_frame<T: Decode>(file: &mut impl Read) -> Result<T, SnapshotError> {
    let mut length = [0; 4];
    read_exact(file, &mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LIST_BYTES_MAX {
        return Err(SnapshotError::Malformed("a part is larger than any may be"));
    }
    let mut bytes = vec![0; length];
    read_exact(file, &mut bytes)?;
    T::decode_all(&mut bytes.as_slice()).map_err(|_| SnapshotError::Malformed("a part cannot be read"))
}

fn read_exact(file: &mut impl Read, into: &mut [u8]) -> Result<(), SnapshotError> {
    file.read_exact(into).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => SnapshotError::Malformed("it ends early"),
        _ => error.into(),
    })
}
