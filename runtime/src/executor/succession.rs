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

/// The validators that a block handed over to, if it did.
///
/// # Errors
/// [`ChainError::Corrupt`] when the state's form is not this binary's.
pub fn handed_over(
    header: &Header,
    certificate: &CommitCertificate,
    changes: &StorageChanges<BlakeTwo256>,
) -> Result<Batch, ChainError> {
    let storage = Validators::<Runtime>::hashed_key();
    let changed = changes.main_storage_changes.iter().find(|(key, _)| key.as_slice() == storage);
    let Some((_, Some(value))) = changed else { return Ok(Batch::new()) };
    let infos = Vec::<ValidatorInfo>::decode_all(&mut value.as_slice());
    let infos = infos.map_err(|error| ChainError::Corrupt(format!("the validators: {error}")))?;
    let block = Evidence { header: header.encode(), certificate: certificate.clone() };
    Ok(vec![entry(&HandOver { block, validators: set_of(&infos) })])
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
/// [`ChainError`] when the store fails.
pub fn hand_overs<K: Kv>(store: &Store<K>, until: BlockNumber) -> Result<Vec<HandOver>, ChainError> {
    let entries = store.scan(Column::Validators, &key(until), usize::MAX)?;
    let entered = entries.iter().rev().map(decode).collect::<Result<Vec<_>, _>>()?;
    let hand_over = |Entered { set, by }| by.map(|block| HandOver { block, validators: set });
    Ok(entered.into_iter().filter_map(hand_over).collect())
}

fn decode((_, value): &Entry) -> Result<Entered, ChainError> {
    Entered::decode_all(&mut value.as_slice())
        .map_err(|error| ChainError::Corrupt(format!("an entry of the validators: {error}")))
}

/// Complements, so that a scan meets the newest first.
const fn key(from: BlockNumber) -> [u8; 4] {
    (!from).to_be_bytes()
}
