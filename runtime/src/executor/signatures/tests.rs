use super::*;
use proptest::prelude::*;
use sp_core::{Pair, ecdsa, ed25519, sr25519};

/// Order of the group, little-endian (RFC 9496).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];
const ONE: [u8; 32] = {
    let mut one = [0; 32];
    one[0] = 1;
    one
};
/// Modulo 2²⁵⁶.
const MINUS_ONE: [u8; 32] = [0xff; 32];
/// The bit that tells a signature of this scheme from an Ed25519 signature.
const MARK: u8 = 0x80;

/// What a claim is made of.
#[derive(Clone, Copy, Debug)]
enum Make {
    Good,
    OtherMessage,
    OtherSigner,
    /// One bit of the signature is another.
    Flipped(usize),
    /// The scalar is larger by one; with its counterpart in the same batch the sum stays.
    ScalarUp,
    ScalarDown,
    /// The same scalar, not reduced.
    Unreduced,
    Unmarked,
    /// The account is the neutral element, for which anybody can sign.
    NeutralKey,
    NeutralKeyWrong,
    /// Encodings of the eight small-order points of the curve, as key or nonce.
    SmallOrderKey(u8),
    SmallOrderNonce(u8),
    NonceNegated,
    AllZero,
    Ed25519,
    Ed25519Bad,
    Ecdsa,
    EcdsaBad,
    /// An Ed25519 signature that says it is of the other kind.
    WrongKind,
}

fn makes() -> impl Strategy<Value = Make> {
    prop_oneof![
        8 => Just(Make::Good),
        2 => (0usize..512).prop_map(Make::Flipped),
        1 => (0u8..5).prop_map(Make::SmallOrderKey),
        1 => (0u8..5).prop_map(Make::SmallOrderNonce),
        6 => prop::sample::select(vec![
            Make::OtherMessage, Make::OtherSigner, Make::ScalarUp, Make::ScalarDown, Make::Unreduced,
            Make::Unmarked, Make::NeutralKey, Make::NeutralKeyWrong, Make::NonceNegated, Make::AllZero,
            Make::Ed25519, Make::Ed25519Bad, Make::Ecdsa, Make::EcdsaBad, Make::WrongKind,
        ]),
    ]
}

/// Encodings of points of small order on Edwards25519 (RFC 7748, section 7; the last is not reduced).
fn small_order(n: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    match n {
        0 => bytes[0] = 1,
        1 => {
            bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (0xec, 0x7f);
        }
        2 => bytes[31] = MARK,
        3 => {
            bytes = [
                0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
                0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
                0x03, 0x7a,
            ];
        }
        _ => {
            bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (0xed, 0x7f);
        }
    }
    bytes
}

fn add(number: &mut [u8], other: [u8; 32]) {
    let mut carry = 0u16;
    for (byte, add) in number.iter_mut().zip(other) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
}

fn claim(make: Make, n: u8) -> Claim {
    let key = sr25519::Pair::from_seed(&[n; 32]);
    let message = vec![n; usize::from(n)];
    let mut raw = key.sign(&message).0;
    let mut claim = Claim { signature: key.sign(&message).into(), signer: key.public().into(), message };
    let neutral = |raw: &mut [u8; 64]| {
        // Any pair of a scalar and its point.
        let pair = schnorrkel::MiniSecretKey::from_bytes(&[n; 32]).unwrap();
        let pair = pair.expand_to_keypair(schnorrkel::ExpansionMode::Uniform);
        raw[..32].copy_from_slice(&pair.public.to_bytes());
        raw[32..].copy_from_slice(&pair.secret.to_bytes()[..32]);
        raw[63] |= MARK;
    };
    let scalar = |raw: &mut [u8; 64], other: [u8; 32]| {
        raw[63] &= !MARK;
        add(&mut raw[32..], other);
        raw[63] |= MARK;
    };
    match make {
        Make::Good => {}
        Make::OtherMessage => claim.message.push(0),
        Make::OtherSigner => claim.signer = sr25519::Pair::from_seed(&[!n; 32]).public().into(),
        Make::Flipped(bit) => raw[bit / 8] ^= 1 << (bit % 8),
        Make::ScalarUp => scalar(&mut raw, ONE),
        Make::ScalarDown => scalar(&mut raw, MINUS_ONE),
        Make::Unreduced => scalar(&mut raw, ORDER),
        Make::Unmarked => raw[63] &= !MARK,
        Make::NeutralKey | Make::NeutralKeyWrong => {
            claim.signer = [0; 32].into();
            neutral(&mut raw);
            if matches!(make, Make::NeutralKeyWrong) {
                scalar(&mut raw, ONE);
            }
        }
        Make::SmallOrderKey(which) => claim.signer = small_order(which).into(),
        Make::SmallOrderNonce(which) => raw[..32].copy_from_slice(&small_order(which)),
        Make::NonceNegated => raw[31] ^= MARK,
        Make::AllZero => raw = [0; 64],
        Make::Ed25519 | Make::Ed25519Bad | Make::WrongKind => {
            let key = ed25519::Pair::from_seed(&[n; 32]);
            let mut signed = key.sign(&claim.message);
            claim.signer = key.public().into();
            if matches!(make, Make::Ed25519Bad) {
                signed.0[40] ^= 1;
            }
            claim.signature = match make {
                Make::WrongKind => sr25519::Signature::from_raw(signed.0).into(),
                _ => signed.into(),
            };
            return claim;
        }
        Make::Ecdsa | Make::EcdsaBad => {
            let key = ecdsa::Pair::from_seed(&[n.max(1); 32]);
            let mut signed = key.sign(&claim.message);
            claim.signer = BlakeTwo256::hash(key.public().as_ref()).0.into();
            if matches!(make, Make::EcdsaBad) {
                signed.0[5] ^= 1;
            }
            claim.signature = signed.into();
            return claim;
        }
    }
    claim.signature = sr25519::Signature::from_raw(raw).into();
    claim
}

fn claims(makes: &[Make]) -> Vec<Claim> {
    makes.iter().zip(1u8..).map(|(make, n)| claim(*make, n)).collect()
}

fn plainly(claims: &[Claim]) -> Vec<bool> {
    claims.iter().map(Claim::holds).collect()
}

#[test]
fn the_made_up_claims_hold_or_not_as_their_names_say() {
    let cases = [
        (Make::Good, true),
        (Make::NeutralKey, true),
        (Make::Ed25519, true),
        (Make::Ecdsa, true),
        (Make::OtherMessage, false),
        (Make::OtherSigner, false),
        (Make::ScalarUp, false),
        (Make::ScalarDown, false),
        (Make::Unreduced, false),
        (Make::Unmarked, false),
        (Make::NeutralKeyWrong, false),
        (Make::NonceNegated, false),
        (Make::AllZero, false),
        (Make::Ed25519Bad, false),
        (Make::EcdsaBad, false),
        (Make::WrongKind, false),
    ];
    for (make, holds) in cases {
        assert_eq!(claim(make, 7).holds(), holds, "{make:?}");
    }
}

#[test]
fn bad_signatures_that_cancel_each_other_out_are_found() {
    let pair = claims(&[Make::ScalarUp, Make::ScalarDown]);
    assert_eq!(hold(&pair), [false, false]);
}

#[test]
fn a_batch_of_good_signatures_holds_together() {
    let all = claims(&[Make::Good; 200]);
    let members: Vec<Member> = all.iter().filter_map(Member::of).collect();
    assert!(members.len() == 200 && hold_together(&members.iter().collect::<Vec<_>>()));
}

#[test]
fn the_older_half_is_forgotten_and_verified_again() {
    let verified = Verified::default();
    let first = claim(Make::Good, 1);
    verified.verify_ahead(vec![first.clone()], 1);
    let others = |from: u64| (from..from + REMEMBERED_MAX as u64 / 2).map(Hash::from_low_u64_be);
    verified.remember(&others(0).collect::<Vec<_>>());
    assert!(verified.remembers(&name(&first)));
    verified.remember(&others(1 << 32).collect::<Vec<_>>());
    assert!(!verified.remembers(&name(&first)));
    assert!(verified.verify(first.clone()) && verified.remembers(&name(&first)));
}

#[test]
fn a_remembered_signature_is_good_for_its_own_account_and_message_only() {
    let verified = Verified::default();
    let good = claim(Make::Good, 3);
    verified.verify_ahead(vec![good.clone()], 1);
    let other_message = Claim { message: vec![4], ..good.clone() };
    let other_signer = Claim { signer: [5; 32].into(), ..good.clone() };
    assert!(verified.verify(good));
    assert!(!verified.verify(other_message) && !verified.verify(other_signer));
}

proptest! {
    #[test]
    fn batches_memory_and_plain_verification_agree(
        makes in prop::collection::vec(makes(), 0..40),
        threads in 1usize..4,
    ) {
        let claims = claims(&makes);
        let expected = plainly(&claims);
        prop_assert_eq!(&hold(&claims), &expected);
        let verified = Verified::default();
        verified.verify_ahead(claims.clone(), threads);
        for (claim, holds) in claims.iter().zip(&expected) {
            prop_assert_eq!(verified.remembers(&name(claim)), *holds);
            prop_assert_eq!(verified.verify(claim.clone()), *holds);
        }
    }
}
