//! Registrations and edges: deposits to the unit, several accounts beside one another.

use assay_manifest::ArtifactId;
use assay_manifest::lineage::{Edge, EdgeKind, Evidence};
use assay_runtime::{RuntimeCall, UNIT};
use pallet_assay_artifacts::{Call, Subject};
use sp_core::{Pair, sr25519};
use sp_keyring::Sr25519Keyring::{Alice, Bob, Charlie};
use sp_runtime::DispatchError;

use crate::market::{Market, error, fee_paid};

fn artifact(n: u8) -> ArtifactId {
    ArtifactId::from_bytes([n; 32])
}

fn register(n: u8, name: &str, license: &str) -> Call<assay_runtime::Runtime> {
    Call::register {
        subject: Subject::Dataset(artifact(n)),
        size_bytes: 5,
        name: name.as_bytes().to_vec().try_into().unwrap(),
        license: license.as_bytes().to_vec().try_into().unwrap(),
    }
}

fn edge() -> Edge {
    Edge {
        kind: EdgeKind::GeneratedBy,
        child: artifact(1),
        parent: artifact(2),
        evidence: Evidence::Exact,
        recipe: Default::default(),
    }
}

/// Sends the call; answers its error and the fee it paid.
fn send(
    market: &mut Market,
    who: &sr25519::Pair,
    call: Call<assay_runtime::Runtime>,
) -> (Option<DispatchError>, u128) {
    let signed = market.net.sign(who, RuntimeCall::Artifacts(call));
    let events = market.take(signed);
    (error(&events), fee_paid(&events))
}

fn log_size(market: &Market) -> u64 {
    market.net.call::<(u64, assay_manifest::Digest32)>("LedgerApi_log", ()).0
}

#[test]
fn a_registration_holds_its_deposit_and_gives_it_back_while_its_entry_stays() {
    let mut market = Market::of(0);
    let who = Alice.pair();
    let mut want = market.books();
    let (failed, fee) = send(&mut market, &who, register(1, "corpus", "CC0-1.0"));
    assert_eq!(failed, None);
    let deposit = UNIT + UNIT / 100 * (6 + 7);
    want.of(who.public().0).free -= deposit + fee;
    want.of(who.public().0).held += deposit;
    want.burn(fee);
    assert_eq!(market.books(), want);
    let (failed, fee) = send(&mut market, &who, Call::unregister { artifact: artifact(1) });
    assert_eq!(failed, None);
    want.of(who.public().0).held -= deposit;
    want.of(who.public().0).free += deposit;
    want.of(who.public().0).free -= fee;
    want.burn(fee);
    assert_eq!(market.books(), want);
    assert_eq!(log_size(&market), 1, "what was logged stays logged");
}

#[test]
fn a_registration_is_not_exclusive_but_a_name_is_the_accounts_own() {
    let mut market = Market::of(0);
    for who in [Alice, Bob] {
        assert_eq!(send(&mut market, &who.pair(), register(1, "corpus", "")).0, None);
    }
    assert!(
        send(&mut market, &Alice.pair(), register(1, "again", "")).0.is_some(),
        "registered once an account"
    );
    assert!(send(&mut market, &Alice.pair(), register(2, "corpus", "")).0.is_some(), "the name is in use");
    assert_eq!(log_size(&market), 2);
}

#[test]
fn edges_belong_to_a_registrant_of_the_child_and_go_before_its_registration() {
    let mut market = Market::of(0);
    for who in [Alice, Bob] {
        send(&mut market, &who.pair(), register(1, "corpus", ""));
    }
    let state = Call::state_edge { edge: edge() };
    assert!(send(&mut market, &Charlie.pair(), state.clone()).0.is_some(), "no registrant");
    let mut want = market.books();
    let (failed, fee) = send(&mut market, &Alice.pair(), state.clone());
    assert_eq!(failed, None);
    want.of(Alice.pair().public().0).free -= UNIT + fee;
    want.of(Alice.pair().public().0).held += UNIT;
    want.burn(fee);
    assert_eq!(market.books(), want);
    assert!(send(&mut market, &Alice.pair(), state.clone()).0.is_some(), "it has been stated");
    assert_eq!(send(&mut market, &Bob.pair(), state).0, None, "nobody takes another's place");
    let unregister = Call::unregister { artifact: artifact(1) };
    assert!(send(&mut market, &Alice.pair(), unregister.clone()).0.is_some(), "its edge must go first");
    let withdraw = Call::withdraw_edge { child: artifact(1), id: edge().id() };
    assert_eq!(send(&mut market, &Bob.pair(), withdraw.clone()).0, None);
    assert!(
        send(&mut market, &Bob.pair(), withdraw.clone()).0.is_some(),
        "its own is gone, and Alice's is hers"
    );
    assert_eq!(send(&mut market, &Bob.pair(), unregister.clone()).0, None, "others are not bound by it");
    assert_eq!(send(&mut market, &Alice.pair(), withdraw).0, None);
    assert_eq!(send(&mut market, &Alice.pair(), unregister).0, None);
    assert_eq!(market.books().of(Alice.pair().public().0).held, 0);
}
