//! Receipts of a job that really ran through the state machine: what verifies, and that nothing else does.

use assay_manifest::merkle::{self, InclusionProof};
use assay_manifest::{Digest32, ModelId};
use codec::{Compact, Encode};
use ed25519_dalek::{Signer, SigningKey};
use serde_json::Value;

use super::*;
use crate::certificate::{CommitCertificate, Validator, ValidatorSet, ValidatorSignature};
use crate::commitment::{Salt, SaltPurpose, input_commit};
use crate::header::{BEACON_ENGINE, HeaderView, LOG_ENGINE};
use crate::job::tests::{World, record, right};
use crate::job::{SettlementRecord, Verdict};
use crate::party::Role;
use crate::record::{Class, Policy, PublicRecord};
use crate::request::{Message, Prompt, REQUEST_VERSION, Request, Sampler, prompt_hash};
use crate::signature::Signature;
use crate::units::Height;

pub(crate) fn salt() -> Salt {
    Salt::from_bytes([4; 32])
}

pub(crate) fn request() -> Request {
    Request {
        version: REQUEST_VERSION,
        prompt: Prompt::Chat(vec![Message { role: "user".into(), content: "one and one?".into() }]),
        now_s: 5,
        n_in: 100,
        prompt_hash: prompt_hash(&[1, 2]),
        max_tokens: 50,
        stop: vec!["\n".into()],
        sampler: Sampler::greedy(),
        seed: Some(Digest32::from_bytes([6; 32])),
        salt_hash: salt().hash(),
    }
}

fn validator() -> SigningKey {
    SigningKey::from_bytes(&[8; 32])
}

fn public() -> Digest32 {
    Digest32::from_bytes(validator().verifying_key().to_bytes())
}

pub(crate) fn trust() -> Trust {
    let validators = ValidatorSet::new(vec![Validator { key: public(), power: 1 }]);
    Trust::of_genesis(Digest32::from_bytes([9; 32]), validators)
}

pub(crate) fn evidence(height: Height, log: (u64, Digest32)) -> Evidence {
    let consensus = |engine: [u8; 4], data: Vec<u8>| (4u8, engine, data);
    let randomness = [height.get() as u8; 32];
    let items = vec![consensus(BEACON_ENGINE, randomness.to_vec()), consensus(LOG_ENGINE, log.encode())];
    let header = ([1u8; 32], Compact(height.get()), [2u8; 32], [3u8; 32], items).encode();
    let value = HeaderView::decode(&header).unwrap().hash;
    let message = CommitCertificate::sign_bytes(&trust().genesis, height, 0, &value);
    let signature = Signature(validator().sign(message.as_bytes()).to_bytes());
    let signatures = vec![ValidatorSignature { validator: public(), signature }];
    Evidence { header, certificate: CommitCertificate { height, round: 0, value, signatures } }
}

pub(crate) fn receipt() -> LedgerReceipt {
    receipt_of(record(Policy::Verified { verifiers: 2 }).model_id)
}

/// The receipt of a job that asks this model; of the entries about models, none but what concerns a seat.
pub(crate) fn receipt_of(model_id: ModelId) -> LedgerReceipt {
    let request_bytes = request().to_bytes();
    let asked = PublicRecord {
        model_id,
        input_commit: input_commit(&salt(), &request_bytes),
        ..record(Policy::Verified { verifiers: 2 })
    };
    receipt_from(World::with(6, asked))
}

/// The receipt of a job with a verifier at large.
pub(crate) fn receipt_at_large() -> LedgerReceipt {
    let input_commit = input_commit(&salt(), &request().to_bytes());
    let asked = PublicRecord { input_commit, ..record(Policy::Verified { verifiers: 2 }) };
    receipt_from(World::at_large(6, 4, asked))
}

fn receipt_from(mut world: World) -> LedgerReceipt {
    world.reach_revealing(&[right(); 3]);
    world.reveal(right());
    let settlement = world.record.clone().unwrap();
    let mut entries: Vec<_> =
        provenance::tests::entries(&settlement).iter().map(|entry| entry.to_bytes()).collect();
    entries.insert(2, settlement.to_leaf());
    let leaves: Vec<Digest32> = entries.iter().map(|entry| merkle::leaf_hash(entry)).collect();
    let proven = |index: u64| ProvenEntry {
        entry: entries[index as usize].clone(),
        inclusion: InclusionProof::of(&leaves, index).unwrap(),
    };
    let draw = |role: Role| {
        let (_, height, mut candidates) = world.drawn.iter().find(|drawn| drawn.0 == role)?.clone();
        candidates.sort();
        Some(DrawEvidence { seed: evidence(height, (0, Digest32::ZERO)), candidates })
    };
    LedgerReceipt {
        inclusion: InclusionProof::of(&leaves, 2).unwrap(),
        checkpoint: evidence(settlement.settled_at, (5, merkle::root(&leaves))),
        hand_overs: Vec::new(),
        executor_draw: draw(Role::Executor),
        verifier_draw: draw(Role::Verifier),
        at_large_draw: draw(Role::AtLarge),
        recheck_draw: None,
        provenance: vec![proven(4)],
        settlement,
        opened: Some(Disclosure {
            salt: Some(salt()),
            input: Some(OpenedInput { salt: salt().derive(SaltPurpose::Input), request: request() }),
            output: Some(OpenedOutput { salt: salt().derive(SaltPurpose::Output), tokens: vec![1, 2, 3] }),
            trace: Some(OpenedTrace {
                salt: salt().derive(SaltPurpose::Trace { round: 1 }),
                trace_root: Digest32::from_bytes([1; 32]),
                right_token: 0,
            }),
        }),
    }
}

fn ledger(receipt: LedgerReceipt) -> Receipt {
    Receipt::Ledger(Box::new(receipt))
}

pub(crate) fn own() -> Receipt {
    let pair = schnorrkel::MiniSecretKey::from_bytes(&[3; 32])
        .unwrap()
        .expand_to_keypair(schnorrkel::ExpansionMode::Ed25519);
    let statement = SelfStatement {
        class: Class::Exact,
        model_id: assay_manifest::ModelId::from_bytes([1; 32]),
        spec_id: assay_manifest::SpecId::from_bytes([2; 32]),
        request: request(),
        seed: Digest32::from_bytes([6; 32]),
        tokens: vec![1, 2, 3],
        finish: crate::commitment::Finish::Eos,
        trace_root: Digest32::from_bytes([1; 32]),
        signer: pair.public.to_bytes(),
    };
    let signature = pair.sign_simple(b"substrate", statement.digest().as_bytes());
    Receipt::Own(Box::new(SelfReceipt { statement, signature: Signature(signature.to_bytes()) }))
}

#[test]
fn an_honest_receipt_verifies_in_both_forms_and_says_what_it_rests_on() {
    let opened = ledger(receipt()).verify(&trust()).unwrap();
    assert_eq!(opened.verdict, Verdict::VerifiedThin);
    assert_eq!((opened.verifiers, opened.eligible, opened.validators), (2, 5, 1));
    let public = ledger(LedgerReceipt { opened: None, ..receipt() }).verify(&trust()).unwrap();
    assert!(public.not_checked.len() > opened.not_checked.len());
}

#[test]
fn a_self_receipt_says_that_it_is_one() {
    let report = own().verify(&trust()).unwrap();
    assert_eq!(report.verdict, Verdict::SelfSigned);
}

#[test]
fn json_round_trips() {
    for receipt in [ledger(receipt()), ledger(receipt_at_large()), own()] {
        let json = serde_json::to_string(&receipt).unwrap();
        assert_eq!(serde_json::from_str::<Receipt>(&json).unwrap(), receipt);
    }
}

#[test]
fn another_chain_or_other_validators_are_not_trusted() {
    let other = Trust { genesis: Digest32::ZERO, ..trust() };
    assert_eq!(ledger(receipt()).verify(&other).unwrap_err().check, "chain");
    let stranger = Validator { key: Digest32::from_bytes([1; 32]), power: 1 };
    let other = Trust { validators: ValidatorSet::new(vec![stranger]), ..trust() };
    assert_eq!(ledger(receipt()).verify(&other).unwrap_err().check, "certificate");
}

/// Every leaf of the JSON document, as a path of keys.
fn leaves(value: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, inner)| {
            path.push(key.clone());
            leaves(inner, path, found);
            path.pop();
        }),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, inner)| {
            path.push(index.to_string());
            leaves(inner, path, found);
            path.pop();
        }),
        _ => found.push(path.clone()),
    }
}

fn at<'a>(value: &'a mut Value, path: &[String]) -> &'a mut Value {
    path.iter().fold(value, |value, key| match value {
        Value::Array(items) => &mut items[key.parse::<usize>().unwrap()],
        other => &mut other[key.as_str()],
    })
}

/// Other values of the same JSON type, at least one of which a careless reader would accept.
fn alterations(value: &Value) -> Vec<Value> {
    match value {
        Value::Bool(b) => vec![Value::Bool(!b)],
        Value::Number(n) => {
            let n = n.as_f64().unwrap();
            vec![serde_json::json!(n as u64 + 1), serde_json::json!((n as u64).saturating_sub(1))]
                .into_iter()
                .filter(|other| other.as_f64() != Some(n))
                .collect()
        }
        Value::String(s) => {
            let mut flipped = s.clone().into_bytes();
            let last = flipped.len() - 1;
            flipped[last] = if flipped[last] == b'1' { b'2' } else { b'1' };
            let mut all = vec![Value::String(String::from_utf8(flipped).unwrap())];
            let names = [
                "verified",
                "refereed",
                "right",
                "wrong",
                "eos",
                "length",
                "exact",
                "tolerance",
                "executor",
                "verifier",
                "ok",
                "reject",
            ];
            all.extend(names.iter().filter(|name| *name != s).map(|name| Value::String((*name).into())));
            all
        }
        Value::Null => vec![serde_json::json!(1), serde_json::json!(format!("0x{}", "11".repeat(32)))],
        _ => vec![],
    }
}

#[test]
fn a_receipt_with_any_single_field_altered_is_refused() {
    for receipt in [ledger(receipt()), ledger(receipt_at_large()), own()] {
        let json = serde_json::to_value(&receipt).unwrap();
        let mut found = Vec::new();
        leaves(&json, &mut Vec::new(), &mut found);
        assert!(found.len() > 20);
        for path in found {
            let original = at(&mut json.clone(), &path).clone();
            for other in alterations(&original) {
                let mut altered = json.clone();
                *at(&mut altered, &path) = other.clone();
                let read = serde_json::from_value::<Receipt>(altered);
                let accepted = read.is_ok_and(|read| read != receipt && read.verify(&trust()).is_ok());
                assert!(!accepted, "{} altered to {other} is accepted", path.join("."));
            }
        }
    }
}

#[test]
fn the_candidates_of_a_draw_have_one_order() {
    let reversed = |draw: fn(&mut LedgerReceipt) -> &mut Option<DrawEvidence>| {
        let mut receipt = receipt();
        draw(&mut receipt).as_mut().unwrap().candidates.reverse();
        ledger(receipt).verify(&trust())
    };
    assert!(reversed(|receipt| &mut receipt.executor_draw).is_err());
    assert!(reversed(|receipt| &mut receipt.verifier_draw).is_err());
}

#[test]
fn a_receipt_says_of_how_many_a_verifier_at_large_was_drawn() {
    let report = ledger(receipt_at_large()).verify(&trust()).unwrap();
    assert_eq!((report.verifiers, report.eligible, report.at_large), (2, 5, Some(4)));
    let settlement = receipt_at_large().settlement;
    assert_eq!(SettlementRecord::from_leaf(&settlement.to_leaf()), Some(settlement));
    let without = LedgerReceipt { at_large_draw: None, ..receipt_at_large() };
    assert_eq!(ledger(without).verify(&trust()).unwrap_err().check, "draws");
    assert_eq!(ledger(receipt()).verify(&trust()).unwrap().at_large, None);
}

#[test]
fn a_missing_or_additional_field_is_refused() {
    let json = serde_json::to_value(ledger(receipt())).unwrap();
    let mut more = json.clone();
    more["extra"] = 1.into();
    assert!(serde_json::from_value::<Receipt>(more).is_err());
    let mut less = json;
    less.as_object_mut().unwrap().remove("inclusion");
    assert!(serde_json::from_value::<Receipt>(less).is_err());
}
