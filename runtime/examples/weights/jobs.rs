//! Jobs in lockstep, drawn from a full list of providers: every step of many at once.

use assay_manifest::JobId;
use assay_protocol::certificate::{Validator, ValidatorSet, ValidatorSignature};
use assay_protocol::commitment::Opening;
use assay_protocol::job::{Phase, Seat, SignedCommitment};
use assay_protocol::record::Policy;
use assay_protocol::signature::{SeatStep, Signature};
use assay_runtime::{RuntimeCall, UncheckedExtrinsic, general};
use codec::Encode;
use ed25519_dalek::{Signer, SigningKey};
use pallet_assay_jobs::Call as JobsCall;

use crate::answers::{claim, reject, right};
use crate::market::{record, requester};
use crate::samples::Samples;
use crate::support::alice;
use crate::town::{Town, timed};

const VERIFIERS: u8 = 4;
/// Signatures of a full validator set.
const SIGNATURES: u8 = 100;

pub fn measure(town: &mut Town, samples: &mut Samples) {
    for jobs in [4, 8, 16, 24] {
        honest(town, samples, jobs);
        disputed(town, samples, jobs);
    }
    signatures(samples);
}

/// From request to conviction in the challenge window.
fn honest(town: &mut Town, samples: &mut Samples, jobs: usize) {
    let ids = drawn_and_committed(town, samples, jobs);
    // A decline seats the next standby.
    let decline = |town: &Town, id| town.market.step(id, first(town, id).index, SeatStep::Decline);
    let declines = ids.iter().map(|id| decline(town, *id)).collect();
    town.take("decline", declines, samples);
    commit_all(town, samples, &ids, |_| right(1));
    let reveals: Vec<_> = ids.iter().map(|id| town.market.reveal(*id, right(1))).collect();
    authorize(town, samples, &reveals[0]);
    town.take("reveal", reveals, samples);
    let convictions = ids.iter().map(|id| conviction(town, *id)).collect();
    town.take("equivocation", convictions, samples);
    while ids.iter().any(|id| town.market.find(*id).is_some()) {
        town.block(vec![]);
    }
}

/// One verifier lies and nobody concedes: the referee judges five seats.
fn disputed(town: &mut Town, samples: &mut Samples, jobs: usize) {
    let ids = drawn_and_committed(town, samples, jobs);
    commit_all(town, samples, &ids, |last| if last { reject(1) } else { right(1) });
    for opening in [right(1), reject(1)] {
        let reveals = ids.iter().map(|id| town.market.reveal(*id, opening)).collect();
        town.take("reveal_disputed", reveals, samples);
    }
    while ids.iter().any(|id| !matches!(town.market.job(*id).phase, Phase::Refereeing { .. })) {
        town.block(vec![]);
    }
    let verdicts = ids.iter().map(|id| town.market.verdict(*id, Some(right(1)))).collect();
    town.take("verdict", verdicts, samples);
    while ids.iter().any(|id| town.market.find(*id).is_some()) {
        town.block(vec![]);
    }
}

/// Requests, both draws, acceptance and the executor's commitment.
fn drawn_and_committed(town: &mut Town, samples: &mut Samples, jobs: usize) -> Vec<JobId> {
    let first: u64 = town.market.net.call("JobsApi_next_nonce", requester());
    let record = record(Policy::Verified { verifiers: VERIFIERS });
    let request = |n| JobsCall::request { nonce: first + n, record: record.clone() };
    let calls = (0..jobs as u64).map(request).map(RuntimeCall::Jobs).collect();
    let requests = town.signed(&alice(), calls);
    town.take("request", requests, samples);
    let open: Vec<assay_protocol::job::Job> = town.market.net.call("JobsApi_open_jobs", ());
    let ids: Vec<JobId> = open.iter().map(|job| job.id).collect();
    assert_eq!(ids.len(), jobs);
    town.block(vec![]);
    town.pass("draw_executor", jobs, samples);
    let accepts: Vec<_> = ids.iter().map(|id| town.market.step(*id, 0, SeatStep::Accept)).collect();
    authorize(town, samples, &accepts[0]);
    town.take("accept", accepts, samples);
    let commits = ids.iter().map(|id| town.market.commitment(*id, 0, &right(1), claim())).collect();
    town.take("commit_executor", commits, samples);
    for _ in 0..5 {
        town.block(vec![]);
    }
    town.pass("draw_verifiers", jobs, samples);
    ids
}

/// Every verifier of every job commits; the last one's step opens the reveal.
fn commit_all(town: &mut Town, samples: &mut Samples, ids: &[JobId], opening: impl Fn(bool) -> Opening) {
    for n in 1..=VERIFIERS {
        let commit = |id: &JobId| {
            let seat = first(town, *id);
            town.market.commitment(*id, seat.index, &opening(n == VERIFIERS), claim())
        };
        let commits = ids.iter().map(commit).collect();
        town.take("commit_verifier", commits, samples);
    }
}

fn first(town: &Town, id: JobId) -> Seat {
    town.market.pending(id)[0].clone()
}

/// Proof that the executor signed a second commitment.
fn conviction(town: &Town, id: JobId) -> UncheckedExtrinsic {
    let step = town.market.commit_step(id, 0, &reject(1), claim());
    let RuntimeCall::Jobs(JobsCall::step { signature, .. }) = town.market.step(id, 0, step).function else {
        unreachable!("a step")
    };
    let SeatStep::Commit { commitment, recheck, claim } = step else { unreachable!("a commitment") };
    general(RuntimeCall::Jobs(JobsCall::equivocation {
        job: id,
        seat: 0,
        other: SignedCommitment { commitment, recheck, signature },
        claim,
    }))
}

/// What the pool and the block pay to know that a step is good.
fn authorize(town: &Town, samples: &mut Samples, step: &UncheckedExtrinsic) {
    let bytes = step.encode();
    let lease = town.market.net.chain.reader().at(None).expect("the head's state");
    for _ in 0..8 {
        let (validity, us) = timed(|| lease.validate(&bytes).expect("it is decoded"));
        assert!(validity.is_ok());
        samples.add("authorize", 1, us);
    }
}

fn signatures(samples: &mut Samples) {
    let message = assay_manifest::sha256(b"verdict");
    let keys: Vec<SigningKey> = (0..SIGNATURES).map(|n| SigningKey::from_bytes(&[n; 32])).collect();
    let public = |key: &SigningKey| assay_manifest::Digest32::from_bytes(key.verifying_key().to_bytes());
    let set = ValidatorSet::new(keys.iter().map(|key| Validator { key: public(key), power: 1 }).collect());
    let sign = |key: &SigningKey| ValidatorSignature {
        validator: public(key),
        signature: Signature(key.sign(message.as_bytes()).to_bytes()),
    };
    let signed: Vec<_> = keys.iter().map(sign).collect();
    for _ in 0..8 {
        let (approved, us) = timed(|| set.approve(&message, &signed));
        approved.expect("all signed");
        samples.add("signature", 1, us / f64::from(SIGNATURES));
    }
}
