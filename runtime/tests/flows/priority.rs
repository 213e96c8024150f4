//! Priority commitments: what they show, what they cost, and when they can be opened.

use assay_manifest::Digest32;
use assay_manifest::log::LogEntry;
use assay_manifest::priority::{
    COMMITMENT_LIFETIME_BLOCKS, COMMITMENTS_MAX, OPENING_DELAY_BLOCKS, commitment,
};
use assay_runtime::queries::RegisteredBy;
use assay_runtime::{AccountId, Artifacts, Runtime, RuntimeCall, RuntimeOrigin, System, UNIT};
use pallet_assay_artifacts::{Call, Error, Prior};
use sp_core::{Pair, sr25519};
use sp_io::TestExternalities;
use sp_keyring::Sr25519Keyring::{Alice, Bob};
use sp_runtime::DispatchError;

use crate::market::{Market, error, fee_paid};
use crate::registrations::{artifact, log, register, send};
use crate::support::genesis;

fn salt() -> Digest32 {
    Digest32::from_bytes([7; 32])
}

fn prior(n: u8, who: &sr25519::Pair) -> Digest32 {
    commitment(&artifact(n), &who.public().0, &salt())
}

fn commit(n: u8, who: &sr25519::Pair) -> Call<Runtime> {
    Call::commit_prior { commitment: prior(n, who) }
}

fn open(n: u8) -> Call<Runtime> {
    Call::open_prior { artifact: artifact(n), salt: salt() }
}

/// Registers and opens in one batch: all of it happens, or nothing. Answers the error and the fee.
fn register_and_open(market: &mut Market, who: &sr25519::Pair, n: u8) -> (Option<DispatchError>, u128) {
    let calls = [register(n, "corpus", ""), open(n)].map(RuntimeCall::Artifacts).to_vec();
    let batch = RuntimeCall::Utility(pallet_utility::Call::batch_all { calls });
    let signed = market.net.sign(who, batch);
    let events = market.take(signed);
    (error(&events), fee_paid(&events))
}

fn registrations(market: &Market, n: u8) -> Vec<RegisteredBy> {
    market.net.call("ArtifactsApi_registrations", artifact(n))
}

fn is(failed: Option<DispatchError>, expected: Error<Runtime>) -> bool {
    failed == Some(expected.into())
}

#[test]
fn a_commitment_holds_its_deposit_until_it_is_opened_and_the_registration_says_since_when() {
    let mut market = Market::of(0);
    let who = Alice.pair();
    let mut want = market.books();
    let (failed, fee) = send(&mut market, &who, commit(1, &who));
    assert_eq!(failed, None);
    let committed_at = market.height();
    want.of(who.public().0).free -= UNIT + fee;
    want.of(who.public().0).held += UNIT;
    want.burn(fee);
    assert_eq!(market.books(), want);
    market.net.blocks(OPENING_DELAY_BLOCKS - 1);
    let (failed, fee) = register_and_open(&mut market, &who, 1);
    assert_eq!(failed, None);
    let deposit = UNIT + UNIT / 100 * 6;
    want.of(who.public().0).held += deposit - UNIT;
    want.of(who.public().0).free -= deposit - UNIT + fee;
    want.burn(fee);
    assert_eq!(market.books(), want);
    let entries = log(&market);
    let [LogEntry::Committed(prior), LogEntry::Registered(_), LogEntry::Opened(priority)] = &entries[..]
    else {
        panic!("the log holds {entries:?}");
    };
    assert_eq!(priority.commitment(), prior.commitment);
    assert_eq!((priority.committed_at, priority.prior_index), (committed_at, 0));
    let (_, registered) = registrations(&market, 1).pop().unwrap();
    let shown = registered.committed.unwrap();
    assert_eq!((shown.at, shown.log_index), (committed_at, 2));
    assert_eq!(market.net.call::<Vec<Prior<u32>>>("ArtifactsApi_priors", who.public().0), vec![]);
}

#[test]
fn whoever_copies_a_registration_has_no_commitment_that_is_old_enough() {
    let mut market = Market::of(0);
    let (author, copier) = (Alice.pair(), Bob.pair());
    send(&mut market, &author, commit(1, &author));
    // The copier sees the commitment, but the author's account is in it.
    let copied = Call::commit_prior { commitment: prior(1, &author) };
    assert_eq!(send(&mut market, &copier, copied).0, None);
    market.net.blocks(OPENING_DELAY_BLOCKS);
    let failed = register_and_open(&mut market, &copier, 1).0;
    assert!(is(failed, Error::NoSuchPrior), "{failed:?}");
    assert_eq!(registrations(&market, 1), vec![], "the batch fails as a whole");
    assert_eq!(register_and_open(&mut market, &author, 1).0, None);
    // Now the copier knows artifact and salt.
    assert_eq!(send(&mut market, &copier, commit(1, &copier)).0, None);
    let failed = register_and_open(&mut market, &copier, 1).0;
    assert!(is(failed, Error::PriorTooYoung), "{failed:?}");
}

#[test]
fn a_commitment_is_opened_ten_blocks_later_and_not_one_earlier() {
    let mut market = Market::of(0);
    let who = Alice.pair();
    send(&mut market, &who, commit(1, &who));
    market.net.blocks(OPENING_DELAY_BLOCKS - 2);
    let failed = register_and_open(&mut market, &who, 1).0;
    assert!(is(failed, Error::PriorTooYoung), "{failed:?}");
    assert_eq!(register_and_open(&mut market, &who, 1).0, None);
}

#[test]
fn a_commitment_is_opened_with_the_registration_or_not_at_all() {
    let mut market = Market::of(0);
    let who = Alice.pair();
    send(&mut market, &who, commit(1, &who));
    let failed = send(&mut market, &who, open(1)).0;
    assert!(is(failed, Error::NotRegistered), "{failed:?}");
    market.net.blocks(OPENING_DELAY_BLOCKS);
    assert_eq!(send(&mut market, &who, register(1, "corpus", "")).0, None);
    let failed = send(&mut market, &who, open(1)).0;
    assert!(is(failed, Error::RegisteredBefore), "{failed:?}");
}

#[test]
fn an_account_has_a_bounded_number_of_commitments_and_takes_its_own_back() {
    let mut market = Market::of(0);
    let (who, other) = (Alice.pair(), Bob.pair());
    let mut want = market.books();
    for n in 0..u8::try_from(COMMITMENTS_MAX).unwrap() {
        let (failed, fee) = send(&mut market, &who, commit(n, &who));
        assert_eq!(failed, None);
        want.of(who.public().0).free -= UNIT + fee;
        want.of(who.public().0).held += UNIT;
        want.burn(fee);
    }
    assert_eq!(market.books(), want);
    let failed = send(&mut market, &who, commit(200, &who)).0;
    assert!(is(failed, Error::TooManyPriors), "{failed:?}");
    let failed = send(&mut market, &who, commit(0, &who)).0;
    assert!(is(failed, Error::PriorExists), "{failed:?}");
    let withdraw = Call::withdraw_prior { account: who.public().into(), commitment: prior(0, &who) };
    let failed = send(&mut market, &other, withdraw.clone()).0;
    assert!(is(failed, Error::NotYours), "{failed:?}");
    let before = market.books().of(who.public().0).held;
    assert_eq!(send(&mut market, &who, withdraw).0, None);
    assert_eq!(market.books().of(who.public().0).held, before - UNIT);
    assert_eq!(send(&mut market, &who, commit(200, &who)).0, None, "there is room again");
}

/// The runtime's own state, at any height, without the blocks before it.
fn at_heights(test: impl FnOnce()) {
    TestExternalities::new(genesis().storage().unwrap()).execute_with(test);
}

#[test]
fn an_expired_commitment_is_not_opened_and_anyone_gives_its_deposit_back() {
    at_heights(|| {
        let alice = Alice.pair();
        let [who, other] = [Alice, Bob].map(|key| key.to_account_id());
        let origin = |who: &AccountId| RuntimeOrigin::signed(who.clone());
        let held = |who: &AccountId| System::account(who).data.reserved;
        System::set_block_number(5);
        for n in [1, 2] {
            Artifacts::commit_prior(origin(&who), prior(n, &alice)).unwrap();
        }
        let last = 5 + COMMITMENT_LIFETIME_BLOCKS;
        let open = |n: u8, height: u32| {
            System::set_block_number(height);
            let Call::register { subject, size_bytes, name, license } = register(n, &format!("c{n}"), "")
            else {
                unreachable!("it is that call");
            };
            Artifacts::register(origin(&who), subject, size_bytes, name, license).unwrap();
            Artifacts::open_prior(origin(&who), artifact(n), salt())
        };
        assert_eq!(open(1, last), Ok(()), "the last block is still in time");
        let withdraw = || Artifacts::withdraw_prior(origin(&other), who.clone(), prior(2, &alice));
        assert_eq!(withdraw(), Err(Error::<Runtime>::NotYours.into()));
        assert_eq!(open(2, last + 1), Err(Error::<Runtime>::PriorExpired.into()));
        let before = held(&who);
        assert_eq!(withdraw(), Ok(()));
        assert_eq!(held(&who), before - UNIT);
        assert_eq!(Artifacts::invariants(), Ok(()));
    });
}

#[test]
fn the_commitment_of_another_artifact_opens_nothing() {
    let mut market = Market::of(0);
    let who = Alice.pair();
    send(&mut market, &who, commit(1, &who));
    market.net.blocks(OPENING_DELAY_BLOCKS);
    let failed = register_and_open(&mut market, &who, 2).0;
    assert!(is(failed, Error::NoSuchPrior), "{failed:?}");
}
