//! Values that differ: openings, concessions, and the referee both ways.

use assay_protocol::certificate::ValidatorSignature;
use assay_protocol::commitment::Opening;
use assay_protocol::job::{Phase, SeatOutcome, Verdict};
use assay_protocol::signature::SeatStep;
use assay_runtime::{RuntimeCall, general};
use pallet_assay_jobs::Call as JobsCall;

use crate::answers::*;
use crate::books::Books;
use crate::market::*;

/// A dispute between an honest executor and verifier and a lying verifier, after these reveals.
fn disputed(revealed: &[Opening]) -> (Market, assay_manifest::JobId, [[u8; 32]; 3]) {
    let mut market = Market::new();
    let (id, executor, verifiers) = market.revealing(&[right(1), right(1), reject(1)], claim());
    for opening in revealed {
        let reveal = market.reveal(id, *opening);
        market.take(reveal);
    }
    market.wait(id, |phase| matches!(phase, Phase::Disputed { .. }));
    (market, id, [executor.provider, verifiers[0].provider, verifiers[1].provider])
}

fn refereed(mut market: Market, id: assay_manifest::JobId, value: Option<Opening>) -> Market {
    market.wait(id, |phase| matches!(phase, Phase::Refereeing { .. }));
    let verdict = market.verdict(id, value);
    market.take(verdict);
    market
}

#[test]
fn no_reveal_counts_before_every_seat_has_committed() {
    let mut market = Market::new();
    let id = market.request(two());
    let (_, verifiers) = market.verifying(id, &right(1), claim());
    market.commit(id, &verifiers[0], &right(1));
    assert!(market.refuses(&market.reveal(id, right(1))));
    market.commit(id, &verifiers[1], &right(1));
    assert!(!market.refuses(&market.reveal(id, right(1))));
}

#[test]
fn one_honest_reveal_opens_or_convicts_every_seat() {
    let (market, id, [_, _, liar]) = disputed(&[right(1)]);
    let opened: Vec<_> = market.job(id).counted_seats().map(|seat| seat.value).collect();
    assert_eq!(opened, [Some(0), Some(0), None], "the honest reveal opened both that hold it");
    let market = refereed(market, id, Some(right(1)));
    let wrong: Vec<_> = market
        .settlement(id)
        .seats
        .iter()
        .filter(|seat| seat.outcome == SeatOutcome::Wrong)
        .map(|seat| seat.provider)
        .collect();
    assert_eq!(wrong, [liar], "the closed commitment was convicted without its holder's help");
}

#[test]
fn an_opening_that_nobody_committed_to_is_refused() {
    let mut market = Market::new();
    let (id, ..) = market.revealing(&[right(1); 3], claim());
    assert!(market.refuses(&market.reveal(id, reject(1))));
    assert!(market.refuses(&market.reveal(id, right(2))), "the blind of another round");
}

#[test]
fn a_withheld_reveal_gains_nothing() {
    let loss_of_liar = |revealed: &[Opening]| {
        let (market, id, seats) = disputed(revealed);
        let mut market = refereed(market, id, Some(right(1)));
        let [executor, honest, liar] = seats.map(|who| market.books().of(who).held);
        market.close(id);
        (executor, honest, liar)
    };
    let withheld = loss_of_liar(&[right(1)]);
    assert_eq!(withheld, loss_of_liar(&[right(1), reject(1)]));
    assert_eq!(withheld.2, STAKE - B);
    // Even when nobody reveals anything, the verdict's own opening settles the job.
    assert_eq!(withheld, loss_of_liar(&[]));
}

#[test]
fn the_referee_can_find_against_the_executor_and_every_verifier_that_sided_with_it() {
    let mut market = Market::new();
    let id = market.request(two());
    let mut want = market.books();
    let (executor, verifiers) = market.verifying(id, &other_weights(1), claim());
    market.commit(id, &verifiers[0], &other_weights(1));
    market.commit(id, &verifiers[1], &right(1));
    for opening in [other_weights(1), right(1)] {
        let reveal = market.reveal(id, opening);
        market.take(reveal);
    }
    let market = refereed(market, id, Some(right(1)));
    let steps = 7 * step_fee();
    let right_seat = verifiers[1].provider;
    let share = F_MAX / 2;
    for wrong in [executor.provider, verifiers[0].provider] {
        want.lock(wrong, B);
        want.forfeit(wrong, B);
        want.of(requester()).free += F_MAX;
        want.of(right_seat).free += share;
        want.burn(B - F_MAX - share);
    }
    // The referee's cost is paid once.
    want.of(pot()).free += A_MAX;
    want.issuance += A_MAX;
    want.lock(right_seat, B);
    want.of(right_seat).free += A;
    want.burn(steps);
    want.end_escrow(requester(), escrow(2), A + steps);
    assert_eq!(market.books(), want);
    assert_eq!(market.settlement(id).verdict, Verdict::Refereed);
}

/// Refund, free bonds, only steps charged.
fn inconclusive(mut want: Books, steps: u128, seats: [[u8; 32]; 3]) -> Books {
    for seat in seats {
        want.unlock(seat, B);
    }
    want.burn(steps * step_fee());
    want.end_escrow(requester(), escrow(2), steps * step_fee());
    want
}

#[test]
fn without_a_verdict_in_time_everyone_is_released_and_the_requester_refunded() {
    let (mut market, id, seats) = disputed(&[right(1), reject(1)]);
    let want = inconclusive(market.books(), 6, seats);
    market.close(id);
    assert_eq!(market.books(), want);
    let record = market.settlement(id);
    assert_eq!(record.verdict, Verdict::Inconclusive);
    assert!(record.seats.iter().all(|seat| seat.outcome == SeatOutcome::Unjudged));
}

#[test]
fn the_windows_of_a_dispute_have_their_lengths() {
    let (mut market, id, _) = disputed(&[right(1), reject(1)]);
    let Phase::Disputed { concede_by } = market.job(id).phase else { panic!("disputed") };
    assert_eq!(concede_by.get(), market.height() + params().concede_window);
    market.wait(id, |phase| matches!(phase, Phase::Refereeing { .. }));
    assert_eq!(market.height(), concede_by.get() + 1);
    let Phase::Refereeing { verdict_by } = market.job(id).phase else { panic!("refereeing") };
    assert_eq!(verdict_by.get(), market.height() + params().verdict_window);
}

#[test]
fn validators_that_find_no_value_end_the_job_without_a_loss() {
    let (market, id, seats) = disputed(&[right(1), reject(1)]);
    let want = inconclusive(market.books(), 7, seats);
    let market = refereed(market, id, None);
    assert_eq!(market.books(), want);
    assert_eq!(market.settlement(id).verdict, Verdict::Inconclusive);
}

#[test]
fn only_validators_decide_and_only_in_their_phase() {
    let (mut market, id, _) = disputed(&[right(1), reject(1)]);
    assert!(market.refuses(&market.verdict(id, Some(right(1)))), "seats may still concede");
    market.wait(id, |phase| matches!(phase, Phase::Refereeing { .. }));
    let signed = |signatures: Vec<ValidatorSignature>| {
        let signatures = signatures.try_into().unwrap();
        general(RuntimeCall::Jobs(JobsCall::verdict { job: id, opening: Some(right(1)), signatures }))
    };
    assert!(market.refuses(&signed(vec![])), "nobody signed");
    // Whose signatures are enough follows from the state, and whoever passes a verdict on may be ahead.
    assert!(market.is_stale(&signed(vec![])));
    let stranger = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
    let message = assay_protocol::job::verdict_digest(&market.job(id), &Some(right(1)));
    let forged = ValidatorSignature {
        validator: assay_manifest::Digest32::from_bytes(stranger.verifying_key().to_bytes()),
        signature: assay_protocol::signature::Signature(
            ed25519_dalek::Signer::sign(&stranger, message.as_bytes()).to_bytes(),
        ),
    };
    assert!(market.is_stale(&signed(vec![forged])));
    assert!(market.refuses(&signed(vec![forged])), "no validator");
    let RuntimeCall::Jobs(JobsCall::verdict { signatures, .. }) = market.verdict(id, Some(right(1))).function
    else {
        panic!("a verdict")
    };
    let other = JobsCall::verdict { job: id, opening: Some(reject(1)), signatures };
    assert!(market.refuses(&general(RuntimeCall::Jobs(other))), "signed for another value");
    assert!(market.refuses(&market.step(id, 2, SeatStep::Concede)), "too late to concede");
}

#[test]
fn when_both_verifiers_concede_the_executor_is_paid_and_nothing_is_called_verified() {
    let mut market = Market::new();
    let id = market.request(two());
    let mut want = market.books();
    let (executor, verifiers) = market.verifying(id, &right(1), claim());
    for seat in &verifiers {
        market.commit(id, seat, &reject(1));
    }
    for opening in [right(1), reject(1)] {
        let reveal = market.reveal(id, opening);
        market.take(reveal);
    }
    for seat in &verifiers {
        let concede = market.step(id, seat.index, SeatStep::Concede);
        market.take(concede);
    }
    let steps = 8 * step_fee();
    let quarter = B / 4;
    let share = (quarter / 2 - F_MAX).min(F_MAX / 2);
    for seat in &verifiers {
        want.lock(seat.provider, quarter);
        want.forfeit(seat.provider, quarter);
        want.of(requester()).free += F_MAX;
        want.of(executor.provider).free += share;
        want.burn(quarter - F_MAX - share);
    }
    want.lock(executor.provider, B);
    want.of(executor.provider).free += F;
    want.of(pot()).free += F * 3 / 100;
    want.burn(F * 2 / 100 + steps);
    want.end_escrow(requester(), escrow(2), F + F * 5 / 100 + steps);
    assert_eq!(market.books(), want);
    assert_eq!(market.settlement(id).verdict, Verdict::Committed);
}

#[test]
fn when_everyone_concedes_there_is_no_value_but_each_pays_for_having_been_wrong() {
    let mut market = Market::new();
    let id = market.request(two());
    let mut want = market.books();
    let (executor, verifiers) = market.verifying(id, &right(1), claim());
    for seat in &verifiers {
        market.commit(id, seat, &reject(1));
    }
    market.wait(id, |phase| matches!(phase, Phase::Disputed { .. }));
    for seat in verifiers.iter().chain([&executor]) {
        let concede = market.step(id, seat.index, SeatStep::Concede);
        market.take(concede);
    }
    let steps = 7 * step_fee();
    for (who, part) in
        [(executor.provider, B / 2), (verifiers[0].provider, B / 4), (verifiers[1].provider, B / 4)]
    {
        want.lock(who, part);
        want.forfeit(who, part);
        want.of(requester()).free += F_MAX;
        want.burn(part - F_MAX);
    }
    want.burn(steps);
    want.end_escrow(requester(), escrow(2), steps);
    assert_eq!(market.books(), want);
    assert_eq!(market.settlement(id).verdict, Verdict::Inconclusive);
}
