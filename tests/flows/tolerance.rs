//! A model that the exact engine does not know, through every command that takes a model: it runs, and says what it
//! is; nothing else is done with it.

use std::fs;

use assay_engine::synthetic::Synthetic;

use crate::process::{failure, json, run, told};

#[test]
fn a_model_of_the_tolerance_class_runs_says_so_and_is_refused_where_bits_count() {
    let dir = tempfile::tempdir().unwrap();
    let name = |file: &str| dir.path().join(file).to_str().unwrap().to_owned();
    let (base, receipt) = (name(""), name("receipt.json"));
    for (architecture, synthetic) in Synthetic::tolerance_variants() {
        let model = name("model.gguf");
        fs::write(&model, synthetic.gguf().unwrap()).unwrap();
        let ask =
            ["run", "--model", &model, "--prompt", "the and", "--max-tokens", "4", "--receipt", &receipt];
        let ask = [&ask[..], &["--base-path", &base]].concat();
        let printed = json(&[&ask[..], &["--json"]].concat());
        assert_eq!(printed["class"], "tolerance", "{architecture}: {printed}");
        assert!(printed["trace_root"].is_null(), "{architecture}: {printed}");
        let output = run(&ask);
        let text = told(&output);
        assert!(text.contains("class tolerance: not exact"), "{architecture}: {text}");
        let shown = json(&["receipt", "verify", &receipt, "--base-path", &base, "--json"]);
        assert!(shown.to_string().contains("\"tolerance\""), "{architecture}: {shown}");
        let bench = ["bench", "--model", &model, "--quick"];
        let trace = ["trace", "show", "--model", &model, "--receipt", &receipt];
        for refused in [&bench[..], &trace] {
            let (code, message) = failure(refused);
            assert_eq!(code, 2, "{architecture}: {message}");
            assert!(message.contains("tolerance class") && message.contains("hint: "), "{message}");
        }
    }
}

#[test]
fn a_model_of_the_exact_class_says_that_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model.gguf").to_str().unwrap().to_owned();
    fs::write(&model, Synthetic::default().gguf().unwrap()).unwrap();
    let ask = ["run", "--model", &model, "--prompt", "the and", "--max-tokens", "4"];
    let ask = [&ask[..], &["--base-path", dir.path().to_str().unwrap()]].concat();
    assert!(told(&run(&ask)).contains("class exact: "));
    let printed = json(&[&ask[..], &["--json"]].concat());
    assert!(printed["class"] == "exact" && printed["trace_root"].is_string(), "{printed}");
}
