//! Encodings that never change: a hash of a sample of each in `tests/frozen.txt`, and every field of the
//! receipt's file form in `tests/receipt-fields.txt`.
//!
//! A line that differs means that commitments, signatures, log leaves or receipts made before no longer
//! hold. A new encoding gets a new version and a new line; it never replaces one.

use std::collections::BTreeSet;

use assay_manifest::{Digest32, JobId, sha256};
use codec::Encode;
use serde_json::Value;

use crate::announcement::tests::announcement;
use crate::announcement::{Announcer, SignedAnnouncement};
use crate::certificate::CommitCertificate;
use crate::commitment::{
    Claim, FailCode, Finish, Opening, Salt, SaltPurpose, SeatId, ValueKind, input_commit, trace_blind,
};
use crate::draw::{self, Candidate};
use crate::job::tests::record;
use crate::job::{Party, SettlementRecord};
use crate::party::Role;
use crate::receipt::Receipt;
use crate::receipt::tests::{own, receipt, receipt_at_large, request};
use crate::record::{Policy, Prices, PublicRecord};
use crate::request::prompt_hash;
use crate::seal::package_hash;
use crate::seal::tests::envelopes;
use crate::signature::{SeatStep, Signature};
use crate::trace::{PositionState, TraceBuilder, layers_root};
use crate::units::{Amount, Height, Price};

fn digest(byte: u8) -> Digest32 {
    Digest32::from_bytes([byte; 32])
}

fn job() -> JobId {
    JobId::from_bytes([1; 32])
}

fn salt() -> Salt {
    Salt::from_bytes([2; 32])
}

fn claim() -> Claim {
    Claim::of(&salt(), &[3, 4, 5], Finish::Stop(1))
}

fn opening() -> Opening {
    let blind = trace_blind(&salt(), 1, &digest(6), 7);
    Opening { kind: ValueKind::Reject, position: 2, code: FailCode::None, blind }
}

fn seat() -> SeatId {
    SeatId { job: job(), round: 1, role: Role::Verifier, seat: 2, provider: [8; 32] }
}

fn trace_root() -> Digest32 {
    let mut trace = TraceBuilder::new();
    let layer_hashes = vec![digest(9), digest(10)];
    trace.push(&PositionState {
        position: 0,
        token: 11,
        layers_root: Some(layers_root(&layer_hashes)),
        logits_hash: Some(digest(12)),
    });
    trace.push(&PositionState { position: 1, token: 13, layers_root: None, logits_hash: None });
    trace.root()
}

/// The leaf of a job that ran through the machine; its signatures, which differ each time, made equal.
fn leaf() -> Vec<u8> {
    equalized(receipt().settlement).to_leaf()
}

fn equalized(mut settlement: SettlementRecord) -> SettlementRecord {
    for signed in settlement.seats.iter_mut().filter_map(|seat| seat.commitment.as_mut()) {
        signed.signature = Signature([14; 64]);
    }
    settlement
}

fn leaf_at_large() -> Vec<u8> {
    equalized(receipt_at_large().settlement).to_leaf()
}

fn statement() -> Digest32 {
    match own() {
        Receipt::Own(receipt) => receipt.statement.digest(),
        Receipt::Ledger(_) => unreachable!("the sample is a self receipt"),
    }
}

fn samples() -> Vec<(&'static str, Digest32)> {
    let genesis = digest(15);
    let (input, output) = (Price::new(1_000_000_000_000), Price::new(2_000_000_000_000));
    let prices = Prices { input, output, verify_max: input };
    let record = PublicRecord { prices, ..record(Policy::Verified { verifiers: 2 }) };
    let policy = Policy::VerifiedAtLarge { verifiers: 2, weights_bytes: 32 };
    let at_large = PublicRecord { policy, ..record.clone() };
    let commit = SeatStep::Commit { commitment: digest(16), recheck: digest(26), claim: Some(claim()) };
    let step = |step: SeatStep| step.digest(&genesis, &job(), 1, 2);
    let candidates = [Candidate { provider: [17; 32], free_stake: Amount::new(18) }];
    let value = opening().value(&job(), 1, &claim());
    let [input, work, answer] = envelopes();
    let announcement_of_provider = announcement(Announcer::Provider([30; 32]));
    let signed =
        SignedAnnouncement { announcement: announcement_of_provider, signature: Signature([31; 64]) };
    vec![
        ("request", sha256(&request().to_bytes())),
        ("public record", sha256(&record.encode())),
        ("job id", record.job_id(&genesis, &[19; 32], 20).digest()),
        ("prompt hash", prompt_hash(&[21, 22])),
        ("seed", request_without_seed().seed(&salt(), &job())),
        ("input commitment", input_commit(&salt(), b"request")),
        ("output salt", salt().derive(SaltPurpose::Output)),
        ("trace salt", salt().derive(SaltPurpose::Trace { round: 1 })),
        ("output commitment", claim().out_commit),
        ("trace root", trace_root()),
        ("trace blind", opening().blind),
        ("value", value),
        ("commitment", seat().commit(&value)),
        ("step: accept", step(SeatStep::Accept)),
        ("step: decline", step(SeatStep::Decline)),
        ("step: commit", step(commit)),
        ("step: concede", step(SeatStep::Concede)),
        ("step: need", step(SeatStep::Need { key: digest(27) })),
        ("step: post", step(SeatStep::Post { party: Party::Requester, package_hash: digest(28) })),
        ("step: complain", step(SeatStep::Complain { secret: digest(29) })),
        ("draw seed", draw::seed(&digest(23), &job(), 1, Role::Executor)),
        ("eligible root", draw::eligible_root(&candidates)),
        ("commit certificate", CommitCertificate::sign_bytes(&genesis, Height::new(24), 0, &digest(25))),
        ("settlement leaf", sha256(&leaf())),
        ("self receipt", statement()),
        ("sealed input", package_hash(&input.package)),
        ("sealed work", package_hash(&work.package)),
        ("sealed answer", package_hash(&answer.package)),
        ("envelope: requester", input.digest(&genesis)),
        ("envelope: seat", work.digest(&genesis)),
        ("announcement", sha256(&signed.encode())),
        ("announcement: provider", signed.announcement.digest()),
        ("announcement: validator", announcement(Announcer::Validator(digest(30))).digest()),
        ("public record: at large", sha256(&at_large.encode())),
        ("draw seed: at large", draw::seed(&digest(23), &job(), 1, Role::AtLarge)),
        ("settlement leaf: at large", sha256(&leaf_at_large())),
    ]
}

fn request_without_seed() -> crate::request::Request {
    crate::request::Request { seed: None, ..request() }
}

/// Every field of a JSON document, with the places in a list made equal.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                fields(value, &format!("{path}.{name}"), found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, &format!("{path}[]"), found)),
        _ => drop(found.insert(path.trim_start_matches('.').to_owned())),
    }
}

#[test]
fn encodings_do_not_change() {
    let found: String = samples().iter().map(|(name, hash)| format!("{hash} {name}\n")).collect();
    assert_eq!(found, include_str!("../tests/frozen.txt"), "found:\n{found}");
}

#[test]
fn the_receipts_file_form_does_not_change() {
    let mut found = BTreeSet::new();
    for receipt in
        [receipt(), receipt_at_large()].map(Box::new).map(Receipt::Ledger).into_iter().chain([own()])
    {
        fields(&serde_json::to_value(&receipt).unwrap(), "", &mut found);
    }
    let found: String = found.iter().map(|field| format!("{field}\n")).collect();
    assert_eq!(found, include_str!("../tests/receipt-fields.txt"), "found:\n{found}");
}
