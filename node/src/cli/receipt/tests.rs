//! Receipt files as somebody might hand them over: sound, altered, foreign, too large.

use std::fs;

use assay_manifest::Digest32;
use assay_manifest::merkle::{self, InclusionProof};
use assay_protocol::certificate::{CommitCertificate, Validator, ValidatorSet, ValidatorSignature};
use assay_protocol::header::{HeaderView, LOG_ENGINE};
use assay_protocol::receipt::{Evidence, LedgerReceipt, Receipt, Trust};
use assay_protocol::signature::Signature;
use assay_protocol::units::Height;
use assay_runtime::executor::MemoryKv;
use codec::{Compact, Encode};
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};

use super::*;
use crate::chain_spec::{ChainSpec, development_authority};
use crate::cli::testing::{context, settlement};
use crate::ledger;

fn signing_key() -> SigningKey {
    SigningKey::from_bytes(&[8; 32])
}

fn public_key() -> Digest32 {
    Digest32::from_bytes(signing_key().verifying_key().to_bytes())
}

fn trust() -> Trust {
    let validators = ValidatorSet::new(vec![Validator { key: public_key(), power: 1 }]);
    Trust::of_genesis(settlement().genesis, validators)
}

fn evidence(log: (u64, Digest32)) -> Evidence {
    let height = Height::new(7);
    let items = vec![(4u8, LOG_ENGINE, log.encode())];
    let header = ([1u8; 32], Compact(height.get()), [2u8; 32], [3u8; 32], items).encode();
    let value = HeaderView::decode(&header).unwrap().hash;
    let message = CommitCertificate::sign_bytes(&trust().genesis, height, 0, &value);
    let signature = Signature(signing_key().sign(message.as_bytes()).to_bytes());
    let signatures = vec![ValidatorSignature { validator: public_key(), signature }];
    Evidence { header, certificate: CommitCertificate { height, round: 0, value, signatures } }
}

fn receipt() -> Receipt {
    let settlement = settlement();
    let leaves = [merkle::leaf_hash(&settlement.to_leaf())];
    Receipt::Ledger(Box::new(LedgerReceipt {
        inclusion: InclusionProof::of(&leaves, 0).unwrap(),
        checkpoint: evidence((1, merkle::root(&leaves))),
        hand_overs: Vec::new(),
        settlement,
        executor_draw: None,
        verifier_draw: None,
        at_large_draw: None,
        recheck_draw: None,
        provenance: Vec::new(),
        opened: None,
    }))
}

/// Verifies a file with these bytes, trusting what `trust` names.
fn outcome(bytes: &[u8], trust: &str) -> Result<(), Failure> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("receipt.json");
    fs::write(&file, bytes).unwrap();
    fs::write(dir.path().join("trust.json"), serde_json::to_vec(&super::tests::trust()).unwrap()).unwrap();
    let named = if trust == "trust.json" {
        dir.path().join(trust).to_str().unwrap().into()
    } else {
        trust.to_owned()
    };
    verify(&context(dir.path(), &["--json"]), &file, Some(&named))
}

fn exit_of(receipt: &Value) -> Option<Exit> {
    outcome(receipt.to_string().as_bytes(), "trust.json").err().map(|failure| failure.exit())
}

#[test]
fn a_sound_receipt_holds_and_an_altered_one_does_not() {
    let sound = serde_json::to_value(receipt()).unwrap();
    assert_eq!(exit_of(&sound), None);
    for (path, value) in [
        ("/settlement/nonce", json!(2)),
        ("/settlement/verdict", json!("verified")),
        ("/settlement/payments/executor", json!("1")),
        ("/inclusion/size", json!(2)),
        ("/checkpoint/certificate/round", json!(1)),
    ] {
        let mut altered = sound.clone();
        *altered.pointer_mut(path).unwrap() = value;
        assert_eq!(exit_of(&altered), Some(Exit::Verification), "{path}");
    }
}

#[test]
fn the_check_that_fails_is_named_and_claims_are_not_called_proven() {
    let mut altered = serde_json::to_value(receipt()).unwrap();
    altered["settlement"]["nonce"] = json!(2);
    let failure = outcome(altered.to_string().as_bytes(), "trust.json").unwrap_err();
    assert!(failure.cause().contains("log inclusion"), "{}", failure.cause());
    let root = Root { trust: trust(), source: trust::Source::Key };
    let failed = Verified::Fails(Failed {
        valid: false,
        file: Path::new("x"),
        check: "log inclusion",
        cause: "no".into(),
        claims: Claims::of(&receipt(), &root.trust),
        trust: &root,
    });
    let text = verified_text(&failed);
    assert!(text.contains("not proven") && text.contains("inconclusive"), "{text}");
}

#[test]
fn a_report_says_on_whom_it_rests_and_what_is_open() {
    let receipt = receipt();
    let root = Root { trust: trust(), source: trust::Source::Key };
    let mut report = receipt.verify(&root.trust).unwrap();
    report.not_checked.extend(root.left_open());
    let held = Verified::Holds(Held {
        valid: true,
        file: Path::new("x"),
        report,
        provenance: Vec::new(),
        trust: &root,
    });
    let text = verified_text(&held);
    for part in
        ["exact", "0 of 0", "1 validator: draw and verdict rest on it", "height 7", "which chain it is"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn a_validators_key_is_enough_and_another_ones_is_not() {
    let bytes = serde_json::to_vec(&receipt()).unwrap();
    assert!(outcome(&bytes, &public_key().to_string()).is_ok());
    let stranger = outcome(&bytes, &Digest32::from_bytes([5; 32]).to_string()).unwrap_err();
    assert_eq!(stranger.exit(), Exit::Verification);
    assert!(stranger.cause().contains("certificate"), "{}", stranger.cause());
}

#[test]
fn what_is_no_receipt_is_a_mistake_and_not_a_forgery() {
    let too_large = vec![b' '; 9 << 20];
    for (bytes, reason) in [
        (b"{}".as_slice(), "not a receipt"),
        (b"hello", "not json"),
        (b"{\"format\":\"assay-receipt/2\"}", "another format"),
        (&too_large, "too large"),
    ] {
        let failure = outcome(bytes, "trust.json").unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage, "{reason}");
    }
    let bytes = serde_json::to_vec(&receipt()).unwrap();
    assert_eq!(outcome(&bytes, "/no/such/file").unwrap_err().exit(), Exit::Usage);
}

#[test]
fn what_says_that_it_is_a_receipt_and_has_not_its_form_is_an_altered_one() {
    let sound = serde_json::to_value(receipt()).unwrap();
    let mut word = sound.clone();
    word["settlement"]["verdict"] = json!("certain");
    let mut field = sound.clone();
    field["note"] = json!("trust me");
    for altered in
        [word, field, json!({ "format": "assay-receipt/1" }), json!({ "format": "assay-self-receipt/1" })]
    {
        let failure = outcome(altered.to_string().as_bytes(), "trust.json").unwrap_err();
        assert_eq!(failure.exit(), Exit::Verification, "{altered}");
        assert!(failure.cause().contains("form: "), "{}", failure.cause());
    }
}

#[test]
fn without_a_trust_root_nothing_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("receipt.json");
    fs::write(&file, serde_json::to_vec(&receipt()).unwrap()).unwrap();
    let failure = verify(&context(dir.path(), &[]), &file, None).unwrap_err();
    assert_eq!(failure.exit(), Exit::Usage);
    assert!(failure.next_step().unwrap().contains("--trust"));
}

#[tokio::test]
async fn a_chain_spec_gives_the_root_that_a_node_finds() {
    let dir = tempfile::tempdir().unwrap();
    let spec = ChainSpec::development().unwrap();
    let file = dir.path().join("chain-spec.json");
    fs::write(&file, serde_json::to_vec(&spec).unwrap()).unwrap();
    let root = Root::find(&context(dir.path(), &[]), file.to_str(), &receipt()).unwrap();
    let ledger = ledger::open(MemoryKv::default(), &spec.genesis, ledger::Config::default()).unwrap();
    assert_eq!(root.trust.genesis.as_bytes(), &ledger.handle.genesis().0);
    let validators: ValidatorSet = ledger.handle.query(None, "LedgerApi_validators", ()).await.unwrap();
    assert_eq!(root.trust.validators, validators);
    assert_eq!(root.trust.validators.validators()[0].key, development_authority().public());
}
