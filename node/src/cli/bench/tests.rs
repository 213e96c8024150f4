//! A benchmark of a synthetic model: its fields, not its numbers.

use std::fs;

use assay_engine::synthetic::Synthetic;

use super::*;
use crate::cli::failure::Exit;
use crate::cli::output::Format;
use crate::cli::testing::parse;

fn measure(dir: &std::path::Path, arguments: &[&str]) -> Result<Report, Failure> {
    measure_model(dir, &Synthetic::default(), arguments)
}

fn measure_model(dir: &std::path::Path, model: &Synthetic, arguments: &[&str]) -> Result<Report, Failure> {
    let file = model.gguf().unwrap();
    let model = dir.join("m.gguf");
    fs::write(&model, file).unwrap();
    let common = ["--model", model.to_str().unwrap(), "--rounds", "2"];
    let (_, bench) = parse::<Bench>(dir, &[&common[..], arguments].concat());
    bench.measure(Output::new(Format::Json))
}

#[test]
fn a_benchmark_has_every_number() {
    let dir = tempfile::tempdir().unwrap();
    let lengths = ["--prompt", "24", "--generate", "16", "--batch", "3"];
    let report = measure(dir.path(), &lengths).unwrap();
    assert!(report.prompt.abs_diff(24) <= 1 && report.generate == 16, "{report:?}");
    let value = serde_json::to_value(&report).unwrap();
    let numbers =
        value.as_object().unwrap().iter().filter(|(name, _)| !["model", "kernels"].contains(&name.as_str()));
    for (name, number) in numbers {
        let known = name != "peak_memory_bytes" || cfg!(target_os = "linux");
        assert!(!known || number.as_f64().unwrap() > 0.0, "{name}: {number}");
    }
    let text = report.text();
    assert!(
        ["prefill", "decode", "batch", "verify", "trace", "first token"]
            .iter()
            .all(|word| text.contains(word))
    );
}

#[test]
fn a_quick_one_has_the_numbers_of_one_sequence() {
    let dir = tempfile::tempdir().unwrap();
    let lengths = ["--quick", "--prompt", "8", "--generate", "4", "--kernels", "scalar", "--threads", "1"];
    let report = measure(dir.path(), &lengths).unwrap();
    assert!(report.prefill_tps > 0.0 && report.decode_tps > 0.0 && report.rest.is_none());
    assert_eq!((report.kernels, report.threads), ("scalar", 1));
}

#[test]
fn more_than_the_model_attends_to_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let failure = measure(dir.path(), &["--prompt", "250", "--generate", "250"]).unwrap_err();
    assert_eq!(failure.exit(), Exit::Usage);
    assert!(failure.next_step().is_some());
}

#[test]
fn a_model_of_the_tolerance_class_is_refused_with_what_can_be_done_with_it() {
    let dir = tempfile::tempdir().unwrap();
    for (name, synthetic) in Synthetic::tolerance_variants() {
        let failure = measure_model(dir.path(), &synthetic, &["--quick"]).unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage, "{name}");
        assert!(failure.cause().contains("tolerance class"), "{name}: {failure:?}");
        assert!(failure.next_step().unwrap().contains("`assay run`"), "{name}: {failure:?}");
    }
}
