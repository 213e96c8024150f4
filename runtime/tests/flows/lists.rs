//! A place in the list of a model's providers is kept by stake alone.

use assay_manifest::SpecId;
use assay_protocol::job::Phase;
use assay_protocol::params::Params;
use assay_protocol::record::PublicRecord;
use assay_protocol::seal::SealingSecret;
use assay_protocol::signature::SeatStep;
use assay_protocol::units::Amount;
use assay_runtime::queries::ProviderEntry;
use assay_runtime::{
    AccountId, Endowment, GenesisSpec, Providers, Runtime, RuntimeCall, RuntimeEvent, RuntimeOrigin, System,
    UNIT,
};
use frame_support::traits::OnInitialize;
use pallet_assay_providers::{
    Call as ProvidersCall, DISMISSED_PER_BLOCK_MAX, Error, Event, Offers, PendingOffers, Serving,
};
use sp_io::TestExternalities;

use crate::answers::*;
use crate::market::*;
use crate::support::{genesis, provider};

/// Places in a list.
const PLACES: u32 = 256;

/// Every provider has just the least stake.
fn tight() -> Params {
    Params { stake_min: Amount::new(STAKE), ..params() }
}

fn index_of(who: [u8; 32]) -> u8 {
    (0..PROVIDERS).find(|n| account(*n) == who).unwrap()
}

fn send(
    market: &mut Market,
    who: [u8; 32],
    call: ProvidersCall<Runtime>,
) -> Option<sp_runtime::DispatchError> {
    let signed = market.net.sign(&provider(index_of(who)), RuntimeCall::Providers(call));
    error(&market.take(signed))
}

fn is_listed(market: &Market, who: [u8; 32]) -> bool {
    let all: Vec<AccountId> = market.net.call("ProvidersApi_serving", (model(), Some(spec())));
    let entry: Option<ProviderEntry> = market.net.call("ProvidersApi_provider", who);
    let (.., offer, pending) = entry.expect("a provider");
    let listed = all.contains(&AccountId::from(who));
    assert_eq!(listed, offer.is_some() || pending.is_some(), "index and offers agree");
    listed
}

/// A verifier that declines, and pays half a fee.
fn declines(market: &mut Market) -> [u8; 32] {
    let id = market.request(two());
    let (_, verifiers) = market.verifying(id, &right(1), claim());
    let decline = market.step(id, verifiers[0].index, SeatStep::Decline);
    market.take(decline);
    verifiers[0].provider
}

/// A verifier that says nothing until its deadline, and pays a fee.
fn falls_silent(market: &mut Market) -> [u8; 32] {
    let id = market.request(two());
    let (_, verifiers) = market.verifying(id, &right(1), claim());
    while market.height() <= verifiers[0].deadline.get() {
        market.net.blocks(1);
    }
    verifiers[0].provider
}

/// A verifier that lies and concedes, and pays a quarter of its bond.
fn concedes(market: &mut Market) -> [u8; 32] {
    let (id, _, verifiers) = market.revealing(&[right(1), right(1), reject(1)], claim());
    let reveal = market.reveal(id, right(1));
    market.take(reveal);
    market.wait(id, |phase| matches!(phase, Phase::Disputed { .. }));
    let concede = market.step(id, verifiers[1].index, SeatStep::Concede);
    market.take(concede);
    verifiers[1].provider
}

/// An executor that the validators find wrong, and that forfeits its bond.
fn is_found_wrong(market: &mut Market) -> [u8; 32] {
    let (id, executor, _) = market.revealing(&[other_weights(1), right(1), right(1)], claim());
    market.wait(id, |phase| matches!(phase, Phase::Refereeing { .. }));
    let verdict = market.verdict(id, Some(right(1)));
    market.take(verdict);
    executor.provider
}

#[test]
fn who_falls_under_the_least_stake_loses_its_offers_a_block_later_and_may_top_up_and_return() {
    type Fall = fn(&mut Market) -> [u8; 32];
    let falls: [(&str, Fall); 4] = [
        ("declines", declines),
        ("falls silent", falls_silent),
        ("concedes", concedes),
        ("is found wrong", is_found_wrong),
    ];
    for (what, fall) in falls {
        let mut market = Market::with(PROVIDERS, tight());
        let who = fall(&mut market);
        assert!(market.provider(who).stake < STAKE, "{what}");
        let events = market.net.block(vec![]);
        let ended = RuntimeEvent::Providers(Event::OffersEnded { provider: who.into() });
        assert!(events.contains(&ended), "{what}");
        assert!(!is_listed(&market, who), "{what}");
        let announce = || ProvidersCall::set_offer { offer: offer(P_VERIFY) };
        let refusal = Some(Error::<Runtime>::StakeTooSmall.into());
        assert_eq!(send(&mut market, who, announce()), refusal, "{what}");
        let (n, amount) = (index_of(who), STAKE - market.provider(who).stake);
        let encryption_key = sealing_secret(n).public();
        let top_up = ProvidersCall::stake { amount, work_key: work_public(n), encryption_key };
        assert_eq!(send(&mut market, who, top_up), None, "{what}");
        assert_eq!(send(&mut market, who, announce()), None, "{what}");
        market.net.blocks(params().offer_delay);
        assert!(is_listed(&market, who), "{what}");
    }
}

#[test]
fn who_has_fallen_under_the_least_stake_is_not_drawn_before_its_offers_have_ended() {
    let mut market = Market::with(PROVIDERS, tight());
    let id = market.request(two());
    let (_, verifiers) = market.verifying(id, &right(1), claim());
    let who = verifiers[0].provider;
    let decline = market.step(id, verifiers[0].index, SeatStep::Decline);
    let chosen = PublicRecord { direct_executor: Some(who), ..two() };
    let asked = market.asking(chosen);
    let events = market.net.block(vec![decline, asked]);
    assert!(is_listed(&market, who), "its offers end with the next block");
    assert_eq!(error(&events), Some(pallet_assay_jobs::Error::<Runtime>::NoProvider.into()));
}

/// An account that is one of many.
fn one(n: u32) -> AccountId {
    AccountId::new(*assay_manifest::sha256(&n.to_le_bytes()).as_bytes())
}

fn origin(n: u32) -> RuntimeOrigin {
    RuntimeOrigin::signed(one(n))
}

fn least() -> u128 {
    params().stake_min.get()
}

/// The runtime's own state with the accounts, at any height, without the blocks before it.
fn at_heights(test: impl FnOnce()) {
    let rich = |n| Endowment { account: one(n), amount: 1_000 * UNIT };
    let spec = GenesisSpec { endowments: (0..=PLACES).map(rich).collect(), params: params(), ..genesis() };
    TestExternalities::new(spec.storage().unwrap()).execute_with(test);
}

fn stake(n: u32) {
    let encryption_key = SealingSecret::from_bytes([7; 32]).public();
    Providers::stake(origin(n), least(), [n as u8; 32], encryption_key).unwrap();
}

fn announce(n: u32) -> Result<(), sp_runtime::DispatchError> {
    Providers::set_offer(origin(n), offer(P_VERIFY))
}

/// Takes everything that somebody has staked, as a verdict does.
fn convict(n: u32) {
    Providers::lock(&one(n), least()).unwrap();
    Providers::forfeit(&one(n), &[], least()).unwrap();
    Providers::fault(&one(n)).unwrap();
}

fn pass(blocks: u32) {
    for _ in 0..blocks {
        let next = System::block_number() + 1;
        System::set_block_number(next);
        Providers::on_initialize(next);
        Providers::invariants().unwrap();
    }
}

fn listed() -> Vec<AccountId> {
    Serving::<Runtime>::get(model(), spec()).into_iter().map(|place| place.provider).collect()
}

#[test]
fn accounts_that_took_their_stake_out_keep_nobody_out_of_a_list() {
    at_heights(|| {
        pass(1);
        for n in 0..PLACES {
            stake(n);
            announce(n).unwrap();
            Providers::unstake(origin(n), least()).unwrap();
            assert_eq!(announce(n), Err(Error::<Runtime>::StakeTooSmall.into()));
        }
        stake(PLACES);
        announce(PLACES).unwrap();
        pass(params().offer_delay + 32);
        assert_eq!(listed(), [one(PLACES)]);
    });
}

#[test]
fn offers_of_other_definitions_keep_nobody_out_of_a_list() {
    at_heights(|| {
        pass(1);
        let mut foreign = offer(P_VERIFY);
        foreign.models[0].spec_id = SpecId::from_bytes([3; 32]);
        for n in 0..PLACES {
            stake(n);
            Providers::set_offer(origin(n), foreign.clone()).unwrap();
        }
        stake(PLACES);
        announce(PLACES).unwrap();
        pass(params().offer_delay + 32);
        assert_eq!(listed(), [one(PLACES)]);
        assert_eq!(Serving::<Runtime>::get(model(), foreign.models[0].spec_id).len(), PLACES as usize);
    });
}

#[test]
fn convicted_accounts_keep_nobody_out_of_a_list() {
    at_heights(|| {
        pass(1);
        for n in 0..PLACES {
            stake(n);
            announce(n).unwrap();
        }
        pass(params().offer_delay + 32);
        assert_eq!(listed().len(), PLACES as usize, "those who have staked fill it");
        (0..PLACES).for_each(convict);
        pass(1);
        stake(PLACES);
        announce(PLACES).unwrap();
        pass(params().offer_delay + PLACES.div_ceil(DISMISSED_PER_BLOCK_MAX));
        assert_eq!(listed(), [one(PLACES)]);
    });
}

#[test]
fn an_announced_offer_of_who_falls_before_its_height_never_comes_into_force() {
    at_heights(|| {
        pass(1);
        stake(0);
        announce(0).unwrap();
        pass(params().offer_delay - 1);
        convict(0);
        pass(1);
        assert!(Offers::<Runtime>::get(one(0)).is_none() && PendingOffers::<Runtime>::get(one(0)).is_none());
        let effective = RuntimeEvent::Providers(Event::OfferEffective { provider: one(0) });
        assert!(System::events().iter().all(|record| record.event != effective));
    });
}

#[test]
fn who_has_nothing_left_is_forgotten_on_request_when_its_bar_is_over() {
    type Lose = fn(u32);
    let ways: [(&str, Lose); 2] = [
        ("everything is forfeited", convict),
        ("the rest is taken out while it is barred", |n| {
            Providers::fault(&one(n)).unwrap();
            Providers::unstake(origin(n), least()).unwrap();
            pass(params().unbonding_window);
            Providers::withdraw(origin(n)).unwrap();
        }),
    ];
    at_heights(|| {
        pass(1);
        let entry = |n| pallet_assay_providers::Providers::<Runtime>::get(one(n));
        let nothing = Err(Error::<Runtime>::NothingToWithdraw.into());
        for (n, (what, lose)) in (0..).zip(ways) {
            stake(n);
            assert_eq!(Providers::withdraw(origin(n)), nothing, "{what}: it has stake");
            lose(n);
            let barred_until = entry(n).expect("a barred provider is remembered").barred_until;
            System::set_block_number(barred_until - 1);
            assert_eq!(Providers::withdraw(origin(n)), nothing, "{what}: it is barred");
            System::set_block_number(barred_until);
            Providers::begin_work(&one(n)).unwrap();
            assert_eq!(Providers::withdraw(origin(n)), nothing, "{what}: a seat of it works");
            Providers::end_work(&one(n)).unwrap();
            assert_eq!(Providers::withdraw(origin(n)), Ok(()), "{what}");
            assert_eq!(entry(n), None, "{what}");
            Providers::invariants().unwrap();
        }
    });
}
