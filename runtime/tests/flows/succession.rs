//! Who decides which height: certificates, and the blocks that hand over.

use std::sync::Arc;

use assay_manifest::Digest32;
use assay_protocol::certificate::{Validator, ValidatorSet};
use assay_protocol::receipt::{HandOver, Succession, SuccessionError, Trust};
use assay_protocol::units::Height;
use assay_runtime::UNIT;
use assay_runtime::executor::{ChainError, MemoryKv, check};
use codec::Encode;

use crate::validators::{height, join, keys, open, open_in, spec, trust};

#[test]
fn certificates_are_held_against_the_validators_of_their_height() {
    let kv = Arc::<MemoryKv>::default();
    let mut net = open_in(Arc::clone(&kv));
    net.absent.extend((0..3).map(|n| keys(n).key));
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
    net.absent.extend((0..2).map(|n| keys(n).key));
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
    for list in [vec![first.clone(), second.clone()], vec![second.clone()]] {
        let succession = Succession::follow(&late, &list).unwrap();
        assert_eq!(succession.newest().map(|(_, set)| set), Some(&second.validators), "receipts hold all");
    }
    let later = Trust {
        from: Height::new(of(second).get() + 1),
        validators: second.validators.clone(),
        ..trust(&net)
    };
    assert!(Succession::follow(&later, &hand_overs).is_ok());
    let wrong = |trust: &Trust, list: &[HandOver]| Succession::follow(trust, list).map(drop).unwrap_err();
    assert_eq!(wrong(&later, &order), SuccessionError::NotInOrder(of(first)));
    assert_eq!(
        wrong(&later, std::slice::from_ref(first)),
        SuccessionError::OtherValidators(of(first)),
        "one is left out"
    );
    let mut unsigned = second.clone();
    unsigned.block.certificate.signatures.clear();
    assert!(matches!(wrong(&later, &[first.clone(), unsigned]), SuccessionError::Certificate(_)));
    let mut of_another = first.clone();
    of_another.block.certificate.value = Digest32::ZERO;
    assert!(matches!(wrong(&late, &[of_another]), SuccessionError::Certificate(_)));
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

/// Bytes of a hand-over to so many validators, with so many votes: in SCALE, and as JSON.
fn sizes(hand_over: &HandOver, validators: u8, votes: usize) -> (usize, usize) {
    let mut sized = hand_over.clone();
    let validator = |n| Validator { key: keys(n).key, power: 1_000 };
    sized.validators = ValidatorSet::new((0..validators).map(validator).collect());
    let signature = sized.block.certificate.signatures[0];
    sized.block.certificate.signatures = vec![signature; votes];
    (sized.encoded_size(), serde_json::to_vec(&sized).unwrap().len())
}

#[test]
fn the_size_of_a_hand_over_is_what_decision_0034_says() {
    let mut net = open();
    join(&mut net, 0, 2 * UNIT);
    let hand_overs = net.chain.reader().hand_overs(height(&net) + 1).unwrap();
    let page =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/decisions/0034-stake-stands-behind-whoever-decides.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut rows = Vec::new();
    for (validators, votes) in [(4, 3), (5, 4), (100, 67), (100, 100)] {
        let (scale, json) = sizes(&hand_overs[0], validators, votes);
        rows.push(format!("| {validators} | {votes} | {scale} | {json} |"));
        // What `receipts` in the node counts on.
        assert!(5 * json < 12 * scale, "as JSON up to 2.4 times as large");
    }
    rows.retain(|row| !page.contains(row));
    assert!(rows.is_empty(), "{rows:#?}");
}

#[test]
fn hand_overs_are_read_up_to_a_bound() {
    let mut net = open();
    join(&mut net, 0, 2 * UNIT);
    join(&mut net, 1, 2 * UNIT);
    let reader = net.chain.reader();
    let all = reader.hand_overs(height(&net) + 1).unwrap();
    let size_bytes: usize = all.iter().map(Encode::encoded_size).sum();
    // Each has a byte in the store that says that there was a block.
    let stored = size_bytes + all.len();
    assert_eq!(reader.hand_overs_within(height(&net) + 1, stored), Ok(all));
    let refused = reader.hand_overs_within(height(&net) + 1, stored - 1);
    assert_eq!(refused, Err(ChainError::TooManyHandOvers(stored - 1)));
    let first = reader
        .hand_overs_within(reader.hand_overs(height(&net) + 1).unwrap()[0].block.certificate.height.get(), 0);
    assert_eq!(first, Ok(vec![]), "nobody took over from whom");
}
