//! JSON-RPC as callers reach it: a node's own server on a port of this machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::{LazyLock, Mutex, PoisonError};

use assay_engine::Settings;
use assay_node::consensus::Network;
use assay_node::data_dir::DataDir;
use assay_node::ledger;
use assay_node::model_process::Isolation;
use assay_node::node::{Config, Node};
use assay_node::rpc::{self, ChainKind, Code, Methods};
use serde_json::{Value, json as value};
use tempfile::TempDir;

use crate::calls::keys;
use crate::{chain, json};

/// What callers may be answered besides our own codes: JSON-RPC 2.0's errors for what is no request or no
/// method, and the server's for what is too large or too much at once.
const SERVER_CODES: [i64; 9] = [-32700, -32600, -32601, -32005, -32006, -32007, -32008, -32009, -32010];
/// The server's answer to a subscription over HTTP, which has none; and what is in the names of those.
const NO_SUBSCRIPTION: i64 = -32603;
const SUBSCRIPTIONS: [&str; 2] = ["ubscribe", "atch"];
/// Ours that mean that the node itself failed: no input may bring that about.
const FAILURES: [Code; 4] = [Code::ArtifactFailed, Code::JobFailed, Code::ReceiptFailed, Code::NodeFailed];
/// Longest answer that is read; the server's own limit is below.
const ANSWER_BYTES_MAX: u64 = 32 << 20;

/// Every method that the node names, with parameters of several shapes.
pub fn seeds() -> Vec<Vec<u8>> {
    let hash = format!("0x{}", "11".repeat(32));
    let address = keys()[0].address();
    let shapes = [
        value!([]),
        value!({}),
        value!([hash]),
        value!([0, null, true]),
        value!([address, "0x"]),
        value!(["LedgerApi_log", "0x", hash]),
        value!([[hash, "0x26aa394eea5630e07c48ae0c9558cef7"], hash]),
        value!([{"model": hash, "prompt": {"text": "hi"}, "maxTokens": 1, "nowS": 0, "stop": []}]),
    ];
    let answer = call(br#"{"jsonrpc":"2.0","id":1,"method":"rpc_methods"}"#).expect("the node's methods");
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    let methods = answer["result"]["methods"].as_array().expect("a list of methods").clone();
    let method = |method: &Value, index: usize| {
        let shape = &shapes[index % shapes.len()];
        format!("{}\n{shape}", method.as_str().expect("a name")).into_bytes()
    };
    let each = methods.iter().flat_map(|name| (0..shapes.len()).map(move |index| method(name, index)));
    let mut seeds: Vec<_> = each.collect();
    seeds.push(br#"[{"jsonrpc":"2.0","id":1,"method":"system_health"},{"method":1},3]"#.to_vec());
    seeds
}

/// Every request is answered: with a result, or with an error that has a code of ours, a cause and a hint. The
/// node stays well.
///
/// # Panics
/// When that does not hold.
pub fn check(data: &[u8]) {
    let request = request(data);
    let Some(answer) = call(&request) else { return };
    let text = String::from_utf8_lossy(&request);
    let subscribes = SUBSCRIPTIONS.iter().any(|part| text.contains(part));
    let answer: Value = serde_json::from_slice(&answer).expect("an answer is JSON");
    let answers = answer.as_array().cloned().unwrap_or_else(|| vec![answer]);
    let judged = answers.iter().filter(|answer| !subscribes || answer["error"]["code"] != NO_SUBSCRIPTION);
    judged.for_each(judge);
}

/// A line with the method before the parameters, so that changes find them; anything else goes out as it is.
fn request(data: &[u8]) -> Vec<u8> {
    let whole = || data.to_vec();
    if data.starts_with(b"{") || data.starts_with(b"[") {
        return whole();
    }
    let Some(line) = data.iter().position(|byte| *byte == b'\n') else { return whole() };
    let (method, params) = (&data[..line], &data[line + 1..]);
    let method = Value::from(String::from_utf8_lossy(method).into_owned()).to_string();
    [br#"{"jsonrpc":"2.0","id":1,"method":"#, method.as_bytes(), br#","params":"#, params, b"}"].concat()
}

fn judge(answer: &Value) {
    if answer.get("result").is_some() {
        return;
    }
    let error = &answer["error"];
    let code =
        error["code"].as_i64().unwrap_or_else(|| panic!("an answer without result and code: {answer}"));
    assert!(FAILURES.iter().all(|failure| i64::from(failure.number()) != code), "the node failed: {answer}");
    let ours = Code::ALL.iter().any(|known| i64::from(known.number()) == code);
    assert!(ours || SERVER_CODES.contains(&code), "an unknown code: {answer}");
    if ours && error.get("data").is_some() {
        let told = |field: &str| error["data"][field].as_str().is_some_and(|text| !text.is_empty());
        assert!(told("cause") && told("hint"), "an error without cause or hint: {answer}");
    }
}

/// Sends a request and returns the body of a JSON answer; none where the server refuses the request by HTTP.
fn call(body: &[u8]) -> Option<Vec<u8>> {
    static CONNECTION: Mutex<Option<TcpStream>> = Mutex::new(None);
    let mut connection = CONNECTION.lock().unwrap_or_else(PoisonError::into_inner);
    // The server closes a connection after some refusals.
    for _ in 0..2 {
        let stream = match connection.take() {
            Some(stream) => stream,
            None => TcpStream::connect(address()).expect("the node listens"),
        };
        if let Ok((stream, answer)) = exchange(stream, body) {
            *connection = stream;
            return answer;
        }
    }
    panic!("the node does not answer");
}

type Exchanged = (Option<TcpStream>, Option<Vec<u8>>);

fn exchange(mut stream: TcpStream, body: &[u8]) -> std::io::Result<Exchanged> {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        address(),
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut reader = BufReader::new(&stream);
    let (mut status, mut length, mut goes_on) = (String::new(), None, true);
    reader.read_line(&mut status)?;
    if status.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse::<u64>().ok();
        }
        goes_on &= line != "connection: close";
    }
    let length = length.ok_or(std::io::ErrorKind::InvalidData)?;
    let mut answer = Vec::new();
    reader.take(length.min(ANSWER_BYTES_MAX)).read_to_end(&mut answer)?;
    let is_answer = status.starts_with("HTTP/1.1 200") && !answer.is_empty();
    Ok((goes_on.then_some(stream), is_answer.then_some(answer)))
}

/// Where the node listens, which the first question starts. It makes no blocks, so that it always says the
/// same, and refuses the methods that touch its disk.
fn address() -> SocketAddr {
    static NODE: LazyLock<(SocketAddr, tokio::runtime::Runtime, TempDir)> = LazyLock::new(|| {
        let data = tempfile::tempdir().expect("a directory");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let config = Config {
            data: DataDir::create(data.path(), chain::spec(), None).expect("a data directory"),
            spec: chain::spec().clone(),
            kind: ChainKind::Development,
            validator: None,
            network: Network::alone(),
            market: None,
            identities: Vec::new(),
            rpc: rpc::Config {
                listen: ([127, 0, 0, 1], 0).into(),
                methods: Methods::Safe,
                ..rpc::Config::default()
            },
            ledger: ledger::Config::default(),
            engine: Settings { threads: NonZeroUsize::MIN, ..Settings::for_this_machine() },
            isolation: Isolation::InProcess,
        };
        let node = runtime.block_on(Node::start(config)).expect("the node starts");
        let address = node.rpc_address();
        runtime.spawn(node.run_until(std::future::pending()));
        (address, runtime, data)
    });
    NODE.0
}

/// One value of the parameters replaced.
pub fn mutate(data: &[u8], seed: u64) -> Option<Vec<u8>> {
    let line = data.iter().position(|byte| *byte == b'\n')?;
    let params = json::mutate(data.get(line + 1..)?, seed)?;
    Some([&data[..=line], &params].concat())
}
