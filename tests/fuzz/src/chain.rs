//! The development chain in memory, driven block by block.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError, RwLock};

use assay_manifest::Digest32;
use assay_node::chain_spec::{ChainSpec, development_authority};
use assay_protocol::certificate::{CommitCertificate, ValidatorSignature};
use assay_protocol::signature::Signature;
use assay_protocol::units::Height;
use assay_runtime::executor::{Batch, Chain, ChainError, Entry, Kv, Proposal, Retention, StoreError};
use assay_runtime::{Block, UncheckedExtrinsic};
use codec::{Decode, DecodeAll, Encode};
use ed25519_dalek::Signer;
use pallet_assay_validators::{vrf_input, vrf_sign};

/// Milliseconds of block 0.
const START_MS: u64 = 1_800_000_000_000;

/// The development chain.
pub fn spec() -> &'static ChainSpec {
    static SPEC: LazyLock<ChainSpec> = LazyLock::new(|| ChainSpec::development().expect("development keys"));
    &SPEC
}

/// A chain at its beginning, which remembers nothing of earlier ones.
pub fn fresh() -> Chain<Fork> {
    static FIRST: OnceLock<Arc<Entries>> = OnceLock::new();
    let first = FIRST.get_or_init(|| {
        let kv = Arc::new(Fork::default());
        drop(Chain::open(Arc::clone(&kv), &spec().genesis, Retention::Archive).expect("the first state"));
        let entries = kv.changed.read().unwrap_or_else(PoisonError::into_inner).clone();
        Arc::new(entries.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
    });
    let fork = Fork { first: Arc::clone(first), changed: RwLock::default() };
    Chain::open(fork, &spec().genesis, Retention::Archive).expect("the first state")
}

/// Builds the next block.
///
/// # Errors
/// When the chain refuses to.
pub fn propose<K: Kv>(chain: &Chain<K>, extrinsics: Vec<UncheckedExtrinsic>) -> Result<Proposal, ChainError> {
    let height = chain.head().number + 1;
    let previous: Option<Digest32> = ask(chain, "LedgerApi_randomness", height - 1)?;
    let genesis = Digest32::from_bytes(chain.genesis().0);
    let input = vrf_input(&genesis, height, &previous.expect("the last block's randomness"));
    let item = vrf_sign(&development_authority().vrf, 0, input);
    chain.propose(START_MS + u64::from(height) * 1_000, vec![item], extrinsics)
}

/// Verifies a block of our own by executing it again, and commits it.
///
/// # Panics
/// When it is refused.
pub fn commit<K: Kv>(chain: &mut Chain<K>, block: &Block) {
    let executed = chain.verify(block).expect("our own block");
    let height = Height::new(block.header.number);
    let value = Digest32::from_bytes(block.header.hash().0);
    let genesis = Digest32::from_bytes(chain.genesis().0);
    let authority = development_authority().consensus;
    let message = CommitCertificate::sign_bytes(&genesis, height, 0, &value);
    let signature = Signature(authority.sign(message.as_bytes()).to_bytes());
    let validator = Digest32::from_bytes(authority.verifying_key().to_bytes());
    let signatures = vec![ValidatorSignature { validator, signature }];
    let certificate = CommitCertificate { height, round: 0, value, signatures };
    chain.commit(block, executed, &certificate).expect("a signed block");
}

/// What a function of the runtime answers at the head.
///
/// # Errors
/// When the chain cannot be read.
pub fn ask<K: Kv, T: Decode>(chain: &Chain<K>, function: &str, args: impl Encode) -> Result<T, ChainError> {
    let answer = chain.reader().at(None)?.call(function, &args.encode())?;
    Ok(T::decode_all(&mut answer.as_slice()).expect("the runtime's own answer"))
}

/// Words of the panics of this process, so that one that the runtime's executor catches is seen all the same.
pub fn panics() -> &'static Mutex<Vec<String>> {
    static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
    static HOOK: OnceLock<()> = OnceLock::new();
    HOOK.get_or_init(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            SEEN.lock().unwrap_or_else(PoisonError::into_inner).push(info.to_string());
            before(info);
        }));
    });
    &SEEN
}

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// What has changed since a state that many chains begin with.
#[derive(Debug, Default)]
pub struct Fork {
    first: Arc<Entries>,
    changed: RwLock<BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
}

impl Kv for Fork {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let changed = self.changed.read().unwrap_or_else(PoisonError::into_inner);
        Ok(changed.get(key).cloned().unwrap_or_else(|| self.first.get(key).cloned()))
    }

    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<Entry>, StoreError> {
        let changed = self.changed.read().unwrap_or_else(PoisonError::into_inner);
        let start = from.max(prefix).to_vec();
        let mut found: BTreeMap<_, _> = self
            .first
            .range(start.clone()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), Some(value.clone())))
            .collect();
        let changes = changed.range(start..).take_while(|(key, _)| key.starts_with(prefix));
        found.extend(changes.map(|(key, value)| (key.clone(), value.clone())));
        Ok(found.into_iter().filter_map(|(key, value)| Some((key, value?))).take(limit).collect())
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.changed.write().unwrap_or_else(PoisonError::into_inner).extend(batch);
        Ok(())
    }
}
