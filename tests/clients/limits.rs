//! What the server refuses before any method sees it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use assay_node::node::StartError;
use assay_node::rpc;
use jsonrpsee::core::client::{ClientT, SubscriptionClientT};
use jsonrpsee::rpc_params;
use jsonrpsee::ws_client::WsClientBuilder;
use serde_json::Value;

use crate::harness::{TestNode, refusal, rpc_config};

const SYSTEM_NAME: &str = r#"{"jsonrpc":"2.0","id":1,"method":"system_name","params":[]}"#;

/// Sends one HTTP request with these headers, as a browser would, and returns the answer.
async fn http(address: SocketAddr, method: &'static str, headers: &'static [&'static str]) -> String {
    http_with(address, method, headers, SYSTEM_NAME.into()).await
}

async fn http_with(
    address: SocketAddr,
    method: &'static str,
    headers: &'static [&'static str],
    body: String,
) -> String {
    let exchange = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let headers = headers.iter().map(|header| format!("{header}\r\n")).collect::<String>();
        write!(
            stream,
            "{method} / HTTP/1.1\r\n{headers}content-type: application/json\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    tokio::task::spawn_blocking(exchange).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_pages_are_refused_and_listed_ones_get_their_headers() {
    let node =
        TestNode::with(rpc::Config { origins: vec!["https://page.example".into()], ..rpc_config() }).await;
    let node = node.unwrap();
    let answer = |method, headers| http(node.address(), method, headers);
    // Without a body: a server that refuses one unread may close before its answer has been read.
    let refused = |method, headers| http_with(node.address(), method, headers, String::new());
    let program = answer("POST", &["host: localhost"]).await;
    assert!(program.starts_with("HTTP/1.1 200") && program.contains(r#""result":"assay""#), "{program}");
    let stranger = refused("POST", &["host: localhost", "origin: https://evil.example"]).await;
    assert!(stranger.starts_with("HTTP/1.1 403"), "{stranger}");
    let rebound = refused("POST", &["host: evil.example", "origin: http://evil.example"]).await;
    assert!(rebound.starts_with("HTTP/1.1 403"), "{rebound}");
    let listed = answer("POST", &["host: localhost", "origin: https://page.example"]).await;
    assert!(listed.starts_with("HTTP/1.1 200"), "{listed}");
    assert!(listed.contains("access-control-allow-origin: https://page.example"), "{listed}");
    let preflight = answer("OPTIONS", &["host: localhost", "origin: https://page.example"]).await;
    assert!(preflight.starts_with("HTTP/1.1 204"), "{preflight}");
    let upgrade = refused(
        "GET",
        &["host: localhost", "origin: https://evil.example", "upgrade: websocket", "connection: upgrade"],
    );
    let upgrade = upgrade.await;
    assert!(upgrade.starts_with("HTTP/1.1 403"), "WebSocket is behind the same gate: {upgrade}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_that_touch_the_disk_are_refused_on_an_open_address() {
    let open = rpc::Config { listen: ([0, 0, 0, 0], 0).into(), ..rpc_config() };
    let node = TestNode::with(open).await.unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], node.address().port()));
    let rpc = WsClientBuilder::default().build(format!("ws://{address}")).await.unwrap();
    let listed = refusal(rpc.request::<Value, _>("artifact_v1_listLocal", rpc_params![]).await);
    assert_eq!(listed.code(), 25005);
    let import = rpc.subscribe::<Value, _>(
        "artifact_v1_import",
        rpc_params!["/etc/passwd"],
        "artifact_v1_cancelImport",
    );
    assert_eq!(refusal(import.await.map(|_| ())).code(), 25005);
    let info: Value = rpc.request("node_v1_info", rpc_params![]).await.unwrap();
    assert!(info.get("dataDir").is_none(), "{info}");
    let methods: Value = rpc.request("rpc_methods", rpc_params![]).await.unwrap();
    assert!(!methods.to_string().contains("artifact_v1_import"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_methods_and_wrong_parameters_have_their_codes() {
    let node = TestNode::start().await;
    let rpc = node.plain().await;
    assert_eq!(rpc.refusal("author_rotateKeys", rpc_params![]).await.code(), -32601);
    let cases = [
        ("state_getStorage", rpc_params![]),
        ("state_getStorage", rpc_params!["no hex"]),
        ("state_getStorage", rpc_params!["0x00", "0x00"]),
        ("chain_getHeader", rpc_params![Value::Null, 1]),
        ("system_accountNextIndex", rpc_params!["5Grw"]),
    ];
    for (method, params) in cases {
        assert_eq!(rpc.refusal(method, params).await.code(), -32602, "{method}");
    }
    let unknown = format!("0x{}", "ab".repeat(32));
    assert_eq!(rpc.refusal("state_getStorage", rpc_params!["0x00", &unknown]).await.code(), 25001);
    assert_eq!(rpc.refusal("state_call", rpc_params!["No_such", "0x"]).await.code(), 25002);
    assert_eq!(rpc.refusal("state_call", rpc_params!["JobsApi_job", "0x01"]).await.code(), 25002);
    assert_eq!(rpc.refusal("state_getKeysPaged", rpc_params!["0x", 1_001]).await.code(), 25006);
    let many = vec!["0x00"; 1_025];
    assert_eq!(rpc.refusal("state_getReadProof", rpc_params![many]).await.code(), 25006);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_past_their_limits_are_refused_and_the_next_is_answered() {
    let small = rpc::Config { request_bytes_max: 4_096, batch_max: 2, subscriptions_max: 1, ..rpc_config() };
    let node = TestNode::with(small).await.unwrap();
    let rpc = node.plain().await;
    let long = format!("{SYSTEM_NAME}{}", " ".repeat(4_096));
    let answer = http_with(node.address(), "POST", &["host: localhost"], long).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");

    let batch = format!("[{0},{0},{0}]", SYSTEM_NAME);
    let answer = http_with(node.address(), "POST", &["host: localhost"], batch).await;
    assert!(answer.contains("-32010") && !answer.contains("assay"), "three where two are allowed: {answer}");

    let names = ["chain_subscribeNewHeads", "chain_unsubscribeNewHeads"];
    let one = rpc.subscribe(names, rpc_params![]).await;
    let two = rpc.0.subscribe::<Value, _>(names[0], rpc_params![], names[1]).await;
    assert_eq!(refusal(two.map(|_| ())).code(), -32006);
    drop(one);
    let _: String = rpc.call("system_name", rpc_params![]).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_past_the_limit_are_turned_away_until_one_closes() {
    let single = rpc::Config { connections_max: 1, ..rpc_config() };
    let node = TestNode::with(single).await.unwrap();
    let first = node.plain().await;
    let second = http(node.address(), "POST", &["host: localhost"]).await;
    assert!(second.starts_with("HTTP/1.1 429"), "{second}");
    let _: String = first.call("system_name", rpc_params![]).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_and_a_stopped_node_frees_its_own() {
    let node = TestNode::start().await;
    let same = rpc::Config { listen: node.address(), ..rpc_config() };
    match TestNode::with(same.clone()).await {
        Err(StartError::Rpc(rpc::StartError::InUse(address))) => assert_eq!(address, node.address()),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("two nodes listen on one port"),
    }
    node.stop().await;
    TestNode::with(same).await.unwrap().stop().await;
}
