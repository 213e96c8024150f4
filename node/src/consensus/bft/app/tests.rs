//! Two validators or more, whose messages the tests carry.

use std::sync::Mutex;

use assay_protocol::vote::Equivocation;
use assay_runtime::executor::MemoryKv;
use assay_runtime::{Hash, UncheckedExtrinsic};
use malachite_core_types::{NilOrVal, Round, SignedMessage, VoteType};
use tempfile::TempDir;

use super::*;
use crate::adapters::CandidateFile;
use crate::chain_spec::{ChainSpec, development_validator};
use crate::consensus::bft::context::Vote;
use crate::consensus::{Config, Network};
use crate::ledger;

/// No transactions; the proofs that it was given.
#[derive(Clone, Default)]
struct Proofs(Arc<Mutex<Vec<Equivocation>>>);

impl TransactionSource for Proofs {
    async fn ready(&self) -> Vec<UncheckedExtrinsic> {
        Vec::new()
    }

    async fn rejected(&self, _hashes: Vec<Hash>) {}

    async fn convict(&self, proof: Equivocation) {
        self.0.lock().unwrap().push(proof);
    }
}

type TestApp = App<Proofs, CandidateFile>;

struct Town {
    dir: TempDir,
    ledgers: Vec<LedgerHandle>,
    proofs: Proofs,
}

impl Town {
    fn new() -> Self {
        Self::of(2)
    }

    fn of(validators: u32) -> Self {
        let spec = ChainSpec::local(validators).unwrap();
        let ledger =
            |_| ledger::open(MemoryKv::default(), &spec.genesis, ledger::Config::default()).unwrap().handle;
        Self {
            dir: tempfile::tempdir().unwrap(),
            ledgers: (0..validators).map(ledger).collect(),
            proofs: Proofs::default(),
        }
    }

    /// A validator's application, at the height after its ledger's head. Only one of it may be there at a time.
    async fn app(&self, number: u32) -> TestApp {
        let (keys, ledger) = (development_validator(number + 1), self.ledgers[number as usize].reserved());
        let signatures = Signatures { genesis: Digest32::from_bytes(ledger.genesis().0) };
        let signing = Signing { signatures, key: keys.consensus.clone() };
        let consensus = Consensus {
            config: Config {
                block_time: Duration::from_secs(1),
                clock: Clock::system(),
                network: Network::alone(),
                write_ahead_log: self.dir.path().join("wal"),
            },
            proposer: Some(Proposer::new(keys, ledger.clone(), self.proofs.clone())),
            candidates: CandidateFile::open(&self.dir.path().join(number.to_string())).unwrap(),
            ledger,
        };
        let mut app = App::new(consensus, signatures, Some(signing));
        app.next_height().await.unwrap();
        app
    }
}

fn key(number: u32) -> ValidatorKey {
    development_validator(number + 1).public().into()
}

fn peer() -> PeerId {
    let keypair = malachite_app::types::Keypair::ed25519_from_bytes([7; 32]).unwrap();
    PeerId::from_bytes(&keypair.public().to_peer_id().to_bytes()).unwrap()
}

/// A round of the application's height that a validator proposes in, from one on.
fn round_of(app: &TestApp, number: u32, from: u32) -> Round {
    let rounds = (from..).map(Round::new);
    let mut own =
        rounds.filter(|round| *app.validators.proposer(app.height, *round).address() == key(number));
    own.next().unwrap()
}

fn opening(candidate: &Candidate) -> Opening {
    Opening {
        height: Height::from(candidate.height),
        round: Round::new(candidate.round),
        proposer: candidate.proposer.into(),
        value: BlockHash(*candidate.value.as_bytes()),
        contents: Contents::of(&candidate.block),
        signature: VoteSignature(candidate.signature.unwrap()),
    }
}

async fn validity(app: &mut TestApp, candidate: &Candidate) -> Option<Validity> {
    let value = app.proposal(opening(candidate), candidate.block.clone()).await.unwrap();
    value.map(|value| value.validity)
}

/// What these validators precommit to.
fn certificate(app: &TestApp, candidate: &Candidate, by: &[u32]) -> CommitCertificate<Chain> {
    let signature = |number: u32| {
        let vote = Vote {
            kind: VoteType::Precommit,
            height: Height::from(candidate.height),
            round: Round::new(candidate.round),
            value: NilOrVal::Val(BlockHash(*candidate.value.as_bytes())),
            voter: key(number),
        };
        let message = super::super::signing::vote_of(&vote).sign_bytes(&app.signatures.genesis);
        let signing =
            Signing { signatures: app.signatures, key: development_validator(number + 1).consensus };
        CommitSignature::new(key(number), signing.sign(message.as_bytes()))
    };
    CommitCertificate {
        height: Height::from(candidate.height),
        round: Round::new(candidate.round),
        value_id: BlockHash(*candidate.value.as_bytes()),
        commit_signatures: by.iter().copied().map(signature).collect(),
    }
}

#[tokio::test]
async fn a_validator_proposes_the_same_again_after_a_crash() {
    let town = Town::new();
    let (first, round) = {
        let app = town.app(0).await;
        let round = round_of(&app, 0, 0);
        (app.propose(app.height, round).await.unwrap().unwrap(), round)
    };
    let app = town.app(0).await;
    assert_eq!(app.propose(app.height, round).await.unwrap().as_ref(), Some(&first));
    let later = round_of(&app, 0, round.as_u32().unwrap() + 1);
    assert_ne!(app.propose(app.height, later).await.unwrap().unwrap().round, first.round);
    assert_eq!(app.propose(Height(9), round).await.unwrap(), None, "not the height that is being decided");
}

#[tokio::test]
async fn a_block_travels_is_judged_decided_and_passed_on() {
    let town = Town::new();
    let (mut from, mut to) = (town.app(0).await, town.app(1).await);
    let round = round_of(&from, 0, 0);
    let candidate = from.propose(from.height, round).await.unwrap().unwrap();
    let parts = split(Bytes::from_static(b"stream"), opening(&candidate), &candidate.block);
    let publisher = peer();
    let mut whole = None;
    for part in parts {
        whole = whole.or(to.receive(publisher, part));
    }
    assert!(to.assembly.is_empty());
    let (opening, block) = whole.unwrap();
    let value = to.proposal(opening, block).await.unwrap().unwrap();
    assert_eq!((value.validity, value.value.0), (Validity::Valid, *candidate.value.as_bytes()));
    assert_eq!(
        to.of_round(to.height, round).await.unwrap(),
        std::slice::from_ref(&candidate),
        "it is on disk before a vote"
    );
    let certificate = certificate(&to, &candidate, &[0, 1]);
    for app in [&mut from, &mut to] {
        app.commit(certificate.clone()).await.unwrap();
        // As the log of messages says it again after a crash.
        app.commit(certificate.clone()).await.unwrap();
        assert_eq!(app.ledger.head().hash().0, *candidate.value.as_bytes());
        assert_eq!(app.of_round(Height(1), round).await.unwrap(), []);
    }
    let passed_on = from.decided(Height(1), Height(7)).await.unwrap();
    assert_eq!(passed_on.len(), 1);
    assert_eq!(passed_on[0].value_bytes, candidate.block);
    assert_eq!(passed_on[0].certificate.trim_vote_extensions(), certificate);
}

#[tokio::test]
async fn votes_that_come_after_the_decision_are_in_the_next_block() {
    let town = Town::of(4);
    let mut app = town.app(0).await;
    let first = app.propose(app.height, round_of(&app, 0, 0)).await.unwrap().unwrap();
    app.commit(certificate(&app, &first, &[3, 0, 1])).await.unwrap();
    let (height, _) = app.next_height().await.unwrap();
    let mut round = round_of(&app, 0, 0);
    let mut signed = async |app: &TestApp| {
        let next = app.propose(height, round).await.unwrap().unwrap();
        round = round_of(app, 0, round.as_u32().unwrap() + 1);
        let commit = assay_runtime::last_commit(&decode_block(&next.block).unwrap()).unwrap();
        commit.signatures.iter().flatten().count()
    };
    assert_eq!(signed(&app).await, 3);
    let mut forged = certificate(&app, &first, &[0, 1, 2, 3]);
    forged.commit_signatures[2].signature = VoteSignature([7; 64]);
    app.add_votes(&forged).await.unwrap();
    assert_eq!(signed(&app).await, 3);
    app.add_votes(&certificate(&app, &first, &[2, 3, 0, 1])).await.unwrap();
    assert_eq!(signed(&app).await, 4);
}

#[tokio::test]
async fn blocks_that_only_their_proposer_wants_get_no_vote() {
    let town = Town::new();
    let (from, mut to) = (town.app(0).await, town.app(1).await);
    let round = round_of(&from, 0, 0);
    let honest = from.propose(from.height, round).await.unwrap().unwrap();
    let garbage = Candidate { block: b"no block".to_vec(), ..honest.clone() };
    assert_eq!(validity(&mut to, &garbage).await, None);
    let renamed = Candidate { value: Digest32::from_bytes([9; 32]), ..honest.clone() };
    assert_eq!(validity(&mut to, &renamed).await, None);
    // No more of this round are executed.
    assert_eq!(validity(&mut to, &honest).await, None);

    // A proposer whose clock is an hour ahead.
    let ahead =
        from.proposer.as_ref().unwrap().propose_at(Clock::system().now_ms() + 3_600_000).await.unwrap();
    let later = round_of(&from, 0, round.as_u32().unwrap() + 1);
    let value = Digest32::from_bytes(ahead.header.hash().0);
    let ahead = Candidate { round: later.as_u32().unwrap(), value, block: ahead.encode(), ..honest.clone() };
    for _ in 0..=JUDGED_MAX {
        assert_eq!(validity(&mut to, &ahead).await, None, "it may be valid later");
    }

    // Another's evaluation of the beacon, which its proposer may have chosen for what it gives.
    let others = to.proposer.as_ref().unwrap().propose_at(0).await.unwrap();
    let value = Digest32::from_bytes(others.header.hash().0);
    let chosen =
        Candidate { round: later.as_u32().unwrap(), value, block: others.encode(), ..honest.clone() };
    assert_eq!(validity(&mut to, &chosen).await, None);
    assert_eq!(to.of_round(to.height, later).await.unwrap(), [], "nothing of it is kept");

    // Its own, with a state that its execution does not give.
    let mut wrong = decode_block(&honest.block).unwrap();
    wrong.header.state_root = Hash::repeat_byte(7);
    let value = Digest32::from_bytes(wrong.header.hash().0);
    let last = round_of(&from, 0, later.as_u32().unwrap() + 1);
    let wrong = Candidate { round: last.as_u32().unwrap(), value, block: wrong.encode(), ..honest };
    assert_eq!(validity(&mut to, &wrong).await, Some(Validity::Invalid));
    assert_eq!(to.of_round(to.height, last).await.unwrap(), [], "nothing of it is kept");
}

/// The block's header with other transactions.
fn with_another_body(candidate: &Candidate) -> Vec<u8> {
    let mut block = decode_block(&candidate.block).unwrap();
    block.extrinsics.extend(block.extrinsics.first().cloned());
    block.encode()
}

#[tokio::test]
async fn a_block_is_not_invalid_because_somebody_sends_another_body_in_its_name() {
    let town = Town::new();
    let (from, mut to) = (town.app(0).await, town.app(1).await);
    let round = round_of(&from, 0, 0);
    let candidate = from.propose(from.height, round).await.unwrap().unwrap();
    let altered = Candidate { block: with_another_body(&candidate), ..candidate.clone() };
    let synced = to.synced(to.height, round, key(0), &altered.block).await.unwrap();
    assert!(matches!(synced, SyncedValueOutcome::PeerFault));
    assert_eq!(validity(&mut to, &altered).await, None);
    assert_eq!(validity(&mut to, &candidate).await, Some(Validity::Valid));
}

#[tokio::test]
async fn parts_that_the_rounds_proposer_did_not_sign_are_refused() {
    let town = Town::new();
    let (from, mut to) = (town.app(0).await, town.app(1).await);
    let round = round_of(&from, 0, 0);
    let candidate = from.propose(from.height, round).await.unwrap().unwrap();
    let publisher = peer();
    let mut taken = |opening: Opening| {
        let mut parts = split(Bytes::from_static(b"stream"), opening, &candidate.block);
        parts.truncate(1);
        to.receive(publisher, parts.remove(0));
        let taken = !to.assembly.is_empty();
        to.assembly = Assembly::default();
        taken
    };
    let good = opening(&candidate);
    assert!(taken(good.clone()));
    assert!(!taken(Opening { round: round_of(&from, 1, 0), ..good.clone() }), "another's turn");
    assert!(!taken(Opening { proposer: key(1), ..good.clone() }), "another's name");
    assert!(!taken(Opening { value: BlockHash([1; 32]), ..good.clone() }), "another block");
    assert!(!taken(Opening { contents: Contents::of(&[1]), ..good.clone() }), "other bytes");
    let [near, far] = [1, ROUNDS_AHEAD_MAX + 1].map(|first| round_of(&from, 0, first));
    let near = from.propose(from.height, near).await.unwrap().unwrap();
    assert!(taken(opening(&near)), "a round that others may have begun");
    let far = from.propose(from.height, far).await.unwrap().unwrap();
    assert!(!taken(opening(&far)), "a round far ahead");
    assert!(!taken(Opening { round: Round::Nil, ..good.clone() }), "no round");
    assert!(!taken(Opening { height: Height(3), ..good }), "a height far ahead");
}

#[tokio::test]
async fn a_node_that_catches_up_blames_a_peer_for_garbage_and_nobody_for_being_early() {
    let town = Town::new();
    let (from, to) = (town.app(0).await, town.app(1).await);
    let round = round_of(&from, 0, 0);
    let candidate = from.propose(from.height, round).await.unwrap().unwrap();
    let outcome = |height: u64, bytes: &[u8]| {
        let bytes = bytes.to_vec();
        let to = &to;
        async move { to.synced(Height(height), round, key(0), &bytes).await.unwrap() }
    };
    assert!(matches!(outcome(1, b"no block").await, SyncedValueOutcome::PeerFault));
    assert!(matches!(outcome(2, &candidate.block).await, SyncedValueOutcome::LocalTransientError));
    let SyncedValueOutcome::Verdict(value) = outcome(1, &candidate.block).await else { panic!("a verdict") };
    assert_eq!((value.validity, value.value.0), (Validity::Valid, *candidate.value.as_bytes()));
}

#[tokio::test]
async fn the_ledger_is_told_of_who_votes_for_two_things() {
    let town = Town::new();
    let app = town.app(0).await;
    let mut evidence = MisbehaviorEvidence { proposals: Default::default(), votes: Default::default() };
    app.report(&evidence).await;
    assert!(town.proofs.0.lock().unwrap().is_empty());
    let signing = Signing { signatures: app.signatures, key: development_validator(2).consensus };
    let signed = |value| {
        let (height, round) = (Height(1), Round::new(2));
        let vote = Vote { kind: VoteType::Precommit, height, round, value, voter: key(1) };
        let message = super::super::signing::vote_of(&vote).sign_bytes(&app.signatures.genesis);
        SignedMessage::new(vote, signing.sign(message.as_bytes()))
    };
    let values = [NilOrVal::Nil, NilOrVal::Val(BlockHash([1; 32])), NilOrVal::Val(BlockHash([2; 32]))];
    let [nil, one, two] = values.map(signed);
    evidence.votes.add(nil, one.clone());
    evidence.votes.add(one, two);
    app.report(&evidence).await;
    let proofs = town.proofs.0.lock().unwrap().clone();
    assert_eq!(proofs.len(), 1, "one is enough");
    assert_eq!(proofs[0].validator, development_validator(2).public());
    proofs[0].verify(&app.signatures.genesis).unwrap();
}
