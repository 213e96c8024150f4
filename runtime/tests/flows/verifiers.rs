//! Verifiers that vanish, decline or lie.

use assay_protocol::job::{SeatOutcome, Verdict};
use assay_protocol::signature::SeatStep;

use crate::answers::*;
use crate::market::*;

/// The last two seats of an honest end: executor and two verifiers, with `steps` steps in all.
fn honest_end(want: &mut crate::books::Books, executor: [u8; 32], verifiers: &[[u8; 32]], steps: u128) {
    want.lock(executor, B);
    want.of(executor).free += F;
    for verifier in verifiers {
        want.lock(*verifier, B);
        want.of(*verifier).free += A;
    }
    want.of(pot()).free += F * 3 / 100;
    want.burn(F * 2 / 100 + steps * step_fee());
    want.end_escrow(requester(), escrow(2), F + 2 * A + F * 5 / 100 + steps * step_fee());
}

fn fine(want: &mut crate::books::Books, who: [u8; 32], amount: u128) {
    want.of(who).held -= amount;
    want.of(who).stake -= amount;
    want.burn(amount);
}

#[test]
fn a_vanished_verifier_pays_one_fee_and_the_next_in_drawn_order_takes_its_place() {
    let mut market = Market::new();
    market.until_everyone_has_a_score();
    let id = market.request(two());
    let mut want = market.books();
    let (executor, verifiers) = market.verifying(id, &right(1), claim());
    let next = market.job(id).standby[0].provider;
    market.commit(id, &verifiers[1], &right(1));
    let window = (2 * (N_IN + N_MAX)).div_ceil(100) + 10;
    let gone = &verifiers[0];
    assert_eq!(u128::from(gone.deadline.get() - market.job(id).verifier_draw.unwrap().height.get()), window);
    while market.height() < gone.deadline.get() {
        market.net.blocks(1);
    }
    assert_eq!(market.pending(id), vec![gone.clone()], "the deadline's block is still in time");
    let before = market.provider(gone.provider);
    market.net.blocks(1);
    let replacement = market.pending(id);
    assert_eq!(replacement.len(), 1);
    assert_eq!(replacement[0].provider, next);
    let left = score_at(&before, market.height());
    assert_eq!(market.provider(gone.provider).score, left * 2 / 3);
    market.commit(id, &replacement[0], &right(1));
    let reveal = market.reveal(id, right(1));
    market.take(reveal);
    fine(&mut want, gone.provider, A);
    honest_end(&mut want, executor.provider, &[verifiers[1].provider, next], 5);
    assert_eq!(market.books(), want);
    let record = market.settlement(id);
    assert_eq!(record.seats[usize::from(gone.index)].outcome, SeatOutcome::Silent);
}

#[test]
fn a_declining_verifier_pays_half_a_fee_and_keeps_its_score() {
    let mut market = Market::new();
    market.until_everyone_has_a_score();
    let id = market.request(two());
    let mut want = market.books();
    let (executor, verifiers) = market.verifying(id, &right(1), claim());
    let score = market.provider(verifiers[0].provider).score;
    let next = market.job(id).standby[0].provider;
    let decline = market.step(id, verifiers[0].index, SeatStep::Decline);
    market.take(decline);
    assert_eq!(market.provider(verifiers[0].provider).score, score);
    for seat in market.pending(id) {
        market.commit(id, &seat, &right(1));
    }
    let reveal = market.reveal(id, right(1));
    market.take(reveal);
    fine(&mut want, verifiers[0].provider, A.div_ceil(2));
    honest_end(&mut want, executor.provider, &[verifiers[1].provider, next], 6);
    assert_eq!(market.books(), want);
}

#[test]
fn a_standby_whose_stake_went_elsewhere_is_passed_over_without_loss() {
    let mut market = Market::new();
    let id = market.request(two());
    let (_, verifiers) = market.verifying(id, &right(1), claim());
    let [gone, next] = [market.job(id).standby[0].provider, market.job(id).standby[1].provider];
    let n = (0..PROVIDERS).find(|n| account(*n) == gone).unwrap();
    let leave = pallet_assay_providers::Call::unstake { amount: STAKE };
    let leave = market.net.sign(&crate::support::provider(n), assay_runtime::RuntimeCall::Providers(leave));
    market.take(leave);
    let want = market.books();
    let decline = market.step(id, verifiers[0].index, SeatStep::Decline);
    market.take(decline);
    let pending: Vec<_> = market.pending(id).iter().map(|seat| seat.provider).collect();
    assert!(pending.contains(&next) && !pending.contains(&gone));
    let passed = market.job(id).seats.iter().find(|seat| seat.provider == gone).unwrap().clone();
    assert_eq!((passed.outcome, passed.bond.get()), (SeatOutcome::Unbonded, 0));
    assert_eq!(market.books().of(gone), want.clone().of(gone));
}

#[test]
fn when_nobody_is_left_to_seat_the_job_is_inconclusive_and_refunded() {
    let mut market = Market::of(4);
    let id = market.request(two());
    let mut want = market.books();
    let (executor, verifiers) = market.verifying(id, &right(1), claim());
    let mut left: Vec<_> = verifiers.iter().map(|seat| seat.provider).collect();
    left.extend(market.job(id).standby.iter().map(|standby| standby.provider));
    assert_eq!(left.len(), 3);
    market.close(id);
    // Two were silent, and so was the third that took a seat; with the first fault one seat is missing.
    for seat in market.settlement(id).seats.iter().filter(|seat| seat.outcome == SeatOutcome::Silent) {
        fine(&mut want, seat.provider, A);
    }
    let record = market.settlement(id);
    assert_eq!(record.verdict, Verdict::Inconclusive);
    assert!(record.seats.iter().filter(|seat| seat.outcome == SeatOutcome::Silent).count() >= 2);
    let steps = 2 * step_fee();
    want.burn(steps);
    want.end_escrow(requester(), escrow(2), steps);
    assert_eq!(market.books(), want, "the executor's bond is free, and nobody is paid");
    assert_eq!(market.provider(executor.provider).locked, 0);
}

#[test]
fn a_false_rejection_costs_its_verifier_the_whole_bond() {
    let mut market = Market::new();
    market.until_everyone_has_a_score();
    let id = market.request(two());
    let mut want = market.books();
    let (executor, verifiers) = market.verifying(id, &right(1), claim());
    let [honest, liar] = [&verifiers[0], &verifiers[1]];
    market.commit(id, honest, &right(1));
    market.commit(id, liar, &reject(1));
    for opening in [right(1), reject(1)] {
        let reveal = market.reveal(id, opening);
        market.take(reveal);
    }
    market.wait(id, |phase| matches!(phase, assay_protocol::job::Phase::Refereeing { .. }));
    let verdict = market.verdict(id, Some(right(1)));
    market.take(verdict);
    let steps = 7 * step_fee();
    want.lock(liar.provider, B);
    want.forfeit(liar.provider, B);
    want.lock(executor.provider, B);
    want.lock(honest.provider, B);
    want.of(requester()).free += F_MAX;
    want.of(executor.provider).free += F + F_MAX / 2;
    want.of(honest.provider).free += A + F_MAX / 2;
    want.of(pot()).free += A_MAX + F * 3 / 100;
    want.burn(B - 2 * F_MAX - A_MAX);
    want.burn(F * 2 / 100 + steps);
    want.end_escrow(requester(), escrow(2), F + A + F * 5 / 100 + steps);
    assert_eq!(market.books(), want);
    assert_eq!(market.provider(liar.provider).score, 0);
    assert!(market.provider(honest.provider).score > 0);

    let next = market.request(two());
    market.verifying(next, &right(1), claim());
    let job = market.job(next);
    assert!(job.seats.iter().all(|seat| seat.provider != liar.provider), "it is barred from draws");
    assert!(job.standby.iter().all(|standby| standby.provider != liar.provider));
}

#[test]
fn a_liar_that_concedes_loses_a_quarter_and_a_third_of_its_score() {
    let mut market = Market::new();
    market.until_everyone_has_a_score();
    let id = market.request(two());
    let mut want = market.books();
    let (executor, verifiers) = market.verifying(id, &right(1), claim());
    let [honest, liar] = [&verifiers[0], &verifiers[1]];
    market.commit(id, honest, &right(1));
    market.commit(id, liar, &reject(1));
    for opening in [right(1), reject(1)] {
        let reveal = market.reveal(id, opening);
        market.take(reveal);
    }
    let before = market.provider(liar.provider);
    let concede = market.step(id, liar.index, SeatStep::Concede);
    market.take(concede);
    let left = score_at(&before, market.height());
    assert_eq!(market.provider(liar.provider).score, left * 2 / 3);
    let (quarter, steps) = (B / 4, 7 * step_fee());
    // At least half is burned: F_max to the requester, and the right seats share what is left of half.
    let each = (quarter / 2 - F_MAX).div_euclid(2).min(F_MAX / 2);
    want.lock(liar.provider, quarter);
    want.forfeit(liar.provider, quarter);
    want.lock(executor.provider, B);
    want.lock(honest.provider, B);
    want.of(requester()).free += F_MAX;
    want.of(executor.provider).free += F + each;
    want.of(honest.provider).free += A + each;
    want.of(pot()).free += F * 3 / 100;
    want.burn(quarter - F_MAX - 2 * each);
    want.burn(F * 2 / 100 + steps);
    want.end_escrow(requester(), escrow(2), F + A + F * 5 / 100 + steps);
    assert_eq!(market.books(), want);
    assert_eq!(market.settlement(id).verdict, Verdict::VerifiedThin);
}
