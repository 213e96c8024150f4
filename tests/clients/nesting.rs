//! Calls nested 10,000 deep, through every method that decodes a transaction.

use assay_node::client::signed;
use assay_runtime::{Hash, RuntimeCall};
use codec::Encode;
use jsonrpsee::core::client::SubscriptionClientT;
use jsonrpsee::core::params::ArrayParams;
use jsonrpsee::rpc_params;
use serde_json::Value;
use sp_runtime::transaction_validity::TransactionSource;

use crate::harness::{Plain, TestNode, alice, hex, refusal, with_call};

const DEPTH: usize = 10_000;

/// `utility.batch([utility.batch([… system.remark …])])`.
fn nested(depth: usize) -> Vec<u8> {
    let remark = RuntimeCall::System(frame_system::Call::remark { remark: Vec::new() }).encode();
    let batch = RuntimeCall::Utility(pallet_utility::Call::batch { calls: Vec::new() }).encode();
    // One call in the list instead of none.
    let level = [&batch[..batch.len() - 1], codec::Compact(1u32).encode().as_slice()].concat();
    [level.repeat(depth), remark].concat()
}

async fn transaction(rpc: &Plain, depth: usize) -> Vec<u8> {
    let genesis: Hash = rpc.call("chain_getBlockHash", rpc_params![0]).await;
    let nonce = rpc.nonce(&alice()).await;
    let remark = RuntimeCall::System(frame_system::Call::remark { remark: Vec::new() });
    with_call(&signed(&alice(), nonce, genesis, remark), &nested(depth))
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_calls_are_refused_by_every_method_and_the_node_lives() {
    let node = TestNode::start().await;
    let rpc = node.plain().await;
    let bytes = transaction(&rpc, DEPTH).await;
    let head: Hash = rpc.call("chain_getFinalizedHead", rpc_params![]).await;
    let length = u32::try_from(bytes.len()).unwrap().encode();
    let to_pay = hex(&[bytes.as_slice(), &length].concat());
    let to_validate = hex(&[TransactionSource::External.encode(), bytes.clone(), head.encode()].concat());
    let text = hex(&bytes);
    let routes: [(&str, ArrayParams); 9] = [
        ("author_submitExtrinsic", rpc_params![&text]),
        ("payment_queryInfo", rpc_params![&text]),
        ("payment_queryFeeDetails", rpc_params![&text]),
        ("state_call", rpc_params!["TransactionPaymentApi_query_info", &to_pay]),
        ("state_call", rpc_params!["TransactionPaymentApi_query_fee_details", &to_pay]),
        ("state_call", rpc_params!["TaggedTransactionQueue_validate_transaction", &to_validate]),
        ("state_call", rpc_params!["BlockBuilder_apply_extrinsic", &text]),
        ("state_call", rpc_params!["BlockBuilder_check_inherents", &text]),
        ("state_call", rpc_params!["Core_execute_block", &text]),
    ];
    for (method, params) in routes {
        let error = rpc.refusal(method, params).await;
        assert!([1010, 25002].contains(&error.code()), "{method}: {error}");
        let _: Value = rpc.call("chain_getHeader", rpc_params![]).await;
    }
    // Others than those that the pool has banned meanwhile.
    let text = hex(&transaction(&rpc, DEPTH + 1).await);
    let watched = rpc.0.subscribe::<Value, _>(
        "author_submitAndWatchExtrinsic",
        rpc_params![&text],
        "author_unwatchExtrinsic",
    );
    let error = refusal(watched.await.map(|_| ()));
    assert_eq!(error.code(), 1010, "{error}");
    let _: Value = rpc.call("chain_getHeader", rpc_params![]).await;
    node.stop().await;
}

/// The refusal above is of the nesting and not of something else about the bytes.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_transaction_with_shallow_nesting_is_understood() {
    let node = TestNode::start().await;
    let rpc = node.plain().await;
    let bytes = transaction(&rpc, 8).await;
    let info: Value = rpc.call("payment_queryInfo", rpc_params![hex(&bytes)]).await;
    assert_eq!(info["class"], "normal");
    let error = rpc.refusal("author_submitExtrinsic", rpc_params![hex(&bytes)]).await;
    let cause: Value = serde_json::from_str(error.data().unwrap().get()).unwrap();
    assert!(cause["cause"].as_str().unwrap().contains("bad signature"), "{cause}");
    node.stop().await;
}
