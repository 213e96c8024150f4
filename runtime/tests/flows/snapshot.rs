//! A chain that begins with a snapshot goes on like the one that it was taken of, and nothing false begins one.

use std::sync::Arc;

use assay_protocol::receipt::HandOver;
use assay_runtime::executor::{Kv, MemoryKv, Snapshot, SnapshotError, check, events_key, export, import};
use assay_runtime::{GenesisSpec, UNIT};
use codec::{DecodeAll, Encode};

use crate::support::{alice, register, transfer};
use crate::validators::{Net, join, open, open_in, spec};

const MAGIC: &[u8] = b"assay-snapshot/2\n";

/// A chain with two hand-overs and a log of five entries.
fn chain() -> Net {
    let mut net = open();
    join(&mut net, 0, UNIT);
    for n in 0..5 {
        let call = net.sign(&alice(), register(n));
        net.block(vec![call]);
    }
    join(&mut net, 1, UNIT);
    net
}

fn file(net: &Net) -> (Vec<u8>, Snapshot) {
    let mut file = Vec::new();
    let snapshot = export(&net.chain.reader(), net.chain.genesis(), &mut file).unwrap();
    (file, snapshot)
}

fn begin(file: &[u8], spec: &GenesisSpec) -> Result<(Arc<MemoryKv>, Snapshot), SnapshotError> {
    let kv = Arc::<MemoryKv>::default();
    let imported = import(Arc::clone(&kv), spec, &mut &*file);
    assert!(
        imported.is_ok() || kv.scan(&[], &[], 1).unwrap().is_empty(),
        "nothing is written of what is refused"
    );
    Ok((kv, imported?))
}

#[test]
fn a_chain_goes_on_from_a_snapshot_as_from_its_first_block() {
    let mut whole = chain();
    let (file, snapshot) = file(&whole);
    let (kv, imported) = begin(&file, &spec()).unwrap();
    assert_eq!(imported, snapshot);
    assert_eq!((snapshot.height, snapshot.log_entries), (whole.chain.head().number, 5));
    let mut copy = open_in(Arc::clone(&kv));
    assert_eq!(copy.chain.head(), whole.chain.head());
    assert_eq!(copy.events(), whole.events());
    for n in 0..12 {
        let bob = sp_keyring::Sr25519Keyring::Bob.to_account_id();
        let calls = vec![register(10 + n), transfer(&bob, UNIT)];
        let calls: Vec<_> = calls
            .into_iter()
            .zip(0..)
            .map(|(call, later)| {
                let nonce: u32 = whole.call("AccountNonceApi_account_nonce", alice_account());
                whole.sign_at(&alice(), nonce + later, call)
            })
            .collect();
        let proposal = whole.propose(calls).unwrap();
        for net in [&mut whole, &mut copy] {
            let executed = net.chain.verify(&proposal.block).unwrap();
            net.commit(&proposal.block, executed).unwrap();
        }
    }
    let (from_first, from_snapshot) = (whole.chain.reader(), copy.chain.reader());
    assert_eq!(from_snapshot.base(), snapshot.height);
    for index in 0..17 {
        let proof = from_snapshot.log_inclusion(index, 17).unwrap();
        assert_eq!(proof, from_first.log_inclusion(index, 17).unwrap());
    }
    let head = whole.chain.head().number;
    assert_eq!(from_snapshot.hand_overs(head).unwrap(), from_first.hand_overs(head).unwrap());
    assert_eq!(from_snapshot.hash_of(0).unwrap(), Some(whole.chain.genesis()));
    assert_eq!(from_snapshot.hash_of(snapshot.height - 1).unwrap(), None);
    drop(copy);
    let checked = check(kv, &spec()).unwrap();
    assert_eq!((checked.base, checked.height, checked.log_entries), (snapshot.height, head, 17));
    // A snapshot of a chain that began with one is as good.
    let again = begin(&self::file(&whole).0, &spec()).unwrap().1;
    assert_eq!(again.height, head);
}

fn alice_account() -> assay_runtime::AccountId {
    sp_core::Pair::public(&alice()).into()
}

#[test]
fn whatever_is_changed_in_a_snapshot_it_is_refused() {
    let net = chain();
    let (file, _) = file(&net);
    for position in (0..file.len()).step_by(211).chain([file.len() - 1]) {
        let mut changed = file.clone();
        changed[position] ^= 1;
        assert!(begin(&changed, &spec()).is_err(), "a bit of byte {position} of {}", file.len());
    }
}

/// The parts of a file, each behind its length.
fn frames(file: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &file[MAGIC.len()..];
    let mut frames = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let (frame, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        frames.push(frame.to_vec());
        rest = after;
    }
    frames
}

fn file_of(frames: &[Vec<u8>]) -> Vec<u8> {
    let framed = frames.iter().map(|frame| [&(frame.len() as u32).to_le_bytes(), frame.as_slice()].concat());
    [MAGIC.to_vec()].into_iter().chain(framed).collect::<Vec<_>>().concat()
}

#[test]
fn the_transactions_of_a_snapshot_are_those_that_its_header_names() {
    let net = chain();
    let (file, snapshot) = file(&net);
    let block = net.chain.reader().block(snapshot.block).unwrap().unwrap();
    let body = block.extrinsics.encode();
    let start = file.windows(body.len()).position(|part| part == body).unwrap();
    let mut believed_otherwise = 0;
    for position in start..start + body.len() {
        let mut changed = file.clone();
        changed[position] ^= 1;
        let refused = begin(&changed, &spec()).unwrap_err();
        believed_otherwise += usize::from(matches!(refused, SnapshotError::OtherContent("block")));
    }
    assert!(believed_otherwise > 0, "some bits make another block that can be read");
}

#[test]
fn a_key_of_the_state_cannot_come_twice_or_out_of_order() {
    type Pairs = Vec<(Vec<u8>, Vec<u8>)>;
    let (file, snapshot) = file(&chain());
    let frames = frames(&file);
    let state = 2;
    let pairs = Pairs::decode_all(&mut frames[state].as_slice()).unwrap();
    assert_eq!(pairs.len() as u64, snapshot.state_keys, "it is one list");
    let with = |pairs: &Pairs| {
        let mut frames = frames.clone();
        // The head ends with the numbers of hand-overs, keys and entries.
        let at = frames[0].len() - 16;
        frames[0][at..at + 8].copy_from_slice(&(pairs.len() as u64).to_le_bytes());
        frames[state] = pairs.encode();
        begin(&file_of(&frames), &spec()).map(drop)
    };
    with(&pairs).unwrap();
    let events = pairs.iter().position(|(key, _)| *key == events_key()).unwrap();
    let mut forged = pairs.clone();
    forged.insert(events, (events_key().to_vec(), vec![0]));
    let mut swapped = pairs;
    swapped.swap(0, 1);
    for pairs in [forged, swapped] {
        assert!(matches!(with(&pairs), Err(SnapshotError::Malformed("the state's keys are not in order"))));
    }
}

#[test]
fn hand_overs_come_in_lists_so_that_there_may_be_any_number() {
    let (file, _) = file(&chain());
    let mut frames = frames(&file);
    let list = Vec::<HandOver>::decode_all(&mut frames[1].as_slice()).unwrap();
    assert_eq!(list.len(), 2);
    frames.splice(1..2, list.into_iter().map(|hand_over| vec![hand_over].encode()));
    begin(&file_of(&frames), &spec()).unwrap();
}

#[test]
fn a_snapshot_that_is_cut_off_or_longer_is_refused() {
    let (file, _) = file(&chain());
    for length in (0..file.len()).step_by(997) {
        assert!(
            matches!(begin(&file[..length], &spec()), Err(SnapshotError::Malformed(_))),
            "{length} bytes"
        );
    }
    let longer = [file, vec![0]].concat();
    assert!(matches!(begin(&longer, &spec()), Err(SnapshotError::Malformed(_))));
}

#[test]
fn sizes_that_are_only_claimed_take_no_memory() {
    let magic = MAGIC.to_vec();
    let huge = [magic.clone(), u32::MAX.to_le_bytes().to_vec()].concat();
    assert!(matches!(begin(&huge, &spec()), Err(SnapshotError::Malformed(_))));
    // A head that says it has a block of more bytes than there are.
    let head = [[0u8; 32].to_vec(), vec![0xff; 5]].concat();
    let claims = [magic, (head.len() as u32).encode(), head].concat();
    assert!(matches!(begin(&claims, &spec()), Err(SnapshotError::Malformed(_))));
}

#[test]
fn a_snapshot_begins_its_own_chain_only_and_only_an_empty_store() {
    let net = chain();
    let (file, _) = file(&net);
    let other = GenesisSpec { seed: "other".into(), ..spec() };
    assert!(matches!(begin(&file, &other), Err(SnapshotError::OtherChain { .. })));
    let (kv, _) = begin(&file, &spec()).unwrap();
    assert!(matches!(import(kv, &spec(), &mut &*file), Err(SnapshotError::NotEmpty)));
}
