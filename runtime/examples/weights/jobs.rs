//! Jobs in lockstep, drawn from a full list of providers: every step of many at once.

use assay_manifest::{JobId, SpecId};
use assay_protocol::certificate::{Validator, ValidatorSet, ValidatorSignature};
use assay_protocol::commitment::{Claim, Opening};
use assay_protocol::job::{Phase, Seat, SignedCommitment};
use assay_protocol::record::{Policy, PublicRecord};
use assay_protocol::seal::SealingSecret;
use assay_protocol::signature::{SeatStep, Signature};
use assay_runtime::{AccountId, RuntimeCall, RuntimeEvent, UNIT, UncheckedExtrinsic, general};
use codec::Encode;
use ed25519_dalek::{Signer, SigningKey};
use pallet_assay_jobs::{Call as JobsCall, Event, Ruling, ruling_digest};
use pallet_assay_providers::ModelOffer;

use crate::answers::{claim, reject, right};
use crate::market::{pot, record, requester, signatures as signed};
use crate::samples::Samples;
use crate::support::{alice, transfer};
use crate::town::{MODELS, Town, full_offer, timed};

const VERIFIERS: u8 = 4;
/// What the pot gets: enough for every fresh verifier here.
const POT: u128 = 10_000 * UNIT;
/// Jobs of a lot, at the most one of each definition that is offered. More lots would convict so many providers that
/// too few are left for the last jobs.
const LOTS: [usize; 6] = [4, 8, 12, MODELS as usize, 6, 10];
/// Signatures of a full validator set.
const SIGNATURES: u8 = 100;

/// Jobs that go alike.
pub struct Lot {
    pub record: PublicRecord,
    pub claim: Claim,
}

impl Lot {
    fn ordinary() -> Self {
        Self { record: record(Policy::Verified { verifiers: VERIFIERS }), claim: claim() }
    }
}

pub fn measure(town: &mut Town, samples: &mut Samples) {
    for jobs in LOTS {
        honest(town, samples, jobs);
        disputed(town, samples, jobs);
        asked_for(town, samples, jobs);
        silent(town, samples, jobs);
    }
    // From here on the pot pays for fresh verifiers.
    let funds = town.signed(&alice(), vec![transfer(&AccountId::from(pot()), POT)]);
    town.block(funds);
    for jobs in LOTS {
        looked_at_again(town, samples, jobs);
    }
    // Each of these jobs bars five providers for longer than is measured here: few of them, and last.
    for jobs in [2, 4, 6, 8] {
        contested(town, samples, jobs);
    }
    signatures(samples);
}

/// From request to conviction in the challenge window.
fn honest(town: &mut Town, samples: &mut Samples, jobs: usize) {
    let ids = drawn_and_committed(town, samples, &Lot::ordinary(), jobs);
    // A decline seats the next standby.
    let decline = |town: &Town, id| town.market.step(id, first(town, id).index, SeatStep::Decline);
    let declines = ids.iter().map(|id| decline(town, *id)).collect();
    town.take("decline", declines, samples);
    commit_all(town, samples, &ids, |_| right(1));
    let reveals: Vec<_> = ids.iter().map(|id| town.market.reveal(*id, right(1))).collect();
    authorize(town, samples, "authorize", &reveals[0]);
    town.take("reveal", reveals, samples);
    let convictions = ids.iter().map(|id| conviction(town, *id)).collect();
    town.take("equivocation", convictions, samples);
    close(town, samples, &ids);
}

/// Settled jobs whose answer is asked for on the ledger.
fn asked_for(town: &mut Town, samples: &mut Samples, jobs: usize) {
    let ids = settled_for_now(town, samples, jobs);
    let key = SealingSecret::from_bytes([60; 32]).public();
    let ask = |id: &JobId| RuntimeCall::Jobs(JobsCall::need_answer { job: *id, key });
    let asked = town.signed(&alice(), ids.iter().map(ask).collect());
    town.take("need_answer", asked, samples);
    close(town, samples, &ids);
}

/// Settled jobs that are contested, and in which the validators find against every seat.
fn contested(town: &mut Town, samples: &mut Samples, jobs: usize) {
    let ids = settled_for_now(town, samples, jobs);
    let contest = |id: &JobId| RuntimeCall::Jobs(JobsCall::challenge { job: *id });
    let contests = town.signed(&alice(), ids.iter().map(contest).collect());
    town.take("challenge", contests, samples);
    overturn(town, samples, &ids);
    close(town, samples, &ids);
}

/// The validators find against every seat: the verdict first pauses the definition, they confirm it, and the verdict
/// divides five bonds.
fn overturn(town: &mut Town, samples: &mut Samples, ids: &[JobId]) {
    let verdicts: Vec<_> = ids.iter().map(|id| town.market.verdict(*id, Some(reject(1)))).collect();
    town.take("pause", verdicts.clone(), samples);
    let since = town.market.height();
    let rulings =
        ids.iter().map(|id| confirmation(town, town.market.job(*id).record.spec_id, since)).collect();
    town.take("rule", rulings, samples);
    town.take("verdict_overturned", verdicts, samples);
}

fn confirmation(town: &Town, spec: SpecId, since: u32) -> UncheckedExtrinsic {
    let ruling = Ruling::Confirm;
    let message = ruling_digest(&town.market.net.genesis_digest(), &spec, since, ruling);
    let signatures = signed(&town.market.net.sitting(), &message);
    general(RuntimeCall::Jobs(JobsCall::rule { spec, ruling, signatures }))
}

/// Settled jobs of newcomers: the ledger draws a fresh verifier for each.
fn looked_at_again(town: &mut Town, samples: &mut Samples, jobs: usize) {
    let ids = settled(town, samples, jobs);
    for _ in 0..5 {
        town.block(vec![]);
    }
    town.pass("draw_fresh", jobs, samples);
    assert!(ids.iter().any(|id| matches!(town.market.job(*id).phase, Phase::Rechecking { .. })));
    close(town, samples, &ids);
}

/// Jobs that all seats settled by one value just now.
fn settled(town: &mut Town, samples: &mut Samples, jobs: usize) -> Vec<JobId> {
    let ids = drawn_and_committed(town, samples, &Lot::ordinary(), jobs);
    commit_all(town, samples, &ids, |_| right(1));
    let reveals = ids.iter().map(|id| town.market.reveal(*id, right(1))).collect();
    town.take("reveal", reveals, samples);
    ids
}

/// The same, once nobody looks at them again.
fn settled_for_now(town: &mut Town, samples: &mut Samples, jobs: usize) -> Vec<JobId> {
    let ids = settled(town, samples, jobs);
    while ids.iter().any(|id| !matches!(town.market.job(*id).phase, Phase::Settled { .. })) {
        town.block(vec![]);
    }
    ids
}

/// Empty blocks until the jobs have left the state; all of them do at once.
pub fn close(town: &mut Town, samples: &mut Samples, ids: &[JobId]) {
    let open = |town: &Town| ids.iter().filter(|id| town.market.find(**id).is_some()).count();
    let mut before = open(town);
    while before > 0 {
        let us = town.block(vec![]);
        let after = open(town);
        if after < before {
            samples.add("close", before - after, us);
        }
        before = after;
    }
}

/// One verifier lies and nobody concedes: the referee judges five seats.
fn disputed(town: &mut Town, samples: &mut Samples, jobs: usize) {
    let ids = drawn_and_committed(town, samples, &Lot::ordinary(), jobs);
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
    close(town, samples, &ids);
}

/// No verifier says a word, nor does anybody in their stead: every deadline fines four.
fn silent(town: &mut Town, samples: &mut Samples, jobs: usize) {
    let ids = drawn_and_committed(town, samples, &Lot::ordinary(), jobs);
    let seats =
        |town: &Town| ids.iter().filter_map(|id| town.market.find(*id)).map(|job| job.seats.len()).sum();
    let mut before: usize = seats(town);
    while before > 0 {
        let us = town.block(vec![]);
        let after = seats(town);
        if after > before {
            samples.add("deadline_silent", jobs, us);
        }
        before = after;
    }
}

/// Requests, both draws, acceptance and the executor's commitment.
pub fn drawn_and_committed(town: &mut Town, samples: &mut Samples, lot: &Lot, jobs: usize) -> Vec<JobId> {
    let first: u64 = town.market.net.call("JobsApi_next_nonce", requester());
    // Each under a definition of its own, of those that are offered: verdicts about three providers under one would
    // pause it.
    let offered = full_offer().models;
    let record = |n: usize| {
        let ModelOffer { model_id, spec_id, .. } = offered[n % offered.len()];
        PublicRecord { model_id, spec_id, ..lot.record.clone() }
    };
    let request = |n: usize| JobsCall::request { nonce: first + n as u64, record: record(n) };
    let calls = (0..jobs).map(request).map(RuntimeCall::Jobs).collect();
    let requests = town.signed(&alice(), calls);
    town.take("request", requests, samples);
    let requested = |event| match event {
        RuntimeEvent::Jobs(Event::Requested { job, .. }) => Some(job),
        _ => None,
    };
    let ids: Vec<JobId> = town.market.net.events().into_iter().filter_map(requested).collect();
    assert_eq!(ids.len(), jobs);
    town.block(vec![]);
    town.pass("draw_executor", jobs, samples);
    let accepts: Vec<_> = ids.iter().map(|id| town.market.step(*id, 0, SeatStep::Accept)).collect();
    authorize(town, samples, "authorize", &accepts[0]);
    town.take("accept", accepts, samples);
    let commits = ids.iter().map(|id| town.market.commitment(*id, 0, &right(1), lot.claim)).collect();
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

pub fn first(town: &Town, id: JobId) -> Seat {
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
pub fn authorize(town: &Town, samples: &mut Samples, name: &'static str, step: &UncheckedExtrinsic) {
    let bytes = step.encode();
    let lease = town.market.net.chain.reader().at(None).expect("the head's state");
    for _ in 0..8 {
        let (validity, us) = timed(|| lease.validate(&bytes).expect("it is decoded"));
        assert!(validity.is_ok());
        samples.add(name, 1, us);
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
