//! Validators: who stakes is chosen, who leaves is not, and who votes twice pays.

use std::sync::Arc;

use assay_manifest::Digest32;
use assay_protocol::certificate::{Validator, ValidatorSet};
use assay_protocol::params::Params;
use assay_protocol::receipt::{HandOver, Succession, SuccessionError, Trust};
use assay_protocol::seal::SealingSecret;
use assay_protocol::signature::Signature;
use assay_protocol::units::Height;
use assay_protocol::vote::{Equivocation, Vote, VoteKind, key_claim};
use assay_runtime::executor::{ChainError, MemoryKv, Retention, check};
use assay_runtime::{
    Endowment, GenesisSpec, Runtime, RuntimeCall, RuntimeError, RuntimeEvent, UNIT, UncheckedExtrinsic,
    general,
};
use codec::{Decode, Encode};
use ed25519_dalek::{Signer, SigningKey};
use pallet_assay_validators::{Call, Error, Event, ValidatorKeys};
use sp_core::Pair;
use sp_core::sr25519;
use sp_runtime::DispatchError;

use crate::market::error;
use crate::support::{Network, authority, founder, genesis, provider};

pub type Net = Network<Arc<MemoryKv>>;

/// Votes of the authority, which decides alone against up to four others with one each.
const AUTHORITY_VOTES: u64 = 10;

pub fn spec() -> GenesisSpec {
    let mut spec = genesis();
    spec.validators[0].power = AUTHORITY_VOTES;
    // For fees.
    spec.endowments.push(Endowment { account: founder().public().into(), amount: UNIT });
    spec
}

pub fn open() -> Net {
    open_in(Arc::default())
}

pub fn open_in(kv: Arc<MemoryKv>) -> Net {
    Network::with(kv, &spec(), Retention::Archive).unwrap()
}

const PARAMS: Params = Params::DEVELOPMENT;

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[100 + n; 32])
}

fn public(key: &SigningKey) -> Digest32 {
    Digest32::from_bytes(key.verifying_key().to_bytes())
}

fn keys(n: u8) -> ValidatorKeys {
    let vrf_key = Digest32::from_bytes(sr25519::Pair::from_seed(&[100 + n; 32]).public().0);
    let encryption_key = SealingSecret::from_bytes([100 + n; 32]).public();
    ValidatorKeys { key: public(&key(n)), vrf_key, encryption_key }
}

/// What the account of provider `n` signs to stake on the keys of the same number.
fn bond(net: &Net, n: u8, amount: u128) -> Call<Runtime> {
    let claim = key_claim(&net.genesis_digest(), &provider(n).public().0);
    let proof = Signature(key(n).sign(claim.as_bytes()).to_bytes());
    Call::bond { amount, keys: keys(n), proof }
}

fn send(net: &mut Net, who: &sr25519::Pair, call: Call<Runtime>) -> Result<Vec<RuntimeEvent>, String> {
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

fn refused(error: Error<Runtime>) -> Result<Vec<RuntimeEvent>, String> {
    Err(format!("{:?}", RuntimeError::Validators(error)))
}

fn set(net: &Net) -> ValidatorSet {
    net.call("LedgerApi_validators", ())
}

fn height(net: &Net) -> u32 {
    net.chain.head().number
}

/// Blocks up to and with the last of a session.
fn end_session(net: &mut Net) {
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

fn equivocation(net: &Net, by: &SigningKey, of: u32) -> Equivocation {
    let (kind, height, round) = (VoteKind::Precommit, Height::new(of), 3);
    let votes = [Some(Digest32::from_bytes([1; 32])), None].map(|value| {
        let message = Vote { kind, height, round, value }.sign_bytes(&net.genesis_digest());
        (value, Signature(by.sign(message.as_bytes()).to_bytes()))
    });
    Equivocation { validator: public(by), kind, height, round, votes }
}

fn conviction(proof: Equivocation) -> UncheckedExtrinsic {
    general(RuntimeCall::Validators(Call::convict { proof }))
}

/// Whether the pool and a block both refuse it.
fn refuses(net: &Net, extrinsic: &UncheckedExtrinsic) -> bool {
    let lease = net.chain.reader().at(None).unwrap();
    let invalid = lease.validate(&extrinsic.encode()).unwrap().is_err();
    let proposal = net.propose(vec![extrinsic.clone()]).unwrap();
    invalid && proposal.block.extrinsics.len() == 1
}

fn trust(net: &Net) -> Trust {
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
    let claim = key_claim(&net.genesis_digest(), &provider(1).public().0);
    let proof = Signature(key(0).sign(claim.as_bytes()).to_bytes());
    let again = Call::bond { amount: UNIT, keys: keys(0), proof };
    assert_eq!(send(&mut net, &provider(1), again), refused(Error::KeyTaken), "the key stays convicted");
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

#[test]
fn certificates_are_held_against_the_validators_of_their_height() {
    let kv = Arc::<MemoryKv>::default();
    let mut net = open_in(Arc::clone(&kv));
    join(&mut net, 0, 2 * UNIT);
    net.blocks(5);
    join(&mut net, 1, 2 * UNIT);
    net.blocks(20);
    let reader = net.chain.reader();
    let hand_overs = reader.hand_overs(height(&net)).unwrap();
    assert_eq!(hand_overs.len(), 2);
    let succession = Succession::follow(&trust(&net), &hand_overs).unwrap();
    for height in 1..=height(&net) {
        let expected = reader.validators_of(height).unwrap();
        assert_eq!(succession.at(Height::new(height)), Some(&expected));
    }
    check(Arc::clone(&kv), &spec()).unwrap();
    // Three others outvote the authority, which goes on signing alone.
    join(&mut net, 2, 4 * UNIT);
    net.blocks(1);
    let refused = check(kv, &spec()).unwrap_err();
    assert!(
        matches!(&refused, ChainError::Corrupt(cause) if cause.contains("is not certified")),
        "{refused}"
    );
}

#[test]
fn a_succession_has_no_gaps_and_no_strangers() {
    let mut net = open();
    join(&mut net, 0, 2 * UNIT);
    join(&mut net, 1, 2 * UNIT);
    net.blocks(1);
    let reader = net.chain.reader();
    let hand_overs = reader.hand_overs(height(&net)).unwrap();
    let follow = |list: &[HandOver]| Succession::follow(&trust(&net), list).map(drop).unwrap_err();
    let [first, second] = [&hand_overs[0], &hand_overs[1]];
    let of = |hand_over: &HandOver| hand_over.block.certificate.height;
    let order = [second.clone(), first.clone()];
    assert_eq!(follow(&order), SuccessionError::NotInOrder(of(first)));
    let stranger = Validator { key: keys(5).key, power: 1_000 };
    let usurped = HandOver { validators: ValidatorSet::new(vec![stranger]), ..first.clone() };
    assert_eq!(follow(&[usurped]), SuccessionError::OtherValidators(of(first)));
    let mut unsigned = first.clone();
    unsigned.block.certificate.signatures.clear();
    assert!(matches!(follow(&[unsigned]), SuccessionError::Certificate(_)));
    let before = reader.hash_of(of(first).get() - 1).unwrap().unwrap();
    let (block, certificate) = (reader.block(before).unwrap().unwrap(), reader.certificate(before).unwrap());
    let evidence = assay_protocol::receipt::Evidence {
        header: block.header.encode(),
        certificate: certificate.unwrap(),
    };
    let nothing = HandOver { block: evidence, validators: trust(&net).validators };
    let at = of(&nothing);
    assert_eq!(follow(&[nothing]), SuccessionError::NoChange(at));
    let late =
        Trust { from: Height::new(of(first).get() + 1), validators: first.validators.clone(), ..trust(&net) };
    let succession = Succession::follow(&late, [second]).unwrap();
    assert_eq!(succession.at(of(first)), None, "before what is trusted");
    assert!(matches!(
        succession.check(&first.block, None),
        Err(SuccessionError::BeforeTrust(found)) if found == of(first)
    ));
    let wanted = Height::new(of(second).get() + 1);
    assert!(matches!(
        succession.check(&second.block, Some(wanted)),
        Err(SuccessionError::OtherHeight { .. })
    ));
}
