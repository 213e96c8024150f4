//! Where validators say that they can be reached stands on the ledger for as long as they decide.

use assay_runtime::{RuntimeEvent, UNIT};
use pallet_assay_validators::{ADDRESS_BYTES_MAX, ADDRESSES_MAX, Announced, Call, Error, Event};
use sp_core::Pair;

use crate::support::{founder, provider};
use crate::validators::{
    Net, bond, conviction, end_session, equivocation, height, join, key, open, refused, send,
};

fn announced(addresses: &[&[u8]]) -> Announced {
    let address = |bytes: &&[u8]| bytes.to_vec().try_into().expect("not too long");
    addresses.iter().map(address).collect::<Vec<_>>().try_into().expect("not too many")
}

fn addresses(net: &Net) -> Vec<Vec<u8>> {
    net.call("LedgerApi_validator_addresses", ())
}

/// Provider 0 decides, and can be reached at two addresses.
fn one_in() -> Net {
    let mut net = open();
    join(&mut net, 0, UNIT);
    let addresses = announced(&[b"near", b"far"]);
    let events = send(&mut net, &provider(0), Call::announce { addresses: addresses.clone() }).unwrap();
    let validator = provider(0).public().into();
    let event = RuntimeEvent::Validators(Event::Announced { validator, addresses });
    assert!(events.contains(&event));
    net
}

#[test]
fn a_validator_says_where_it_can_be_reached_and_may_change_its_mind() {
    let mut net = one_in();
    assert_eq!(addresses(&net), [b"near".to_vec(), b"far".to_vec()]);
    send(&mut net, &provider(0), Call::announce { addresses: announced(&[b"moved"]) }).unwrap();
    assert_eq!(addresses(&net), [b"moved".to_vec()]);
    send(&mut net, &founder(), Call::announce { addresses: announced(&[b"first"]) }).unwrap();
    assert_eq!(addresses(&net).len(), 2);
    send(&mut net, &provider(0), Call::announce { addresses: announced(&[]) }).unwrap();
    assert_eq!(addresses(&net), [b"first".to_vec()]);
}

#[test]
fn nobody_without_a_place_has_addresses() {
    let mut net = one_in();
    let announce = || Call::announce { addresses: announced(&[b"here"]) };
    assert_eq!(send(&mut net, &provider(1), announce()), refused(Error::NotBonded));
    send(&mut net, &provider(0), Call::unbond { amount: UNIT }).unwrap();
    assert_eq!(addresses(&net), [] as [Vec<u8>; 0], "it leaves, and need not answer any more");
    assert_eq!(send(&mut net, &provider(0), announce()), refused(Error::NotBonded));
}

#[test]
fn who_waits_to_be_chosen_is_not_asked_yet() {
    let mut net = open();
    let call = bond(&net, 0, UNIT);
    send(&mut net, &provider(0), call).unwrap();
    send(&mut net, &provider(0), Call::announce { addresses: announced(&[b"soon"]) }).unwrap();
    assert_eq!(addresses(&net), [] as [Vec<u8>; 0]);
    while addresses(&net).is_empty() {
        end_session(&mut net);
    }
    assert_eq!(addresses(&net), [b"soon".to_vec()]);
}

#[test]
fn who_is_convicted_has_none() {
    let mut net = one_in();
    let of = height(&net);
    let proof = equivocation(&net, &key(0), of);
    net.block(vec![conviction(proof)]);
    assert_eq!(addresses(&net), [] as [Vec<u8>; 0]);
}

#[test]
fn what_is_announced_is_bounded() {
    let longest = vec![7; ADDRESS_BYTES_MAX as usize];
    let too_long = [&longest[..], &[7]].concat();
    let several = vec![longest.clone(); ADDRESSES_MAX as usize + 1];
    let decode = |addresses: &Vec<Vec<u8>>| {
        <Announced as codec::DecodeAll>::decode_all(&mut &codec::Encode::encode(addresses)[..])
    };
    assert!(decode(&vec![longest.clone(); ADDRESSES_MAX as usize]).is_ok());
    assert!(decode(&vec![too_long]).is_err());
    assert!(decode(&several).is_err());
}
