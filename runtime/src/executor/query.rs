//! Reads of recent blocks, from any thread, beside the writer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use assay_manifest::merkle::InclusionProof;
use assay_protocol::certificate::{CommitCertificate, ValidatorSet};
use assay_protocol::receipt::HandOver;
use frame_system::ChainContext;
use sp_runtime::Digest;
use sp_runtime::traits::{BlakeTwo256, Checkable as _};
use sp_runtime::transaction_validity::{TransactionSource, TransactionValidity};
use sp_state_machine::{Backend, IterArgs, TrieBackendBuilder, prove_read};
use sp_trie::cache::SharedTrieCache;

use crate::{Block, BlockNumber, Executive, Hash, Header, Runtime, System, UncheckedExtrinsic, api};

use super::chain::{Retention, height_key};
use super::check::CheckedNodes;
use super::decode::{check_bounded, check_call, decode_extrinsic};
use super::error::ChainError;
use super::kv::Kv;
use super::log;
use super::run::{Overlay, State, in_runtime};
use super::signatures::{Collector, Verified};
use super::store::{Column, Nodes, Store};
use super::succession;

/// What writer and readers share.
pub(super) struct Shared<K> {
    pub store: Arc<Store<K>>,
    pub cache: SharedTrieCache<BlakeTwo256>,
    pub signatures: Arc<Verified>,
    pub head: RwLock<Header>,
    /// The lowest height whose block is here.
    pub base: BlockNumber,
    pub leases: Leases,
    pub retention: Retention,
}

impl<K: Kv> Shared<K> {
    pub fn head(&self) -> Header {
        self.head.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_head(&self, header: Header) {
        *self.head.write().unwrap_or_else(PoisonError::into_inner) = header;
    }

    pub fn state(&self, root: Hash) -> State<K> {
        TrieBackendBuilder::new(Nodes(Arc::clone(&self.store)), root)
            .with_cache(self.cache.local_cache_trusted())
            .build()
    }

    /// Verifies the signatures that execution on top of `head` will ask for, in batches, and remembers the good
    /// ones. It decides nothing: what is bad, or cannot be found out here, is left to execution.
    pub fn verify_ahead(
        &self,
        state: &State<K>,
        head: &Header,
        extrinsics: &[UncheckedExtrinsic],
        threads: usize,
    ) {
        let collector = Arc::new(Collector::default());
        let collected = in_runtime(state, &mut Overlay::default(), &collector, || {
            System::initialize(&head.number.saturating_add(1), &head.hash(), &Digest::default());
            for extrinsic in extrinsics {
                // Only what this asks the collector counts.
                drop(extrinsic.clone().check(&ChainContext::<Runtime>::default()));
            }
        });
        match collected {
            Ok(()) => self.signatures.verify_ahead(collector.take(), threads),
            // Execution does the same and decides.
            Err(error) => tracing::debug!(%error, "signatures are verified one by one"),
        }
    }
}

/// Heights whose states somebody is reading; pruning stops before them.
#[derive(Default)]
pub(super) struct Leases(Mutex<BTreeMap<BlockNumber, usize>>);

impl Leases {
    pub fn oldest(&self) -> Option<BlockNumber> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().next().copied()
    }

    fn take(&self, height: BlockNumber) {
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = leases.entry(height).or_default();
        *count = count.saturating_add(1);
    }

    fn give_back(&self, height: BlockNumber) {
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = leases.get(&height).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            leases.remove(&height);
        } else {
            leases.insert(height, left);
        }
    }
}

/// A state that pruning leaves alone while the lease lives.
pub struct Lease<K: Kv> {
    shared: Arc<Shared<K>>,
    header: Header,
}

impl<K: Kv> Drop for Lease<K> {
    fn drop(&mut self) {
        self.shared.leases.give_back(self.header.number);
    }
}

impl<K: Kv> Lease<K> {
    /// The block whose state it is.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    fn state(&self) -> State<K> {
        self.shared.state(self.header.state_root)
    }

    /// Calls a runtime function by name. The state is not changed.
    ///
    /// # Errors
    /// [`ChainError`] for unknown functions, bad arguments, or a panic inside.
    pub fn call(&self, function: &str, args: &[u8]) -> Result<Vec<u8>, ChainError> {
        check_call(function, args)?;
        let state = self.state();
        let signatures = &self.shared.signatures;
        let answer =
            in_runtime(&state, &mut Overlay::default(), signatures, || api::dispatch(function, args))?;
        self.shared.store.check()?;
        answer.ok_or_else(|| ChainError::UnknownFunction(function.into()))
    }

    /// The same for callers from outside: only functions whose work is bounded by their arguments.
    ///
    /// # Errors
    /// [`ChainError::Unbounded`] for other functions; as for [`Self::call`].
    pub fn call_bounded(&self, function: &str, args: &[u8]) -> Result<Vec<u8>, ChainError> {
        check_bounded(function)?;
        self.call(function, args)
    }

    /// Whether a transaction would be valid on top of the block, by what it provides and requires.
    ///
    /// # Errors
    /// [`ChainError::BadExtrinsic`] when the bytes are no transaction.
    pub fn validate(&self, extrinsic: &[u8]) -> Result<TransactionValidity, ChainError> {
        self.validate_decoded(decode_extrinsic(extrinsic)?)
    }

    /// The same for many: their signatures are verified in batches, on this thread.
    ///
    /// Answers stand in the order of the transactions.
    pub fn validate_all<'a>(
        &self,
        extrinsics: impl IntoIterator<Item = &'a [u8]>,
    ) -> Vec<Result<TransactionValidity, ChainError>> {
        let decoded: Vec<_> = extrinsics.into_iter().map(decode_extrinsic).collect();
        let good: Vec<UncheckedExtrinsic> = decoded.iter().flatten().cloned().collect();
        self.shared.verify_ahead(&self.state(), &self.header, &good, 1);
        let validate = |decoded: Result<_, _>| decoded.and_then(|extrinsic| self.validate_decoded(extrinsic));
        decoded.into_iter().map(validate).collect()
    }

    fn validate_decoded(&self, extrinsic: UncheckedExtrinsic) -> Result<TransactionValidity, ChainError> {
        let (state, hash) = (self.state(), self.header.hash());
        let validate = || Executive::validate_transaction(TransactionSource::External, extrinsic, hash);
        let validity = in_runtime(&state, &mut Overlay::default(), &self.shared.signatures, validate)?;
        self.shared.store.check()?;
        Ok(validity)
    }

    /// A storage value.
    ///
    /// # Errors
    /// [`ChainError`] when the store fails.
    pub fn storage(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ChainError> {
        self.state().storage(key).map_err(ChainError::Corrupt)
    }

    /// Up to `limit` keys with `prefix` after `after`, in order.
    ///
    /// # Errors
    /// [`ChainError`] when the store fails.
    pub fn keys(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, ChainError> {
        let mut args = IterArgs::default();
        args.prefix = Some(prefix);
        args.start_at = after;
        args.start_at_exclusive = true;
        let state = self.state();
        let keys = state.keys(args).map_err(ChainError::Corrupt)?;
        keys.take(limit).collect::<Result<_, _>>().map_err(ChainError::Corrupt)
    }

    /// Trie nodes that prove the values of `keys` against the block's state root.
    ///
    /// # Errors
    /// [`ChainError`] when the store fails.
    pub fn prove(&self, keys: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, ChainError> {
        let proof = prove_read(self.state(), keys).map_err(|error| ChainError::Corrupt(error.to_string()))?;
        Ok(proof.into_iter_nodes().collect())
    }

    /// Gives every key with its value to `take`, in order, until it fails.
    ///
    /// # Errors
    /// [`ChainError::Corrupt`] when a node is missing.
    pub fn pairs<E>(
        &self,
        mut take: impl FnMut(Vec<u8>, Vec<u8>) -> Result<(), E>,
    ) -> Result<Result<(), E>, ChainError> {
        let state = self.state();
        for pair in state.pairs(IterArgs::default()).map_err(ChainError::Corrupt)? {
            let (key, value) = pair.map_err(ChainError::Corrupt)?;
            if let Err(error) = take(key, value) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// Visits every node, compares it with its hash, and counts the keys; an error means that the state is not whole.
    ///
    /// # Errors
    /// [`ChainError::Corrupt`] when a node is missing or damaged.
    pub fn walk(&self) -> Result<usize, ChainError> {
        let nodes = CheckedNodes(Nodes(Arc::clone(&self.shared.store)));
        // Without the cache, which would hide what the store has lost.
        let state = TrieBackendBuilder::<_, BlakeTwo256>::new(nodes, self.header.state_root).build();
        let pairs = state.pairs(IterArgs::default()).map_err(ChainError::Corrupt)?;
        pairs.map(|pair| pair.map_err(ChainError::Corrupt)).try_fold(0usize, |count, pair| {
            pair?;
            Ok(count.saturating_add(1))
        })
    }
}

/// Reads beside the chain, from any thread.
pub struct Reader<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for Reader<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K: Kv> Reader<K> {
    pub(super) const fn new(shared: Arc<Shared<K>>) -> Self {
        Self { shared }
    }

    /// The finalized head.
    pub fn head(&self) -> Header {
        self.shared.head()
    }

    /// The lowest height whose block and certificate are here: that of the snapshot that this store began with, or 0.
    pub fn base(&self) -> BlockNumber {
        self.shared.base
    }

    /// The state of a block, the head's by default, protected from pruning.
    ///
    /// # Errors
    /// [`ChainError::Pruned`] when it is gone, [`ChainError::UnknownBlock`] when there is no such block.
    pub fn at(&self, hash: Option<Hash>) -> Result<Lease<K>, ChainError> {
        let header = match hash {
            None => self.head(),
            Some(hash) => self.block(hash)?.ok_or(ChainError::UnknownBlock(hash))?.header,
        };
        self.shared.leases.take(header.number);
        let lease = Lease { shared: Arc::clone(&self.shared), header };
        // Checked after the lease is taken, so that nothing can be pruned in between.
        if let Retention::Window(window) = self.shared.retention
            && lease.header.number < self.head().number.saturating_sub(window)
        {
            return Err(ChainError::Pruned(lease.header.number));
        }
        Ok(lease)
    }

    /// A block.
    ///
    /// # Errors
    /// [`ChainError`] when the store fails.
    pub fn block(&self, hash: Hash) -> Result<Option<Block>, ChainError> {
        self.shared.store.get_decoded(Column::Block, hash.as_bytes())
    }

    /// The hash of a height.
    ///
    /// # Errors
    /// [`ChainError`] when the store fails.
    pub fn hash_of(&self, height: BlockNumber) -> Result<Option<Hash>, ChainError> {
        self.shared.store.get_decoded(Column::Height, &height_key(height))
    }

    /// A block's certificate; block 0 has none.
    ///
    /// # Errors
    /// [`ChainError`] when the store fails.
    pub fn certificate(&self, hash: Hash) -> Result<Option<CommitCertificate>, ChainError> {
        self.shared.store.get_decoded(Column::Certificate, hash.as_bytes())
    }

    /// Who decides a height, also one long past.
    ///
    /// # Errors
    /// [`ChainError`] when the store fails.
    pub fn validators_of(&self, height: BlockNumber) -> Result<ValidatorSet, ChainError> {
        succession::at(&self.shared.store, height)
    }

    /// The blocks after which others decided, up to the validators of a height; in the order of their heights.
    ///
    /// # Errors
    /// [`ChainError`] when the store fails.
    pub fn hand_overs(&self, until: BlockNumber) -> Result<Vec<HandOver>, ChainError> {
        succession::hand_overs(&self.shared.store, until, usize::MAX)
    }

    /// The same, of at most so many bytes in the store.
    ///
    /// # Errors
    /// [`ChainError::TooManyHandOvers`] when there are more, [`ChainError`] when the store fails.
    pub fn hand_overs_within(
        &self,
        until: BlockNumber,
        size_bytes_max: usize,
    ) -> Result<Vec<HandOver>, ChainError> {
        succession::hand_overs(&self.shared.store, until, size_bytes_max)
    }

    /// The SCALE bytes of a block's events, also after its state has been pruned.
    ///
    /// # Errors
    /// [`ChainError`] when the store fails.
    pub fn events(&self, hash: Hash) -> Result<Option<Vec<u8>>, ChainError> {
        Ok(self.shared.store.get(Column::Events, hash.as_bytes())?)
    }

    /// Up to `limit` entries of the log, from an index on.
    ///
    /// # Errors
    /// [`ChainError`] when the store fails.
    pub fn log_entries(&self, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, ChainError> {
        let entries = self.shared.store.scan(Column::Leaf, &from.to_be_bytes(), limit)?;
        Ok(entries.into_iter().map(|(_, leaf)| leaf).collect())
    }

    /// Proves the log entry at `index` in the log of the first `size` entries, in O(log `size`).
    ///
    /// # Errors
    /// [`ChainError`] when the store fails or the log is shorter.
    pub fn log_inclusion(&self, index: u64, size: u64) -> Result<InclusionProof, ChainError> {
        log::inclusion(&self.shared.store, index, size)
    }
}
