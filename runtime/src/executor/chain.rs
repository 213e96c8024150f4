//! The chain: genesis, proposing, verifying by execution, committing.

use std::sync::{Arc, RwLock};

use assay_manifest::Digest32;
use assay_protocol::certificate::CommitCertificate;
use assay_protocol::units::Height;
use codec::Encode;
use pallet_assay_validators::set_of;
use sp_core::H256;
use sp_runtime::traits::{BlakeTwo256, Block as BlockT, Hash as _, Header as _};
use sp_runtime::transaction_validity::{InvalidTransaction, TransactionValidityError};
use sp_runtime::{Digest, DigestItem};
use sp_state_machine::{Backend, StorageChanges, TrieBackendBuilder};
use sp_trie::cache::{CacheSize, SharedTrieCache};

use crate::{Block, BlockNumber, Executive, GenesisSpec, Hash, Header, UncheckedExtrinsic};

use super::error::ChainError;
use super::kv::{Batch, Kv};
use super::log;
use super::own;
use super::prune::Garbage;
use super::query::{Leases, Reader, Shared};
use super::run::{Overlay, STATE_VERSION, State, in_runtime};
use super::signatures::Verified;
use super::store::{BASE, Column, GENESIS, HEAD, Nodes, Store};
use super::succession;

/// Memory of the trie cache.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// How many states stay readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Every state.
    Archive,
    /// The states of this many blocks behind the head.
    Window(u32),
}

/// What executing a block changed; commit it or drop it.
pub struct Executed {
    header: Header,
    changes: StorageChanges<BlakeTwo256>,
}

/// A block that was just built, with what it changes.
pub struct Proposal {
    /// The block.
    pub block: Block,
    /// What it changes.
    pub executed: Executed,
    /// Hashes of transactions that turned out invalid and were left out.
    pub rejected: Vec<Hash>,
}

/// The head of a chain and the means to extend it.
pub struct Chain<K> {
    shared: Arc<Shared<K>>,
    genesis: Hash,
    retention: Retention,
    garbage: Garbage,
    /// The head's certificate with all votes that were seen; none until one was seen by this process.
    seen: Option<CommitCertificate>,
}

impl<K: Kv> Chain<K> {
    /// Opens the chain in `kv`, or writes its first state.
    ///
    /// # Errors
    /// [`ChainError`] when the store fails, is damaged, or holds another chain.
    pub fn open(kv: K, genesis: &GenesisSpec, retention: Retention) -> Result<Self, ChainError> {
        let store = Store::new(kv);
        let (expected, first) = first_block(&store, genesis)?;
        match store.get_decoded::<H256>(Column::Meta, GENESIS)? {
            Some(found) if found != expected => return Err(ChainError::ForeignGenesis { found, expected }),
            Some(_) => {}
            None => store.commit(first)?,
        }
        let head: Header = store
            .get_decoded(Column::Meta, HEAD)?
            .ok_or_else(|| ChainError::Corrupt("there is no head".into()))?;
        let base = store.get_decoded(Column::Meta, BASE)?.unwrap_or(0);
        let garbage = Garbage::load(&store)?;
        let cache = SharedTrieCache::new(CacheSize::new(CACHE_BYTES), None);
        let shared = Shared {
            store,
            cache,
            signatures: Arc::default(),
            head: RwLock::new(head),
            base,
            leases: Leases::default(),
            retention,
        };
        Ok(Self { shared: Arc::new(shared), genesis: expected, retention, garbage, seen: None })
    }

    /// The finalized head.
    pub fn head(&self) -> Header {
        self.shared.head()
    }

    /// The hash of block 0.
    pub const fn genesis(&self) -> Hash {
        self.genesis
    }

    /// Reads beside the chain, from any thread.
    pub fn reader(&self) -> Reader<K> {
        Reader::new(Arc::clone(&self.shared))
    }

    /// Builds a block on the head from as many of `extrinsics` as fit, in order.
    ///
    /// # Errors
    /// [`ChainError`] when the store fails, or `pre_runtime` does not fit the height.
    pub fn propose(
        &self,
        now_ms: u64,
        pre_runtime: Vec<DigestItem>,
        extrinsics: Vec<UncheckedExtrinsic>,
    ) -> Result<Proposal, ChainError> {
        let head = self.head();
        let state = self.shared.state(head.state_root);
        let mut overlay = Overlay::default();
        let number = head.number.saturating_add(1);
        let digest = Digest { logs: pre_runtime };
        let header = Header::new(number, H256::zero(), H256::zero(), head.hash(), digest);
        let signatures = &self.shared.signatures;
        in_runtime(&state, &mut overlay, signatures, || Executive::initialize_block(&header))?;
        let (mut body, mut rejected, mut patience) = (Vec::new(), Vec::new(), Patience::default());
        let own = self.commit_of(&head)?.into_iter().chain([own::time(now_ms)]);
        for extrinsic in own.chain(extrinsics) {
            if patience.is_over(&extrinsic) {
                continue;
            }
            match apply(&state, &mut overlay, signatures, &extrinsic)? {
                Applied::Included => body.push(extrinsic),
                Applied::Full => patience.lose(&extrinsic),
                Applied::Rejected => rejected.push(BlakeTwo256::hash_of(&extrinsic)),
            }
        }
        let header = in_runtime(&state, &mut overlay, signatures, Executive::finalize_block)?;
        let executed = self.drain(header.clone(), &state, overlay)?;
        Ok(Proposal { block: Block { header, extrinsics: body }, executed, rejected })
    }

    /// The commit of the head, but for that of block 0.
    fn commit_of(&self, head: &Header) -> Result<Option<UncheckedExtrinsic>, ChainError> {
        if head.number == 0 {
            return Ok(None);
        }
        let (certificate, store) = (self.certificate(head)?, &self.shared.store);
        own::commit_of(head, &certificate, &succession::at(store, head.number)?).map(Some)
    }

    /// The head's certificate, with as many votes as were seen.
    fn certificate(&self, head: &Header) -> Result<CommitCertificate, ChainError> {
        let hash = head.hash();
        match &self.seen {
            Some(seen) if seen.value.as_bytes() == hash.as_fixed_bytes() => Ok(seen.clone()),
            _ => {
                let stored = self.shared.store.get_decoded(Column::Certificate, hash.as_bytes())?;
                stored.ok_or_else(|| ChainError::Corrupt("the head has no certificate".into()))
            }
        }
    }

    /// Remembers votes for the head that came after it was decided, so that a block that is built on it carries them.
    /// The store keeps the certificate by which it was decided.
    ///
    /// # Errors
    /// [`ChainError::BadCertificate`] when it is of another block, or not right; store failures.
    pub fn add_votes(&mut self, certificate: CommitCertificate) -> Result<(), ChainError> {
        let head = self.head();
        if head.number == 0 || certificate.value.as_bytes() != head.hash().as_fixed_bytes() {
            return Err(ChainError::BadCertificate("it is not the head's".into()));
        }
        if certificate.signatures.len() > self.certificate(&head)?.signatures.len() {
            self.check_certificate(&head, &certificate)?;
            self.seen = Some(certificate);
        }
        Ok(())
    }

    /// Checks that the validators of a block's height have decided it.
    ///
    /// # Errors
    /// [`ChainError::BadCertificate`] when they have not; store failures.
    pub fn check_certificate(
        &self,
        header: &Header,
        certificate: &CommitCertificate,
    ) -> Result<(), ChainError> {
        let set = succession::at(&self.shared.store, header.number)?;
        let [genesis, value] = [self.genesis, header.hash()].map(|hash| Digest32::from_bytes(hash.0));
        certificate
            .verify(&genesis, &set, (Height::new(header.number), &value))
            .map_err(|error| ChainError::BadCertificate(error.to_string()))
    }

    /// Executes a block that must follow the head, and checks that it leads to what it says.
    ///
    /// # Errors
    /// [`ChainError::InvalidBlock`] when it does not.
    pub fn verify(&self, block: &Block) -> Result<Executed, ChainError> {
        let head = self.head();
        if block.header.parent_hash != head.hash() || block.header.number != head.number.saturating_add(1) {
            let cause = format!("block {} does not follow block {}", block.header.number, head.number);
            return Err(ChainError::InvalidBlock(cause));
        }
        let state = self.shared.state(head.state_root);
        let mut overlay = Overlay::default();
        self.shared.verify_ahead(&state, &head, &block.extrinsics, available_threads());
        let lazy = <Block as BlockT>::LazyBlock::from(block.clone());
        let execute = || Executive::execute_block(lazy);
        in_runtime(&state, &mut overlay, &self.shared.signatures, execute).map_err(|error| match error {
            ChainError::Panicked(cause) => ChainError::InvalidBlock(cause),
            other => other,
        })?;
        self.drain(block.header.clone(), &state, overlay)
    }

    fn drain(&self, header: Header, state: &State<K>, mut overlay: Overlay) -> Result<Executed, ChainError> {
        let changes =
            overlay.drain_storage_changes(state, STATE_VERSION).map_err(ChainError::InvalidBlock)?;
        // The root's calculation swallows read errors, so ask the store before believing the root.
        self.shared.store.check()?;
        if changes.transaction_storage_root != header.state_root {
            return Err(ChainError::InvalidBlock("the state root is not what execution gives".into()));
        }
        Ok(Executed { header, changes })
    }

    /// Makes a block the head: nodes, block, certificate, events, log entries and garbage in one batch.
    ///
    /// # Errors
    /// [`ChainError::BadCertificate`] when the certificate is for another block; store failures.
    pub fn commit(
        &mut self,
        block: &Block,
        executed: Executed,
        certificate: &CommitCertificate,
    ) -> Result<(), ChainError> {
        let hash = block.header.hash();
        if executed.header.hash() != hash || certificate.value.as_bytes() != hash.as_fixed_bytes() {
            return Err(ChainError::BadCertificate("it is for another block".into()));
        }
        let Executed { header, mut changes } = executed;
        let mut batch = Batch::new();
        let (mut inserted, mut dropped) = (Vec::new(), Vec::new());
        for (key, (value, count)) in changes.transaction.drain() {
            if count > 0 {
                batch.push((Column::Node.key(&key), Some(value.to_vec())));
                inserted.push(key);
            } else if count < 0 {
                dropped.push(key);
            }
        }
        if let Retention::Window(window) = self.retention {
            let oldest = header.number.saturating_sub(window);
            let oldest = self.shared.leases.oldest().map_or(oldest, |leased| leased.min(oldest));
            batch.extend(self.garbage.advance(header.number, &inserted, dropped, oldest));
        }
        batch.extend(log::appended(&self.shared.store, &changes)?);
        batch.extend(succession::handed_over(&self.shared.store, &header, certificate, &changes)?);
        batch.push((Column::Events.key(hash.as_bytes()), Some(events(&changes))));
        batch.push((Column::Certificate.key(hash.as_bytes()), Some(certificate.encode())));
        batch.extend(block_entries(block));
        self.shared.store.commit(batch)?;
        self.shared.set_head(header);
        self.seen = Some(certificate.clone());
        Ok(())
    }
}

enum Applied {
    Included,
    Full,
    Rejected,
}

/// Transactions that did not fit before no more of their kind are tried: after them may come a smaller one, but
/// a full pool must not be run through for it. Paid calls and steps fill shares of their own.
const MISFITS_MAX: u32 = 16;

#[derive(Default)]
struct Patience {
    paid: u32,
    steps: u32,
}

impl Patience {
    fn is_over(&self, extrinsic: &UncheckedExtrinsic) -> bool {
        let misfits = if extrinsic.is_signed() { self.paid } else { self.steps };
        misfits >= MISFITS_MAX
    }

    fn lose(&mut self, extrinsic: &UncheckedExtrinsic) {
        let misfits = if extrinsic.is_signed() { &mut self.paid } else { &mut self.steps };
        *misfits = misfits.saturating_add(1);
    }
}

fn apply<K: Kv>(
    state: &State<K>,
    overlay: &mut Overlay,
    signatures: &Arc<Verified>,
    extrinsic: &UncheckedExtrinsic,
) -> Result<Applied, ChainError> {
    overlay.start_transaction();
    let broken = |_| ChainError::Panicked("the overlay lost a transaction".into());
    match in_runtime(state, overlay, signatures, || Executive::apply_extrinsic(extrinsic.clone())) {
        Ok(Ok(_)) => {
            overlay.commit_transaction().map_err(broken)?;
            Ok(Applied::Included)
        }
        outcome => {
            overlay.rollback_transaction().map_err(broken)?;
            let full = TransactionValidityError::Invalid(InvalidTransaction::ExhaustsResources);
            match outcome {
                Ok(Err(error)) if error == full => Ok(Applied::Full),
                Err(error) if error.is_fatal() => Err(error),
                _ => Ok(Applied::Rejected),
            }
        }
    }
}

/// A block waits for its signatures, so all cores verify them.
fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The genesis hash, and the batch that writes the first state.
pub(super) fn first_block<K: Kv>(
    store: &Arc<Store<K>>,
    genesis: &GenesisSpec,
) -> Result<(Hash, Batch), ChainError> {
    let storage = genesis.storage().map_err(ChainError::BadGenesis)?;
    let empty = sp_trie::empty_trie_root::<sp_trie::LayoutV1<BlakeTwo256>>();
    let state = TrieBackendBuilder::<_, BlakeTwo256>::new(Nodes(Arc::clone(store)), empty).build();
    let top = storage.top.iter().map(|(key, value)| (&key[..], Some(&value[..])));
    let children = storage
        .children_default
        .values()
        .map(|child| (&child.child_info, child.data.iter().map(|(key, value)| (&key[..], Some(&value[..])))));
    let (root, mut nodes) = state.full_storage_root(top, children, STATE_VERSION);
    let extrinsics_root = BlakeTwo256::ordered_trie_root(Vec::new(), STATE_VERSION);
    let header = Header::new(0, extrinsics_root, root, H256::zero(), Digest::default());
    let hash = header.hash();
    let mut batch: Batch = nodes
        .drain()
        .into_iter()
        .filter(|(_, (_, count))| *count > 0)
        .map(|(key, (value, _))| (Column::Node.key(&key), Some(value.to_vec())))
        .collect();
    batch.push((Column::Meta.key(GENESIS), Some(hash.encode())));
    batch.push(succession::first(&set_of(&genesis.validators)));
    batch.extend(block_entries(&Block { header, extrinsics: Vec::new() }));
    Ok((hash, batch))
}

pub(super) fn block_entries(block: &Block) -> Batch {
    let hash = block.header.hash();
    vec![
        (Column::Meta.key(HEAD), Some(block.header.encode())),
        (Column::Block.key(hash.as_bytes()), Some(block.encode())),
        (Column::Height.key(&height_key(block.header.number)), Some(hash.encode())),
    ]
}

/// Big-endian, so that a scan goes in order.
pub(super) fn height_key(number: BlockNumber) -> [u8; 4] {
    number.to_be_bytes()
}

/// Storage key of a block's events.
pub fn events_key() -> [u8; 32] {
    frame_support::storage::storage_prefix(b"System", b"Events")
}

/// The SCALE bytes of the block's events.
fn events(changes: &StorageChanges<BlakeTwo256>) -> Vec<u8> {
    let key = events_key();
    let found = changes.main_storage_changes.iter().find(|(changed, _)| changed.as_slice() == key);
    found.and_then(|(_, value)| value.clone()).unwrap_or_else(|| Vec::<u8>::new().encode())
}

impl Executed {
    /// Keys that the block changed, with their new values.
    pub fn storage_changes(&self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        self.changes.main_storage_changes.clone()
    }

    /// The SCALE bytes of the block's events.
    pub fn events(&self) -> Vec<u8> {
        events(&self.changes)
    }
}
