//! Following the chain.

use assay_runtime::{Runtime, UNIT};
use jsonrpsee::rpc_params;
use serde_json::Value;

use crate::harness::{TestNode, alice, bob, next, transfer};

fn height(header: &Value) -> u64 {
    u64::from_str_radix(header["number"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_follow_one_another_without_gap_under_every_name() {
    let node = TestNode::start().await;
    let rpc = node.plain().await;
    for names in [
        ["chain_subscribeNewHeads", "chain_unsubscribeNewHeads"],
        ["chain_subscribeAllHeads", "chain_unsubscribeAllHeads"],
        ["chain_subscribeFinalizedHeads", "chain_unsubscribeFinalizedHeads"],
        ["chain_subscribeNewHead", "chain_unsubscribeNewHead"],
    ] {
        let mut heads = rpc.subscribe(names, rpc_params![]).await;
        let first = height(&next(&mut heads).await);
        for expected in first + 1..first + 4 {
            assert_eq!(height(&next(&mut heads).await), expected, "{names:?}");
        }
        heads.unsubscribe().await.unwrap();
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_is_told_at_once_and_again_when_it_changes() {
    let node = TestNode::start().await;
    let (client, rpc) = (node.client().await, node.plain().await);
    let key = frame_system::Account::<Runtime>::hashed_key_for(bob().account());
    let key = format!("0x{}", hex::encode(key));
    let names = ["state_subscribeStorage", "state_unsubscribeStorage"];
    let mut changes = rpc.subscribe(names, rpc_params![[&key]]).await;
    let now = next(&mut changes).await;
    let stored: String = rpc.call("state_getStorage", rpc_params![&key, &now["block"]]).await;
    assert_eq!(now["changes"][0], serde_json::json!([key, stored]));

    let included = client.submit(&alice(), "transfer", transfer(&bob().account(), UNIT)).await.unwrap();
    let changed = next(&mut changes).await;
    assert_eq!(changed["block"], serde_json::to_value(included.block).unwrap());
    let stored: String = rpc.call("state_getStorage", rpc_params![&key, &changed["block"]]).await;
    assert_eq!(changed["changes"], serde_json::json!([[key, stored]]));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runtime_version_is_told_once_and_the_stop_of_the_node_ends_every_subscription() {
    let node = TestNode::start().await;
    let rpc = node.plain().await;
    let names = ["state_subscribeRuntimeVersion", "state_unsubscribeRuntimeVersion"];
    let mut versions = rpc.subscribe(names, rpc_params![]).await;
    assert_eq!(next(&mut versions).await["specName"], "assay");
    let mut heads =
        rpc.subscribe(["chain_subscribeNewHeads", "chain_unsubscribeNewHeads"], rpc_params![]).await;
    next(&mut heads).await;
    node.stop().await;
    assert!(versions.next().await.is_none());
    while let Some(head) = heads.next().await {
        assert!(head.is_ok());
    }
}
