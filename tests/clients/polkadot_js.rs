//! An unmodified polkadot.js against a node. Needs Node.js and `npm ci` in `tests/clients/polkadot-js`, so
//! it is built with the feature `foreign-clients` only:
//! `cargo test -p assay-node --features foreign-clients --test polkadot_js`.

#[allow(dead_code)] // the other tests' part
mod harness;

use std::path::Path;
use std::process::Command;

use assay_runtime::Hash;
use harness::TestNode;
use serde::Deserialize;
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::read_proof_check;
use sp_trie::StorageProof;
use tokio::task::spawn_blocking;

/// What the script prints: a proof, and what it should prove.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Proven {
    state_root: Hash,
    keys: Vec<String>,
    values: Vec<String>,
    proof: Vec<String>,
}

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex.trim_start_matches("0x")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn polkadot_js_connects_transfers_batches_reads_and_gets_a_proof_that_holds() {
    let node = TestNode::start().await;
    let url = format!("ws://{}", node.address());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/clients/polkadot-js/check.js");
    let check = spawn_blocking(move || Command::new("node").arg(script).arg(url).output());
    let output = check.await.unwrap().expect("Node.js is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let proven: Proven = serde_json::from_slice(&output.stdout).unwrap();
    let proof = StorageProof::new(proven.proof.iter().map(|node| bytes(node)));
    let keys: Vec<Vec<u8>> = proven.keys.iter().map(|key| bytes(key)).collect();
    let found = read_proof_check::<BlakeTwo256, _>(proven.state_root, proof.clone(), &keys).unwrap();
    for (key, value) in keys.iter().zip(&proven.values) {
        assert_eq!(found[key].as_deref(), Some(bytes(value).as_slice()));
    }
    let other_root = Hash::repeat_byte(1);
    assert!(read_proof_check::<BlakeTwo256, _>(other_root, proof, &keys).is_err());
    node.stop().await;
}
