//! Transactions, storage and proofs, as wallets and explorers use them.

use assay_node::client::SubmitError;
use assay_runtime::{Hash, RuntimeCall, RuntimeEvent, UNIT};
use codec::Encode;
use jsonrpsee::rpc_params;
use serde_json::{Value, json};
use sp_runtime::traits::BlakeTwo256;
use sp_state_machine::read_proof_check;
use sp_trie::StorageProof;

use crate::harness::{TestNode, alice, bob, next, transfer, unhex};

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_is_followed_to_its_finalized_block() {
    let node = TestNode::start().await;
    let (client, rpc) = (node.client().await, node.plain().await);
    let before = client.balances(&bob().account()).await.unwrap();
    let nonce = rpc.nonce(&alice()).await;
    let extrinsic = rpc.signed(&alice(), nonce, transfer(&bob().account(), 7 * UNIT)).await;
    let names = ["author_submitAndWatchExtrinsic", "author_unwatchExtrinsic"];
    let mut updates = rpc.subscribe(names, rpc_params![&extrinsic]).await;
    assert_eq!(next(&mut updates).await, json!("ready"));
    let in_block = next(&mut updates).await;
    let finalized = next(&mut updates).await;
    assert_eq!(in_block["inBlock"], finalized["finalized"]);

    let block: Value = rpc.call("chain_getBlock", rpc_params![&finalized["finalized"]]).await;
    let body = block["block"]["extrinsics"].as_array().unwrap();
    assert!(body.contains(&json!(extrinsic)));
    let after = client.balances(&bob().account()).await.unwrap();
    assert_eq!(after.free - before.free, 7 * UNIT);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_call_interrupts_a_batch_and_undoes_a_batch_of_all() {
    let node = TestNode::start().await;
    let client = node.client().await;
    let before = client.balances(&bob().account()).await.unwrap();
    let calls = || vec![transfer(&bob().account(), UNIT), transfer(&bob().account(), u128::MAX / 2)];

    let batch = RuntimeCall::Utility(pallet_utility::Call::batch { calls: calls() });
    let included = client.submit(&alice(), "utility.batch", batch).await.unwrap();
    let interrupted = included.events.iter().find_map(|event| match event {
        RuntimeEvent::Utility(pallet_utility::Event::BatchInterrupted { index, .. }) => Some(*index),
        _ => None,
    });
    assert_eq!(interrupted, Some(1), "the first call stays");
    assert_eq!(client.balances(&bob().account()).await.unwrap().free - before.free, UNIT);

    let batch = RuntimeCall::Utility(pallet_utility::Call::batch_all { calls: calls() });
    let failed = client.submit(&alice(), "utility.batchAll", batch).await.unwrap_err();
    assert!(matches!(failed, SubmitError::Failed { .. }), "{failed}");
    assert_eq!(client.balances(&bob().account()).await.unwrap().free - before.free, UNIT);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_proof_proves_the_value_against_the_header_and_nothing_else() {
    let node = TestNode::start().await;
    let rpc = node.plain().await;
    let key = frame_system::Account::<assay_runtime::Runtime>::hashed_key_for(alice().account());
    let absent = frame_system::Account::<assay_runtime::Runtime>::hashed_key_for(
        assay_runtime::AccountId::from([7; 32]),
    );
    let keys = [key, absent].map(|key| format!("0x{}", hex::encode(key)));
    let answer: Value = rpc.call("state_getReadProof", rpc_params![&keys]).await;
    let header: Value = rpc.call("chain_getHeader", rpc_params![&answer["at"]]).await;
    let value: String = rpc.call("state_getStorage", rpc_params![&keys[0], &answer["at"]]).await;

    let root: Hash = serde_json::from_value(header["stateRoot"].clone()).unwrap();
    let nodes = answer["proof"].as_array().unwrap().iter().map(|node| unhex(node.as_str().unwrap()));
    let proof = StorageProof::new(nodes);
    let raw = keys.each_ref().map(|key| unhex(key));
    let proven = read_proof_check::<BlakeTwo256, _>(root, proof.clone(), &raw).unwrap();
    assert_eq!(proven[&raw[0]], Some(unhex(&value)));
    assert_eq!(proven[&raw[1]], None, "absence is proven too");
    let other_root = Hash::repeat_byte(1);
    assert!(read_proof_check::<BlakeTwo256, _>(other_root, proof, &raw).is_err());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_index_counts_the_pool_up_to_the_first_gap() {
    let node = TestNode::start().await;
    let rpc = node.plain().await;
    let start = rpc.nonce(&alice()).await;
    for offset in [0, 1, 3] {
        let extrinsic = rpc.signed(&alice(), start + offset, transfer(&bob().account(), UNIT)).await;
        let _: Hash = rpc.call("author_submitExtrinsic", rpc_params![extrinsic]).await;
    }
    assert_eq!(rpc.nonce(&alice()).await, start + 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_comes_too_early_waits_for_its_predecessor() {
    let node = TestNode::start().await;
    let rpc = node.plain().await;
    let nonce = rpc.nonce(&alice()).await;
    let names = ["author_submitAndWatchExtrinsic", "author_unwatchExtrinsic"];
    let later = rpc.signed(&alice(), nonce + 1, transfer(&bob().account(), UNIT)).await;
    let mut updates = rpc.subscribe(names, rpc_params![later]).await;
    assert_eq!(next(&mut updates).await, json!("future"));
    let first = rpc.signed(&alice(), nonce, transfer(&bob().account(), UNIT)).await;
    let _: Hash = rpc.call("author_submitExtrinsic", rpc_params![first]).await;
    assert_eq!(next(&mut updates).await, json!("ready"));
    assert!(next(&mut updates).await.get("inBlock").is_some());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_transactions_are_told_apart_by_their_codes() {
    let node = TestNode::start().await;
    let rpc = node.plain().await;
    let nonce = rpc.nonce(&alice()).await;
    let waiting = rpc.signed(&alice(), nonce + 1, transfer(&bob().account(), UNIT)).await;
    let _: Hash = rpc.call("author_submitExtrinsic", rpc_params![&waiting]).await;
    let rival = rpc.signed(&alice(), nonce + 1, transfer(&bob().account(), 2 * UNIT)).await;
    let poor = rpc.signed(&bob_without_tokens(), 0, transfer(&bob().account(), UNIT)).await;
    let mut forged = waiting.clone();
    forged.replace_range(forged.len() - 2.., "00");
    let cases = [
        (waiting, 1013, "the same again"),
        (rival, 1014, "another of the same nonce"),
        (poor, 1010, "an account that cannot pay"),
        (forged, 1010, "a signature over something else"),
        ("0x00".into(), 1010, "no transaction"),
    ];
    for (extrinsic, code, reason) in cases {
        let error = rpc.refusal("author_submitExtrinsic", rpc_params![extrinsic]).await;
        assert_eq!(error.code(), code, "{reason}: {error}");
        let data: Value = serde_json::from_str(error.data().unwrap().get()).unwrap();
        assert!(["cause", "hint", "docs"].iter().all(|field| data[field].is_string()), "{reason}: {data}");
    }
    node.stop().await;
}

fn bob_without_tokens() -> assay_node::keys::Key {
    assay_node::keys::Key::development("//Bob//empty").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn fees_are_told_before_and_charged_after() {
    let node = TestNode::start().await;
    let (client, rpc) = (node.client().await, node.plain().await);
    let nonce = rpc.nonce(&alice()).await;
    let extrinsic = rpc.signed(&alice(), nonce, transfer(&bob().account(), UNIT)).await;
    let info: Value = rpc.call("payment_queryInfo", rpc_params![&extrinsic]).await;
    let fee: u128 = info["partialFee"].as_str().unwrap().parse().unwrap();
    assert_eq!(info["class"], "normal");
    let details: Value = rpc.call("payment_queryFeeDetails", rpc_params![&extrinsic]).await;
    let part = |name: &str| {
        let text = details["inclusionFee"][name].as_str().unwrap();
        u128::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
    };
    assert_eq!(part("baseFee") + part("lenFee") + part("adjustedWeightFee"), fee);

    let before = client.balances(&alice().account()).await.unwrap().free;
    client.submit(&alice(), "transfer", transfer(&bob().account(), UNIT)).await.unwrap();
    let after = client.balances(&alice().account()).await.unwrap().free;
    assert_eq!(before - after, UNIT + fee);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_in_pages_and_blocks_by_height_in_any_notation() {
    let node = TestNode::start().await;
    let rpc = node.plain().await;
    let prefix = format!("0x{}", hex::encode(frame_support::storage::storage_prefix(b"System", b"Account")));
    let all: Vec<String> = rpc.call("state_getKeysPaged", rpc_params![&prefix, 1_000]).await;
    assert!(all.len() >= 8, "accounts of the development chain");
    let mut pages = Vec::new();
    while let page @ [.., last] =
        &rpc.call::<Vec<String>>("state_getKeysPaged", rpc_params![&prefix, 3, pages.last()]).await[..]
    {
        assert!(page.len() <= 3 && last.starts_with(&prefix));
        pages.extend_from_slice(page);
    }
    assert_eq!(pages, all);

    let genesis: String = rpc.call("chain_getBlockHash", rpc_params![0]).await;
    let same: Vec<String> = rpc.call("chain_getBlockHash", rpc_params![json!([0, "0x0"])]).await;
    assert_eq!(same, [genesis.clone(), genesis]);
    let beyond: Option<String> = rpc.call("chain_getBlockHash", rpc_params![u32::MAX]).await;
    assert_eq!(beyond, None);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_versions_and_properties_are_those_that_clients_look_for() {
    let node = TestNode::start().await;
    let rpc = node.plain().await;
    let metadata: String = rpc.call("state_getMetadata", rpc_params![]).await;
    assert!(metadata.starts_with("0x6d657461"), "the magic number of metadata");
    let versions: String = rpc.call("state_call", rpc_params!["Metadata_metadata_versions", "0x"]).await;
    let versions: Vec<u32> = codec::Decode::decode(&mut unhex(&versions).as_slice()).unwrap();
    assert!(versions.contains(&15) && versions.contains(&16), "{versions:?}");
    let at_16 = hex::encode(16u32.encode());
    let latest: String =
        rpc.call("state_call", rpc_params!["Metadata_metadata_at_version", format!("0x{at_16}")]).await;
    assert!(latest.len() > 10_000);
    let properties: Value = rpc.call("system_properties", rpc_params![]).await;
    assert_eq!(properties, json!({ "ss58Format": 42, "tokenDecimals": 12, "tokenSymbol": "ASY" }));
    let version: Value = rpc.call("state_getRuntimeVersion", rpc_params![]).await;
    assert_eq!(version["specName"], "assay");
    let methods: Value = rpc.call("rpc_methods", rpc_params![]).await;
    let methods = methods["methods"].as_array().unwrap();
    assert!(methods.contains(&json!("state_getReadProof")) && methods.contains(&json!("rpc_methods")));
    assert!(methods.iter().all(|name| !name.as_str().unwrap().starts_with("chainHead")), "subxt's choice");
    node.stop().await;
}
