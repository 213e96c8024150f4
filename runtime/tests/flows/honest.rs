//! Jobs in which everyone does right.

use assay_protocol::job::{Phase, SeatOutcome, Verdict};
use assay_protocol::party::Role;
use assay_protocol::record::{Policy, PublicRecord};
use assay_protocol::units::Price;
use assay_runtime::RuntimeCall;
use pallet_assay_providers::Call as ProvidersCall;

use crate::answers::{claim, failed_claim, failure, right};
use crate::market::*;
use crate::support::provider;

#[test]
fn a_request_holds_exactly_its_escrow_and_burns_exactly_its_fee() {
    let mut market = Market::new();
    let mut want = market.books();
    let asking = market.asking(two());
    let events = market.take(asking);
    let fee = fee_paid(&events);
    assert!(fee > 0);
    want.of(requester()).free -= escrow(2) + fee;
    want.of(requester()).held += escrow(2);
    want.burn(fee);
    assert_eq!(market.books(), want);
}

#[test]
fn an_honest_job_moves_every_unit_as_promised() {
    let mut market = Market::new();
    let id = market.request(two());
    let mut want = market.books();
    let executor = market.executor(id);
    want.lock(executor.provider, B);
    assert_eq!(market.books(), want, "a draw locks the bond and moves nothing else");
    let accept = market.step(id, executor.index, assay_protocol::signature::SeatStep::Accept);
    market.take(accept);
    assert_eq!(market.books(), want, "a step costs its sender nothing");
    let commitment = market.commitment(id, executor.index, &right(1), claim());
    market.take(commitment);
    market.wait(id, |phase| matches!(phase, Phase::Verifying));
    let verifiers = market.pending(id);
    assert_eq!(verifiers.len(), 2);
    for seat in &verifiers {
        want.lock(seat.provider, B);
    }
    for seat in &verifiers {
        market.commit(id, seat, &right(1));
    }
    assert_eq!(market.books(), want, "nobody is paid before the values are open");
    let reveal = market.reveal(id, right(1));
    market.take(reveal);

    let (fee_burned, fee_pot) = (F * 2 / 100, F * 3 / 100);
    let steps = 5 * step_fee(); // accept, three commitments, one reveal
    want.of(executor.provider).free += F;
    for seat in &verifiers {
        want.of(seat.provider).free += A;
    }
    want.of(pot()).free += fee_pot;
    want.burn(fee_burned + steps);
    want.end_escrow(requester(), escrow(2), F + 2 * A + fee_pot + fee_burned + steps);
    assert_eq!(market.books(), want);

    let record = market.settlement(id);
    assert_eq!(record.verdict, Verdict::VerifiedThin, "a draw from few providers is thin");
    assert_eq!(record.opening, Some(right(1)));
    let paid: u128 = record.seats.iter().map(|seat| seat.paid.get()).sum();
    assert_eq!(paid, F + 2 * A);
    assert!(record.seats.iter().all(|seat| seat.outcome == SeatOutcome::Right));

    market.close(id);
    for seat in verifiers.iter().chain([&executor]) {
        want.unlock(seat.provider, B);
        let book = market.provider(seat.provider);
        assert_eq!((book.score, book.working), (fee_burned, 0), "the score grows by the fee that was burned");
    }
    assert_eq!(market.books(), want, "bonds are free when the challenge window has closed");
}

#[test]
fn bonds_stay_locked_for_the_whole_challenge_window() {
    let mut market = Market::new();
    let (id, executor, _) = market.honest_job();
    let closes_at = market.job(id).phase.closes_at().expect("settled");
    assert_eq!(closes_at.get(), market.height() + params().challenge_window);
    while market.height() + 1 < closes_at.get() {
        market.net.blocks(1);
        assert_eq!(market.provider(executor.provider).locked, B);
    }
    market.net.blocks(1);
    assert_eq!(market.provider(executor.provider).locked, 0);
}

#[test]
fn charges_round_up_to_the_unit_and_the_parts_sum_to_the_escrow() {
    let mut market = Market::new();
    // A seventh of a unit more a million tokens than is divisible.
    let odd = |per_token: u128| Price::new(per_token * 1_000_000 + 1);
    let mut asked = two();
    asked.prices.input = odd(P_IN);
    asked.prices.output = odd(P_OUT);
    asked.prices.verify_max = odd(P_VERIFY_MAX);
    let id = market.request(asked);
    let mut want = market.books();
    let up = |quantity: u128, per_million: u128| (quantity * per_million).div_ceil(1_000_000);
    let fee = |n_out: u128| up(N_IN, P_IN * 1_000_000 + 1) + up(n_out, P_OUT * 1_000_000 + 1);
    let a_max = ((4 * N_IN + 5 * N_MAX) * (P_VERIFY_MAX * 1_000_000 + 1)).div_ceil(4 * 1_000_000);
    let held = fee(N_MAX) + 2 * a_max + (fee(N_MAX) * 5).div_ceil(100) + STEPS_PREPAID * step_fee();
    assert_eq!(want.of(requester()).held, held);
    let (executor, verifiers) = market.verifying(id, &right(1), claim());
    for seat in &verifiers {
        market.commit(id, seat, &right(1));
    }
    let reveal = market.reveal(id, right(1));
    market.take(reveal);
    let (fee_whole, bond) = ((fee(N_OUT) * 5).div_ceil(100), 10 * fee(N_MAX));
    let fee_burned = (fee_whole * 2).div_ceil(5);
    let steps = 5 * step_fee();
    for seat in verifiers.iter().chain([&executor]) {
        want.lock(seat.provider, bond);
    }
    want.of(executor.provider).free += fee(N_OUT);
    for seat in &verifiers {
        want.of(seat.provider).free += A;
    }
    want.of(pot()).free += fee_whole - fee_burned;
    want.burn(fee_burned + steps);
    want.end_escrow(requester(), held, fee(N_OUT) + 2 * A + fee_whole + steps);
    assert_eq!(market.books(), want);
}

#[test]
fn each_policy_seats_its_number_of_verifiers() {
    let policies = [
        (Policy::Verified { verifiers: 2 }, 2),
        (Policy::Verified { verifiers: 4 }, 4),
        (Policy::Replicated { executions: 1 }, 1), // never without a drawn verifier
        (Policy::Replicated { executions: 2 }, 1),
        (Policy::Replicated { executions: 3 }, 2),
    ];
    for (policy, verifiers) in policies {
        let mut market = Market::new();
        let id = market.request(record(policy));
        let mut want = market.books();
        assert_eq!(want.of(requester()).held, escrow(verifiers as u128));
        let (executor, seats) = market.verifying(id, &right(1), claim());
        assert_eq!(seats.len(), verifiers, "{policy:?}");
        for seat in &seats {
            market.commit(id, seat, &right(1));
            want.lock(seat.provider, B);
            want.of(seat.provider).free += A;
        }
        let reveal = market.reveal(id, right(1));
        market.take(reveal);
        let k = verifiers as u128;
        let steps = (3 + k) * step_fee();
        want.lock(executor.provider, B);
        want.of(executor.provider).free += F;
        want.of(pot()).free += F * 3 / 100;
        want.burn(F * 2 / 100 + steps);
        want.end_escrow(requester(), escrow(k), F + k * A + F * 5 / 100 + steps);
        assert_eq!(market.books(), want, "{policy:?}");
    }
}

#[test]
fn an_agreed_failure_pays_for_the_tokens_processed() {
    let mut market = Market::new();
    let (id, executor, verifiers) = market.revealing(&[failure(1); 3], failed_claim());
    let mut want = market.books();
    let reveal = market.reveal(id, failure(1));
    market.take(reveal);
    let fee = P_IN * N_IN;
    let verification = P_VERIFY * N_IN;
    let steps = 5 * step_fee();
    want.of(executor.provider).free += fee;
    for seat in &verifiers {
        want.of(seat.provider).free += verification;
    }
    want.of(pot()).free += fee * 3 / 100;
    want.burn(fee * 2 / 100 + steps);
    want.end_escrow(requester(), escrow(2), fee + 2 * verification + fee * 5 / 100 + steps);
    assert_eq!(market.books(), want);
    assert_eq!(market.settlement(id).opening, Some(failure(1)));
}

#[test]
fn a_chosen_executor_is_paid_but_earns_no_score() {
    let mut market = Market::new();
    let chosen = account(3);
    let id = market.request(PublicRecord { direct_executor: Some(chosen), ..two() });
    let (executor, verifiers) = market.verifying(id, &right(1), claim());
    assert_eq!(executor.provider, chosen);
    for seat in &verifiers {
        market.commit(id, seat, &right(1));
    }
    let reveal = market.reveal(id, right(1));
    market.take(reveal);
    assert_eq!(market.settlement(id).payments.executor.get(), F);
    assert_eq!(market.provider(chosen).score, 0);
    for seat in verifiers {
        assert_eq!(market.provider(seat.provider).score, F * 2 / 100);
    }
}

#[test]
fn the_requester_is_never_a_seat_of_its_own_job() {
    let mut market = Market::new();
    let enter = ProvidersCall::stake {
        amount: 100 * STAKE,
        work_key: work_public(7),
        encryption_key: Default::default(),
    };
    let enter = market.net.sign(&crate::support::alice(), RuntimeCall::Providers(enter));
    market.take(enter);
    let offer = RuntimeCall::Providers(ProvidersCall::set_offer { offer: offer(P_VERIFY) });
    let offer = market.net.sign(&crate::support::alice(), offer);
    market.take(offer);
    market.net.blocks(params().offer_delay);
    for _ in 0..3 {
        let id = market.request(two());
        let (executor, verifiers) = market.verifying(id, &right(1), claim());
        for seat in verifiers.iter().chain([&executor]) {
            assert_ne!(seat.provider, requester());
        }
        let job = market.job(id);
        assert!(job.standby.iter().all(|standby| standby.provider != requester()));
        assert_eq!(job.executor_draw.unwrap().eligible, u32::from(PROVIDERS), "it has most of all stake");
        assert_eq!(job.verifier_draw.unwrap().eligible, u32::from(PROVIDERS) - 1);
    }
    let id = market.asking(PublicRecord { direct_executor: Some(requester()), ..two() });
    assert!(error(&market.take(id)).is_some(), "nor can it choose itself");
}

#[test]
fn the_verifiers_are_drawn_by_price_of_verification_whatever_they_ask_for_executing() {
    let mut market = Market::new();
    let mut dear = offer(P_VERIFY);
    for model in dear.models.iter_mut() {
        model.input = Price::new(P_IN * 2_000_000);
    }
    let announce = RuntimeCall::Providers(ProvidersCall::set_offer { offer: dear });
    let announce = market.net.sign(&provider(0), announce);
    market.take(announce);
    let announce = RuntimeCall::Providers(ProvidersCall::set_offer { offer: offer(2 * P_VERIFY_MAX) });
    let announce = market.net.sign(&provider(1), announce);
    market.take(announce);
    market.net.blocks(params().offer_delay);
    let id = market.request(two());
    let (executor, _) = market.verifying(id, &right(1), claim());
    let job = market.job(id);
    assert_ne!(executor.provider, account(0), "its price of executing is over the cap");
    assert_eq!(job.executor_draw.unwrap().eligible, u32::from(PROVIDERS) - 1);
    let verifying: Vec<_> = job
        .seats
        .iter()
        .filter(|seat| seat.role == Role::Verifier)
        .map(|seat| seat.provider)
        .chain(job.standby.iter().map(|standby| standby.provider))
        .collect();
    assert!(verifying.contains(&account(0)));
    assert!(!verifying.contains(&account(1)), "its price of verifying is over the cap");
}

#[test]
fn a_wide_draw_is_verified_and_a_narrower_one_is_thin() {
    // Eight eligible verifiers of equal stake besides the executor make a draw wide.
    for (providers, verdict) in [(8, Verdict::VerifiedThin), (9, Verdict::Verified)] {
        let mut market = Market::of(providers);
        let (id, ..) = market.honest_job();
        assert_eq!(market.settlement(id).verdict, verdict, "{providers} providers");
    }
}
