//! Packages against the RFC's vectors, and against everybody who changes something about them.

use assay_manifest::{Digest32, JobId};
use codec::Encode;
use hpke::aead::{AeadTag, ChaCha20Poly1305};
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeS, Serializable, single_shot_seal_inout_detached_with_rng};
use proptest::prelude::*;

use super::*;
use crate::commitment::{Claim, Finish, Salt, input_commit};
use crate::job::tests::record as job_record;
use crate::receipt::tests::{request, salt};
use crate::record::{Policy, PublicRecord};
use crate::request::Prompt;
use crate::signature::Signature;
use crate::units::Tokens;

const TOKENS: [u32; 3] = [3, 4, 5];

fn secret() -> SealingSecret {
    SealingSecret::from_bytes([7; 32])
}

fn entropy() -> Entropy {
    Entropy::from_bytes([9; 32])
}

fn record() -> PublicRecord {
    let mut record = job_record(Policy::Verified { verifiers: 2 });
    record.input_commit = input_commit(&salt(), &request().to_bytes());
    record
}

fn claim() -> Claim {
    Claim::of(&salt(), &TOKENS, Finish::Eos)
}

fn delivery<'a>(content: Content<'a>) -> Delivery<'a> {
    Delivery {
        genesis: Digest32::from_bytes([1; 32]),
        job: JobId::from_bytes([2; 32]),
        sender: [3; 32],
        recipient: [4; 32],
        seat: 5,
        content,
    }
}

fn input() -> InputParcel {
    InputParcel { salt: salt(), request: request(), reply_key: secret().public() }
}

/// A parcel for each purpose.
fn parcels() -> [Parcel; 3] {
    let root = Digest32::from_bytes([6; 32]);
    [
        Parcel::Input(input()),
        Parcel::Work(WorkParcel::of(&input(), &TOKENS, Finish::Eos)),
        Parcel::Answer(AnswerParcel::of(&salt(), &TOKENS, Finish::Eos, root)),
    ]
}

fn contents<'a>(record: &'a PublicRecord, claim: &'a Claim) -> [Content<'a>; 3] {
    [Content::Input(record), Content::Work(record, claim), Content::Answer(claim)]
}

/// An envelope for each purpose, not signed.
pub fn envelopes() -> [Envelope; 3] {
    let (record, claim) = (record(), claim());
    let parcels = parcels();
    let contents = contents(&record, &claim);
    [0, 1, 2].map(|at| {
        let unsigned = |_: &Digest32| Signature([0; 64]);
        Envelope::seal(&delivery(contents[at]), &parcels[at], &secret().public(), entropy(), unsigned)
            .unwrap()
    })
}

fn bytes<const N: usize>(hex_digits: &str) -> [u8; N] {
    hex::decode(hex_digits).unwrap().try_into().unwrap()
}

/// RFC 9180, appendix A.2.1: base mode, sequence number 0.
#[test]
fn the_suite_gives_the_rfcs_vector() {
    let pair = |seed: &str| X25519HkdfSha256::derive_keypair(&bytes::<32>(seed));
    let (secret, public) = pair("1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df");
    let mut text = b"Beauty is truth, truth beauty".to_vec();
    let seed = bytes("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b");
    let (encapsulated, tag) =
        single_shot_seal_inout_detached_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &public,
            b"Ode on a Grecian Urn",
            InOutBuf::from(text.as_mut_slice()),
            b"Count-0",
            &mut Entropy::from_bytes(seed),
        )
        .unwrap();
    let expected = "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a";
    assert_eq!(hex::encode(encapsulated.to_bytes()), expected);
    let sealed = "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28";
    assert_eq!(hex::encode([text, tag.to_bytes().to_vec()].concat()), sealed);
    let of_the_key = SealingSecret::from_bytes(secret.to_bytes().into()).public();
    assert_eq!(of_the_key.as_bytes().as_slice(), public.to_bytes().as_slice());
}

#[test]
fn every_parcel_opens_for_its_recipient_and_for_nobody_else() {
    let (record, claim) = (record(), claim());
    for (parcel, content) in parcels().iter().zip(contents(&record, &claim)) {
        let delivery = delivery(content);
        let package = delivery.seal(parcel, &secret().public(), entropy()).unwrap();
        assert_eq!(delivery.open(&package, &secret()).as_ref(), Ok(parcel));
        assert_eq!(delivery.judge(&package, &secret()), Ok(()));
        let other = SealingSecret::from_bytes([8; 32]);
        assert_eq!(delivery.judge(&package, &other), Err(BadDelivery::Sealed));
    }
}

#[test]
fn a_package_of_another_delivery_opens_to_nothing() {
    let (record, claim) = (record(), claim());
    let other_record = PublicRecord { input_commit: Digest32::ZERO, ..record.clone() };
    let other_claim = Claim { out_commit: Digest32::ZERO, ..claim };
    let swapped = [Content::Work(&record, &claim), Content::Input(&record), Content::Work(&record, &claim)];
    let others = contents(&other_record, &other_claim);
    for (at, (parcel, content)) in parcels().iter().zip(contents(&record, &claim)).enumerate() {
        let own = delivery(content);
        let package = own.seal(parcel, &secret().public(), entropy()).unwrap();
        for (reason, changed) in [
            ("chain", Delivery { genesis: Digest32::ZERO, ..own }),
            ("job", Delivery { job: JobId::from_bytes([0; 32]), ..own }),
            ("sender", Delivery { sender: [0; 32], ..own }),
            ("recipient", Delivery { recipient: [0; 32], ..own }),
            ("seat", Delivery { seat: 0, ..own }),
            ("purpose", Delivery { content: swapped[at], ..own }),
            ("commitment", Delivery { content: others[at], ..own }),
        ] {
            assert_eq!(
                changed.judge(&package, &secret()),
                Err(BadDelivery::Sealed),
                "{reason} of {parcel:?}"
            );
        }
    }
}

#[test]
fn a_package_holds_what_was_committed_to() {
    let (record, claim) = (record(), claim());
    let judged = |content: Content<'_>, parcel: &Parcel| {
        let delivery = delivery(content);
        let package = delivery.seal(parcel, &secret().public(), entropy()).unwrap();
        delivery.judge(&package, &secret())
    };
    let with = |change: fn(&mut InputParcel)| {
        let mut input = input();
        change(&mut input);
        Parcel::Input(input)
    };
    let wrong_input = [
        ("another prompt", with(|input| input.request.prompt = Prompt::Text("two".into()))),
        ("another salt", with(|input| input.salt = Salt::from_bytes([0; 32]))),
    ];
    for (reason, parcel) in wrong_input {
        assert_eq!(judged(Content::Input(&record), &parcel), Err(BadDelivery::OtherInput), "{reason}");
    }
    let broken = with(|input| input.request.max_tokens = 0);
    assert!(matches!(judged(Content::Input(&record), &broken), Err(BadDelivery::Request(_))));
    for record in [
        PublicRecord { n_in: Tokens::new(1), ..record.clone() },
        PublicRecord { n_max: Tokens::new(1), ..record.clone() },
    ] {
        let found = judged(Content::Input(&record), &parcels()[0]);
        assert_eq!(found, Err(BadDelivery::OtherInput), "the record says otherwise");
    }
    for tokens in [vec![3, 4], vec![3, 4, 6], vec![]] {
        let work = Parcel::Work(WorkParcel::of(&input(), &tokens, Finish::Eos));
        assert_eq!(judged(Content::Work(&record, &claim), &work), Err(BadDelivery::OtherAnswer));
        let answer = Parcel::Answer(AnswerParcel::of(&salt(), &tokens, Finish::Eos, Digest32::ZERO));
        assert_eq!(judged(Content::Answer(&claim), &answer), Err(BadDelivery::OtherAnswer));
    }
    let mixed = judged(Content::Work(&record, &claim), &parcels()[0]);
    assert_eq!(mixed, Err(BadDelivery::Parcel));
}

/// What an honest sender never makes, sealed all the same.
#[test]
fn what_stands_in_a_package_is_a_parcel_and_zeros() {
    let record = record();
    let own = delivery(Content::Input(&record));
    let sealed = |change: fn(&mut Vec<u8>)| {
        let mut text = Parcel::Input(input()).encode();
        text.resize(362 - keys::OVERHEAD_BYTES, 0);
        change(&mut text);
        let (encapsulated, tag): (_, AeadTag<ChaCha20Poly1305>) =
            single_shot_seal_inout_detached_with_rng::<_, HkdfSha256, X25519HkdfSha256>(
                &OpModeS::Base,
                &Deserializable::from_bytes(secret().public().as_bytes()).unwrap(),
                &own.info(),
                InOutBuf::from(text.as_mut_slice()),
                record.input_commit.as_bytes(),
                &mut entropy(),
            )
            .unwrap();
        [encapsulated.to_bytes().as_slice(), &text, &tag.to_bytes()].concat()
    };
    assert_eq!(own.judge(&sealed(|_| ()), &secret()), Ok(()));
    let padded = sealed(|text| *text.last_mut().unwrap() = 1);
    assert_eq!(own.judge(&padded, &secret()), Err(BadDelivery::Padding));
    let foreign = sealed(|text| text[0] = 0xff);
    assert_eq!(own.judge(&foreign, &secret()), Err(BadDelivery::Parcel));
}

/// The points of small order that RFC 7748 warns of; with each, every shared secret is zero.
#[test]
fn keys_that_share_nothing_are_refused_on_both_sides() {
    let small = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    let record = record();
    let own = delivery(Content::Input(&record));
    let package = own.seal(&parcels()[0], &secret().public(), entropy()).unwrap();
    for point in small {
        let key = Digest32::from_bytes(bytes(point));
        assert!(!can_be_sealed_to(&key), "{point}");
        assert_eq!(own.seal(&parcels()[0], &key, entropy()), Err(SealError::BadKey), "{point}");
        let mut altered = package.clone();
        altered[..32].copy_from_slice(key.as_bytes());
        assert_eq!(own.judge(&altered, &secret()), Err(BadDelivery::Sealed), "{point}");
    }
    assert!(can_be_sealed_to(&secret().public()));
}

#[test]
fn what_fits_no_package_is_refused() {
    let claim = claim();
    let room = PACKAGE_BYTES_MAX - keys::OVERHEAD_BYTES;
    let answer = |tokens: usize| {
        Parcel::Answer(AnswerParcel::of(&salt(), &vec![1; tokens], Finish::Eos, Digest32::ZERO))
    };
    let rest = answer(1 << 14).encoded_size() - (4 << 14);
    let most = (room - rest) / 4;
    assert!(answer(most).fits() && !answer(most + 1).fits());
    let own = delivery(Content::Answer(&claim));
    let largest = own.seal(&answer(most), &secret().public(), entropy()).unwrap();
    assert_eq!(largest.len(), PACKAGE_BYTES_MAX);
    let refused = own.seal(&answer(most + 1), &secret().public(), entropy());
    assert!(matches!(refused, Err(SealError::TooLarge(_))));
}

#[test]
fn an_executor_knows_before_it_accepts_whether_the_work_will_fit() {
    let with = |max_tokens: u32| {
        let mut input = input();
        input.request.max_tokens = max_tokens;
        input
    };
    let longest = (1..=65_536).rev().find(|max| with(*max).work_fits()).unwrap();
    let work = |tokens: u32| {
        let finish = Finish::Stop(u16::MAX);
        Parcel::Work(WorkParcel::of(&input(), &vec![1; tokens as usize], finish))
    };
    assert!(work(longest).fits() && !work(longest + 1).fits());
    assert!(!with(u32::MAX).work_fits());
}

#[test]
fn parcels_and_secrets_print_nothing() {
    for parcel in parcels() {
        let text = format!("{parcel:?}");
        assert!(!text.contains("one and one") && text.contains(".."), "{text}");
    }
    assert_eq!(format!("{:?}", secret()), "SealingSecret(..)");
}

#[test]
fn an_envelope_is_its_senders_alone() {
    let record = record();
    let pair = schnorrkel::MiniSecretKey::from_bytes(&[7; 32])
        .unwrap()
        .expand_to_keypair(schnorrkel::ExpansionMode::Ed25519);
    let sign = |digest: &Digest32| Signature(pair.sign_simple(b"substrate", digest.as_bytes()).to_bytes());
    let (genesis, signer) = (Digest32::from_bytes([1; 32]), pair.public.to_bytes());
    let delivery = delivery(Content::Input(&record));
    let envelope = Envelope::seal(&delivery, &parcels()[0], &secret().public(), entropy(), sign).unwrap();
    assert_eq!(envelope.check(&genesis, &signer), Ok(()));
    assert_eq!(envelope.check(&Digest32::ZERO, &signer), Err(EnvelopeError::Signature));
    assert_eq!(envelope.check(&genesis, &[2; 32]), Err(EnvelopeError::Signature));
    let json = serde_json::to_string(&envelope).unwrap();
    assert_eq!(serde_json::from_str::<Envelope>(&json).unwrap(), envelope);
    type Change = fn(&mut Envelope);
    let changes: [(&str, Change); 7] = [
        ("job", |e| e.job = JobId::from_bytes([0; 32])),
        ("purpose", |e| e.purpose = Purpose::Work),
        ("sender", |e| e.sender = [0; 32]),
        ("recipient", |e| e.recipient = [0; 32]),
        ("seat", |e| e.seat = 0),
        ("key", |e| e.key = Digest32::ZERO),
        ("package", |e| e.package[100] ^= 1),
    ];
    for (reason, change) in changes {
        let mut changed = envelope.clone();
        change(&mut changed);
        assert_eq!(changed.check(&genesis, &signer), Err(EnvelopeError::Signature), "{reason}");
    }
    let mut short = envelope;
    short.package.pop();
    assert!(matches!(short.check(&genesis, &signer), Err(EnvelopeError::Size(_))));
}

proptest! {
    #[test]
    fn an_altered_byte_makes_a_package_unreadable(at in any::<prop::sample::Index>(), flip in 1u8..) {
        let record = record();
        let own = delivery(Content::Input(&record));
        let mut package = own.seal(&parcels()[0], &secret().public(), entropy()).unwrap();
        let at = at.index(package.len());
        package[at] ^= flip;
        // X25519 ignores the highest bit of a key's last byte, but HPKE hashes the key as it stands.
        prop_assert_eq!(own.judge(&package, &secret()), Err(BadDelivery::Sealed));
    }

    #[test]
    fn any_bytes_are_judged_without_a_panic(package in prop::collection::vec(any::<u8>(), 0..1_500)) {
        let (record, claim) = (record(), claim());
        for content in contents(&record, &claim) {
            prop_assert!(delivery(content).judge(&package, &secret()).is_err());
        }
    }

    #[test]
    fn a_parcel_round_trips_whatever_it_holds(
        seed in any::<[u8; 32]>(),
        text in ".{0,400}",
        tokens in prop::collection::vec(any::<u32>(), 0..200),
    ) {
        let mut record = record();
        let mut input = input();
        input.request.prompt = Prompt::Text(text);
        record.input_commit = input_commit(&input.salt, &input.request.to_bytes());
        let claim = Claim::of(&input.salt, &tokens, Finish::Length);
        let parcel = Parcel::Work(WorkParcel::of(&input, &tokens, Finish::Length));
        let own = delivery(Content::Work(&record, &claim));
        let key = secret().public();
        let package = own.seal(&parcel, &key, Entropy::from_bytes(seed)).unwrap();
        prop_assert!(is_package_size(package.len()));
        prop_assert_eq!(own.open(&package, &secret()), Ok(parcel));
    }
}
