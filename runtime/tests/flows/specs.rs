//! A model that providers execute by different definitions: a request is served by those of its own alone.

use assay_manifest::{JobId, SpecId};
use assay_protocol::job::{Phase, Seat};
use assay_protocol::params::Params;
use assay_protocol::party::AccountBytes;
use assay_protocol::record::{Class, PublicRecord};
use assay_runtime::{Runtime, RuntimeCall};
use pallet_assay_jobs::{Call as JobsCall, Error};
use pallet_assay_providers::{Call as ProvidersCall, Offer};

use crate::answers::*;
use crate::market::*;
use crate::support::{alice, provider};

/// Providers that execute by [`spec`]: the first ones.
const OURS: u8 = 5;
/// All of them.
const ALL: u8 = 12;

fn foreign() -> SpecId {
    SpecId::from_bytes([3; 32])
}

fn foreign_offer() -> Offer {
    let mut offer = offer(P_VERIFY);
    offer.models[0].spec_id = foreign();
    offer
}

/// A market of newcomers, whose answers are all looked at again; every provider after the first [`OURS`] offers the
/// model by foreign definitions.
fn mixed() -> Market {
    let newcomer_score = Params::DEVELOPMENT.newcomer_score;
    let mut market = Market::with(ALL, Params { newcomer_score, ..params() });
    let change = |n| (n, RuntimeCall::Providers(ProvidersCall::set_offer { offer: foreign_offer() }));
    let changes = (OURS..ALL).map(change).map(|(n, call)| market.net.sign(&provider(n), call)).collect();
    market.net.block(changes);
    market.net.blocks(params().offer_delay);
    market
}

/// Asks, and has the executor and the verifiers settle; the job at the draw of its fresh verifier.
fn looked_at_again(market: &mut Market) -> JobId {
    let (id, _, _) = market.honest_job();
    market.wait(id, |phase| matches!(phase, Phase::Rechecking { .. }));
    id
}

fn accounts_of(seats: &[Seat]) -> Vec<AccountBytes> {
    seats.iter().map(|seat| seat.provider).collect()
}

#[test]
fn every_seat_falls_to_a_provider_of_the_requests_definitions() {
    let mut market = mixed();
    let ours: Vec<AccountBytes> = (0..OURS).map(account).collect();
    for _ in 0..6 {
        let id = looked_at_again(&mut market);
        let job = market.job(id);
        let drawn = accounts_of(&job.seats);
        assert_eq!(drawn.len(), 4, "executor, two verifiers and a fresh one");
        assert!(drawn.iter().all(|seat| ours.contains(seat)), "{drawn:?}");
        assert_eq!(job.executor_draw.unwrap().eligible, u32::from(OURS));
        // One fewer for the executor that sits already, and two fewer for its verifiers.
        assert_eq!(job.verifier_draw.unwrap().eligible, u32::from(OURS) - 1);
        assert_eq!(job.recheck.unwrap().draw.eligible, u32::from(OURS) - 3);
        market.close(id);
    }
}

#[test]
fn a_provider_that_moves_to_other_definitions_is_drawn_no_more() {
    let mut market = mixed();
    let id = market.request(two());
    let executor = market.accepted(id);
    // All but the executor and two others move on before the verifiers are drawn.
    let others: Vec<u8> = (0..OURS).filter(|n| account(*n) != executor.provider).collect();
    let stay: Vec<AccountBytes> = others[..2].iter().map(|n| account(*n)).collect();
    for n in &others[2..] {
        let call = RuntimeCall::Providers(ProvidersCall::set_offer { offer: foreign_offer() });
        let moving = market.net.sign(&provider(*n), call);
        market.take(moving);
    }
    market.net.blocks(params().offer_delay);
    let commitment = market.commitment(id, executor.index, &right(1), claim());
    market.take(commitment);
    market.wait(id, |phase| matches!(phase, Phase::Verifying));
    let mut drawn = accounts_of(&market.pending(id));
    drawn.sort_unstable();
    let mut stay = stay;
    stay.sort_unstable();
    assert_eq!(drawn, stay);
}

#[test]
fn what_nobody_serves_is_refused_and_costs_the_fee_alone() {
    let mut market = mixed();
    let nobody = SpecId::from_bytes([9; 32]);
    let cases: [(&str, PublicRecord, Error<Runtime>); 3] = [
        ("a spec of nobody", PublicRecord { spec_id: nobody, ..two() }, Error::NoProvider),
        (
            "an executor of other definitions",
            PublicRecord { direct_executor: Some(account(OURS)), ..two() },
            Error::NoProvider,
        ),
        ("the tolerance class", PublicRecord { class: Class::Tolerance, ..two() }, Error::Unsupported),
    ];
    for (what, record, refusal) in cases {
        let mut want = market.books();
        let asked = market.asking(record);
        let events = market.take(asked);
        assert_eq!(error(&events), Some(refusal.into()), "{what}");
        want.of(requester()).free -= fee_paid(&events);
        want.burn(fee_paid(&events));
        assert_eq!(market.books(), want, "{what}");
    }
    let nonce: u64 = market.net.call("JobsApi_next_nonce", requester());
    assert_eq!(nonce, 0, "none of them was taken");
    // By the foreign definitions it can be asked for as well: seven serve it so.
    let record = PublicRecord { spec_id: foreign(), ..two() };
    let call = RuntimeCall::Jobs(JobsCall::request { nonce, record });
    let asked = market.net.sign(&alice(), call);
    assert_eq!(error(&market.take(asked)), None);
}
