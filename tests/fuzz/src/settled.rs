//! A receipt that verifies, as the parties of a job would have made it, and what it rests on.

use assay_manifest::merkle::{self, InclusionProof};
use assay_manifest::{Digest32, JobId, ModelId, SpecId};
use assay_protocol::certificate::{CommitCertificate, Validator, ValidatorSet, ValidatorSignature};
use assay_protocol::commitment::{
    Claim, FailCode, Finish, Opening, Salt, SaltPurpose, SeatId, ValueKind, input_commit, trace_blind,
};
use assay_protocol::draw::{self, Candidate, DrawFacts};
use assay_protocol::header::{BEACON_ENGINE, HeaderView, LOG_ENGINE};
use assay_protocol::job::{Payments, SeatOutcome, SeatRecord, SettlementRecord, SignedCommitment, Verdict};
use assay_protocol::party::Role;
use assay_protocol::receipt::{
    Disclosure, DrawEvidence, Evidence, LedgerReceipt, OpenedInput, OpenedOutput, OpenedTrace, Receipt,
    SelfReceipt, SelfStatement, Trust,
};
use assay_protocol::record::{Class, PROTOCOL_VERSION, Policy, Prices, PublicRecord};
use assay_protocol::request::{Message, Prompt, REQUEST_VERSION, Request, Sampler, prompt_hash};
use assay_protocol::signature::{SeatStep, Signature};
use assay_protocol::units::{Amount, Height, Price, Tokens};
use codec::{Compact, Encode};
use ed25519_dalek::{Signer, SigningKey};
use rand::SeedableRng;
use rand::rngs::StdRng;
use schnorrkel::context::{attach_rng, signing_context};

const ROUND: u8 = 1;
const VERIFIERS: u8 = 2;
const TOKENS: [u32; 3] = [1, 2, 3];
/// Heights of the two draws and of the settlement.
const HEIGHTS: [u32; 3] = [12, 15, 20];

fn genesis() -> Digest32 {
    Digest32::from_bytes([9; 32])
}

fn validator() -> SigningKey {
    SigningKey::from_bytes(&[8; 32])
}

fn salt() -> Salt {
    Salt::from_bytes([4; 32])
}

/// The chain and its validator.
pub fn trust() -> Trust {
    let key = Digest32::from_bytes(validator().verifying_key().to_bytes());
    Trust::of_genesis(genesis(), ValidatorSet::new(vec![Validator { key, power: 1 }]))
}

/// A job that one executor and two verifiers agree on, everything disclosed.
pub fn ledger() -> LedgerReceipt {
    let asked = asked();
    let requester = [7; 32];
    let job = asked.job_id(&genesis(), &requester, 3);
    let claim = Claim::of(&salt(), &TOKENS, Finish::Eos);
    let blind = trace_blind(&salt(), ROUND, &Digest32::ZERO, 0);
    let opening = Opening { kind: ValueKind::Ok, position: 0, code: FailCode::None, blind };
    let value = opening.value(&job, ROUND, &claim);
    let [executors, verifiers] = [0, 1].map(|draw| drawn(&job, draw));
    let seats = [(&executors, 1), (&verifiers, VERIFIERS)].into_iter().flat_map(|(drawn, count)| {
        drawn.seats.iter().take(count.into()).map(|candidate| (drawn.role, *candidate))
    });
    let seats: Vec<SeatRecord> = (0u8..)
        .zip(seats)
        .map(|(index, (role, candidate))| seat(&job, index, (role, candidate), (&value, &claim)))
        .collect();
    let settlement = SettlementRecord {
        job,
        genesis: genesis(),
        requester,
        nonce: 3,
        request: asked,
        bond: Amount::new(100),
        round: ROUND,
        verdict: Verdict::VerifiedThin,
        opening: Some(opening),
        value: Some(value),
        claim: Some(claim),
        executor_draw: Some(executors.facts),
        verifier_draw: Some(verifiers.facts),
        at_large_draw: None,
        recheck_draw: None,
        seats: seats.try_into().expect("three seats"),
        payments: Payments::default(),
        settled_at: Height::new(HEIGHTS[2]),
    };
    let (inclusion, checkpoint) = logged(&settlement);
    LedgerReceipt {
        settlement,
        inclusion,
        checkpoint,
        hand_overs: Vec::new(),
        executor_draw: Some(executors.evidence),
        verifier_draw: Some(verifiers.evidence),
        at_large_draw: None,
        provenance: Vec::new(),
        recheck_draw: None,
        opened: Some(disclosure()),
    }
}

/// The same receipt around another record: in a log and under a header that the validator signed.
pub fn sealed(receipt: &LedgerReceipt) -> LedgerReceipt {
    let (inclusion, checkpoint) = logged(&receipt.settlement);
    LedgerReceipt { inclusion, checkpoint, ..receipt.clone() }
}

/// A statement about one's own execution.
pub fn own() -> Receipt {
    let pair = pair(3);
    let statement = SelfStatement {
        class: Class::Exact,
        model_id: ModelId::from_bytes([1; 32]),
        spec_id: SpecId::from_bytes([2; 32]),
        request: request(),
        seed: Digest32::ZERO,
        tokens: TOKENS.to_vec(),
        finish: Finish::Eos,
        trace_root: Digest32::ZERO,
        signer: pair.public.to_bytes(),
    };
    let signature = sign(&pair, &statement.digest());
    Receipt::Own(Box::new(SelfReceipt { statement, signature }))
}

fn request() -> Request {
    Request {
        version: REQUEST_VERSION,
        prompt: Prompt::Chat(vec![Message { role: "user".into(), content: "one and one?".into() }]),
        now_s: 5,
        n_in: 100,
        prompt_hash: prompt_hash(&[1, 2]),
        max_tokens: 50,
        stop: vec!["\n".into()],
        sampler: Sampler::greedy(),
        seed: None,
        salt_hash: salt().hash(),
    }
}

fn asked() -> PublicRecord {
    PublicRecord {
        version: PROTOCOL_VERSION,
        class: Class::Exact,
        model_id: ModelId::from_bytes([1; 32]),
        spec_id: SpecId::from_bytes([2; 32]),
        input_commit: input_commit(&salt(), &request().to_bytes()),
        n_in: Tokens::new(100),
        n_max: Tokens::new(50),
        policy: Policy::Verified { verifiers: VERIFIERS },
        prices: Prices { input: Price::new(10), output: Price::new(30), verify_max: Price::new(20) },
        valid_until: Height::new(64),
        max_eyes: 0,
        direct_executor: None,
        parent: None,
        verified_range: None,
    }
}

fn disclosure() -> Disclosure {
    let trace_salt = salt().derive(SaltPurpose::Trace { round: ROUND });
    Disclosure {
        salt: Some(salt()),
        input: Some(OpenedInput { salt: salt().derive(SaltPurpose::Input), request: request() }),
        output: Some(OpenedOutput { salt: salt().derive(SaltPurpose::Output), tokens: TOKENS.to_vec() }),
        trace: Some(OpenedTrace { salt: trace_salt, trace_root: Digest32::ZERO, right_token: 0 }),
    }
}

fn pair(number: u8) -> schnorrkel::Keypair {
    let secret = schnorrkel::MiniSecretKey::from_bytes(&[number; 32]).expect("32 bytes");
    secret.expand_to_keypair(schnorrkel::ExpansionMode::Ed25519)
}

/// Without randomness: an honest receipt of another process would be taken for an altered one that verifies.
fn sign(pair: &schnorrkel::Keypair, digest: &Digest32) -> Signature {
    let message = signing_context(b"substrate").bytes(digest.as_bytes());
    let same_nonces = StdRng::from_seed(*digest.as_bytes());
    Signature(pair.sign(attach_rng(message, same_nonces)).to_bytes())
}

fn seat(
    job: &JobId,
    index: u8,
    (role, candidate): (Role, Candidate),
    (value, claim): (&Digest32, &Claim),
) -> SeatRecord {
    let pair = pair(candidate.provider[0]);
    let provider = candidate.provider;
    let commitment = SeatId { job: *job, round: ROUND, role, seat: index, provider }.commit(value);
    let recheck = SeatId { job: *job, round: ROUND + 1, role, seat: index, provider }.commit(value);
    let claim = (role == Role::Executor).then_some(*claim);
    let digest = SeatStep::Commit { commitment, recheck, claim }.digest(&genesis(), job, ROUND, index);
    SeatRecord {
        index,
        round: ROUND,
        role,
        provider,
        work_key: pair.public.to_bytes(),
        outcome: SeatOutcome::Right,
        commitment: Some(SignedCommitment { commitment, recheck, signature: sign(&pair, &digest) }),
        value: Some(*value),
        paid: Amount::ZERO,
    }
}

struct Drawn {
    role: Role,
    facts: DrawFacts,
    evidence: DrawEvidence,
    seats: Vec<Candidate>,
}

/// Draw number `draw`, the executor's or the verifiers', among accounts that the other has not.
fn drawn(job: &JobId, draw: u8) -> Drawn {
    let role = [Role::Executor, Role::Verifier][usize::from(draw)];
    let height = Height::new(HEIGHTS[usize::from(draw)]);
    let candidates: Vec<_> = (1..=5)
        .map(|n| Candidate { provider: [n + 100 * draw; 32], free_stake: Amount::new(1_000) })
        .collect();
    let randomness = Digest32::from_bytes([height.get() as u8; 32]);
    let facts = DrawFacts::of(height, randomness, &candidates, Amount::new(10_000)).expect("small stakes");
    let seats = draw::draw(&draw::seed(&randomness, job, ROUND, role), &candidates, candidates.len());
    let seed = evidence(height, (0, Digest32::ZERO));
    Drawn { role, facts, evidence: DrawEvidence { seed, candidates }, seats }
}

/// A record in a log of five entries, and the header with the log's root.
fn logged(settlement: &SettlementRecord) -> (InclusionProof, Evidence) {
    let mut leaves = [0u8, 1, 2, 3, 4].map(|n| merkle::leaf_hash(&[n]));
    leaves[2] = merkle::leaf_hash(&settlement.to_leaf());
    let inclusion = InclusionProof::of(&leaves, 2).expect("it is there");
    (inclusion, evidence(settlement.settled_at, (5, merkle::root(&leaves))))
}

fn evidence(height: Height, log: (u64, Digest32)) -> Evidence {
    let randomness = [height.get() as u8; 32].to_vec();
    // Consensus items have the index 4.
    let items = vec![(4u8, BEACON_ENGINE, randomness), (4u8, LOG_ENGINE, log.encode())];
    let header = ([1u8; 32], Compact(height.get()), [2u8; 32], [3u8; 32], items).encode();
    let value = HeaderView::decode(&header).expect("a header").hash;
    let message = CommitCertificate::sign_bytes(&genesis(), height, 0, &value);
    let signature = Signature(validator().sign(message.as_bytes()).to_bytes());
    let validator = Digest32::from_bytes(validator().verifying_key().to_bytes());
    let signatures = vec![ValidatorSignature { validator, signature }];
    Evidence { header, certificate: CommitCertificate { height, round: 0, value, signatures } }
}
