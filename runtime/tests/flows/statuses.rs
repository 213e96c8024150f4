//! What accounts say of their own claims and keys: for ever, and voiding nothing.

use assay_manifest::Digest32;
use assay_manifest::log::{LogEntry, StatusEntry};
use assay_manifest::status::{Reason, Status, StatusKind, StatusSubject};
use assay_runtime::queries::CurrentStatus;
use assay_runtime::{Runtime, UNIT};
use pallet_assay_artifacts::{Call, Error};
use sp_core::{Pair, sr25519};
use sp_keyring::Sr25519Keyring::{Alice, Bob};
use sp_runtime::DispatchError;

use crate::market::Market;
use crate::registrations::{artifact, edge, log, register, send};

const ARTIFACT: StatusSubject = StatusSubject::Artifact(artifact(1));

const fn key(n: u8) -> StatusSubject {
    StatusSubject::Key(Digest32::from_bytes([n; 32]))
}

fn state(subject: StatusSubject, kind: StatusKind) -> Call<Runtime> {
    Call::state_status { status: Status { subject, kind, reason: Reason::Security } }
}

fn refused(failed: Option<DispatchError>, expected: Error<Runtime>) {
    assert_eq!(failed, Some(expected.into()));
}

fn now(market: &Market, subject: StatusSubject, who: &sr25519::Pair) -> Option<CurrentStatus> {
    let of = vec![(subject, who.public().0)];
    market.net.call::<Vec<Option<CurrentStatus>>>("ArtifactsApi_statuses", of).pop().flatten()
}

#[test]
fn a_status_costs_one_deposit_for_ever_and_every_change_of_it_stays_in_the_log() {
    let mut market = Market::of(0);
    let who = Alice.pair();
    send(&mut market, &who, register(1, "corpus", ""));
    let mut want = market.books();
    let superseded = StatusKind::Superseded { by: artifact(2).digest() };
    for (kind, deposit) in [(superseded, UNIT), (StatusKind::Revoked, 0)] {
        let (failed, fee) = send(&mut market, &who, state(ARTIFACT, kind));
        assert_eq!(failed, None);
        want.of(who.public().0).free -= deposit + fee;
        want.of(who.public().0).held += deposit;
        want.burn(fee);
        assert_eq!(market.books(), want);
        let stated = now(&market, ARTIFACT, &who).unwrap();
        assert_eq!((stated.kind, stated.at, stated.deposit), (kind, market.height(), UNIT));
        let status = Status { subject: ARTIFACT, kind, reason: Reason::Security };
        let (account, height) = (who.public().0, market.height());
        let entry = LogEntry::Stated(StatusEntry { account, height, status });
        assert_eq!(log(&market)[usize::try_from(stated.log_index).unwrap()], entry);
    }
    refused(send(&mut market, &who, state(ARTIFACT, StatusKind::Revoked)).0, Error::SameStatus);
    assert_eq!(send(&mut market, &who, Call::unregister { artifact: artifact(1) }).0, None);
    assert_eq!(now(&market, ARTIFACT, &who).unwrap().kind, StatusKind::Revoked, "it outlives the claim");
    assert_eq!(market.books().of(who.public().0).held, UNIT);
    assert_eq!(log(&market).len(), 4, "registered, superseded, revoked, withdrawn");
}

#[test]
fn each_account_speaks_of_its_own_claims_only() {
    let mut market = Market::of(0);
    let (alice, bob) = (Alice.pair(), Bob.pair());
    send(&mut market, &alice, register(1, "corpus", ""));
    send(&mut market, &alice, Call::state_edge { edge: edge() });
    let of_edge = StatusSubject::Edge { child: artifact(1), id: edge().id() };
    refused(send(&mut market, &bob, state(ARTIFACT, StatusKind::Revoked)).0, Error::NotRegistered);
    refused(send(&mut market, &bob, state(of_edge, StatusKind::Revoked)).0, Error::NoSuchEdge);
    send(&mut market, &bob, register(1, "mine", ""));
    assert_eq!(send(&mut market, &bob, state(ARTIFACT, StatusKind::Revoked)).0, None);
    assert_eq!(now(&market, ARTIFACT, &alice), None, "Alice stands by hers");
    assert_eq!(send(&mut market, &alice, state(of_edge, StatusKind::Revoked)).0, None);
    assert_eq!(now(&market, of_edge, &alice).map(|stated| stated.kind), Some(StatusKind::Revoked));
}

#[test]
fn a_compromised_key_is_a_warning_about_the_speaker_alone() {
    let mut market = Market::of(2);
    let provider = crate::support::provider(0);
    let compromised = StatusKind::CompromisedSince { height: market.height() };
    let work_key = StatusSubject::Key(Digest32::from_bytes(crate::market::work_public(0)));
    let before = market.provider(provider.public().0);
    assert_eq!(send(&mut market, &provider, state(work_key, compromised)).0, None);
    assert_eq!(market.provider(provider.public().0).stake, before.stake, "nothing is voided");
    assert_eq!(now(&market, work_key, &provider).map(|stated| stated.kind), Some(compromised));
    assert_eq!(send(&mut market, &Alice.pair(), state(work_key, compromised)).0, None);
    assert_eq!(now(&market, work_key, &crate::support::provider(1)), None, "who speaks is always asked for");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut market = Market::of(0);
    let who = Alice.pair();
    send(&mut market, &who, register(1, "corpus", ""));
    let future = StatusKind::CompromisedSince { height: market.height() + 50 };
    for (subject, kind) in [
        (ARTIFACT, StatusKind::Withdrawn),
        (ARTIFACT, StatusKind::Superseded { by: artifact(1).digest() }),
        (ARTIFACT, StatusKind::CompromisedSince { height: 1 }),
        (key(1), StatusKind::Withdrawn),
        (key(1), future),
    ] {
        refused(send(&mut market, &who, state(subject, kind)).0, Error::BadStatus);
    }
    let present = StatusKind::CompromisedSince { height: market.height() + 1 };
    assert_eq!(send(&mut market, &who, state(key(1), present)).0, None, "its own block is not to come");
}
