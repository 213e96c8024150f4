//! The executor: what is accepted, what is refused, what survives.

mod support;

use std::sync::Arc;

use assay_manifest::{ArtifactId, merkle};
use assay_protocol::header::HeaderView;
use assay_runtime::executor::testing::{FailingKv, conformance};
use assay_runtime::executor::{
    Chain, ChainError, Kv, MemoryKv, Retention, check, decode_extrinsic, on_big_stack,
};
use assay_runtime::{GenesisSpec, RuntimeCall, RuntimeEvent, UNIT, UncheckedExtrinsic};
use codec::Encode;
use pallet_assay_validators::VOTES_MAX;
use sp_keyring::Sr25519Keyring::Bob;
use sp_runtime::DigestItem;
use sp_runtime::generic::Preamble;
use sp_runtime::traits::BlakeTwo256;
use support::*;

type SharedKv = Arc<MemoryKv>;

#[test]
fn the_memory_store_keeps_the_contract() {
    let kv = Arc::new(MemoryKv::default());
    conformance(|| Ok(Arc::clone(&kv))).unwrap();
}

#[test]
fn a_transfer_moves_tokens_and_a_restart_finds_them() {
    let kv = SharedKv::default();
    let bob = Bob.to_account_id();
    {
        let mut network = Network::open(kv.clone(), Retention::Archive).unwrap();
        let signed = network.sign(&alice(), transfer(&bob, 5 * UNIT));
        network.block(vec![signed]);
    }
    let mut network = Network::open(kv, Retention::Archive).unwrap();
    assert_eq!(network.chain.head().number, 1);
    assert_eq!(network.account(&bob).0, 1_000_005 * UNIT);
    network.blocks(2);
    assert_eq!(network.chain.head().number, 3);
}

#[test]
fn another_genesis_is_refused() {
    let kv = SharedKv::default();
    drop(Network::open(kv.clone(), Retention::Archive).unwrap());
    let other = GenesisSpec { seed: "other".into(), ..genesis() };
    let refused = Chain::open(kv, &other, Retention::Archive).err();
    assert!(matches!(refused, Some(ChainError::ForeignGenesis { .. })));
}

#[test]
fn a_genesis_that_contradicts_itself_is_refused_with_its_reason() {
    type Change = fn(&mut GenesisSpec);
    let cases: [(&str, Change); 9] = [
        ("endowed twice", |spec| spec.endowments.push(spec.endowments[0].clone())),
        ("under the least", |spec| spec.endowments[0].amount = 1),
        ("do not sum to an amount", |spec| spec.endowments[0].amount = u128::MAX),
        ("0 validators", |spec| spec.validators.clear()),
        ("101 validators", |spec| spec.validators = vec![spec.validators[0].clone(); 101]),
        ("named twice", |spec| spec.validators.push(spec.validators[0].clone())),
        ("no votes", |spec| spec.validators[0].power = 0),
        // The consensus engine counts three times all votes in 64 bits.
        ("come to be a vote", |spec| spec.validators[0].power = VOTES_MAX + 1),
        ("come to be a vote", |spec| spec.endowments[0].amount = u128::from(VOTES_MAX + 1) * UNIT),
    ];
    for (reason, change) in cases {
        let mut spec = genesis();
        change(&mut spec);
        let refused = Chain::open(MemoryKv::default(), &spec, Retention::Archive).err();
        assert!(
            matches!(&refused, Some(ChainError::BadGenesis(cause)) if cause.contains(reason)),
            "{reason}"
        );
    }
}

#[test]
fn a_block_with_any_header_field_changed_is_refused() {
    let network = Network::new();
    let signed = network.sign(&alice(), transfer(&Bob.to_account_id(), UNIT));
    let proposal = network.propose(vec![signed]).unwrap();
    assert!(network.chain.verify(&proposal.block).is_ok());
    let wrong = sp_core::H256::repeat_byte(9);
    let changes: [fn(&mut assay_runtime::Header, sp_core::H256); 6] = [
        |header, wrong| header.parent_hash = wrong,
        |header, _| header.number += 1,
        |header, wrong| header.state_root = wrong,
        |header, wrong| header.extrinsics_root = wrong,
        |header, _| drop(header.digest.logs.pop()),
        |header, _| header.digest.logs.push(DigestItem::Other(vec![1])),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut block = proposal.block.clone();
        change(&mut block.header, wrong);
        let refused = network.chain.verify(&block).err();
        assert!(matches!(refused, Some(ChainError::InvalidBlock(_))), "change {index}: {refused:?}");
    }
    let mut block = proposal.block.clone();
    block.extrinsics.pop();
    assert!(network.chain.verify(&block).is_err(), "a missing transaction");
}

#[test]
fn a_block_needs_the_validators_vrf() {
    let network = Network::new();
    assert!(network.chain.propose(1, vec![], vec![]).is_err(), "no VRF");
    let stranger = sp_core::Pair::from_seed(&[1; 32]);
    let input =
        pallet_assay_validators::vrf_input(&network.genesis_digest(), 1, &assay_manifest::sha256(b"tests"));
    let forged = pallet_assay_validators::vrf_sign(&stranger, 0, input.clone());
    assert!(network.chain.propose(1, vec![forged], vec![]).is_err(), "another key");
    let unknown = pallet_assay_validators::vrf_sign(&vrf_key(), 7, input);
    assert!(network.chain.propose(1, vec![unknown], vec![]).is_err(), "no such validator");
    let other_height =
        pallet_assay_validators::vrf_input(&network.genesis_digest(), 2, &assay_manifest::sha256(b"tests"));
    let early = pallet_assay_validators::vrf_sign(&vrf_key(), 0, other_height);
    assert!(network.chain.propose(1, vec![early], vec![]).is_err(), "another height");
}

#[test]
fn a_certificate_for_another_block_is_refused() {
    let mut network = Network::new();
    let first = network.propose(vec![]).unwrap();
    let signed = network.sign(&alice(), transfer(&Bob.to_account_id(), UNIT));
    let second = network.propose(vec![signed]).unwrap();
    let certificate = network.certify(&second.block);
    let refused = network.chain.commit(&first.block, first.executed, &certificate);
    assert!(matches!(refused, Err(ChainError::BadCertificate(_))));
    assert_eq!(network.chain.head().number, 0);
}

#[test]
fn header_items_equal_the_state_and_log_entries_prove() {
    let mut network = Network::new();
    for n in 0..5 {
        let signed = network.sign(&alice(), register(n));
        network.block(vec![signed]);
    }
    let header = HeaderView::decode(&network.chain.head().encode()).unwrap();
    assert_eq!(header.hash.as_bytes(), &network.chain.head().hash().0);
    let (size, root): (u64, assay_manifest::Digest32) = network.call("LedgerApi_log", ());
    assert_eq!(header.log(), Ok((size, root)));
    assert_eq!(size, 5);
    let randomness: Option<assay_manifest::Digest32> = network.call("LedgerApi_randomness", 5u32);
    assert_eq!(header.randomness().ok(), randomness);
    let reader = network.chain.reader();
    let entry = reader.log_entries(3, 1).unwrap().remove(0);
    let proof = reader.log_inclusion(3, 5).unwrap();
    assert_eq!(proof.verify(&merkle::leaf_hash(&entry), &root), Ok(()));
    assert!(reader.log_inclusion(5, 5).is_err());
}

#[test]
fn states_within_the_window_stay_readable_and_older_ones_go() {
    let kv = SharedKv::default();
    let bob = Bob.to_account_id();
    let nodes = |kv: &SharedKv| kv.scan(b"n", b"", usize::MAX).unwrap().len();
    let mut network = Network::open(kv.clone(), Retention::Window(4)).unwrap();
    for round in 0..24 {
        let signed = network.sign(&alice(), transfer(&bob, UNIT));
        network.block(vec![signed]);
        if round == 12 {
            network = Network::open(kv.clone(), Retention::Window(4)).unwrap();
        }
    }
    let reader = network.chain.reader();
    for back in 0..=4 {
        let hash = reader.hash_of(24 - back).unwrap();
        assert!(reader.at(hash).unwrap().walk().unwrap() > 10, "{back} blocks back");
    }
    let old = reader.hash_of(10).unwrap();
    assert!(matches!(reader.at(old), Err(ChainError::Pruned(10))));
    assert!(reader.events(old.unwrap()).unwrap().is_some(), "events outlive the state");
    let whole = Network::open(SharedKv::default(), Retention::Archive).unwrap();
    drop(whole);
    let pruned = nodes(&kv);
    let archive = SharedKv::default();
    let mut network = Network::open(archive.clone(), Retention::Archive).unwrap();
    for _ in 0..24 {
        let signed = network.sign(&alice(), transfer(&bob, UNIT));
        network.block(vec![signed]);
    }
    assert!(pruned < nodes(&archive) / 2, "{pruned} nodes against {} in the archive", nodes(&archive));
}

#[test]
fn a_check_reads_everything_that_a_chain_is_made_of() {
    let kv = SharedKv::default();
    let mut network = Network::open(kv.clone(), Retention::Window(2)).unwrap();
    for n in 0..6 {
        let signed = network.sign(&alice(), register(n));
        network.block(vec![signed]);
    }
    let head = network.chain.head();
    let whole = check(kv.clone(), &genesis()).unwrap();
    assert_eq!((whole.height, whole.head, whole.log_entries), (6, head.hash(), 6));
    assert_eq!(whole.state_keys, network.chain.reader().at(None).unwrap().walk().unwrap());
    // Every entry but nodes of older states, and lists of what is to be deleted.
    let entries = kv.scan(b"", b"", usize::MAX).unwrap();
    for (key, value) in entries.iter().filter(|(key, _)| !key.starts_with(b"n") && !key.starts_with(b"g")) {
        kv.commit(vec![(key.clone(), None)]).unwrap();
        let missed = check(kv.clone(), &genesis()).expect_err("an entry is missing");
        assert!(matches!(missed, ChainError::Corrupt(_)), "{missed}");
        kv.commit(vec![(key.clone(), Some(value.clone()))]).unwrap();
    }
    assert_eq!(check(kv, &genesis()), Ok(whole));
}

#[test]
fn a_walk_compares_every_node_of_the_state_with_its_hash() {
    let kv = SharedKv::default();
    let network = Network::open(kv.clone(), Retention::Archive).unwrap();
    let lease = network.chain.reader().at(None).unwrap();
    let keys = lease.walk().unwrap();
    let nodes = kv.scan(b"n", b"", usize::MAX).unwrap();
    assert!(nodes.len() > 20);
    for (key, value) in nodes {
        let mut other = value.clone();
        *other.last_mut().unwrap() ^= 1;
        for damage in [None, Some(other)] {
            kv.commit(vec![(key.clone(), damage)]).unwrap();
            assert!(matches!(lease.walk(), Err(ChainError::Corrupt(_))));
        }
        kv.commit(vec![(key, Some(value))]).unwrap();
    }
    assert_eq!(lease.walk(), Ok(keys));
}

#[test]
fn a_check_creates_nothing_and_knows_its_chain() {
    let kv = SharedKv::default();
    assert!(matches!(check(kv.clone(), &genesis()), Err(ChainError::Corrupt(_))));
    assert!(kv.scan(b"", b"", 1).unwrap().is_empty());
    drop(Network::open(kv.clone(), Retention::Archive).unwrap());
    let other = GenesisSpec { seed: "another".into(), ..genesis() };
    assert!(matches!(check(kv, &other), Err(ChainError::ForeignGenesis { .. })));
}

#[test]
fn a_leased_state_is_not_pruned() {
    let kv = SharedKv::default();
    let mut network = Network::open(kv, Retention::Window(2)).unwrap();
    let signed = network.sign(&alice(), transfer(&Bob.to_account_id(), UNIT));
    network.block(vec![signed]);
    let lease = network.chain.reader().at(None).unwrap();
    for _ in 0..10 {
        let signed = network.sign(&alice(), transfer(&Bob.to_account_id(), UNIT));
        network.block(vec![signed]);
    }
    assert!(lease.walk().unwrap() > 10);
}

#[test]
fn a_store_failing_at_any_write_leaves_a_state_that_opens() {
    for commits in 0..6 {
        let inner = Arc::new(MemoryKv::default());
        let failing = FailingKv::new(Arc::clone(&inner), commits);
        if let Ok(mut network) = Network::open(failing, Retention::Window(2)) {
            for n in 0..6u8 {
                let signed = network.sign(&alice(), register(n));
                let Ok(proposal) = network.propose(vec![signed]) else { break };
                let Ok(executed) = network.chain.verify(&proposal.block) else { break };
                if let Err(error) = network.commit(&proposal.block, executed) {
                    assert!(error.is_fatal());
                    let head = network.chain.head();
                    assert!(network.propose(vec![]).is_err(), "a failed store is not used again");
                    assert_eq!(network.chain.head(), head);
                    break;
                }
            }
        }
        let mut again = Network::open(inner, Retention::Window(2)).unwrap();
        assert_eq!(u64::from(again.chain.head().number), commits.saturating_sub(1));
        assert!(again.chain.reader().at(None).unwrap().walk().unwrap() > 10);
        again.blocks(1);
    }
}

#[test]
fn the_deepest_allowed_nesting_executes_on_the_big_stack() {
    let mut call = RuntimeCall::System(frame_system::Call::remark { remark: vec![] });
    for _ in 0..60 {
        call = RuntimeCall::Utility(pallet_utility::Call::batch { calls: vec![call] });
    }
    let done = on_big_stack(move || {
        let mut network = Network::new();
        let signed = network.sign(&alice(), call);
        let decoded = decode_extrinsic(&signed.encode()).unwrap();
        network.block(vec![decoded]);
        network.chain.head().number
    });
    assert_eq!(done, Ok(1));
}

#[test]
fn code_upgrades_are_filtered() {
    let mut network = Network::new();
    let call = RuntimeCall::System(frame_system::Call::set_heap_pages { pages: 1 });
    let signed = network.sign(&alice(), call);
    let events = network.block(vec![signed]);
    let filtered = frame_system::Error::<assay_runtime::Runtime>::CallFiltered.into();
    let failed = events.iter().any(|event| {
        use frame_system::Event::ExtrinsicFailed;
        matches!(event, RuntimeEvent::System(ExtrinsicFailed { dispatch_error, .. }) if *dispatch_error == filtered)
    });
    assert!(failed);
}

#[test]
fn a_read_proof_verifies_against_the_state_root() {
    let mut network = Network::new();
    let signed = network.sign(&alice(), register(1));
    network.block(vec![signed]);
    let key = pallet_assay_artifacts::Registrations::<assay_runtime::Runtime>::hashed_key_for(
        ArtifactId::from_bytes([1; 32]),
        sp_keyring::Sr25519Keyring::Alice.to_account_id(),
    );
    let lease = network.chain.reader().at(None).unwrap();
    let proof = sp_state_machine::StorageProof::new(lease.prove(std::slice::from_ref(&key)).unwrap());
    let root = network.chain.head().state_root;
    let read = sp_state_machine::read_proof_check::<BlakeTwo256, _>(root, proof.clone(), [&key]).unwrap();
    assert!(read[&key].is_some());
    let wrong = sp_core::H256::repeat_byte(1);
    assert!(sp_state_machine::read_proof_check::<BlakeTwo256, _>(wrong, proof, [&key]).is_err());
}

#[test]
fn one_block_may_complete_many_subtrees_of_the_log() {
    let mut network = Network::new();
    let mut size = 0u64;
    for count in [3u8, 1, 9, 4] {
        let first = size as u8;
        let nonces = size as u32..;
        let calls =
            nonces.zip(first..first + count).map(|(nonce, n)| network.sign_at(&alice(), nonce, register(n)));
        let signed = calls.collect();
        network.block(signed);
        size += u64::from(count);
        let (logged, root): (u64, assay_manifest::Digest32) = network.call("LedgerApi_log", ());
        assert_eq!(logged, size);
        let reader = network.chain.reader();
        for (index, entry) in (0..).zip(reader.log_entries(0, usize::MAX).unwrap()) {
            let proof = reader.log_inclusion(index, size).unwrap();
            proof.verify(&merkle::leaf_hash(&entry), &root).unwrap();
        }
        assert!(reader.log_inclusion(0, size + 1).is_err(), "a longer log");
    }
}

#[test]
fn functions_that_read_without_bound_are_not_for_outsiders() {
    let network = Network::new();
    let lease = network.chain.reader().at(None).unwrap();
    for function in ["JobsApi_open_jobs", "LedgerApi_check_invariants"] {
        assert!(lease.call(function, &[]).is_ok());
        assert_eq!(lease.call_bounded(function, &[]), Err(ChainError::Unbounded(function.into())));
    }
    assert!(lease.call_bounded("LedgerApi_log", &[]).is_ok());
}

#[test]
fn a_block_with_one_bad_signature_among_many_is_refused_and_without_it_accepted() {
    let (maker, importer) = (Network::new(), Network::new());
    let bob = Bob.to_account_id();
    let signed = (0..40).map(|nonce| maker.sign_at(&alice(), nonce, transfer(&bob, UNIT))).collect();
    let block = maker.propose(signed).unwrap().block;
    for bad in [1, 17, 40] {
        let mut forged = block.clone();
        let signature_of = |extrinsic: &UncheckedExtrinsic| match &extrinsic.preamble {
            Preamble::Signed(_, signature, _) => signature.clone(),
            other => panic!("{other:?}"),
        };
        let other = signature_of(&block.extrinsics[bad % 40 + 1]);
        let Preamble::Signed(_, signature, _) = &mut forged.extrinsics[bad].preamble else { panic!() };
        *signature = other;
        let refused = importer.chain.verify(&forged).err();
        let cause =
            |error| matches!(error, Some(ChainError::InvalidBlock(cause)) if cause.contains("bad signature"));
        assert!(cause(refused), "transaction {bad}");
    }
    let executed = importer.chain.verify(&block).unwrap();
    assert_eq!(executed.events(), maker.chain.verify(&block).unwrap().events());
}

#[test]
fn transactions_checked_together_get_the_answers_that_they_get_alone() {
    let network = Network::new();
    let bob = Bob.to_account_id();
    let good = network.sign_at(&alice(), 0, transfer(&bob, UNIT)).encode();
    let stale_later = network.sign_at(&alice(), 7, transfer(&bob, UNIT)).encode();
    let mut tampered = network.sign_at(&alice(), 1, transfer(&bob, UNIT)).encode();
    *tampered.last_mut().unwrap() ^= 1;
    let poor = network.sign_at(&sp_core::Pair::from_seed(&[77; 32]), 0, transfer(&bob, UNIT)).encode();
    let all = [good, stale_later, tampered, poor, vec![1, 2, 3]];
    let lease = network.chain.reader().at(None).unwrap();
    let together = lease.validate_all(all.iter().map(Vec::as_slice));
    let fresh = Network::new();
    let alone = fresh.chain.reader().at(None).unwrap();
    for (answer, bytes) in together.into_iter().zip(&all) {
        assert_eq!(answer, alone.validate(bytes));
    }
}
