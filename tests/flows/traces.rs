//! A model runs, its trace is recomputed from the receipt, opened and compared, and the machine is measured: each
//! command as a user types it, without a node.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::process::{failure, json, run};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../verifier/trainer/model/demo-q8_0.gguf");

/// Runs the demo model; where the receipt is, and what the run printed.
fn ran(dir: &Path) -> (String, Value) {
    let receipt = dir.join("receipt.json").to_str().unwrap().to_owned();
    let arguments = ["run", "--model", DEMO, "--prompt", "What is 67 + 27?", "--receipt", &receipt, "--json"];
    let printed = json(&[&arguments[..], &["--base-path", dir.to_str().unwrap()]].concat());
    (receipt, printed)
}

fn name(dir: &Path, file: &str) -> String {
    dir.join(file).to_str().unwrap().to_owned()
}

#[test]
fn a_run_prints_what_its_receipt_and_its_trace_say() {
    let dir = tempfile::tempdir().unwrap();
    let (receipt, printed) = ran(dir.path());
    assert_eq!(printed["text"], "94.");
    assert_eq!(printed["tokens"].as_array().unwrap().len() as u64, printed["usage"]["completion_tokens"]);
    assert!(printed["finish"].is_string() && printed["usage"]["prompt_tokens"].as_u64().unwrap() > 0);
    let shown = json(&["trace", "show", "--model", DEMO, "--receipt", &receipt, "--json"]);
    assert_eq!((&shown["trace_root"], &shown["equal"]), (&printed["trace_root"], &true.into()));
    let listed =
        json(&["trace", "show", "--model", DEMO, "--receipt", &receipt, "--json", "--positions", "1..3"]);
    let positions: Vec<_> =
        listed["positions"].as_array().unwrap().iter().map(|row| &row["position"]).collect();
    assert_eq!(positions, [1, 2]);
}

#[test]
fn a_position_is_proven_in_less_than_a_kibibyte_and_checked_offline() {
    let dir = tempfile::tempdir().unwrap();
    let (receipt, printed) = ran(dir.path());
    let root = printed["trace_root"].as_str().unwrap();
    let (proof, altered) = (name(dir.path(), "proof.json"), name(dir.path(), "altered.json"));
    let open = ["trace", "open", "--model", DEMO, "--receipt", &receipt, "--position", "4"];
    let opened = run(&open).stdout;
    assert!(opened.len() < 1024, "{} bytes", opened.len());
    for opened in [opened, run(&[&open[..], &["--layer", "1"]].concat()).stdout] {
        fs::write(&proof, &opened).unwrap();
        let checked = json(&["trace", "open", "--check", &proof, "--root", root, "--json"]);
        assert_eq!((&checked["valid"], &checked["position"]), (&true.into(), &4.into()));
        assert!(checked["took_us"].as_f64().unwrap() > 0.0);
        let mut other: Value = serde_json::from_slice(&opened).unwrap();
        other["state"]["token"] = 0.into();
        fs::write(&altered, other.to_string()).unwrap();
        let (code, message) = failure(&["trace", "open", "--check", &altered, "--root", root]);
        assert!(code == 3 && message.contains("hint: "), "{code} {message}");
    }
    fs::write(&altered, "{\"state\":").unwrap();
    assert_eq!(failure(&["trace", "open", "--check", &altered, "--root", root]).0, 2);
    assert_eq!(failure(&[&open[..7], &["999"]].concat()).0, 2);
}

#[test]
fn traces_are_the_same_on_every_machine_and_differ_where_an_answer_was_altered() {
    let dir = tempfile::tempdir().unwrap();
    let (receipt, _) = ran(dir.path());
    let names = ["right", "again", "wrong", "altered.json"].map(|file| name(dir.path(), file));
    let [right, again, wrong, altered] = &names;
    let show = ["trace", "show", "--model", DEMO, "--receipt"];
    json(&[&show[..], &[&receipt, "--out", right, "--json"]].concat());
    let other = ["--kernels", "scalar", "--threads", "1", "--prefill-chunk", "1"];
    json(&[&show[..], &[&receipt, "--out", again, "--json"], &other].concat());
    assert_eq!(fs::read(right).unwrap(), fs::read(again).unwrap());
    assert_eq!(json(&["trace", "diff", right, again, "--json"])["equal"], true);

    let mut statement: Value = serde_json::from_slice(&fs::read(&receipt).unwrap()).unwrap();
    let token = statement["statement"]["tokens"][1].as_u64().unwrap();
    statement["statement"]["tokens"][1] = (token ^ 1).into();
    fs::write(altered, statement.to_string()).unwrap();
    let (code, message) = failure(&[&show[..], &[altered, "--out", wrong]].concat());
    assert_eq!(code, 3, "{message}");
    let compared = run(&["trace", "diff", right, wrong, "--json"]);
    assert_eq!(compared.status.code(), Some(3));
    let compared: Value = serde_json::from_slice(&compared.stdout).unwrap();
    let prompt = statement["statement"]["request"]["nIn"].as_u64().unwrap();
    assert_eq!((&compared["what"], &compared["position"]), (&"token".into(), &(prompt + 1).into()));
}

#[test]
fn positions_of_a_trace_are_checked_without_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (receipt, _) = ran(dir.path());
    let trace = name(dir.path(), "trace");
    json(&["trace", "show", "--model", DEMO, "--receipt", &receipt, "--out", &trace, "--json"]);
    let check = ["trace", "check", "--model", DEMO, "--receipt", &receipt, &trace, "--positions"];
    let checked = json(&[&check[..], &["3..6", "--json"]].concat());
    assert_eq!(checked["equal"], true);
    let positions = checked["positions"].as_array().unwrap();
    assert_eq!(positions.iter().map(|row| row["position"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 4, 5]);
    let equal = ["token_equal", "layers_equal", "logits_equal"];
    assert!(positions.iter().all(|row| equal.iter().all(|what| row[what] == true)), "{checked}");
    let printed = String::from_utf8(run(&[&check[..], &["3..6"]].concat()).stdout).unwrap();
    assert!(printed.contains("3 positions, as the model computes"), "{printed}");

    let mut other: Value = serde_json::from_slice(&fs::read(&receipt).unwrap()).unwrap();
    other["statement"]["traceRoot"] = format!("0x{}", "11".repeat(32)).into();
    let altered = name(dir.path(), "altered.json");
    fs::write(&altered, other.to_string()).unwrap();
    let altered = ["trace", "check", "--model", DEMO, "--receipt", &altered, &trace, "--positions", "3..6"];
    for (arguments, code) in
        [(&altered[..], 3), (&[&check[..], &["3..999"]].concat(), 2), (&[&check[..], &["6..3"]].concat(), 2)]
    {
        let (found, message) = failure(arguments);
        assert_eq!(found, code, "{message}");
    }
}

#[test]
fn a_receipt_of_another_model_and_kernels_that_nobody_has_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (receipt, _) = ran(dir.path());
    let mut other: Value = serde_json::from_slice(&fs::read(&receipt).unwrap()).unwrap();
    other["statement"]["modelId"] = format!("0x{}", "22".repeat(32)).into();
    let path = name(dir.path(), "other.json");
    fs::write(&path, other.to_string()).unwrap();
    let (code, message) = failure(&["trace", "show", "--model", DEMO, "--receipt", &path]);
    assert!(code == 3 && message.contains("it is the model") && message.contains("hint: "), "{message}");
    assert_eq!(failure(&["trace", "show", "--model", DEMO, "--receipt", &receipt, "--kernels", "mmx"]).0, 2);
    assert_eq!(failure(&["trace", "diff", &path, &path]).0, 2);
    assert_eq!(failure(&["bench", "--model", "/nonexistent.gguf"]).0, 2);
}

#[test]
fn a_benchmark_has_every_field_and_values_that_make_sense() {
    let lengths =
        ["bench", "--model", DEMO, "--prompt", "32", "--generate", "24", "--batch", "4", "--rounds", "2"];
    let found = json(&[&lengths[..], &["--threads", "2", "--json"]].concat());
    let number = |name: &str| found[name].as_f64().unwrap_or_else(|| panic!("{name} in {found}"));
    for name in [
        "model_bytes",
        "prefill_chunk",
        "prefill_tps",
        "decode_tps",
        "first_token_ms",
        "weight_bytes_per_token",
        "stream_gbps",
        "decode_gbps",
        "stream_share",
        "verify_ratio",
        "trace_overhead",
        "batch_tps",
        "batch_speedup",
        "load_ms",
        "file_read_ms",
        "memory_bound_bytes",
    ] {
        assert!(number(name) > 0.0 && number(name).is_finite(), "{name} in {found}");
    }
    assert!(number("weight_bytes_per_token") < number("model_bytes"), "{found}");
    assert_eq!(
        (number("threads"), number("generate"), number("batch"), number("rounds")),
        (2.0, 24.0, 4.0, 2.0)
    );
    assert!((31.0..=33.0).contains(&number("prompt")) && found["kernels"].is_string(), "{found}");
    assert_eq!(found["peak_memory_bytes"].is_u64(), cfg!(target_os = "linux"), "{found}");
    let quick = json(&[&lengths[..7], &["--quick", "--json"]].concat());
    assert!(quick["decode_tps"].as_f64().unwrap() > 0.0 && quick["stream_gbps"].is_null(), "{quick}");
}
