//! Who decides which heights, beside the state, from which pruning takes it.

use assay_protocol::certificate::{CommitCertificate, ValidatorSet};
use assay_protocol::receipt::{Evidence, HandOver};
use codec::{Decode, DecodeAll, Encode};
use pallet_assay_validators::{ValidatorInfo, Validators, set_of};
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::StorageChanges;

use crate::{BlockNumber, Header, Runtime};

use super::error::ChainError;
use super::kv::{Batch, Entry, Kv};
use super::store::{Column, Store};

/// Entries that are read at a time.
const ENTRIES_AT_ONCE: usize = 64;

/// What the store holds of validators.
#[derive(Encode, Decode)]
struct Entered {
    set: ValidatorSet,
    /// The block that handed over to them; the first took over from nobody.
    by: Option<Evidence>,
}

/// The entry of the first validators.
pub fn first(set: &ValidatorSet) -> (Vec<u8>, Option<Vec<u8>>) {
    let entered = Entered { set: set.clone(), by: None };
    (Column::Validators.key(&key(1)), Some(entered.encode()))
}

/// The entry of those whom a block handed over to.
pub fn entry(hand_over: &HandOver) -> (Vec<u8>, Option<Vec<u8>>) {
    let HandOver { block, validators } = hand_over.clone();
    let from = block.certificate.height.get().saturating_add(1);
    let entered = Entered { set: validators, by: Some(block) };
    (Column::Validators.key(&key(from)), Some(entered.encode()))
}

/// The validators that a block handed over to, if it did: if others decide the next height than decide its own.
///
/// # Errors
/// [`ChainError`] when the state's form is not this binary's, or the store fails.
pub fn handed_over<K: Kv>(
    store: &Store<K>,
    header: &Header,
    certificate: &CommitCertificate,
    changes: &StorageChanges<BlakeTwo256>,
) -> Result<Batch, ChainError> {
    let storage = Validators::<Runtime>::hashed_key();
    let changed = changes.main_storage_changes.iter().find(|(key, _)| key.as_slice() == storage);
    let Some((_, Some(value))) = changed else { return Ok(Batch::new()) };
    let infos = Vec::<ValidatorInfo>::decode_all(&mut value.as_slice());
    let infos = infos.map_err(|error| ChainError::Corrupt(format!("the validators: {error}")))?;
    let validators = set_of(&infos);
    // Their state may change, or be written as it was, without a change of who votes with how much.
    if validators == at(store, header.number)? {
        return Ok(Batch::new());
    }
    let block = Evidence { header: header.encode(), certificate: certificate.clone() };
    Ok(vec![entry(&HandOver { block, validators })])
}

/// Who decides a height.
///
/// # Errors
/// [`ChainError::Corrupt`] when nobody is known to.
pub fn at<K: Kv>(store: &Store<K>, height: BlockNumber) -> Result<ValidatorSet, ChainError> {
    let found = store.scan(Column::Validators, &key(height), 1)?;
    let found =
        found.first().ok_or_else(|| ChainError::Corrupt(format!("nobody decides height {height}")))?;
    Ok(decode(found)?.set)
}

/// The hand-overs to validators who decide a height, or one before; in the order of their heights.
///
/// # Errors
/// [`ChainError::TooManyHandOvers`] when they have more than `size_bytes_max`, of which no more are read;
/// [`ChainError`] when the store fails.
pub fn hand_overs<K: Kv>(
    store: &Store<K>,
    mut until: BlockNumber,
    size_bytes_max: usize,
) -> Result<Vec<HandOver>, ChainError> {
    let (mut hand_overs, mut size_bytes) = (Vec::new(), 0usize);
    loop {
        let entries = store.scan(Column::Validators, &key(until), ENTRIES_AT_ONCE)?;
        if entries.is_empty() {
            return Err(ChainError::Corrupt(format!("nobody decides height {until}")));
        }
        for entry in entries {
            let Entered { set, by } = decode(&entry)?;
            let Some(block) = by else {
                hand_overs.reverse();
                return Ok(hand_overs);
            };
            size_bytes = size_bytes.saturating_add(entry.1.len());
            if size_bytes > size_bytes_max {
                return Err(ChainError::TooManyHandOvers(size_bytes_max));
            }
            // Those before decided the block that handed over.
            until = block.certificate.height.get();
            hand_overs.push(HandOver { block, validators: set });
        }
    }
}

fn decode((_, value): &Entry) -> Result<Entered, ChainError> {
    Entered::decode_all(&mut value.as_slice())
        .map_err(|error| ChainError::Corrupt(format!("an entry of the validators: {error}")))
}

/// Complements, so that a scan meets the newest first.
const fn key(from: BlockNumber) -> [u8; 4] {
    (!from).to_be_bytes()
}
