//! Two signed commitments for one seat convict it without a verdict.

use assay_manifest::JobId;
use assay_protocol::commitment::{Claim, Opening};
use assay_protocol::job::{Seat, SeatOutcome, SignedCommitment, Verdict};
use assay_protocol::signature::SeatStep;
use assay_runtime::{RuntimeCall, UncheckedExtrinsic, general};
use pallet_assay_jobs::Call as JobsCall;

use crate::answers::*;
use crate::market::*;

/// Anyone's proof that the seat signed a commitment to `opening` as well.
fn conviction(
    market: &Market,
    id: JobId,
    seat: &Seat,
    opening: &Opening,
    claim: Claim,
) -> UncheckedExtrinsic {
    let second = market.commit_step(id, seat.index, opening, claim);
    let SeatStep::Commit { commitment, recheck, claim } = second else { panic!("a commitment") };
    let step = market.step(id, seat.index, second);
    let RuntimeCall::Jobs(JobsCall::step { signature, .. }) = step.function else { panic!("a step") };
    general(RuntimeCall::Jobs(JobsCall::equivocation {
        job: id,
        seat: seat.index,
        other: SignedCommitment { commitment, recheck, signature },
        claim,
    }))
}

#[test]
fn an_equivocating_verifier_loses_its_bond_and_is_replaced() {
    let mut market = Market::new();
    let id = market.request(two());
    let mut want = market.books();
    let (executor, verifiers) = market.verifying(id, &right(1), claim());
    let [guilty, honest] = [&verifiers[0], &verifiers[1]];
    assert!(
        market.refuses(&conviction(&market, id, guilty, &reject(1), claim())),
        "it has not committed once"
    );
    market.commit(id, guilty, &right(1));
    assert!(
        market.refuses(&conviction(&market, id, guilty, &right(1), claim())),
        "the same commitment twice"
    );
    let proof = conviction(&market, id, guilty, &reject(1), claim());
    market.take(proof.clone());
    assert!(market.refuses(&proof), "convicted once");
    for seat in market.pending(id) {
        market.commit(id, &seat, &right(1));
    }
    let reveal = market.reveal(id, right(1));
    market.take(reveal);
    let steps = 7 * step_fee();
    want.lock(guilty.provider, B);
    want.forfeit(guilty.provider, B);
    want.of(requester()).free += F_MAX;
    want.burn(B - F_MAX);
    let record = market.settlement(id);
    let replacement = record.seats[3].provider;
    for seat in [executor.provider, honest.provider, replacement] {
        want.lock(seat, B);
    }
    want.of(executor.provider).free += F;
    want.of(honest.provider).free += A;
    want.of(replacement).free += A;
    want.of(pot()).free += F * 3 / 100;
    want.burn(F * 2 / 100 + steps);
    want.end_escrow(requester(), escrow(2), F + 2 * A + F * 5 / 100 + steps);
    assert_eq!(market.books(), want);
    assert_eq!(record.seats[usize::from(guilty.index)].outcome, SeatOutcome::Equivocated);
    assert!(market.provider(guilty.provider).barred_until > market.height());
}

#[test]
fn an_equivocating_executor_ends_the_job_with_a_refund() {
    let mut market = Market::new();
    let id = market.request(two());
    let mut want = market.books();
    let (executor, _) = market.verifying(id, &right(1), claim());
    let proof = conviction(&market, id, &executor, &right(1), flipped_claim());
    market.take(proof);
    let steps = 3 * step_fee();
    want.lock(executor.provider, B);
    want.forfeit(executor.provider, B);
    want.of(requester()).free += F_MAX;
    want.burn(B - F_MAX + steps);
    want.end_escrow(requester(), escrow(2), steps);
    assert_eq!(market.books(), want);
    assert_eq!(market.settlement(id).verdict, Verdict::Inconclusive);
    assert!(market.find(id).is_none());
}

#[test]
fn an_equivocation_is_punished_until_the_challenge_window_closes() {
    let mut market = Market::new();
    let (id, executor, verifiers) = market.honest_job();
    assert!(market.job(id).phase.closes_at().is_some());
    let mut want = market.books();
    let guilty = &verifiers[0];
    let proof = conviction(&market, id, guilty, &reject(1), claim());
    market.take(proof);
    want.forfeit(guilty.provider, B);
    want.of(requester()).free += F_MAX;
    want.of(executor.provider).free += F_MAX / 2;
    want.of(verifiers[1].provider).free += F_MAX / 2;
    want.burn(B - 2 * F_MAX);
    assert_eq!(market.books(), want);
    let late = conviction(&market, id, &verifiers[1], &reject(1), claim());
    market.close(id);
    assert!(market.refuses(&late));
}

#[test]
fn a_signature_of_another_key_convicts_nobody() {
    let mut market = Market::new();
    let id = market.request(two());
    let (_, verifiers) = market.verifying(id, &right(1), claim());
    market.commit(id, &verifiers[0], &right(1));
    market.commit(id, &verifiers[1], &right(1));
    let RuntimeCall::Jobs(JobsCall::equivocation { other, claim, .. }) =
        conviction(&market, id, &verifiers[1], &reject(1), claim()).function
    else {
        panic!("a conviction")
    };
    let framed = JobsCall::equivocation { job: id, seat: verifiers[0].index, other, claim };
    assert!(market.refuses(&general(RuntimeCall::Jobs(framed))));
}
