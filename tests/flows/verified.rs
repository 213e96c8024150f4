//! A receipt that says `verified`: from a wide draw, under validators that took over from others, and checked where
//! nobody has heard of the network.

use std::path::Path;

use assay_node::chain_spec::{ChainSpec, development_validator};
use assay_node::keys::Key;
use assay_protocol::job::Verdict;
use assay_protocol::params::Params;
use assay_protocol::receipt::{LedgerReceipt, Receipt};
use assay_protocol::units::Amount;
use assay_runtime::{GenesisSpec, UNIT};
use pallet_assay_validators::Call;
use serde_json::Value;

use crate::parties::wish;
use crate::process::{run, told};
use crate::region::{Part, Region, Running, buyer, open_market};

/// One executes; eight others are what a wide draw asks for (clause J15).
const PROVIDERS: u32 = 9;
/// Sellers of one node.
const SELLERS: u32 = 3;

/// Two validators, short sessions, and nobody who looks again at what was agreed and would change the verdict.
fn spec() -> ChainSpec {
    let spec = ChainSpec::local(2).unwrap().with_providers(PROVIDERS).unwrap();
    let params = Params {
        session_length: 4,
        recheck_percent: 0,
        newcomer_score: Amount::ZERO,
        ..spec.genesis.params.clone()
    };
    ChainSpec { genesis: GenesisSpec { params, ..spec.genesis }, ..spec }
}

/// Waits until the validators of a node's next height are these.
async fn is_decided_by(node: &Running, numbers: &[u32]) {
    let mut expected: Vec<_> = numbers.iter().map(|number| development_validator(*number).public()).collect();
    expected.sort();
    let mut heads = node.ledger.heads();
    loop {
        let next = heads.borrow_and_update().number + 1;
        let set = node.ledger.validators_of(next).await.unwrap();
        if set.validators().iter().map(|validator| validator.key).eq(expected.iter().copied()) {
            return;
        }
        heads.changed().await.unwrap();
    }
}

async fn submit(node: &Running, uri: &str, call: Call<assay_runtime::Runtime>) {
    node.client.submit(&Key::development(uri).unwrap(), "a test", call.into()).await.unwrap();
}

/// A third validator joins, and the second leaves.
async fn hand_over(node: &Running) {
    let (third, alice) = (development_validator(3), Key::development("//Alice").unwrap().account());
    let genesis = assay_manifest::Digest32::from_bytes(node.ledger.genesis().0);
    let proof = third.stand_for(&genesis, &alice);
    let bond = Call::bond { amount: 1_000 * UNIT, keys: third.published(), proof };
    submit(node, "//Alice", bond).await;
    is_decided_by(node, &[1, 2, 3]).await;
    submit(node, "//Validator//2", Call::unbond { amount: 1_000 * UNIT }).await;
    is_decided_by(node, &[1, 3]).await;
}

/// Exit code and report of `assay receipt verify` in a directory of its own, with nothing but a receipt and the trust root.
fn verify(receipt: &Receipt, trust: &[u8]) -> (Option<i32>, Value) {
    let machine = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = machine.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let receipt = file("receipt.json", &serde_json::to_vec(receipt).unwrap());
    let trust = file("trust.json", trust);
    let base = machine.path().join("nothing");
    let base = ["--base-path", base.to_str().unwrap(), "--json"];
    let output = run(&[&["receipt", "verify", &receipt, "--trust", &trust][..], &base].concat());
    let report = serde_json::from_slice(&output.stdout);
    (output.status.code(), report.unwrap_or_else(|error| panic!("{error}: {}", told(&output))))
}

fn trust_root(node: &Path) -> Vec<u8> {
    std::fs::read(node.join("local").join("trust.json")).unwrap()
}

fn altered(receipt: &Receipt, alter: impl FnOnce(&mut LedgerReceipt)) -> Receipt {
    let Receipt::Ledger(mut receipt) = receipt.clone() else { panic!("a job's receipt is the ledger's") };
    alter(&mut receipt);
    Receipt::Ledger(receipt)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_of_a_wide_draw_says_verified_where_nobody_saw_the_network() {
    let mut region = Region::new(spec(), 3);
    let mut nodes = Vec::new();
    for number in 1..=PROVIDERS / SELLERS {
        let sells = ((number - 1) * SELLERS + 1..=number * SELLERS).collect();
        nodes.push(region.start(Part { validator: Some(number), sells }).await);
    }
    let served = open_market(&nodes).await;
    hand_over(&nodes[0]).await;

    let (buyer, client) = (buyer(), &nodes[0].client);
    let question = wish(served.model_id, "What is 12 + 31?".into());
    let order = client.draft(buyer.account(), question).await.unwrap();
    client.place(&buyer, &order).await.unwrap();
    assert_eq!(client.follow_order(&buyer, &order, |_| {}).await.unwrap(), Verdict::Verified);
    let record = client.job(&order.job).await.unwrap().settlement.unwrap();
    let draw = record.verifier_draw.unwrap();
    assert_eq!(draw.eligible, PROVIDERS - 1);
    let answer = client.answer(&order, &record).await.unwrap();
    assert_eq!(answer.text, "43.");
    let receipt = order.open(client.receipt(&order.job).await.unwrap(), &answer);
    let mut dirs = Vec::new();
    for node in nodes {
        dirs.push(node.stop().await);
    }

    let trust = trust_root(dirs[0].path());
    assert_eq!(trust, trust_root(dirs[2].path()), "every node has the same root");
    let (code, report) = verify(&receipt, &trust);
    assert_eq!((code, &report["valid"]), (Some(0), &true.into()), "{report}");
    assert_eq!(report["verdict"], "verified", "{report}");
    let Receipt::Ledger(ledger) = &receipt else { panic!("a job's receipt is the ledger's") };
    assert_eq!(ledger.hand_overs.len(), 2, "one joined, one left");

    // The verdict, the hand-overs and the draw are what it rests on.
    let thin = altered(&receipt, |receipt| receipt.settlement.verdict = Verdict::VerifiedThin);
    let orphaned = altered(&receipt, |receipt| receipt.hand_overs.clear());
    let narrow = altered(&receipt, |receipt| {
        receipt.verifier_draw.as_mut().unwrap().candidates.pop().unwrap();
    });
    for (altered, check) in [(thin, "log inclusion"), (orphaned, "certificate"), (narrow, "draws")] {
        let (code, report) = verify(&altered, &trust);
        assert_eq!((code, &report["check"]), (Some(3), &check.into()), "{report}");
    }
}
