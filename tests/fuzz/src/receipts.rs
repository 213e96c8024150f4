//! Receipts: their file form, and whether anything but the truth verifies.

use std::sync::LazyLock;

use assay_protocol::receipt::{Disclosure, LedgerReceipt, Receipt, Trust};

use crate::memory::in_proportion;
use crate::settled;

/// What is true.
struct Truth {
    ledger: LedgerReceipt,
    own: Receipt,
    trust: Trust,
}

fn truth() -> &'static Truth {
    static TRUTH: LazyLock<Truth> = LazyLock::new(|| {
        let truth = Truth { ledger: settled::ledger(), own: settled::own(), trust: settled::trust() };
        let ledger = Receipt::Ledger(Box::new(truth.ledger.clone()));
        ledger.verify(&truth.trust).expect("an honest receipt");
        truth.own.verify(&truth.trust).expect("a receipt of one's own");
        truth
    });
    &TRUTH
}

/// Honest receipts: opened, public, in part, and of one's own execution.
pub fn seeds() -> Vec<Vec<u8>> {
    let truth = truth();
    let opened = truth.ledger.clone();
    let public = LedgerReceipt { opened: None, ..opened.clone() };
    let output = opened.opened.clone().and_then(|opened| opened.output);
    let part =
        LedgerReceipt { opened: Some(Disclosure { output, ..Disclosure::default() }), ..opened.clone() };
    let ledger = [opened, public, part].map(|receipt| Receipt::Ledger(Box::new(receipt)));
    let receipts = ledger.iter().chain([&truth.own]);
    receipts.map(|receipt| serde_json::to_vec(receipt).expect("it is JSON")).collect()
}

/// A receipt that is read is written as it was read. One that verifies says nothing but the truth. One that is
/// put into a log by validators who sign anything is judged without a panic.
///
/// # Panics
/// When that does not hold.
pub fn check(data: &[u8]) {
    let Ok(receipt) = in_proportion(data.len(), || serde_json::from_slice::<Receipt>(data)) else { return };
    let json = serde_json::to_vec(&receipt).expect("it is JSON");
    assert_eq!(serde_json::from_slice::<Receipt>(&json).expect("our own JSON"), receipt);
    let truth = truth();
    let verified = receipt.verify(&truth.trust);
    match (&receipt, verified) {
        (Receipt::Ledger(receipt), verified) => {
            if verified.is_ok() {
                is_true(receipt, &truth.ledger);
            }
            let sealed = Receipt::Ledger(Box::new(settled::sealed(receipt)));
            if let Err(failure) = sealed.verify(&truth.trust) {
                assert!(!failure.to_string().is_empty());
            }
        }
        // Whoever holds a key may state what it likes; under this one there is one statement.
        (Receipt::Own(_), Ok(_)) => assert_eq!(receipt, truth.own, "an altered statement verifies"),
        (Receipt::Own(_), Err(failure)) => assert!(!failure.to_string().is_empty()),
    }
}

/// Everything but the opened parts is the honest receipt's; of those, some may be left out.
fn is_true(receipt: &LedgerReceipt, truth: &LedgerReceipt) {
    let public = |receipt: &LedgerReceipt| LedgerReceipt { opened: None, ..receipt.clone() };
    assert_eq!(public(receipt), public(truth), "an altered receipt verifies");
    let opened = receipt.opened.clone().unwrap_or_default();
    let all = truth.opened.clone().unwrap_or_default();
    assert!(opened.salt.is_none() || opened.salt == all.salt, "another salt");
    assert!(opened.input.is_none() || opened.input == all.input, "another request");
    assert!(opened.output.is_none() || opened.output == all.output, "another answer");
    assert!(opened.trace.is_none() || opened.trace == all.trace, "another trace");
}

pub use crate::json::mutate;
