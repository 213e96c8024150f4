//! What is refused, with which exit code, in which words, and with which next step.

use assay_node::cli::{Exit, Failure};
use assay_node::client::{Client, ClientError, signed};
use assay_node::keys::Key;
use assay_node::rpc::Reason;
use assay_runtime::{Hash, Runtime};
use codec::Encode;
use jsonrpsee::rpc_params;

use crate::process::{NodeProcess, failure, json, run};

/// What was tried, its exit code and message, and what they have to be: code, cause, next step.
type Case<'a> = (&'a str, (i32, String), i32, &'a str, &'a str);

fn check(cases: Vec<Case<'_>>) {
    for (tried, (code, message), exit, cause, hint) in cases {
        let lines: Vec<&str> = message.lines().filter(|line| !line.contains(" INFO ")).collect();
        let [error, next] = lines[..] else { panic!("{tried}: {message}") };
        assert_eq!(code, exit, "{tried}: {message}");
        assert!(error.starts_with("error: ") && error.contains(cause), "{tried}: {message}");
        assert!(next.starts_with("hint: ") && next.contains(hint), "{tried}: {message}");
    }
}

/// What is asked besides the defaults of [`ask`], and what is said to it: exit code, cause, next step.
type Asked = (&'static str, &'static [&'static str], i32, &'static str, &'static str);

const NOBODY: &str = "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM";

const ASKED: [Asked; 9] = [
    ("an answer over the context", &["--max-tokens", "1000000"], 2, "over the model's 256", "--max-tokens"),
    ("an unknown model", &["--model", "nothing"], 2, "\"nothing\"", "assay model list"),
    (
        "a model that nobody offers",
        &["--model", "//Alice/demo-f16"],
        5,
        "no provider's offer of it is in force",
        "assay provider list",
    ),
    (
        "a price under every offer",
        &["--max-output-price", "1999"],
        5,
        "of 6 offers 0 are within your prices, and 3 are needed",
        "2000 ASY for generated",
    ),
    (
        "an executor that serves nothing",
        &["--executor", NOBODY],
        5,
        "Jobs(NoProvider)",
        "assay provider list",
    ),
    (
        "a verified token under a prompt token",
        &["--max-input-price", "1000", "--max-verify-price", "999"],
        2,
        "under the price of a prompt token",
        "raise --max-verify-price",
    ),
    ("an account without tokens", &["--key", "//Poor"], 4, "pay some fees", "more tokens"),
    ("an unknown key", &["--key", "nobody"], 2, "the key \"nobody\"", "assay key new"),
    ("a key by its secret", &["--key", "bottom drive obey"], 2, "looks like a secret", "move what it owns"),
];

/// Asks the demo model as //Bob unless something else is said.
fn ask(common: &[&str], rest: &[&str]) -> (i32, String) {
    let mut arguments = [&["job", "submit"], common, rest].concat();
    for (option, value) in [("--model", "demo"), ("--key", "//Bob"), ("--prompt", "hi")] {
        if !rest.contains(&option) {
            arguments.extend([option, value]);
        }
    }
    failure(&arguments)
}

#[test]
fn what_cannot_be_bought_says_why_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path());
    let common = ["--rpc", &node.rpc, "--base-path", dir.path().to_str().unwrap()];
    check(
        ASKED.map(|(tried, rest, exit, cause, hint)| (tried, ask(&common, rest), exit, cause, hint)).into(),
    );
    let on = |arguments: &[&str]| failure(&[arguments, &common].concat());
    let long = ask(&common, &["--prompt", &"word ".repeat(300)]);
    let zero = format!("0x{}", "00".repeat(32));
    let import = ["model", "register", "/nonexistent", "--name", "x", "--key", "//Bob"];
    let future = ["chain", "trust", "--at", "4000000000"];
    let away = failure(&["chain", "info", "--rpc", "ws://127.0.0.1:9"]);
    check(vec![
        ("a prompt over the context", long, 2, "over the model's 256", "shorten the prompt"),
        ("no key", on(&["provider", "withdraw"]), 2, "no key was named", "--key NAME"),
        ("an unknown job", on(&["job", "show", &zero]), 2, &zero[..10], "check the id"),
        ("no such file to import", on(&import), 2, "/nonexistent", "correct what the cause names"),
        ("a height of which nobody knows", on(&future), 2, "of 1 to", "or the next"),
        ("no node there", away, 6, "127.0.0.1:9", "assay node --dev"),
    ]);
    // Nothing of it came onto the ledger.
    let jobs = json(&[&["job", "list", "--key", "//Bob", "--json"][..], &common].concat());
    assert_eq!(jobs, serde_json::json!([]));
}

#[test]
fn a_node_that_cannot_start_says_why_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base").to_str().unwrap().to_owned();
    std::fs::create_dir(&base).unwrap();
    let node = NodeProcess::start(dir.path());
    let port = node.rpc.rsplit(':').next().unwrap();
    let file = dir.path().join("node.log").to_str().unwrap().to_owned();
    std::fs::create_dir(dir.path().join("base/dev")).unwrap();
    std::fs::write(dir.path().join("base/dev/thesis.txt"), "important").unwrap();
    let dev = ["node", "--dev", "--rpc-port", "0"];
    let start = |rest: &[&str]| failure(&[&dev[..], rest].concat());
    check(vec![
        (
            "a port in use",
            failure(&["node", "--dev", "--rpc-port", port]),
            2,
            "another program does already",
            "--rpc-port",
        ),
        (
            "an address of another machine",
            start(&["--rpc-address", "192.0.2.1"]),
            2,
            "192.0.2.1",
            "--rpc-address",
        ),
        ("somebody's directory", start(&["--base-path", &base]), 2, "is not one of assay's", "--base-path"),
        ("a file for a directory", start(&["--base-path", &file]), 2, "Not a directory", "--base-path"),
        (
            "a directory that cannot be made",
            start(&["--base-path", "/proc/assay"]),
            2,
            "/proc/assay",
            "--base-path",
        ),
        (
            "a chain whose authority is elsewhere",
            failure(&["node", "--chain", "dev", "--base-path", dir.path().to_str().unwrap()]),
            2,
            "the keys of its authority are not here",
            "assay node --dev",
        ),
        (
            "a chain that was never set up",
            failure(&["node", "--chain", "none", "--base-path", &base]),
            2,
            "none",
            "assay node init",
        ),
        (
            "an account that this machine cannot work for",
            start(&["--provider", NOBODY]),
            2,
            "no work key",
            "assay provider keys",
        ),
    ]);
    assert_eq!(std::fs::read_dir(dir.path().join("base/dev")).unwrap().count(), 1, "nothing was added");
}

#[tokio::test]
async fn a_signature_for_another_chain_or_by_another_key_is_told_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path());
    let client = node.client().await;
    let bob = Key::development("//Bob").unwrap();
    let call = || frame_system::Call::<Runtime>::remark { remark: vec![1] }.into();
    let elsewhere = signed(&bob, 0, Hash::repeat_byte(7), call());
    let refused = submit(&client, elsewhere.encode()).await;
    assert!(matches!(refused, ClientError::Refused { reason: Some(Reason::BadSignature), .. }), "{refused}");
    let failure = Failure::from(refused);
    assert_eq!(failure.exit(), Exit::Usage);
    assert!(failure.cause().contains("bad signature"), "{}", failure.cause());
    assert!(failure.next_step().unwrap().contains("this chain's genesis"));
    let mut altered = signed(&bob, 0, client.genesis(), call()).encode();
    *altered.last_mut().unwrap() ^= 1;
    let refused = submit(&client, altered).await;
    assert!(matches!(refused, ClientError::Refused { reason: Some(Reason::BadSignature), .. }), "{refused}");
    let poor = Key::development("//Poor").unwrap();
    let refused = submit(&client, signed(&poor, 0, client.genesis(), call()).encode()).await;
    assert_eq!(Failure::from(refused).exit(), Exit::Payment);
}

async fn submit(client: &Client, extrinsic: Vec<u8>) -> ClientError {
    let params = rpc_params![format!("0x{}", hex::encode(extrinsic))];
    client.request::<Hash>("author_submitExtrinsic", params).await.unwrap_err()
}

#[test]
fn orders_and_receipts_of_one_chain_are_not_mixed_with_anothers() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().to_str().unwrap();
    let node = NodeProcess::start(dir.path());
    assert!(run(&["node", "init", "own", "--endow", "//Alice", "--base-path", base]).status.success());
    // The trust root that a node of the other chain would have left there.
    let own = dir.path().join("own/trust.json");
    let trust = std::fs::read_to_string(dir.path().join("dev/trust.json")).unwrap();
    let genesis = json(&["chain", "info", "--rpc", &node.rpc, "--base-path", base, "--json"]);
    let genesis = genesis["genesis"].as_str().unwrap();
    let root = |at| json(&["chain", "trust", "--at", at, "--rpc", &node.rpc, "--base-path", base, "--json"]);
    assert_eq!(root("1"), serde_json::from_str::<serde_json::Value>(&trust).unwrap());
    let other = format!("0x{}", "77".repeat(32));
    std::fs::write(&own, trust.replace(genesis, &other)).unwrap();
    let ask = ["job", "submit", "--model", "demo", "--key", "//Bob", "--prompt", "hi", "--rpc", &node.rpc];
    let asked = failure(&[&ask[..], &["--base-path", base, "--chain", "own"]].concat());
    check(vec![("a node of another chain", asked, 2, &other, "--base-path and --chain")]);
}
