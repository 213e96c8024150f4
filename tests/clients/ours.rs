//! Our own groups of methods.

use assay_manifest::{Digest32, JobId};
use assay_node::client::Client;
use assay_protocol::request::Sampler;
use assay_protocol::seal::{Envelope, Purpose};
use assay_protocol::signature::Signature;
use assay_runtime::{RuntimeCall, UNIT};
use jsonrpsee::core::client::{ClientT, SubscriptionClientT};
use jsonrpsee::core::params::ObjectParams;
use jsonrpsee::rpc_params;
use pallet_assay_artifacts::Subject;
use serde_json::{Value, json};

use crate::harness::{Plain, TestNode, alice, bob, next, refusal};

/// Imports a directory with one file and returns the last event.
async fn import(rpc: &Plain, content: &str) -> Value {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("data.txt"), content).unwrap();
    let mut params = ObjectParams::new();
    params.insert("path", dir.path()).unwrap();
    params.insert("kind", "dataset").unwrap();
    params.insert("name", "words").unwrap();
    let events = rpc.0.subscribe("artifact_v1_import", params, "artifact_v1_cancelImport");
    let mut events = events.await.unwrap();
    loop {
        let event = next(&mut events).await;
        if event["event"] != "progress" {
            assert_eq!(next(&mut events).await["event"], "stop");
            return event;
        }
        assert!(event["doneBytes"].as_u64() <= event["totalBytes"].as_u64());
    }
}

/// Asks for an artifact of other nodes and returns the last event.
async fn fetch(rpc: &Plain, id: &Value) -> Value {
    let events = rpc.0.subscribe("artifact_v1_fetch", rpc_params![id], "artifact_v1_cancelFetch");
    let mut events = events.await.unwrap();
    let event = next(&mut events).await;
    assert_eq!(next(&mut events).await["event"], "stop");
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pinned_stays_when_the_store_shrinks_and_without_a_network_nothing_is_fetched() {
    let node = TestNode::start().await;
    let rpc = node.plain().await;
    let (kept, gone) = (import(&rpc, "hello").await, import(&rpc, "other words").await);
    let (kept, gone) = (&kept["artifactId"], &gone["artifactId"]);
    let pinned: Value = rpc.call("artifact_v1_pin", rpc_params![kept]).await;
    assert_eq!(pinned, json!({ "artifactId": kept }));
    let unknown = JobId::from_bytes([7; 32]);
    assert_eq!(rpc.refusal("artifact_v1_pin", rpc_params![unknown]).await.code(), 20001);
    let collected: Value = rpc.call("artifact_v1_gc", rpc_params![0]).await;
    let expected = json!({ "artifacts": [gone], "garbageBlobs": 0, "freedBytes": 11, "leftBytes": 5 });
    assert_eq!(collected, expected);
    let local: Value = rpc.call("artifact_v1_listLocal", rpc_params![]).await;
    assert_eq!((&local[0]["artifactId"], &local[0]["pins"]), (kept, &json!(["user"])));

    let failed = fetch(&rpc, gone).await;
    assert_eq!((&failed["event"], &failed["code"]), (&json!("failed"), &json!(25007)));
    assert!(failed["message"].as_str().unwrap().contains("this node has no network"), "{failed}");
    assert!(failed["hint"].as_str().unwrap().contains("artifact_v1_import"), "{failed}");

    let _: Value = rpc.call("artifact_v1_unpin", rpc_params![kept]).await;
    let collected: Value = rpc.call("artifact_v1_gc", rpc_params![]).await;
    assert_eq!(collected["artifacts"], json!([]), "nothing must go without a cap");
    let collected: Value = rpc.call("artifact_v1_gc", rpc_params![0]).await;
    assert_eq!(collected["artifacts"], json!([kept]));
    node.stop().await;
}

async fn register(client: &Client, key: &assay_node::keys::Key, artifact: &Value, name: &str) {
    let artifact = serde_json::from_value(artifact.clone()).unwrap();
    let call = RuntimeCall::Artifacts(pallet_assay_artifacts::Call::register {
        subject: Subject::Dataset(artifact),
        size_bytes: 5,
        name: name.as_bytes().to_vec().try_into().unwrap(),
        license: b"CC0-1.0".to_vec().try_into().unwrap(),
    });
    client.submit(key, "artifacts.register", call).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_and_registered_artifact_is_found_by_id_and_by_name() {
    let node = TestNode::start().await;
    let (client, rpc) = (node.client().await, node.plain().await);
    let imported = import(&rpc, "hello").await;
    assert_eq!((&imported["event"], &imported["sizeBytes"]), (&json!("imported"), &json!(5)));
    let id = &imported["artifactId"];
    let local: Value = rpc.call("artifact_v1_get", rpc_params![id]).await;
    assert_eq!((&local["local"], &local["registrations"]), (&json!(true), &json!([])));

    register(&client, &alice(), id, "words").await;
    register(&client, &bob(), id, "the-same-words").await;
    for name in [id.as_str().unwrap().to_owned(), format!("{}/words", alice().address())] {
        let found: Value = rpc.call("artifact_v1_get", rpc_params![name]).await;
        assert_eq!(&found["artifactId"], id);
        assert_eq!(found["manifest"], imported["manifest"]);
        let by_alice = found["registrations"].as_array().unwrap().iter();
        let by_alice = by_alice.clone().find(|entry| entry["account"] == alice().address()).unwrap();
        assert_eq!((&by_alice["name"], &by_alice["license"]), (&json!("words"), &json!("CC0-1.0")));
        assert!(by_alice["deposit"].as_str().unwrap().parse::<u128>().unwrap() > 0);
    }
    let stored: Value = rpc.call("artifact_v1_listLocal", rpc_params![]).await;
    let expected =
        json!([{ "artifactId": id, "name": "words", "sizeBytes": 5, "kind": "dataset", "pins": [] }]);
    assert_eq!(stored, expected);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_come_in_pages_that_join_without_gap() {
    let node = TestNode::start().await;
    let (client, rpc) = (node.client().await, node.plain().await);
    for content in ["a", "b", "c"] {
        let imported = import(&rpc, content).await;
        register(&client, &alice(), &imported["artifactId"], content).await;
    }
    let whole: Value = rpc.call("artifact_v1_list", rpc_params![]).await;
    assert_eq!((whole["items"].as_array().unwrap().len(), &whole["cursor"]), (3, &Value::Null));
    let (mut items, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let page: Value = rpc.call("artifact_v1_list", rpc_params![&cursor, 1]).await;
        items.extend_from_slice(page["items"].as_array().unwrap());
        cursor = page["cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(json!(items), whole["items"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_imported_is_named_in_the_last_event() {
    let node = TestNode::start().await;
    let rpc = node.plain().await;
    let names = ["artifact_v1_import", "artifact_v1_cancelImport"];
    let mut events = rpc.subscribe(names, rpc_params!["/no/such/path"]).await;
    let failed = next(&mut events).await;
    assert_eq!((&failed["event"], &failed["code"]), (&json!("failed"), &json!(20002)));
    assert!(failed["message"].as_str().unwrap().contains("/no/such/path"), "{failed}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_is_shown_from_its_first_stake_on() {
    let node = TestNode::start().await;
    let (client, rpc) = (node.client().await, node.plain().await);
    let unknown = rpc.refusal("provider_v1_get", rpc_params![bob().address()]).await;
    assert_eq!(unknown.code(), 21001);
    let stake = RuntimeCall::Providers(pallet_assay_providers::Call::stake {
        amount: 500 * UNIT,
        work_key: [1; 32],
        encryption_key: Digest32::from_bytes([2; 32]),
    });
    client.submit(&bob(), "providers.stake", stake).await.unwrap();
    let provider: Value = rpc.call("provider_v1_get", rpc_params![bob().address()]).await;
    assert_eq!((&provider["stake"], &provider["locked"]), (&json!((500 * UNIT).to_string()), &json!("0")));
    assert_eq!(provider["workKey"], format!("0x{}", "01".repeat(32)));
    let all: Value = rpc.call("provider_v1_list", rpc_params![]).await;
    assert_eq!(all, json!({ "items": [provider], "cursor": null }));
    let model = format!("0x{}", "03".repeat(32));
    let of_model: Value = rpc.call("provider_v1_list", rpc_params![Value::Null, Value::Null, model]).await;
    assert_eq!(of_model, json!({ "items": [], "cursor": null }));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_data_passes_only_for_jobs_on_the_ledger() {
    let node = TestNode::start().await;
    let rpc = node.plain().await;
    let envelope = Envelope {
        job: JobId::from_bytes([6; 32]),
        purpose: Purpose::Input,
        sender: bob().account().into(),
        recipient: alice().account().into(),
        seat: 0,
        key: Digest32::ZERO,
        package: vec![0; 256],
        signature: Signature([0; 64]),
    };
    let unknown = rpc.refusal("job_v1_deliver", rpc_params![&envelope]).await;
    assert_eq!(unknown.code(), 22001);
    assert_eq!(rpc.refusal("job_v1_deliver", rpc_params![json!({})]).await.code(), -32602);
    assert_eq!(rpc.refusal("job_v1_output", rpc_params![envelope.job]).await.code(), 22001);
    let model = format!("0x{}", "03".repeat(32));
    assert_eq!(rpc.refusal("job_v1_decode", rpc_params![&model, [1, 2]]).await.code(), 22002);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_has_a_code_of_its_group() {
    let node = TestNode::start().await;
    let rpc = node.plain().await;
    let id = format!("0x{}", "09".repeat(32));
    let named = format!("{}/nothing", alice().address());
    for (method, argument, code) in [
        ("artifact_v1_get", &id, 20001),
        ("artifact_v1_get", &named, 20001),
        ("job_v1_get", &id, 22001),
        ("receipt_v1_get", &id, 23001),
    ] {
        assert_eq!(rpc.refusal(method, rpc_params![argument]).await.code(), code, "{method} {argument}");
    }
    let watch = rpc.0.subscribe::<Value, _>("job_v1_watch", rpc_params![&id], "job_v1_unwatch").await;
    assert_eq!(refusal(watch.map(|_| ())).code(), 22001);
    let mut ask = ObjectParams::new();
    for (name, value) in [
        ("model", json!(id)),
        ("prompt", json!({ "text": "hi" })),
        ("nowS", json!(0)),
        ("sampler", serde_json::to_value(Sampler::greedy()).unwrap()),
        ("maxTokens", json!(1)),
    ] {
        ask.insert(name, value).unwrap();
    }
    assert_eq!(refusal(rpc.0.request::<Value, _>("job_v1_prepare", ask).await).code(), 22002);
    let open: Value = rpc.call("job_v1_list", rpc_params![]).await;
    assert_eq!(open, json!({ "items": [], "cursor": null }));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_what_it_is_and_how_it_does() {
    let node = TestNode::start().await;
    let rpc = node.plain().await;
    let names = ["chain_subscribeNewHeads", "chain_unsubscribeNewHeads"];
    let mut heads = rpc.subscribe(names, rpc_params![]).await;
    while next(&mut heads).await["number"] == "0x0" {}
    let info: Value = rpc.call("node_v1_info", rpc_params![]).await;
    let genesis: String = rpc.call("chain_getBlockHash", rpc_params![0]).await;
    assert_eq!((&info["name"], &info["genesis"]), (&json!("assay"), &json!(genesis)));
    assert_eq!((&info["serving"], &info["pool"]), (&json!([]), &json!({ "ready": 0, "future": 0 })));
    assert_eq!(info["isolation"], json!({ "models": "inProcess" }));
    assert!(info["dataDir"].is_string(), "on loopback it is told");
    let health: Value = rpc.call("node_v1_health", rpc_params![]).await;
    assert_eq!(health["ok"], true, "{health}");
    node.stop().await;
}
