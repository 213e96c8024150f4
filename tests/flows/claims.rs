//! Claims before and after a registration, through the command line, up to the receipt that carries them.

use std::path::Path;

use serde_json::Value;

use crate::process::{NodeProcess, run};
use crate::process::{failure, json};

/// The command line of one account against one node.
struct Account<'a> {
    node: &'a NodeProcess,
    base: &'a str,
    key: &'a str,
}

impl Account<'_> {
    fn with<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        let common = ["--rpc", &self.node.rpc, "--base-path", self.base, "--key", self.key, "--json"];
        [arguments, &common].concat()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        json(&self.with(arguments))
    }

    fn failure(&self, arguments: &[&str]) -> (i32, String) {
        failure(&self.with(arguments))
    }
}

/// Waits for the block before `height`, so that the next one may hold what counts from there on.
async fn reach(node: &NodeProcess, height: u64) {
    let client = node.client().await;
    let mut heights = client.heights().await.unwrap();
    while u64::from(heights.next().await.unwrap()) + 1 < height {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commitment_is_opened_with_the_registration_and_shown_with_what_is_said_later() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path());
    let bob = Account { node: &node, base: dir.path().to_str().unwrap(), key: "//Bob" };
    let file = dir.path().join("corpus.txt");
    std::fs::write(&file, "hello").unwrap();
    let path = file.to_str().unwrap();

    let committed = bob.json(&["dataset", "commit", path]);
    let again = bob.json(&["dataset", "commit", path]);
    assert_eq!(committed, again, "a commitment is made once");
    let register = ["dataset", "register", path, "--name", "corpus"];
    let (code, message) = bob.failure(&register);
    assert!(code == 2 && message.contains("cannot be opened before height"), "{code}: {message}");
    reach(&node, committed["opensAt"].as_u64().unwrap()).await;
    let registered = bob.json(&register);
    assert_eq!(registered["committedAt"], committed["at"]);
    assert_eq!(bob.json(&["dataset", "commitments"]), Value::Array(Vec::new()));

    let revoked = bob.json(&["claim", "revoke", "corpus", "--reason", "mistake"]);
    assert_eq!((&revoked["kind"], &revoked["reason"]), (&"revoked".into(), &"mistake".into()));
    let shown = bob.json(&["dataset", "show", "corpus"]);
    let claim = &shown["registrations"][0];
    assert_eq!((&claim["status"]["kind"], &claim["matchesFiles"]), (&"revoked".into(), &true.into()));
    let show = ["dataset", "show", "//Bob/corpus", "--rpc", &node.rpc, "--base-path", bob.base];
    let text = String::from_utf8(run(&show).stdout).unwrap();
    for part in ["first committed at height", "revoked (mistake), at height"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    bob.json(&["claim", "withdraw", "corpus"]);
    let gone = bob.failure(&["dataset", "show", "//Bob/corpus"]);
    assert_eq!(gone.0, 2, "{}", gone.1);
}

#[test]
fn files_that_are_not_what_somebody_says_are_not_imported() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path());
    let bob = Account { node: &node, base: dir.path().to_str().unwrap(), key: "//Bob" };
    let file = dir.path().join("corpus.txt");
    std::fs::write(&file, "hello").unwrap();
    let register = ["dataset", "register", file.to_str().unwrap(), "--name", "corpus", "--expect"];
    let other = assay_manifest::sha256(b"goodbye").to_string();
    let (code, message) = bob.failure(&[&register[..], &[&other]].concat());
    assert!(code == 2 && message.contains("none of the ids of these files is"), "{code}: {message}");
    let right = assay_manifest::sha256(b"hello").to_string();
    assert_eq!(bob.json(&[&register[..], &[&right]].concat())["name"], "corpus");
}

#[test]
fn a_receipt_tells_what_registrant_and_provider_say_now() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path());
    let base = dir.path().to_str().unwrap();
    let alice = Account { node: &node, base, key: "//Alice" };
    alice.json(&["claim", "revoke", "demo", "--reason", "retired"]);
    for n in 1..=6 {
        let provider = format!("//Provider//{n}");
        let key = json(&["key", "show", &provider, "--base-path", base, "--json"]);
        let subject = format!("key:{}", key["workKey"].as_str().unwrap());
        let warner = Account { node: &node, base, key: &provider };
        warner.json(&["claim", "compromised", &subject, "--since", "1"]);
    }
    let ask = ["job", "submit", "--model", "demo", "--prompt", "What is 12 + 34?", "--wait"];
    let bought = Account { node: &node, base, key: "//Bob" }.json(&ask);
    let receipt = bought["receipt"].as_str().unwrap();
    drop(node);
    tells(receipt, base);
    leaves_nothing_to_add(receipt, base);
}

fn tells(receipt: &str, base: &str) {
    let text = run(&["receipt", "verify", receipt, "--base-path", base]);
    assert!(text.status.success(), "{}", String::from_utf8_lossy(&text.stderr));
    let text = String::from_utf8(text.stdout).unwrap();
    for part in ["/demo\n", "its registration: revoked (retired)", "compromised since height 1"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let report = json(&["receipt", "verify", receipt, "--base-path", base, "--json"]);
    let told = report["provenance"].as_array().unwrap();
    let warned = told.iter().filter(|told| told["status"]["subject"]["key"].is_string()).count();
    assert_eq!(warned, 3, "the seats of this job, and no other provider: {told:?}");
}

/// An entry that the log holds elsewhere, or does not hold, is refused.
fn leaves_nothing_to_add(receipt: &str, base: &str) {
    let sound: Value = serde_json::from_slice(&std::fs::read(receipt).unwrap()).unwrap();
    let mut altered = sound.clone();
    let entry = altered["provenance"][1]["entry"].as_str().unwrap().to_owned();
    altered["provenance"][0]["entry"] = entry.into();
    std::fs::write(Path::new(receipt), altered.to_string()).unwrap();
    let (code, message) = failure(&["receipt", "verify", receipt, "--base-path", base]);
    assert!(code == 3 && message.contains("provenance"), "{code}: {message}");
}
