//! A verifier that does not serve the model (clause J16).

use assay_protocol::job::{Job, Phase, Seat, SeatOutcome, Verdict};
use assay_protocol::params::{AT_LARGE_BYTES_MAX, FETCHED_BYTES_PER_BLOCK};
use assay_protocol::party::Role;
use assay_protocol::record::{Policy, PublicRecord};
use assay_protocol::signature::SeatStep;
use assay_protocol::units::Price;
use assay_runtime::{Runtime, RuntimeCall};
use frame_support::BoundedVec;
use pallet_assay_jobs::Error;
use pallet_assay_providers::{AtLarge, Call as ProvidersCall, Offer};

use crate::answers::*;
use crate::market::*;
use crate::support::provider;

/// Providers of the model, each of whom would verify others at large as well; the rest does that alone.
const SERVING: u8 = 6;
const ALL: u8 = 10;
/// What the model's files take.
const WEIGHTS_BYTES: u64 = FETCHED_BYTES_PER_BLOCK * 7;

fn at_large(weights_bytes: u64) -> PublicRecord {
    record(Policy::VerifiedAtLarge { verifiers: 2, weights_bytes })
}

fn at_large_offer(n: u8) -> Offer {
    let terms = AtLarge { verify: Price::new(P_VERIFY * 1_000_000), weights_max_bytes: WEIGHTS_BYTES };
    let offer = Offer { at_large: Some(terms), ..offer(P_VERIFY) };
    if n < SERVING { offer } else { Offer { models: BoundedVec::default(), ..offer } }
}

fn mixed() -> Market {
    let mut market = Market::of(ALL);
    let change = |n| (n, RuntimeCall::Providers(ProvidersCall::set_offer { offer: at_large_offer(n) }));
    let changes = (0..ALL).map(change).map(|(n, call)| market.net.sign(&provider(n), call)).collect();
    market.net.block(changes);
    market.net.blocks(params().offer_delay);
    market
}

/// The seat at large that owes a commitment, of an account that does not serve the model.
fn stranger(job: &Job) -> Seat {
    let pending = |seat: &&Seat| seat.role == Role::AtLarge && seat.outcome == SeatOutcome::Pending;
    let seat = job.seats.iter().find(pending).expect("a seat at large").clone();
    assert!((SERVING..ALL).any(|n| account(n) == seat.provider), "it serves the model");
    seat
}

#[test]
fn one_verifier_does_not_serve_the_model_and_has_the_time_to_fetch_it() {
    let mut market = mixed();
    let id = market.request(at_large(WEIGHTS_BYTES));
    let mut want = market.books();
    let (executor, seats) = market.verifying(id, &right(1), claim());
    let job = market.job(id);
    let stranger = stranger(&job);
    let [served] = seats.iter().filter(|seat| seat.role == Role::Verifier).collect::<Vec<_>>()[..] else {
        panic!("one verifier serves the model")
    };
    assert_eq!(stranger.deadline.get() - served.deadline.get(), 60 + 7);
    assert_eq!(job.verifier_draw.unwrap().eligible, u32::from(SERVING) - 1);
    assert_eq!(job.at_large_draw.unwrap().eligible, u32::from(ALL - SERVING));
    for seat in &seats {
        market.commit(id, seat, &right(1));
    }
    let reveal = market.reveal(id, right(1));
    market.take(reveal);
    for verifier in [served.provider, stranger.provider] {
        want.lock(verifier, B);
        want.of(verifier).free += A;
    }
    want.lock(executor.provider, B);
    want.of(executor.provider).free += F;
    want.of(pot()).free += F * 3 / 100;
    want.burn(F * 2 / 100 + 5 * step_fee());
    want.end_escrow(requester(), escrow(2), F + 2 * A + F * 5 / 100 + 5 * step_fee());
    assert_eq!(market.books(), want);
    let record = market.settlement(id);
    assert_eq!((record.verdict, record.at_large_draw), (Verdict::VerifiedThin, job.at_large_draw));
    market.close(id);
}

#[test]
fn strangers_that_cannot_have_the_model_lose_nothing_and_the_requester_gets_its_money_back() {
    let mut market = mixed();
    let id = market.request(at_large(WEIGHTS_BYTES));
    let mut want = market.books();
    let (_, seats) = market.verifying(id, &right(1), claim());
    let served = seats.into_iter().find(|seat| seat.role == Role::Verifier).unwrap();
    market.commit(id, &served, &right(1));
    for _ in 0..3 {
        let seat = stranger(&market.job(id));
        let decline = market.step(id, seat.index, SeatStep::Decline);
        market.take(decline);
    }
    let record = market.settlement(id);
    assert_eq!((record.verdict, record.opening), (Verdict::Inconclusive, None));
    want.burn(6 * step_fee());
    want.end_escrow(requester(), escrow(2), 6 * step_fee());
    assert_eq!(market.books(), want);
}

#[test]
fn a_request_that_nobody_at_large_would_take_is_refused() {
    let mut market = mixed();
    let cases: [(&str, PublicRecord, Error<Runtime>); 2] = [
        ("a larger model", at_large(WEIGHTS_BYTES + 1), Error::NobodyAtLarge),
        ("a model that is too large for anybody", at_large(AT_LARGE_BYTES_MAX + 1), Error::OutOfRange),
    ];
    for (what, record, refusal) in cases {
        let asking = market.asking(record);
        assert_eq!(error(&market.take(asking)), Some(refusal.into()), "{what}");
    }
    let id = market.request(at_large(1));
    market.wait(id, |phase| matches!(phase, Phase::Assigned { .. }));
}

#[test]
fn who_takes_its_offer_back_is_drawn_no_more() {
    let mut market = mixed();
    let id = market.request(at_large(WEIGHTS_BYTES));
    let executor = market.accepted(id);
    for n in SERVING..ALL {
        let call = RuntimeCall::Providers(ProvidersCall::set_offer { offer: offer(P_VERIFY) });
        let change = market.net.sign(&provider(n), call);
        market.take(change);
    }
    market.net.blocks(params().offer_delay);
    let commitment = market.commitment(id, executor.index, &right(1), claim());
    market.take(commitment);
    market.close(id);
    let record = market.settlement(id);
    assert_eq!((record.verdict, record.at_large_draw.unwrap().eligible), (Verdict::Inconclusive, 0));
}
