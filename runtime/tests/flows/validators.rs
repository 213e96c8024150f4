//! Validators: who stakes is chosen, who leaves is not, and who votes twice pays.

use std::sync::Arc;

use assay_manifest::Digest32;
use assay_protocol::certificate::ValidatorSet;
use assay_protocol::params::Params;
use assay_protocol::receipt::{Succession, Trust};
use assay_protocol::seal::SealingSecret;
use assay_protocol::signature::Signature;
use assay_protocol::units::Height;
use assay_protocol::vote::{Equivocation, Vote, VoteKind, key_claim};
use assay_runtime::executor::{MemoryKv, Retention};
use assay_runtime::{
    Endowment, GenesisSpec, Runtime, RuntimeCall, RuntimeError, RuntimeEvent, UNIT, UncheckedExtrinsic,
    general,
};
use codec::{Decode, Encode};
use ed25519_dalek::{Signer, SigningKey};
use pallet_assay_validators::{Call, Error, Event, VALIDATORS_MAX, ValidatorInfo, ValidatorKeys};
use sp_core::Pair;
use sp_core::sr25519;
use sp_runtime::DispatchError;

use crate::market::error;
use crate::support::{Network, authority, founder, genesis, newcomer_seed, provider, transactions};

pub type Net = Network<Arc<MemoryKv>>;

/// Votes of the authority, which decides alone against up to four others with one each.
const AUTHORITY_VOTES: u64 = 10;

pub fn spec() -> GenesisSpec {
    let mut spec = genesis();
    spec.validators[0].power = AUTHORITY_VOTES;
    // For fees, and to stake anew.
    spec.endowments.push(Endowment { account: founder().public().into(), amount: 2 * UNIT });
    spec
}

pub fn open() -> Net {
    open_in(Arc::default())
}

pub fn open_in(kv: Arc<MemoryKv>) -> Net {
    Network::with(kv, &spec(), Retention::Archive).unwrap()
}

const PARAMS: Params = Params::DEVELOPMENT;

pub fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&newcomer_seed(n))
}

fn public(key: &SigningKey) -> Digest32 {
    Digest32::from_bytes(key.verifying_key().to_bytes())
}

pub fn keys(n: u8) -> ValidatorKeys {
    let vrf_key = Digest32::from_bytes(sr25519::Pair::from_seed(&newcomer_seed(n)).public().0);
    let encryption_key = SealingSecret::from_bytes(newcomer_seed(n)).public();
    ValidatorKeys { key: public(&key(n)), vrf_key, encryption_key }
}

/// What the account of provider `n` signs to stake on the keys of the same number.
pub fn bond(net: &Net, n: u8, amount: u128) -> Call<Runtime> {
    let claim = key_claim(&net.genesis_digest(), &provider(n).public().0);
    let proof = Signature(key(n).sign(claim.as_bytes()).to_bytes());
    Call::bond { amount, keys: keys(n), proof }
}

pub fn send(net: &mut Net, who: &sr25519::Pair, call: Call<Runtime>) -> Result<Vec<RuntimeEvent>, String> {
    let signed = net.sign(who, RuntimeCall::Validators(call));
    let events = net.block(vec![signed]);
    match error(&events) {
        None => Ok(events),
        Some(DispatchError::Module(module)) => {
            let bytes = [&[module.index], module.error.as_slice()].concat();
            Err(format!("{:?}", RuntimeError::decode(&mut bytes.as_slice()).unwrap()))
        }
        Some(other) => panic!("{other:?}"),
    }
}

fn stake(net: &mut Net, n: u8, amount: u128) -> Result<Vec<RuntimeEvent>, String> {
    let call = bond(net, n, amount);
    send(net, &provider(n), call)
}

pub fn refused(error: Error<Runtime>) -> Result<Vec<RuntimeEvent>, String> {
    Err(format!("{:?}", RuntimeError::Validators(error)))
}

fn set(net: &Net) -> ValidatorSet {
    net.call("LedgerApi_validators", ())
}

pub fn height(net: &Net) -> u32 {
    net.chain.head().number
}

/// Blocks up to and with the last of a session.
pub fn end_session(net: &mut Net) {
    loop {
        net.blocks(1);
        if (height(net) + 1).is_multiple_of(PARAMS.session_length) {
            return;
        }
    }
}

/// Blocks until the bond of provider `n` has been chosen.
pub fn join(net: &mut Net, n: u8, amount: u128) {
    stake(net, n, amount).unwrap();
    while !set(net).validators().iter().any(|validator| validator.key == keys(n).key) {
        end_session(net);
    }
}

pub fn equivocation(net: &Net, by: &SigningKey, of: u32) -> Equivocation {
    let (kind, height, round) = (VoteKind::Precommit, Height::new(of), 3);
    let votes = [Some(Digest32::from_bytes([1; 32])), None].map(|value| {
        let message = Vote { kind, height, round, value }.sign_bytes(&net.genesis_digest());
        (value, Signature(by.sign(message.as_bytes()).to_bytes()))
    });
    Equivocation { validator: public(by), kind, height, round, votes }
}

pub fn conviction(proof: Equivocation) -> UncheckedExtrinsic {
    general(RuntimeCall::Validators(Call::convict { proof }))
}

/// Whether the pool and a block both refuse it.
fn refuses(net: &Net, extrinsic: &UncheckedExtrinsic) -> bool {
    let lease = net.chain.reader().at(None).unwrap();
    let invalid = lease.validate(&extrinsic.encode()).unwrap().is_err();
    let proposal = net.propose(vec![extrinsic.clone()]).unwrap();
    invalid && transactions(&proposal.block).is_empty()
}

pub fn trust(net: &Net) -> Trust {
    Trust::of_genesis(net.genesis_digest(), net.chain.reader().validators_of(1).unwrap())
}

#[test]
fn who_stakes_is_chosen_after_two_whole_sessions() {
    let mut net = open();
    net.blocks(3);
    let events = stake(&mut net, 0, 5 * UNIT).unwrap();
    let from = events.iter().find_map(|event| match event {
        RuntimeEvent::Validators(Event::Bonded { from, .. }) => Some(*from),
        _ => None,
    });
    assert_eq!(from, Some(3 * PARAMS.session_length), "the rest of this session, and two whole ones");
    let alone = set(&net);
    while height(&net) + 1 < from.unwrap() {
        assert_eq!(set(&net), alone);
        net.blocks(1);
    }
    let chosen = set(&net);
    assert_eq!(chosen.validators().len(), 2);
    let newcomer = chosen.validators().iter().find(|validator| validator.key == keys(0).key).unwrap();
    assert_eq!(newcomer.power, 5, "a vote a token");
    let handed_over = |event: &RuntimeEvent| matches!(event, RuntimeEvent::Validators(Event::Chosen { .. }));
    assert_eq!(net.events().iter().filter(|event| handed_over(event)).count(), 1);
    net.blocks(2 * PARAMS.session_length);
    assert_eq!(set(&net), chosen);
    assert!(net.chain.reader().hand_overs(height(&net)).unwrap().len() == 1, "nothing changed after");
}

#[test]
fn a_bond_that_is_not_ones_own_is_refused() {
    let mut net = open();
    let Call::bond { keys: mine, proof, .. } = bond(&net, 0, UNIT) else { unreachable!() };
    let with = |amount, keys, proof| Call::bond { amount, keys, proof };
    assert_eq!(send(&mut net, &provider(0), with(UNIT - 1, mine, proof)), refused(Error::StakeTooSmall));
    assert_eq!(send(&mut net, &provider(1), with(UNIT, mine, proof)), refused(Error::BadProof), "another's");
    assert_eq!(send(&mut net, &provider(0), with(UNIT, keys(1), proof)), refused(Error::BadProof));
    let sealed_to_all =
        ValidatorKeys { encryption_key: Decode::decode(&mut &[0u8; 32][..]).unwrap(), ..mine };
    assert_eq!(send(&mut net, &provider(0), with(UNIT, sealed_to_all, proof)), refused(Error::BadKey));
    send(&mut net, &provider(0), with(UNIT, mine, proof)).unwrap();
    assert_eq!(send(&mut net, &provider(0), with(0, mine, proof)), refused(Error::StakeTooSmall), "nothing");
    assert_eq!(send(&mut net, &provider(1), with(UNIT, mine, proof)), refused(Error::KeyTaken));
    let other = ValidatorKeys { vrf_key: Digest32::ZERO, ..mine };
    assert_eq!(send(&mut net, &provider(0), with(UNIT, other, proof)), refused(Error::OtherKeys), "for good");
    let poor = sr25519::Pair::from_seed(&[7; 32]);
    assert!(!refuses(&net, &net.sign(&provider(0), RuntimeCall::Validators(Call::withdraw {}))));
    assert!(refuses(&net, &net.sign(&poor, RuntimeCall::Validators(Call::withdraw {}))), "cannot pay");
}

#[test]
fn who_unbonds_leaves_with_the_session_and_has_its_tokens_after_the_window() {
    let mut net = open();
    let account = provider(0).public().into();
    let (before, _) = net.account(&account);
    join(&mut net, 0, 3 * UNIT);
    assert_eq!(net.account(&account).1, 3 * UNIT);
    let too_little_left = Call::unbond { amount: 3 * UNIT - 1 };
    assert_eq!(send(&mut net, &provider(0), too_little_left), refused(Error::StakeTooSmall));
    assert_eq!(send(&mut net, &provider(0), Call::unbond { amount: 4 * UNIT }), refused(Error::NotBonded));
    send(&mut net, &provider(0), Call::unbond { amount: UNIT }).unwrap();
    assert_eq!(set(&net).validators().len(), 2);
    end_session(&mut net);
    let power = |net: &Net| set(net).validators().iter().map(|validator| validator.power).sum::<u64>();
    assert_eq!(power(&net), AUTHORITY_VOTES + 2);
    send(&mut net, &provider(0), Call::unbond { amount: 2 * UNIT }).unwrap();
    let unbonded = height(&net);
    end_session(&mut net);
    assert_eq!(power(&net), AUTHORITY_VOTES, "gone with the session");
    assert_eq!(send(&mut net, &provider(0), Call::unbond { amount: 1 }), refused(Error::NotBonded));
    while height(&net) + 1 < unbonded + PARAMS.validator_unbonding_window {
        net.blocks(1);
    }
    send(&mut net, &provider(0), Call::withdraw {}).unwrap();
    let (free, held) = net.account(&account);
    assert_eq!(held, 0);
    assert!(before - free < UNIT, "all but fees is back");
    assert_eq!(send(&mut net, &provider(0), Call::withdraw {}), refused(Error::NotBonded), "it is forgotten");
    join(&mut net, 0, UNIT);
}

#[test]
fn the_last_validator_cannot_leave_the_chain_alone() {
    let mut net = open();
    let alone = set(&net);
    send(&mut net, &founder(), Call::unbond { amount: u128::from(AUTHORITY_VOTES) * UNIT }).unwrap();
    net.blocks(3 * PARAMS.session_length);
    assert_eq!(set(&net), alone);
    let proof = equivocation(&net, &authority(), height(&net));
    net.block(vec![conviction(proof)]);
    assert_eq!(set(&net), alone);
    net.blocks(PARAMS.session_length);
    assert_eq!(hand_overs(&net), 0, "receipts have nothing to follow");
    net.blocks(PARAMS.validator_unbonding_window);
    assert_eq!(send(&mut net, &founder(), Call::withdraw {}), refused(Error::StillDecides));
}

#[test]
fn whoever_is_convicted_without_a_place_hands_nothing_over() {
    let mut net = open();
    stake(&mut net, 0, UNIT).unwrap();
    let before = set(&net);
    let proof = equivocation(&net, &key(0), height(&net));
    net.block(vec![conviction(proof)]);
    assert_eq!(set(&net), before);
    net.blocks(3 * PARAMS.session_length);
    assert_eq!(hand_overs(&net), 0);
}

#[test]
fn all_who_leave_at_once_decide_on_with_their_stake_until_others_can() {
    let mut net = open();
    join(&mut net, 0, 2 * UNIT);
    let both = set(&net);
    send(&mut net, &founder(), Call::unbond { amount: u128::from(AUTHORITY_VOTES) * UNIT }).unwrap();
    send(&mut net, &provider(0), Call::unbond { amount: 2 * UNIT }).unwrap();
    net.blocks(PARAMS.validator_unbonding_window + 1);
    assert_eq!(set(&net), both, "nobody else could be chosen");
    for who in [founder(), provider(0)] {
        assert_eq!(send(&mut net, &who, Call::withdraw {}), refused(Error::StillDecides));
    }
    let proof = equivocation(&net, &key(0), height(&net));
    assert!(!refuses(&net, &conviction(proof)), "it answers for what it votes");
    let again = founder_bond(UNIT);
    send(&mut net, &founder(), again).unwrap();
    end_session(&mut net);
    assert_eq!(set(&net).validators().len(), 1);
    send(&mut net, &provider(0), Call::withdraw {}).unwrap();
    assert_eq!(net.account(&provider(0).public().into()).1, 0);
    send(&mut net, &founder(), Call::withdraw {}).unwrap();
    assert_eq!(net.account(&founder().public().into()).1, UNIT, "what its vote stands for stays");
}

/// More stake of the founder on the keys that it has.
fn founder_bond(amount: u128) -> Call<Runtime> {
    let info = spec().validators.remove(0);
    let ValidatorInfo { key, vrf_key, encryption_key, .. } = info;
    Call::bond { amount, keys: ValidatorKeys { key, vrf_key, encryption_key }, proof: Signature([0; 64]) }
}

/// Blocks of bonds of one token from these providers.
fn crowd(net: &mut Net, who: std::ops::Range<u8>) {
    for some in who.collect::<Vec<_>>().chunks(32) {
        let call = |n: &u8| (provider(*n), RuntimeCall::Validators(bond(net, *n, UNIT)));
        let signed = some.iter().map(call).map(|(who, call)| net.sign(&who, call)).collect();
        assert_eq!(error(&net.block(signed)), None);
    }
}

#[test]
fn places_that_are_all_taken_go_to_more_stake_and_come_free_with_it() {
    let mut spec = spec();
    let others = (12..=u8::MAX).map(|n| provider(n).public().into());
    spec.endowments.extend(others.map(|account| Endowment { account, amount: 10 * UNIT }));
    let mut net = Network::with(Arc::<MemoryKv>::default(), &spec, Retention::Archive).unwrap();
    crowd(&mut net, 0..u8::MAX);
    assert_eq!(stake(&mut net, u8::MAX, UNIT), refused(Error::TooManyValidators));
    net.blocks(3 * PARAMS.session_length);
    let chosen = set(&net);
    assert_eq!(chosen.validators().len(), VALIDATORS_MAX as usize);
    let events = stake(&mut net, u8::MAX, 2 * UNIT).unwrap();
    let displaced = events.iter().find_map(|event| match event {
        RuntimeEvent::Validators(Event::Unbonded { validator, amount: UNIT, .. }) => Some(validator.clone()),
        _ => None,
    });
    let displaced = (0..u8::MAX).find(|n| Some(provider(*n).public().into()) == displaced).unwrap();
    let decides = |n: u8| chosen.validators().iter().any(|validator| validator.key == keys(n).key);
    let waiting = (0..u8::MAX).filter(|n| !decides(*n)).min_by_key(|n| keys(*n).key);
    assert_eq!(Some(displaced), waiting, "of equal stake the lowest key of those who wait");
    assert_eq!(stake(&mut net, displaced, UNIT), refused(Error::TooManyValidators));
    // Whoever leaves, or is convicted, takes no place while its stake is on its way.
    let other = |net: &Net, not: &[u8]| {
        let set = set(net);
        let idle = |n: &u8| !set.validators().iter().any(|validator| validator.key == keys(*n).key);
        (0..u8::MAX).find(|n| idle(n) && !not.contains(n)).unwrap()
    };
    let leaves = other(&net, &[displaced]);
    send(&mut net, &provider(leaves), Call::unbond { amount: UNIT }).unwrap();
    stake(&mut net, displaced, UNIT).unwrap();
    assert_eq!(stake(&mut net, leaves, UNIT), refused(Error::TooManyValidators));
    let guilty = other(&net, &[displaced, leaves]);
    let proof = equivocation(&net, &key(guilty), height(&net));
    net.block(vec![conviction(proof)]);
    stake(&mut net, leaves, UNIT).unwrap();
}

/// How many times others came to decide, followed as a receipt's reader does.
fn hand_overs(net: &Net) -> usize {
    let hand_overs = net.chain.reader().hand_overs(height(net) + 1).unwrap();
    Succession::follow(&trust(net), &hand_overs).unwrap();
    hand_overs.len()
}

#[test]
fn two_votes_of_one_round_cost_half_the_stake_and_the_place() {
    let mut net = open();
    join(&mut net, 0, 4 * UNIT);
    let account = provider(0).public().into();
    send(&mut net, &provider(0), Call::unbond { amount: UNIT }).unwrap();
    let (issued, (_, held)) = (net.issuance(), net.account(&account));
    assert_eq!(held, 4 * UNIT);
    let proof = equivocation(&net, &key(0), height(&net));
    assert!(refuses(&net, &conviction(Equivocation { round: 4, ..proof })), "it did not sign this");
    let innocent = equivocation(&net, &key(1), height(&net));
    assert!(refuses(&net, &conviction(innocent)), "no validator");
    let signed = net.sign(&provider(1), RuntimeCall::Validators(Call::convict { proof }));
    assert_eq!(error(&net.block(vec![signed])), Some(DispatchError::BadOrigin), "nobody pays for it");
    let before = net.issuance();
    net.block(vec![conviction(proof)]);
    assert!(before - net.issuance() >= 2 * UNIT && issued > net.issuance(), "half is burned");
    assert_eq!(net.account(&account).1, 2 * UNIT, "bonded and unbonding alike");
    assert_eq!(set(&net).validators().len(), 1, "at once");
    assert!(refuses(&net, &conviction(proof)), "once");
    assert_eq!(stake(&mut net, 0, UNIT), refused(Error::Convicted));
    net.blocks(3 * PARAMS.session_length);
    assert_eq!(set(&net).validators().len(), 1, "for good");
    send(&mut net, &provider(0), Call::unbond { amount: 3 * UNIT / 2 }).unwrap();
    net.blocks(PARAMS.validator_unbonding_window);
    send(&mut net, &provider(0), Call::withdraw {}).unwrap();
    assert_eq!(net.account(&account).1, 0, "the rest is its own");
    let proof_of_old = proof;
    let claim = key_claim(&net.genesis_digest(), &provider(1).public().0);
    let proof = Signature(key(0).sign(claim.as_bytes()).to_bytes());
    let again = Call::bond { amount: UNIT, keys: keys(0), proof };
    assert_eq!(send(&mut net, &provider(1), again), refused(Error::Convicted), "the key stays convicted");
    let bond = send(&mut net, &provider(0), Call::withdraw {});
    assert_eq!(bond, refused(Error::NotBonded), "the bond does not stay");
    assert!(refuses(&net, &conviction(proof_of_old)), "nor is it convicted again");
}

#[test]
fn stake_on_its_way_out_answers_for_votes_and_old_votes_are_forgotten() {
    let mut net = open();
    join(&mut net, 0, 4 * UNIT);
    let old = height(&net);
    send(&mut net, &provider(0), Call::unbond { amount: 4 * UNIT }).unwrap();
    net.blocks(PARAMS.validator_unbonding_window / 2);
    assert!(!refuses(&net, &conviction(equivocation(&net, &key(0), old))), "it could be convicted");
    net.blocks(PARAMS.validator_unbonding_window / 2 + 2);
    assert!(refuses(&net, &conviction(equivocation(&net, &key(0), old))), "too old");
    send(&mut net, &provider(0), Call::withdraw {}).unwrap();
    assert!(refuses(&net, &conviction(equivocation(&net, &key(0), height(&net)))), "nothing is left");
}
