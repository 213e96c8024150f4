//! Registrations and edges: deposits to the unit, several accounts beside one another.

use assay_manifest::lineage::{Edge, EdgeKind, Evidence};
use assay_manifest::log::LogEntry;
use assay_manifest::status::{StatusKind, StatusSubject};
use assay_manifest::{
    ArtifactId, ConfigId, Digest32, ModelId, ModelParts, SpecId, TemplateId, TokenizerId, WeightsId,
};
use assay_runtime::{RuntimeCall, UNIT};
use pallet_assay_artifacts::{Call, Subject};
use sp_core::{Pair, sr25519};
use sp_keyring::Sr25519Keyring::{Alice, Bob, Charlie};
use sp_runtime::DispatchError;

use crate::market::{Market, error, fee_paid};

pub const fn artifact(n: u8) -> ArtifactId {
    ArtifactId::from_bytes([n; 32])
}

pub fn register(n: u8, name: &str, license: &str) -> Call<assay_runtime::Runtime> {
    register_as(Subject::Dataset(artifact(n)), name, license)
}

fn register_as(subject: Subject, name: &str, license: &str) -> Call<assay_runtime::Runtime> {
    Call::register {
        subject,
        size_bytes: 5,
        name: name.as_bytes().to_vec().try_into().unwrap(),
        license: license.as_bytes().to_vec().try_into().unwrap(),
    }
}

pub fn edge() -> Edge {
    Edge {
        kind: EdgeKind::GeneratedBy,
        child: artifact(1),
        parent: artifact(2),
        evidence: Evidence::Exact,
        recipe: Default::default(),
    }
}

/// Sends the call; answers its error and the fee it paid.
pub fn send(
    market: &mut Market,
    who: &sr25519::Pair,
    call: Call<assay_runtime::Runtime>,
) -> (Option<DispatchError>, u128) {
    let signed = market.net.sign(who, RuntimeCall::Artifacts(call));
    let events = market.take(signed);
    (error(&events), fee_paid(&events))
}

/// The entries of the log, all of kinds of this part.
pub fn log(market: &Market) -> Vec<LogEntry> {
    let (size, _): (u64, Digest32) = market.net.call("LedgerApi_log", ());
    let entries = market.net.chain.reader().log_entries(0, usize::try_from(size).unwrap()).unwrap();
    entries.iter().map(|bytes| LogEntry::from_bytes(bytes).unwrap()).collect()
}

/// The subject of the last entry, which says that it was withdrawn.
fn withdrawn(market: &Market) -> StatusSubject {
    match log(market).pop() {
        Some(LogEntry::Stated(entry)) if entry.status.kind == StatusKind::Withdrawn => entry.status.subject,
        other => panic!("the last entry is {other:?}"),
    }
}

/// Parts of a model in artifact 1; the tokenizer tells models apart.
fn model(tokenizer: u8) -> ModelParts {
    ModelParts {
        artifact_id: artifact(1),
        weights_id: WeightsId::from_bytes([2; 32]),
        config_id: ConfigId::from_bytes([3; 32]),
        tokenizer_id: TokenizerId::from_bytes([tokenizer; 32]),
        template_id: TemplateId::ZERO,
    }
}

fn spec(n: u8) -> SpecId {
    SpecId::from_bytes([n; 32])
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
    assert!(matches!(log(&market)[..], [LogEntry::Registered(_), _]), "what was logged stays logged");
    assert_eq!(withdrawn(&market), StatusSubject::Artifact(artifact(1)));
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
    assert_eq!(log(&market).len(), 2);
}

#[test]
fn names_of_one_account_that_look_alike_collide_and_those_of_two_do_not() {
    let mut market = Market::of(0);
    let (alice, bob) = (Alice.pair(), Bob.pair());
    assert_eq!(send(&mut market, &alice, register(1, "modem-v1", "")).0, None);
    for (n, alike) in [(2, "modern-v1"), (3, "rnodem_vl"), (4, "m0dem.vi")] {
        assert!(send(&mut market, &alice, register(n, alike, "")).0.is_some(), "{alike} looks like modem-v1");
    }
    assert_eq!(send(&mut market, &bob, register(2, "modern-v1", "")).0, None, "it is another account's");
    let named = |who: [u8; 32], name: &str| {
        market.net.call::<Option<ArtifactId>>("ArtifactsApi_named", (who, name.as_bytes().to_vec()))
    };
    assert_eq!(named(alice.public().0, "modern-v1"), Some(artifact(1)), "look-ups fold as well");
    assert_eq!(named(bob.public().0, "modern-v1"), Some(artifact(2)));
}

#[test]
fn a_model_is_looked_up_as_long_as_a_registration_names_it() {
    let mut market = Market::of(0);
    let (one, other) = (model(4), model(5));
    let of =
        |market: &Market, model: ModelId| market.net.call::<Option<ArtifactId>>("ArtifactsApi_model", model);
    for (who, parts) in [(Alice, one), (Bob, other), (Charlie, one)] {
        let subject = Subject::Model { parts, spec_id: SpecId::ZERO };
        assert_eq!(send(&mut market, &who.pair(), register_as(subject, "model", "")).0, None);
    }
    let unregister = Call::unregister { artifact: artifact(1) };
    assert_eq!(send(&mut market, &Alice.pair(), unregister.clone()).0, None);
    assert_eq!(of(&market, one.model_id()), Some(artifact(1)), "Charlie names it still");
    assert_eq!(send(&mut market, &Charlie.pair(), unregister.clone()).0, None);
    assert_eq!(of(&market, one.model_id()), None, "only Bob is left, who names another");
    assert_eq!(of(&market, other.model_id()), Some(artifact(1)));
    assert_eq!(send(&mut market, &Bob.pair(), unregister).0, None);
    assert_eq!(of(&market, other.model_id()), None);
}

#[test]
fn no_registration_leads_the_look_up_of_a_model_to_another_artifact() {
    let mut market = Market::of(0);
    let (popular, strangers) = (model(4), ModelParts { artifact_id: artifact(2), ..model(4) });
    for (who, parts, spec_id) in
        [(Alice, popular, spec(2)), (Bob, strangers, spec(2)), (Charlie, strangers, spec(1))]
    {
        let subject = Subject::Model { parts, spec_id };
        assert_eq!(send(&mut market, &who.pair(), register_as(subject, "model", "")).0, None);
    }
    let of =
        |parts: ModelParts| market.net.call::<Option<ArtifactId>>("ArtifactsApi_model", parts.model_id());
    assert_eq!(of(popular), Some(artifact(1)));
    assert_eq!(
        of(strangers),
        Some(artifact(2)),
        "other files make another model, whatever else is said of them"
    );
}

#[test]
fn a_spec_agrees_with_the_ledger_when_a_registration_states_it_or_leaves_it_open() {
    let mut market = Market::of(0);
    let agrees = |market: &Market, n: u8| {
        market.net.call::<Option<bool>>("ArtifactsApi_agrees", (model(4).model_id(), spec(n)))
    };
    assert_eq!(agrees(&market, 1), None, "nobody registered the model");
    let as_spec = |spec_id| register_as(Subject::Model { parts: model(4), spec_id }, "model", "");
    assert_eq!(send(&mut market, &Alice.pair(), as_spec(spec(1))).0, None);
    assert_eq!((agrees(&market, 1), agrees(&market, 2)), (Some(true), Some(false)));
    assert_eq!(send(&mut market, &Bob.pair(), as_spec(spec(2))).0, None, "nobody can claim a spec for all");
    assert_eq!((agrees(&market, 1), agrees(&market, 2)), (Some(true), Some(true)));
    let unregister = Call::unregister { artifact: artifact(1) };
    assert_eq!(send(&mut market, &Alice.pair(), unregister).0, None);
    assert_eq!((agrees(&market, 1), agrees(&market, 2)), (Some(false), Some(true)));
    assert_eq!(send(&mut market, &Charlie.pair(), as_spec(SpecId::ZERO)).0, None);
    assert_eq!(agrees(&market, 1), Some(true), "Charlie leaves it open");
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
    assert_eq!(withdrawn(&market), StatusSubject::Edge { child: artifact(1), id: edge().id() });
    assert!(
        send(&mut market, &Bob.pair(), withdraw.clone()).0.is_some(),
        "its own is gone, and Alice's is hers"
    );
    assert_eq!(send(&mut market, &Bob.pair(), unregister.clone()).0, None, "others are not bound by it");
    assert_eq!(send(&mut market, &Alice.pair(), withdraw).0, None);
    assert_eq!(send(&mut market, &Alice.pair(), unregister).0, None);
    assert_eq!(market.books().of(Alice.pair().public().0).held, 0);
}
