//! Who signs is counted by the commits that blocks carry; who signs nothing waits, and loses nothing.

use std::sync::Arc;

use assay_manifest::Digest32;
use assay_protocol::certificate::ValidatorSet;
use assay_protocol::last_commit::LastCommit;
use assay_protocol::params::Params;
use assay_protocol::signature::Signature;
use assay_runtime::executor::{ChainError, MemoryKv, Retention, check, check_commit, extrinsics_root};
use assay_runtime::{
    AccountId, Block, Endowment, GenesisSpec, Runtime, RuntimeCall, RuntimeEvent, UNIT, UncheckedExtrinsic,
    last_commit,
};
use codec::{Decode, Encode};
use pallet_assay_validators::{Attended, Bond, Bonds, Call, Error, Event};
use sp_core::Pair;

use crate::support::{Network, VALIDATORS, founder_of, provider, town, validator_key};
use crate::validators::{Net, conviction, end_session, equivocation, height, join, key, keys, refused, send};

/// Votes of the first of five validators: the other four together have less than a tenth.
const FIRST_VOTES: u64 = 44;
const SESSION: u32 = Params::DEVELOPMENT.session_length;

fn spec() -> GenesisSpec {
    let mut spec = town();
    spec.validators[0].power = FIRST_VOTES;
    let newcomers = (12..20).map(|n| Endowment { account: provider(n).public().into(), amount: 100 * UNIT });
    spec.endowments.extend(newcomers);
    spec
}

fn open_with(kv: Arc<MemoryKv>, spec: &GenesisSpec) -> Net {
    Network::with(kv, spec, Retention::Archive).unwrap()
}

/// Five validators at the beginning of a session: those of a town, and provider 0 with so many votes.
fn five(votes: u128) -> Net {
    let mut net = open_with(Arc::default(), &spec());
    join(&mut net, 0, votes * UNIT);
    net
}

fn attendance(net: &Net) -> (Attended, Attended) {
    net.call("LedgerApi_attendance", ())
}

fn set(net: &Net) -> ValidatorSet {
    net.call("LedgerApi_validators", ())
}

fn bond(net: &Net, account: impl Into<AccountId>) -> Bond<u32> {
    let lease = net.chain.reader().at(None).unwrap();
    let bytes = lease.storage(&Bonds::<Runtime>::hashed_key_for(account.into())).unwrap().unwrap();
    Bond::decode(&mut bytes.as_slice()).unwrap()
}

fn is_absent(event: &RuntimeEvent) -> bool {
    matches!(event, RuntimeEvent::Validators(Event::Absent { .. }))
}

fn has_returned(event: &RuntimeEvent) -> bool {
    matches!(event, RuntimeEvent::Validators(Event::Returned { .. }))
}

fn noted(LastCommit { round, signatures }: LastCommit) -> UncheckedExtrinsic {
    let signatures = signatures.try_into().unwrap();
    UncheckedExtrinsic::new_bare(RuntimeCall::Validators(Call::note_commit { round, signatures }))
}

/// Why a block is refused whose extrinsics were changed, and whose header names them.
fn refusal(net: &Net, block: &Block, change: impl FnOnce(&mut Vec<UncheckedExtrinsic>)) -> String {
    let mut block = block.clone();
    change(&mut block.extrinsics);
    block.header.extrinsics_root = extrinsics_root(&block);
    match net.chain.verify(&block).err() {
        Some(ChainError::InvalidBlock(cause)) => cause,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_block_carries_the_commit_of_the_one_before_first_whole_and_once() {
    let mut net = open_with(Arc::default(), &town());
    let first = net.propose(vec![]).unwrap().block;
    assert_eq!(last_commit(&first), None, "nobody decided block 0");
    net.blocks(1);
    let block = net.propose(vec![]).unwrap().block;
    assert!(net.chain.verify(&block).is_ok());
    let good = last_commit(&block).unwrap();
    assert_eq!(good.signatures.iter().flatten().count(), usize::from(VALIDATORS));
    let missing = refusal(&net, &block, |extrinsics| drop(extrinsics.remove(0)));
    assert!(missing.contains("lacks the commit"), "{missing}");
    for cause in [
        refusal(&net, &block, |extrinsics| extrinsics.swap(0, 1)),
        refusal(&net, &block, |extrinsics| extrinsics.insert(0, extrinsics[0].clone())),
        refusal(&net, &block, |extrinsics| extrinsics.push(extrinsics[0].clone())),
    ] {
        assert!(cause.contains("mandatory"), "{cause}");
    }
    type Change = fn(&mut LastCommit);
    let changes: [(&str, Change); 7] = [
        ("votes are not", |commit| commit.signatures[..2].fill(None)),
        ("is wrong", |commit| commit.round += 1),
        ("is wrong", |commit| commit.signatures[1] = Some(Signature([7; 64]))),
        ("is wrong", |commit| commit.signatures.swap(0, 1)),
        ("is wrong", |commit| commit.signatures[1] = commit.signatures[0]),
        ("places for 5", |commit| commit.signatures.push(commit.signatures[0])),
        ("places for 3", |commit| commit.signatures.truncate(3)),
    ];
    for (expected, change) in changes {
        let mut bad = good.clone();
        change(&mut bad);
        let cause = refusal(&net, &block, |extrinsics| extrinsics[0] = noted(bad));
        assert!(cause.contains(expected), "{expected}: {cause}");
    }
    let early = refusal(&open_with(Arc::default(), &town()), &first, |extrinsics| {
        extrinsics.insert(0, noted(good.clone()));
    });
    assert!(early.contains("mandatory"), "{early}");
}

#[test]
fn a_commit_of_a_fork_is_not_that_of_the_block_before() {
    let mut net = open_with(Arc::default(), &town());
    net.blocks(1);
    let good = last_commit(&net.propose(vec![]).unwrap().block).unwrap();
    net.blocks(1);
    let block = net.propose(vec![]).unwrap().block;
    let cause = refusal(&net, &block, |extrinsics| extrinsics[0] = noted(good));
    assert!(cause.contains("is wrong"), "{cause}");
}

#[test]
fn the_store_is_checked_for_the_commits_and_a_node_that_starts_again_has_them() {
    let kv = Arc::<MemoryKv>::default();
    let mut net = open_with(Arc::clone(&kv), &town());
    net.blocks(3);
    drop(net);
    let mut net = open_with(Arc::clone(&kv), &town());
    let block = net.propose(vec![]).unwrap().block;
    let validators = net.chain.reader().validators_of(3).unwrap();
    assert_eq!(check_commit(&block, &net.chain.genesis(), Some(&validators)), Ok(()));
    assert!(check_commit(&block, &net.chain.genesis(), None).is_err());
    let mut without = block.clone();
    without.extrinsics.remove(0);
    assert!(check_commit(&without, &net.chain.genesis(), Some(&validators)).is_err());
    net.blocks(3 * SESSION);
    drop(net);
    assert!(check(kv, &town()).is_ok());
}

#[test]
fn votes_that_come_after_the_decision_are_carried_and_those_of_others_are_not() {
    let mut net = open_with(Arc::default(), &town());
    net.absent.insert(validator_key(3));
    net.blocks(1);
    let signed = |net: &Net| {
        last_commit(&net.propose(vec![]).unwrap().block).unwrap().signatures.iter().flatten().count()
    };
    assert_eq!(signed(&net), 3);
    let block = net.chain.reader().block(net.chain.head().hash()).unwrap().unwrap();
    let fewer = net.certify(&block);
    net.absent.clear();
    let all = net.certify(&block);
    let mut forged = all.clone();
    forged.signatures[0].signature = Signature([7; 64]);
    assert!(matches!(net.chain.add_votes(forged), Err(ChainError::BadCertificate(_))));
    let next = net.propose(vec![]).unwrap().block;
    assert!(matches!(net.chain.add_votes(net.certify(&next)), Err(ChainError::BadCertificate(_))));
    assert_eq!(signed(&net), 3);
    net.chain.add_votes(all).unwrap();
    assert_eq!(signed(&net), 4);
    net.chain.add_votes(fewer).unwrap();
    assert_eq!(signed(&net), 4, "what was seen is not forgotten");
}

#[test]
fn signatures_are_counted_by_the_session() {
    let mut net = open_with(Arc::default(), &town());
    end_session(&mut net);
    net.absent.insert(validator_key(2));
    net.blocks(1);
    assert_eq!(attendance(&net).0.commits, 0, "the last block's commit is of the session before");
    net.blocks(4);
    net.absent.clear();
    net.blocks(1);
    let (session, before) = attendance(&net);
    assert_eq!((session.commits, before.commits), (5, SESSION - 2), "blocks 0 and 9 have none that counts");
    assert_eq!(session.of(&validator_key(2)), Some(0));
    assert_eq!(session.of(&validator_key(1)), Some(5));
    assert_eq!(session.of(&Digest32::ZERO), None);
    net.blocks(1);
    assert_eq!(attendance(&net).0.of(&validator_key(2)), Some(1), "its vote is in the commit of block 15");
    assert_eq!(before.of(&validator_key(2)), Some(before.commits));
    end_session(&mut net);
    let (session, before) = attendance(&net);
    assert_eq!(session, before, "the session has just ended");
    assert_eq!(before.commits, SESSION - 1);
    assert_eq!(before.of(&validator_key(2)), Some(SESSION - 6));
    assert!(!bond(&net, founder_of(2).public()).absent, "who is slow stays");
}

#[test]
fn counting_goes_on_when_somebody_is_convicted() {
    let mut net = five(1);
    net.absent.insert(validator_key(1));
    net.blocks(4);
    let commits = attendance(&net).0.commits;
    let proof = equivocation(&net, &key(0), height(&net));
    net.block(vec![conviction(proof)]);
    assert_eq!(set(&net).validators().len(), 4, "at once");
    let (session, _) = attendance(&net);
    assert_eq!(session.of(&keys(0).key), Some(commits + 1), "it still decided that block");
    net.blocks(1);
    let (session, _) = attendance(&net);
    assert_eq!((session.of(&keys(0).key), session.commits), (None, commits + 2));
    assert_eq!(session.of(&validator_key(1)), Some(0), "each place still is that validator's");
    assert_eq!(session.of(&validator_key(2)), Some(commits + 2));
    end_session(&mut net);
    net.blocks(SESSION);
}

#[test]
fn who_signs_nothing_for_a_session_waits_until_its_owner_says_that_it_is_back() {
    let mut net = five(1);
    let everybody = set(&net);
    assert_eq!(send(&mut net, &provider(0), Call::resume {}), refused(Error::NotAbsent));
    assert_eq!(send(&mut net, &provider(1), Call::resume {}), refused(Error::NotBonded));
    end_session(&mut net);
    assert_eq!(set(&net), everybody);
    net.absent.insert(keys(0).key);
    end_session(&mut net);
    // Its vote of the block before the session is not the session's.
    assert_eq!(net.events().iter().filter(|event| is_absent(event)).count(), 1);
    assert!(!set(&net).has(&keys(0).key), "it waits");
    assert_eq!(set(&net).validators().len(), 4);
    let left_out = bond(&net, provider(0).public());
    assert_eq!((left_out.stake, left_out.unbonding.len()), (UNIT, 0), "nothing of its stake is touched");
    net.absent.clear();
    net.blocks(2 * SESSION);
    assert!(!set(&net).has(&keys(0).key), "until its owner speaks");
    let events = send(&mut net, &provider(0), Call::resume {}).unwrap();
    assert_eq!(events.iter().filter(|event| has_returned(event)).count(), 1);
    end_session(&mut net);
    assert_eq!(set(&net), everybody);
    net.blocks(2 * SESSION);
    assert_eq!(set(&net), everybody);
}

#[test]
fn one_commit_in_a_session_is_enough() {
    let mut net = five(1);
    end_session(&mut net);
    net.absent.insert(keys(0).key);
    net.blocks(SESSION / 2);
    net.absent.clear();
    net.blocks(1);
    net.absent.insert(keys(0).key);
    end_session(&mut net);
    assert_eq!(attendance(&net).1.of(&keys(0).key), Some(1));
    assert!(set(&net).has(&keys(0).key));
}

#[test]
fn four_are_left_and_nine_tenths_of_the_votes() {
    // Five with a vote or two: of two who are absent, the one of fewer votes waits.
    let mut net = five(2);
    end_session(&mut net);
    net.absent.extend([keys(0).key, validator_key(1)]);
    end_session(&mut net);
    assert_eq!(net.events().iter().filter(|event| is_absent(event)).count(), 2);
    assert!(set(&net).has(&keys(0).key) && !set(&net).has(&validator_key(1)));
    // Who was absent and is seen again is no longer, without a word.
    net.absent.clear();
    end_session(&mut net);
    assert_eq!(net.events().iter().filter(|event| has_returned(event)).count(), 1);
    assert!(!bond(&net, provider(0).public()).absent);

    // More than a tenth of the votes: nobody can be made to wait by keeping it from being heard.
    let mut net = five(6);
    let everybody = set(&net);
    end_session(&mut net);
    net.absent.insert(keys(0).key);
    net.blocks(2 * SESSION);
    assert!(bond(&net, provider(0).public()).absent);
    assert_eq!(set(&net), everybody);
}

#[test]
fn a_session_with_less_commits_than_validators_judges_nobody() {
    let mut short = spec();
    short.params.session_length = 5;
    let mut net = open_with(Arc::default(), &short);
    net.absent.insert(validator_key(1));
    while height(&net) < 14 {
        net.blocks(1);
    }
    assert!(bond(&net, founder_of(1).public()).absent, "four commits, four validators");
    short.params.session_length = 4;
    let mut net = open_with(Arc::default(), &short);
    net.absent.insert(validator_key(1));
    net.blocks(15);
    assert!(!bond(&net, founder_of(1).public()).absent, "three commits");
}

/// What each block carries more: a byte for a place, and 64 for a signature.
#[test]
fn the_size_of_a_commit() {
    for (validators, signed, size_bytes) in
        [(1usize, 1usize, 75), (4, 3, 206), (4, 4, 270), (100, 67, 4_399), (100, 100, 6_511)]
    {
        let signatures = (0..validators).map(|place| (place < signed).then_some(Signature([1; 64])));
        let commit = LastCommit { round: 0, signatures: signatures.collect() };
        assert_eq!(noted(commit).encode().len(), size_bytes, "{signed} of {validators} validators");
    }
}
