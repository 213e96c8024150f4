//! Executors that do not accept, vanish, or answer wrongly.

use assay_protocol::commitment::ValueKind;
use assay_protocol::job::{Phase, SeatOutcome, Verdict};
use assay_protocol::record::PublicRecord;
use assay_protocol::signature::SeatStep;

use crate::answers::*;
use crate::market::*;

#[test]
fn three_executors_that_never_accept_cost_the_requester_a_hundredth_burned() {
    let mut market = Market::new();
    let id = market.request(two());
    let mut want = market.books();
    let mut seen = Vec::new();
    for round in 1..=3 {
        let executor = market.executor(id);
        assert_eq!(market.job(id).round, round);
        seen.push(executor.provider);
        want.lock(executor.provider, B);
        assert_eq!(market.books(), want);
        want.unlock(executor.provider, B);
        let Phase::Assigned { accept_by } = market.job(id).phase else { panic!("assigned") };
        while market.height() < accept_by.get() + 1 {
            market.net.blocks(1);
        }
    }
    let fee = F_MAX.div_ceil(100);
    want.burn(fee);
    want.end_escrow(requester(), escrow(2), fee);
    assert_eq!(market.books(), want);
    assert!(market.find(id).is_none(), "there is no third redraw");
    seen.dedup();
    assert_eq!(seen.len(), 3, "nobody is drawn twice");
    let record = market.settlement(id);
    assert_eq!(record.verdict, Verdict::Inconclusive);
    assert!(record.seats.iter().all(|seat| seat.outcome == SeatOutcome::NeverAccepted));
}

#[test]
fn after_two_executors_that_never_accept_a_third_answers_at_the_usual_price() {
    let mut market = Market::new();
    let id = market.request(two());
    let mut want = market.books();
    for round in 1..=2 {
        market.executor(id);
        market.wait(id, |phase| matches!(phase, Phase::Requested { .. }));
        assert_eq!(market.job(id).round, round + 1);
    }
    assert_eq!(market.books(), want, "nobody lost anything");
    let (executor, verifiers) = market.verifying(id, &right(3), claim());
    for seat in &verifiers {
        market.commit(id, seat, &right(3));
    }
    let reveal = market.reveal(id, right(3));
    market.take(reveal);
    let steps = 5 * step_fee();
    for seat in verifiers.iter().chain([&executor]) {
        want.lock(seat.provider, B);
    }
    want.of(executor.provider).free += F;
    for seat in &verifiers {
        want.of(seat.provider).free += A;
    }
    want.of(pot()).free += F * 3 / 100;
    want.burn(F * 2 / 100 + steps);
    want.end_escrow(requester(), escrow(2), F + 2 * A + F * 5 / 100 + steps);
    assert_eq!(market.books(), want);
}

#[test]
fn a_chosen_executor_that_never_accepts_ends_the_job_at_once() {
    let mut market = Market::new();
    let id = market.request(PublicRecord { direct_executor: Some(account(2)), ..two() });
    let mut want = market.books();
    market.executor(id);
    market.close(id);
    let fee = F_MAX.div_ceil(100);
    want.burn(fee);
    want.end_escrow(requester(), escrow(2), fee);
    assert_eq!(market.books(), want);
}

#[test]
fn an_executor_that_declines_before_accepting_is_without_fault() {
    let mut market = Market::new();
    market.until_everyone_has_a_score();
    let id = market.request(two());
    let want = market.books();
    let executor = market.executor(id);
    let score = market.provider(executor.provider).score;
    let decline = market.step(id, executor.index, SeatStep::Decline);
    market.take(decline);
    assert_eq!(market.books(), want);
    assert_eq!(market.provider(executor.provider).score, score);
    assert_ne!(market.executor(id).provider, executor.provider);
}

#[test]
fn an_executor_silent_after_accepting_pays_a_tenth_and_two_thirds_of_its_score_remain() {
    let mut market = Market::new();
    market.until_everyone_has_a_score();
    let id = market.request(two());
    let mut want = market.books();
    let executor = market.accepted(id);
    let Phase::Accepted { commit_by } = market.job(id).phase else { panic!("accepted") };
    let window = (2 * N_IN).div_ceil(100) + (2 * N_MAX).div_ceil(10) + 10;
    assert_eq!(u128::from(commit_by.get()), u128::from(market.height()) + window);
    while market.height() < commit_by.get() {
        market.net.blocks(1);
    }
    let before = market.provider(executor.provider);
    market.net.blocks(1);
    let left = score_at(&before, market.height());
    assert_eq!(market.provider(executor.provider).score, left * 2 / 3);
    let fine = F_MAX / 10;
    want.of(executor.provider).held -= fine;
    want.of(executor.provider).stake -= fine;
    want.burn(fine);
    assert_eq!(market.books(), want, "the rest of the bond is free again");
    assert_ne!(market.executor(id).provider, executor.provider);
}

#[test]
fn when_every_executor_vanishes_the_requester_pays_only_its_steps() {
    let mut market = Market::new();
    let id = market.request(two());
    let mut want = market.books();
    for _ in 1..=3 {
        let executor = market.accepted(id);
        let fine = F_MAX / 10;
        want.of(executor.provider).held -= fine;
        want.of(executor.provider).stake -= fine;
        want.burn(fine);
        for _ in 0..60 {
            if market.find(id).is_none_or(|job| !matches!(job.phase, Phase::Accepted { .. })) {
                break;
            }
            market.net.blocks(1);
        }
    }
    assert!(market.find(id).is_none());
    let steps = 3 * step_fee();
    want.burn(steps);
    want.end_escrow(requester(), escrow(2), steps);
    assert_eq!(market.books(), want);
}

#[test]
fn an_executor_with_other_weights_loses_its_whole_bond_to_the_referee() {
    let mut market = Market::new();
    let id = market.request(two());
    let mut want = market.books();
    let (executor, verifiers) = market.verifying(id, &other_weights(1), claim());
    for seat in &verifiers {
        market.commit(id, seat, &right(1));
    }
    // The tokens are the same, and the traces differ.
    for opening in [right(1), other_weights(1)] {
        let reveal = market.reveal(id, opening);
        market.take(reveal);
    }
    assert!(matches!(market.job(id).phase, Phase::Disputed { .. }));
    market.wait(id, |phase| matches!(phase, Phase::Refereeing { .. }));
    let mut frozen = want.clone();
    for seat in verifiers.iter().chain([&executor]) {
        frozen.lock(seat.provider, B);
    }
    assert_eq!(market.books(), frozen, "a dispute freezes the bonds and pays nobody");
    let verdict = market.verdict(id, Some(right(1)));
    market.take(verdict);

    let steps = 7 * step_fee(); // accept, three commitments, two reveals, the verdict
    want.lock(executor.provider, B);
    want.forfeit(executor.provider, B);
    want.of(requester()).free += F_MAX;
    for seat in &verifiers {
        want.lock(seat.provider, B);
        want.of(seat.provider).free += A + F_MAX / 2;
    }
    want.of(pot()).free += A_MAX;
    want.burn(B - F_MAX - 2 * (F_MAX / 2) - A_MAX);
    want.burn(steps);
    want.end_escrow(requester(), escrow(2), 2 * A + steps);
    assert_eq!(market.books(), want);
    let record = market.settlement(id);
    assert_eq!(record.verdict, Verdict::Refereed);
    assert_eq!(record.payments.executor.get(), 0);
    assert_eq!(market.provider(executor.provider).score, 0);
    let barred = market.provider(executor.provider).barred_until;
    assert_eq!(barred, market.height() + 28 * 86_400);
}

#[test]
fn a_flipped_token_is_rejected_with_its_position_and_the_right_token() {
    let mut market = Market::new();
    let id = market.request(two());
    let mut want = market.books();
    let (executor, verifiers) = market.verifying(id, &right(1), flipped_claim());
    for seat in &verifiers {
        market.commit(id, seat, &reject(1));
    }
    for opening in [reject(1), right(1)] {
        let reveal = market.reveal(id, opening);
        market.take(reveal);
    }
    let concede = market.step(id, executor.index, SeatStep::Concede);
    market.take(concede);

    let steps = 7 * step_fee();
    want.lock(executor.provider, B / 2);
    want.forfeit(executor.provider, B / 2);
    want.of(requester()).free += F_MAX;
    for seat in &verifiers {
        want.lock(seat.provider, B);
        want.of(seat.provider).free += A + F_MAX / 2;
    }
    want.burn(B / 2 - F_MAX - 2 * (F_MAX / 2));
    want.burn(steps);
    want.end_escrow(requester(), escrow(2), 2 * A + steps);
    assert_eq!(market.books(), want, "a rejected answer earns its executor nothing");
    let record = market.settlement(id);
    let opening = record.opening.unwrap();
    assert_eq!((opening.kind, opening.position), (ValueKind::Reject, 1));
    // The right token is inside the blind: another one gives another value.
    let trace = assay_manifest::Digest32::from_bytes([3; 32]);
    let blind = |token| assay_protocol::commitment::trace_blind(&salt(), 1, &trace, token);
    assert_eq!(opening.blind, blind(TOKENS[1]));
    assert_ne!(opening.blind, blind(FLIPPED[1]));
}

#[test]
fn an_executor_that_vanishes_after_its_commitment_counts_as_different() {
    let mut market = Market::new();
    let id = market.request(two());
    let mut want = market.books();
    let (executor, verifiers) = market.verifying(id, &other_weights(1), claim());
    for seat in &verifiers {
        market.commit(id, seat, &right(1));
    }
    let reveal = market.reveal(id, right(1));
    market.take(reveal);
    market.wait(id, |phase| matches!(phase, Phase::Disputed { .. }));
    market.wait(id, |phase| matches!(phase, Phase::Refereeing { .. }));
    let verdict = market.verdict(id, Some(right(1)));
    market.take(verdict);
    let steps = 6 * step_fee();
    want.lock(executor.provider, B);
    want.forfeit(executor.provider, B);
    want.of(requester()).free += F_MAX;
    for seat in &verifiers {
        want.lock(seat.provider, B);
        want.of(seat.provider).free += A + F_MAX / 2;
    }
    want.of(pot()).free += A_MAX;
    want.burn(B - 2 * F_MAX - A_MAX + steps);
    want.end_escrow(requester(), escrow(2), 2 * A + steps);
    assert_eq!(market.books(), want);
}
