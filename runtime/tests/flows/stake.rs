//! Offers, stake and keys of providers.

use assay_manifest::Digest32;
use assay_protocol::job::Phase;
use assay_protocol::params::Params;
use assay_protocol::signature::{SeatStep, Signature, rotation_digest};
use assay_runtime::queries::ProviderEntry;
use assay_runtime::{AccountId, RuntimeCall, general};
use pallet_assay_providers::Call as ProvidersCall;
use sp_core::Pair;

use crate::answers::*;
use crate::market::*;
use crate::support::provider;

fn send(
    market: &mut Market,
    n: u8,
    call: ProvidersCall<assay_runtime::Runtime>,
) -> Option<sp_runtime::DispatchError> {
    let signed = market.net.sign(&provider(n), RuntimeCall::Providers(call));
    error(&market.take(signed))
}

fn index_of(who: [u8; 32]) -> u8 {
    (0..PROVIDERS).find(|n| account(*n) == who).unwrap()
}

#[test]
fn an_offer_changes_only_after_the_delay() {
    let mut market = Market::new();
    let price = |market: &Market| {
        let entry: Option<ProviderEntry> = market.net.call("ProvidersApi_provider", account(0));
        entry.unwrap().2.unwrap().models[0].verify.get() / 1_000_000
    };
    assert_eq!(send(&mut market, 0, ProvidersCall::set_offer { offer: offer(3) }), None);
    let announced = market.height();
    while market.height() < announced + params().offer_delay - 1 {
        assert_eq!(price(&market), P_VERIFY);
        market.net.blocks(1);
    }
    assert_eq!(price(&market), P_VERIFY);
    market.net.blocks(1);
    assert_eq!(price(&market), 3);
}

#[test]
fn a_later_announcement_replaces_an_earlier_one_and_waits_its_own_delay() {
    let mut market = Market::new();
    send(&mut market, 0, ProvidersCall::set_offer { offer: offer(3) });
    market.net.blocks(1);
    send(&mut market, 0, ProvidersCall::set_offer { offer: offer(5) });
    let mut seen = Vec::new();
    for _ in 0..params().offer_delay {
        let entry: Option<ProviderEntry> = market.net.call("ProvidersApi_provider", account(0));
        seen.push(entry.unwrap().2.unwrap().models[0].verify.get() / 1_000_000);
        market.net.blocks(1);
    }
    assert!(seen.iter().all(|price| *price == P_VERIFY), "the first never came into force");
    let entry: Option<ProviderEntry> = market.net.call("ProvidersApi_provider", account(0));
    assert_eq!(entry.unwrap().2.unwrap().models[0].verify.get() / 1_000_000, 5);
}

#[test]
fn the_price_of_a_seat_is_that_of_its_draw() {
    let mut market = Market::new();
    let id = market.request(two());
    let (_, verifiers) = market.verifying(id, &right(1), claim());
    let n = index_of(verifiers[0].provider);
    send(&mut market, n, ProvidersCall::set_offer { offer: offer(2 * P_VERIFY) });
    market.net.blocks(params().offer_delay);
    for seat in &verifiers {
        market.commit(id, seat, &right(1));
    }
    let reveal = market.reveal(id, right(1));
    market.take(reveal);
    assert_eq!(market.settlement(id).payments.verifiers.get(), 2 * A);
}

#[test]
fn stake_on_its_way_out_cannot_take_a_bond_with_it() {
    let mut market = Market::new();
    let id = market.request(two());
    let executor = market.accepted(id);
    let n = index_of(executor.provider);
    assert!(send(&mut market, n, ProvidersCall::unstake { amount: STAKE }).is_some(), "the bond is not free");
    assert_eq!(send(&mut market, n, ProvidersCall::unstake { amount: STAKE / 2 }), None);
    assert!(send(&mut market, n, ProvidersCall::withdraw {}).is_some(), "nothing is ready");
    let commitment = market.commitment(id, executor.index, &other_weights(1), claim());
    market.take(commitment);
    market.wait(id, |phase| matches!(phase, Phase::Verifying));
    for seat in market.pending(id) {
        market.commit(id, &seat, &right(1));
    }
    market.wait(id, |phase| matches!(phase, Phase::Refereeing { .. }));
    let verdict = market.verdict(id, Some(right(1)));
    market.take(verdict);
    let mut books = market.books();
    let purse = *books.of(executor.provider);
    assert_eq!((purse.held, purse.stake, purse.locked), (STAKE - B, STAKE / 2 - B, 0));
}

#[test]
fn a_provider_can_always_be_slashed_until_its_last_job_is_beyond_challenge_and_verdict() {
    let main = Params::MAIN;
    assert!(main.unbonding_window >= main.challenge_window + main.verdict_window);
    let mut market = Market::new();
    assert_eq!(send(&mut market, 0, ProvidersCall::unstake { amount: STAKE }), None);
    let unbonding_from = market.height();
    let mut want = market.books();
    assert_eq!(want.of(account(0)).held, STAKE, "it is still held");
    while market.height() + 1 < unbonding_from + params().unbonding_window {
        market.net.blocks(1);
    }
    let signed = market.net.sign(&provider(0), RuntimeCall::Providers(ProvidersCall::withdraw {}));
    let events = market.take(signed);
    assert!(error(&events).is_none(), "the block of its release");
    want.of(account(0)).held = 0;
    want.of(account(0)).free += STAKE - fee_paid(&events);
    want.burn(fee_paid(&events));
    assert_eq!(market.books(), want);
    assert!(market.net.call::<Option<ProviderEntry>>("ProvidersApi_provider", account(0)).is_none());
}

#[test]
fn leaving_does_not_end_a_bar() {
    let mut market = Market::new();
    let (id, executor, _) = market.revealing(&[other_weights(1), right(1), right(1)], claim());
    market.wait(id, |phase| matches!(phase, Phase::Refereeing { .. }));
    let verdict = market.verdict(id, Some(right(1)));
    market.take(verdict);
    let n = index_of(executor.provider);
    let barred_until = market.provider(executor.provider).barred_until;
    assert_eq!(send(&mut market, n, ProvidersCall::unstake { amount: STAKE - B }), None);
    market.net.blocks(params().unbonding_window);
    assert_eq!(send(&mut market, n, ProvidersCall::withdraw {}), None);
    let encryption_key = sealing_secret(n).public();
    let back = ProvidersCall::stake { amount: STAKE, work_key: work_public(n), encryption_key };
    assert_eq!(send(&mut market, n, back), None);
    assert_eq!(market.provider(executor.provider).barred_until, barred_until);
}

#[test]
fn a_seat_keeps_the_key_with_which_it_was_drawn() {
    let mut market = Market::new();
    let id = market.request(two());
    let executor = market.executor(id);
    let n = index_of(executor.provider);
    let rotated =
        ProvidersCall::set_keys { work_key: work_public(7), encryption_key: sealing_secret(7).public() };
    assert_eq!(send(&mut market, n, rotated), None);
    assert!(!market.refuses(&market.step(id, executor.index, SeatStep::Accept)));
}

#[test]
fn who_unstakes_everything_makes_room_in_the_lists_of_models() {
    let mut market = Market::new();
    let serving = |market: &Market| {
        let all: Vec<AccountId> = market.net.call("ProvidersApi_serving", (model(), Some(spec())));
        all.contains(&AccountId::from(account(0)))
    };
    assert!(serving(&market));
    assert_eq!(send(&mut market, 0, ProvidersCall::unstake { amount: STAKE }), None);
    market.net.blocks(1);
    assert!(!serving(&market));
}

#[test]
fn a_work_key_replaces_the_encryption_key_once_in_a_rotation_window_and_for_nothing() {
    let mut market = Market::new();
    let rotate = |market: &Market, n: u8, former: Digest32, next: Digest32| {
        let who = account(n);
        let message = rotation_digest(&market.net.genesis_digest(), &who, &former, &next);
        let signature = Signature(work_key(n).sign(message.as_bytes()).0);
        general(RuntimeCall::Providers(ProvidersCall::rotate_encryption_key {
            provider: who.into(),
            encryption_key: next,
            signature,
        }))
    };
    let (first, second) = (sealing_secret(0).public(), sealing_secret(100).public());
    let early = rotate(&market, 0, first, second);
    assert!(market.refuses(&early), "it was set a moment ago");
    let due = market.provider(account(0)).encryption_key_at + params().rotation_window;
    market.net.blocks(due - market.height() - 1);
    let before = market.books();
    assert!(market.refuses(&rotate(&market, 0, second, second)), "signed over another former key");
    assert!(market.refuses(&rotate(&market, 0, first, Digest32::ZERO)), "nobody could seal to it");
    market.take(early.clone());
    assert_eq!(market.books(), before);
    assert_eq!(market.provider(account(0)).encryption_key, second);
    assert!(market.refuses(&early), "replayed");
}
