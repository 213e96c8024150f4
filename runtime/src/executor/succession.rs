//! Who decides which heights, beside the state, from which pruning takes it.

use assay_protocol::certificate::ValidatorSet;
use assay_protocol::receipt::{Evidence, HandOver};
use codec::{Decode, DecodeAll, Encode};
use pallet_assay_validators::{ValidatorInfo, Validators};
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::StorageChanges;

use crate::{BlockNumber, Runtime};

use super::chain::height_key;
use super::error::ChainError;
use super::kv::{Batch, Entry, Kv};
use super::store::{Column, Store};

/// The entry of the validators who decide from a height on.
pub fn entry(from: BlockNumber, set: &ValidatorSet) -> (Vec<u8>, Option<Vec<u8>>) {
    (Column::Validators.key(&key(from)), Some(set.encode()))
}

/// The validators that a block handed over to, if they are others.
///
/// # Errors
/// [`ChainError::Corrupt`] when the state's form is not this binary's.
pub fn handed_over(height: BlockNumber, changes: &StorageChanges<BlakeTwo256>) -> Result<Batch, ChainError> {
    let storage = Validators::<Runtime>::hashed_key();
    let changed = changes.main_storage_changes.iter().find(|(key, _)| key.as_slice() == storage);
    let Some((_, Some(value))) = changed else { return Ok(Batch::new()) };
    let infos = Vec::<ValidatorInfo>::decode_all(&mut value.as_slice());
    let infos = infos.map_err(|error| ChainError::Corrupt(format!("the validators: {error}")))?;
    Ok(vec![entry(height.saturating_add(1), &pallet_assay_validators::set_of(&infos))])
}

/// Who decides a height.
///
/// # Errors
/// [`ChainError::Corrupt`] when nobody is known to.
pub fn at<K: Kv>(store: &Store<K>, height: BlockNumber) -> Result<ValidatorSet, ChainError> {
    let found = store.scan(Column::Validators, &key(height), 1)?;
    let found =
        found.first().ok_or_else(|| ChainError::Corrupt(format!("nobody decides height {height}")))?;
    decode(found).map(|(_, set)| set)
}

/// The hand-overs to validators who decide a height, or one before; in the order of their heights.
///
/// # Errors
/// [`ChainError`] when the store fails, or lacks one of the blocks.
pub fn hand_overs<K: Kv>(store: &Store<K>, until: BlockNumber) -> Result<Vec<HandOver>, ChainError> {
    let entries = store.scan(Column::Validators, &key(until), usize::MAX)?;
    let sets = entries.iter().rev().map(decode);
    // The first validators took over from nobody.
    sets.skip(1)
        .map(|decoded| {
            let (from, validators) = decoded?;
            Ok(HandOver { block: evidence(store, from.saturating_sub(1))?, validators })
        })
        .collect()
}

fn evidence<K: Kv>(store: &Store<K>, height: BlockNumber) -> Result<Evidence, ChainError> {
    let lost = || ChainError::Corrupt(format!("the block at height {height}, which handed over, is missing"));
    let hash: crate::Hash = store.get_decoded(Column::Height, &height_key(height))?.ok_or_else(lost)?;
    let block: crate::Block = store.get_decoded(Column::Block, hash.as_bytes())?.ok_or_else(lost)?;
    let certificate = store.get_decoded(Column::Certificate, hash.as_bytes())?.ok_or_else(lost)?;
    Ok(Evidence { header: block.header.encode(), certificate })
}

fn decode((key, value): &Entry) -> Result<(BlockNumber, ValidatorSet), ChainError> {
    let unreadable = || ChainError::Corrupt("an entry of the validators cannot be read".into());
    let height = key.last_chunk().map(|key| !BlockNumber::from_be_bytes(*key)).ok_or_else(unreadable)?;
    let set = ValidatorSet::decode(&mut value.as_slice()).map_err(|_| unreadable())?;
    Ok((height, set))
}

/// Complements, so that a scan meets the newest first.
const fn key(from: BlockNumber) -> [u8; 4] {
    (!from).to_be_bytes()
}
