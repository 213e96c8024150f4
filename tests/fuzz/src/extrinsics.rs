//! Transactions: as bytes from outside, and dispatched on a chain in memory.

use std::sync::PoisonError;

use assay_node::client::signed;
use assay_runtime::executor::{Chain, decode_block, decode_extrinsic};
use assay_runtime::{RuntimeCall, UncheckedExtrinsic, general};
use codec::{DecodeLimit, Encode};

use crate::calls::{self, keys};
use crate::chain::{self, Fork};
use crate::random::Random;

/// Records of an input that are looked at, and blocks that they fill at most.
const RECORDS_MAX: usize = 24;
/// Calls are decoded to this depth, as the executor decodes transactions.
const DEPTH_MAX: u32 = 256;
/// How pallet-timestamp refuses a second time in a block; the executor makes a rejection of it.
const EXPECTED_PANICS: [&str; 1] = ["Timestamp must be updated only once in the block"];

/// What a record of an input is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A call that an account signs.
    Signed,
    /// A call without a signer.
    General,
    /// The bytes of a whole transaction.
    Raw,
    /// The end of a block; its bytes are looked at as a block from outside.
    Block,
}

/// A record: a byte for its kind, one for the account, two for the length, and so many bytes.
struct Record<'a> {
    kind: Kind,
    account: u8,
    bytes: &'a [u8],
}

/// Each call once, alone in its block and with several others.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut random = Random::new(1);
    let mut seeds = Vec::new();
    for (pallet, count) in calls::counts().into_iter().enumerate() {
        let mut together = Vec::new();
        for call in 0..count {
            let bytes = calls::of(pallet, call, &mut random);
            write(&mut together, Kind::Signed, call as u8, &bytes);
            if call % 6 == 5 || call + 1 == count {
                write(&mut together, Kind::General, 0, &bytes);
                write(&mut together, Kind::Block, 0, &[]);
                seeds.push(std::mem::take(&mut together));
            }
        }
    }
    let transfer = decode_call(&calls::of(0, 0, &mut random)).expect("a call");
    let raw = signed(&keys()[0], 0, chain::fresh().genesis(), transfer).encode();
    let mut seed = Vec::new();
    write(&mut seed, Kind::Raw, 0, &raw);
    seeds.push(seed);
    seeds
}

/// Whatever is decoded is encoded as it was. Blocks of whatever transactions are executed twice with one
/// result, without a panic, and leave every invariant of the runtime whole and no new tokens.
///
/// # Panics
/// When that does not hold.
pub fn check(data: &[u8]) {
    let panics = chain::panics();
    let mut chain = chain::fresh();
    let issued = issuance(&chain);
    panics.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let mut waiting = Vec::new();
    let mut nonces = vec![0; keys().len()];
    for record in read(data) {
        match record.kind {
            Kind::Block => {
                round_trips(record.bytes, |bytes| decode_block(bytes).ok());
                block(&mut chain, std::mem::take(&mut waiting), &mut nonces);
            }
            _ => waiting.extend(extrinsic(&chain, &record, &mut nonces)),
        }
    }
    block(&mut chain, waiting, &mut nonces);
    let seen = panics.lock().unwrap_or_else(PoisonError::into_inner);
    let unexpected = seen.iter().find(|words| EXPECTED_PANICS.iter().all(|known| !words.contains(known)));
    assert_eq!(unexpected, None, "a call panicked");
    let holds: Result<(), Vec<u8>> = chain::ask(&chain, "LedgerApi_check_invariants", ()).expect("an answer");
    assert_eq!(holds.map_err(|broken| String::from_utf8_lossy(&broken).into_owned()), Ok(()));
    assert!(issuance(&chain) <= issued, "tokens were made");
}

/// Makes a block of what waits, executes it again and commits it. Accounts go on from what it took of them.
fn block(chain: &mut Chain<Fork>, waiting: Vec<UncheckedExtrinsic>, nonces: &mut [u32]) {
    let proposal = chain::propose(chain, waiting).expect("a block of whatever transactions");
    chain::commit(chain, &proposal.block);
    for (nonce, key) in nonces.iter_mut().zip(keys()) {
        *nonce = chain::ask(chain, "AccountNonceApi_account_nonce", key.account()).expect("an answer");
    }
}

fn extrinsic(chain: &Chain<Fork>, record: &Record<'_>, nonces: &mut [u32]) -> Option<UncheckedExtrinsic> {
    if record.kind == Kind::Raw {
        let found = round_trips(record.bytes, |bytes| decode_extrinsic(bytes).ok());
        let lease = chain.reader().at(None).expect("the head");
        // The pool's judgement, which must be one.
        drop(lease.validate(record.bytes));
        return found;
    }
    let call = decode_call(record.bytes)?;
    if record.kind == Kind::General {
        return Some(general(call));
    }
    let account = usize::from(record.account) % keys().len();
    let extrinsic = signed(&keys()[account], nonces[account], chain.genesis(), call);
    nonces[account] += 1;
    Some(extrinsic)
}

fn decode_call(mut bytes: &[u8]) -> Option<RuntimeCall> {
    RuntimeCall::decode_with_depth_limit(DEPTH_MAX, &mut bytes).ok()
}

fn round_trips<T: Encode>(bytes: &[u8], decode: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
    let found = decode(bytes)?;
    assert_eq!(found.encode(), bytes, "two encodings of one thing");
    Some(found)
}

fn issuance(chain: &Chain<Fork>) -> u128 {
    let key = pallet_balances::TotalIssuance::<assay_runtime::Runtime>::hashed_key();
    let lease = chain.reader().at(None).expect("the head");
    let bytes = lease.storage(&key).expect("a store in memory").expect("the issuance");
    codec::Decode::decode(&mut bytes.as_slice()).expect("a number")
}

fn read(data: &[u8]) -> Vec<Record<'_>> {
    let mut rest = data;
    let mut records = Vec::new();
    while let ([kind, account, low, high, tail @ ..], true) = (rest, records.len() < RECORDS_MAX) {
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(tail.len());
        let (bytes, after) = tail.split_at(len);
        let kind = [Kind::Signed, Kind::General, Kind::Raw, Kind::Block][usize::from(kind % 4)];
        records.push(Record { kind, account: *account, bytes });
        rest = after;
    }
    records
}

fn write(seed: &mut Vec<u8>, kind: Kind, account: u8, bytes: &[u8]) {
    seed.extend([kind as u8, account]);
    seed.extend((bytes.len() as u16).to_le_bytes());
    seed.extend_from_slice(bytes);
}

/// Puts another call in the place of a record, beside it or without it, or changes who signs.
pub fn mutate(data: &[u8], seed: u64) -> Option<Vec<u8>> {
    let mut random = Random::new(seed);
    let records = read(data);
    let place = random.below(records.len() + 1);
    let made = calls::any(&mut random);
    let action = random.below(6);
    let mut changed = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let Record { kind, account, bytes } = *record;
        let account = if index == place && action == 0 { random.below(256) as u8 } else { account };
        if index == place && action == 1 {
            write(&mut changed, Kind::Block, 0, &[]);
        }
        match (index == place, action) {
            (true, 2) => {}
            (true, 3) => write(&mut changed, kind, account, &made),
            _ => write(&mut changed, kind, account, bytes),
        }
    }
    if action >= 4 {
        let kind = if action == 4 { Kind::Signed } else { Kind::General };
        write(&mut changed, kind, random.below(256) as u8, &made);
    }
    Some(changed)
}
