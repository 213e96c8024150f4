//! The command line against a running node, with good and bad input.

use std::path::Path;

use serde_json::Value;

use crate::process::{NodeProcess, assay, failure, json, run};

#[test]
fn an_answer_is_bought_and_its_receipt_checked_offline() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().to_str().unwrap();
    let node = NodeProcess::start(dir.path());
    let ask = ["job", "submit", "--rpc", &node.rpc, "--base-path", base, "--key", "//Bob", "--model", "demo"];
    let ask = [ask.as_slice(), &["--prompt", "What is 12 + 34?", "--wait", "--json"]].concat();
    let bought = json(&ask);
    assert_eq!(bought["state"], "settled");
    assert_eq!(bought["verdict"], "verified_thin");
    assert_eq!(bought["verifiers"].as_array().unwrap().len(), 2);
    let path = bought["receipt"].as_str().unwrap();
    let verify = ["receipt", "verify", path, "--base-path", base];
    drop(node);
    let report = json(&[verify.as_slice(), &["--json"]].concat());
    assert_eq!(report["verdict"], "verified_thin");
    let text = run(&verify);
    assert!(String::from_utf8_lossy(&text.stdout).contains("1 validator: draw and verdict rest on it"));
    altered_receipts_are_refused(Path::new(path), &verify);
}

#[test]
fn ones_own_node_answers_for_nothing_and_its_receipt_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().to_str().unwrap();
    let node = NodeProcess::start(dir.path());
    let ask = ["job", "submit", "--base-path", base, "--key", "//Bob", "--model", "demo", "--local-first"];
    let ask = [ask.as_slice(), &["--prompt", "What is 12 + 34?", "--wait", "--json", "--rpc"]].concat();
    let own = json(&[ask.as_slice(), &[&node.rpc]].concat());
    assert_eq!((&own["state"], &own["verdict"]), (&"executed".into(), &"self".into()));
    assert_eq!((&own["output"], &own["usage"]["nOut"]), (&"46.".into(), &4.into()));
    let jobs = json(&["job", "list", "--rpc", &node.rpc, "--json"]);
    assert_eq!(jobs, serde_json::json!([]), "nothing was bought");
    let path = own["receipt"].as_str().unwrap();
    let report = json(&["receipt", "verify", path, "--base-path", base, "--json"]);
    assert_eq!(report["verdict"], "self");
}

#[test]
fn an_account_with_stake_says_where_its_node_is_and_withdraws_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path());
    let common =
        ["--rpc", &node.rpc, "--base-path", dir.path().to_str().unwrap(), "--key", "//Bob", "--json"];
    let announce = |address: Option<&'static str>| {
        [&["validator", "announce"][..], address.as_slice(), &common].concat()
    };
    let status = || json(&[&["validator", "status"][..], &common].concat())["account"]["addresses"].clone();
    let here = "/ip4/192.0.2.1/udp/30334/quic-v1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    let (code, told) = failure(&announce(Some(here)));
    assert!(code != 0 && told.contains("NotBonded"), "{code}: {told}");
    json(&[&["validator", "stake", "1000"][..], &common].concat());
    let said = json(&announce(Some(here)));
    assert_eq!(said["addresses"], serde_json::json!([here]));
    assert_eq!(status(), said["addresses"]);
    let (code, told) = failure(&announce(Some("/ip4/192.0.2.1/udp/30334/quic-v1")));
    assert!(code == 2 && told.contains("/p2p/NAME"), "{code}: {told}");
    assert_eq!(status(), said["addresses"]);
    json(&announce(None));
    assert_eq!(status(), serde_json::json!([]));
}

#[test]
fn watching_a_job_ends_with_its_verdict_and_the_receipt_of_its_buyer() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().to_str().unwrap();
    let node = NodeProcess::start(dir.path());
    let common = ["--rpc", &node.rpc, "--base-path", base, "--json"];
    let ask = ["job", "submit", "--key", "//Bob", "--model", "demo", "--prompt", "What is 12 + 34?"];
    let placed = json(&[&ask[..], &common].concat());
    let job = placed["id"].as_str().unwrap();
    let watched = run(&[&["job", "watch", job][..], &common].concat());
    assert!(watched.status.success());
    let last = String::from_utf8(watched.stdout).unwrap().lines().last().unwrap().to_owned();
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!((&last["verdict"], &last["right"]), (&"verified_thin".into(), &true.into()));
    let opened = std::fs::read(last["receipt"].as_str().unwrap()).unwrap();
    assert!(serde_json::from_slice::<Value>(&opened).unwrap()["opened"].is_object());

    // A plain file name lies in the working directory.
    let fetch = [&["receipt", "fetch", job, "--out", "r.json"][..], &common].concat();
    assert!(assay().args(fetch).current_dir(dir.path()).status().unwrap().success());
    assert!(dir.path().join("r.json").exists());

    let order = dir.path().join("dev/orders").join(job.trim_start_matches("0x")).with_extension("json");
    let show = [&["job", "show", job][..], &common].concat();
    what_is_missing_is_told(&show, &order, &last["receipt"]);
    let receipt = last["receipt"].as_str().unwrap();
    assert!(run(&["receipt", "verify", receipt, "--base-path", base]).status.success());
}

/// Shows a job whose order has another secret, is damaged, or is not there.
fn what_is_missing_is_told(show: &[&str], order: &Path, receipt: &Value) {
    // Without the answer the receipt is kept as everybody can have it.
    let mut forgetful: Value = serde_json::from_slice(&std::fs::read(order).unwrap()).unwrap();
    forgetful["replySecret"] = format!("0x{}", "11".repeat(32)).into();
    std::fs::write(order, forgetful.to_string()).unwrap();
    std::fs::remove_file(receipt.as_str().unwrap()).unwrap();
    let shown = json(show);
    assert!(shown["problem"].as_str().unwrap().starts_with("fetching the answer: "), "{shown}");
    assert_eq!(&shown["receipt"], receipt);
    // Without its order a job is what the ledger says of it; a damaged one is told.
    std::fs::write(order, "{").unwrap();
    let shown = json(show);
    assert!(shown["problem"].as_str().unwrap().contains("orders"), "{shown}");
    std::fs::remove_file(order).unwrap();
    let shown = json(show);
    assert!(shown["answer"].is_null() && shown.get("problem").is_none(), "{shown}");
}

#[test]
fn a_closed_output_ends_a_command_without_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let list = ["key", "list", "--base-path", dir.path().to_str().unwrap()];
    let output = assay().args(list).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(141), &b""[..]));
}

#[test]
fn an_offer_names_the_spec_by_which_the_node_executes_the_model_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path());
    let common = ["--rpc", &node.rpc, "--base-path", dir.path().to_str().unwrap()];
    let listed = ["provider", "list", "--model", "demo", "--json"];
    let listed = json(&[&listed[..], &common].concat());
    let spec = &listed[0]["offer"]["models"][0]["specId"];
    assert!(spec.as_str().unwrap().starts_with("0x"), "{listed}");
    let prices = ["--input-price", "1", "--output-price", "2", "--verify-price", "1"];
    let offer = ["provider", "offer", "--model", "demo", "--key", "//Provider//1"];
    let offer = [&offer[..], &prices, &common].concat();
    let announced = json(&[&offer[..], &["--json"]].concat());
    assert_eq!(&announced["offer"]["models"][0]["specId"], spec);
    let text = run(&offer);
    let text = String::from_utf8_lossy(&text.stdout);
    assert!(text.contains(&format!("by the spec {}", spec.as_str().unwrap())), "{text}");
    // What no engine here runs cannot be promised.
    let offer: Vec<&str> =
        offer.iter().map(|word| if *word == "demo" { "//Alice/demo-f16" } else { word }).collect();
    let (code, message) = failure(&offer);
    assert_eq!(code, 2, "{message}");
    assert!(message.contains("no engine computes models of this kind exactly"), "{message}");
}

fn altered_receipts_are_refused(path: &Path, verify: &[&str]) {
    let receipt: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut altered = receipt.clone();
    altered["settlement"]["claim"]["nOut"] = 1.into();
    std::fs::write(path, altered.to_string()).unwrap();
    let (code, message) = failure(verify);
    assert_eq!(code, 3, "{message}");
    let mut malformed = receipt;
    malformed["settlement"]["verdict"] = "certain".into();
    std::fs::write(path, malformed.to_string()).unwrap();
    let (code, message) = failure(verify);
    assert_eq!(code, 3, "{message}");
    assert!(message.contains("form: "), "{message}");
    std::fs::write(path, "{}").unwrap();
    assert_eq!(failure(verify).0, 2);
}
