//! Traces of a synthetic model: recomputed, opened, compared, and what is wrong with their files.

use std::fs;
use std::path::PathBuf;

use assay_engine::synthetic::Synthetic;
use serde_json::Value;

use super::diff::{Diff, What, first_difference};
use super::file::Trace;
use super::open::Open;
use super::show::Show;
use crate::cli::failure::{Exit, Failure};
use crate::cli::run::Run;
use crate::cli::testing::parse;

/// A directory with a model, and the receipt of a run of it.
struct Ran {
    dir: tempfile::TempDir,
}

impl Ran {
    async fn new() -> Self {
        Self::with(&Synthetic::default()).await
    }

    async fn with(model: &Synthetic) -> Self {
        let ran = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(ran.path("m.gguf"), model.gguf().unwrap()).unwrap();
        let arguments = ["--model", &ran.name("m.gguf"), "--receipt", &ran.name("r.json"), "--json"];
        let arguments = [&arguments[..], &["--prompt", "the and of", "--raw", "--max-tokens", "9"]].concat();
        let (context, run) = parse::<Run>(ran.dir.path(), &arguments);
        run.run(&context).await.unwrap();
        ran
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Another receipt, with something changed in its statement.
    fn alter(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut receipt: Value = serde_json::from_slice(&fs::read(self.path("r.json")).unwrap()).unwrap();
        change(&mut receipt["statement"]);
        fs::write(self.path(name), receipt.to_string()).unwrap();
    }

    async fn show(&self, receipt: &str, rest: &[&str]) -> Result<(), Failure> {
        let (model, receipt) = (self.name("m.gguf"), self.name(receipt));
        let arguments = ["--model", &model, "--receipt", &receipt, "--json"];
        let (context, show) = parse::<Show>(self.dir.path(), &[&arguments[..], rest].concat());
        show.run(&context).await
    }

    async fn open(&self, rest: &[&str]) -> Result<(), Failure> {
        let (model, receipt) = (self.name("m.gguf"), self.name("r.json"));
        let arguments = ["--model", &model, "--receipt", &receipt];
        let (context, open) = parse::<Open>(self.dir.path(), &[&arguments[..], rest].concat());
        open.run(&context).await
    }

    fn diff(&self, a: &str, b: &str) -> Result<(), Failure> {
        let (context, diff) = parse::<Diff>(self.dir.path(), &[&self.name(a), &self.name(b), "--json"]);
        diff.run(&context)
    }
}

#[tokio::test]
async fn machines_that_differ_write_the_same_file() {
    let ran = Ran::new().await;
    let one = ["--kernels", "scalar", "--threads", "1", "--prefill-chunk", "1", "--out", &ran.name("one")];
    ran.show("r.json", &one).await.unwrap();
    ran.show("r.json", &["--out", &ran.name("two")]).await.unwrap();
    assert_eq!(fs::read(ran.path("one")).unwrap(), fs::read(ran.path("two")).unwrap());
    ran.diff("one", "two").unwrap();
}

#[tokio::test]
async fn an_altered_token_is_found_where_it_stands() {
    let ran = Ran::new().await;
    ran.show("r.json", &["--out", &ran.name("right")]).await.unwrap();
    let right = Trace::read(&ran.path("right")).unwrap();
    ran.alter("altered.json", |statement| {
        let token = statement["tokens"][3].as_u64().unwrap();
        statement["tokens"][3] = (token ^ 1).into();
    });
    let failure = ran.show("altered.json", &["--out", &ran.name("wrong")]).await.unwrap_err();
    let position = usize::try_from(right.prompt_tokens).unwrap() + 3;
    assert_eq!(failure.exit(), Exit::Verification);
    assert!(failure.next_step().unwrap().ends_with(&format!("position {position}")), "{failure:?}");
    let wrong = Trace::read(&ran.path("wrong")).unwrap();
    let difference = first_difference(&right.positions, &wrong.positions).unwrap();
    assert_eq!((difference.position, difference.what), (position, What::Token));
    assert_eq!(ran.diff("right", "wrong").unwrap_err().exit(), Exit::Verification);
}

#[tokio::test]
async fn what_differs_first_is_named_in_the_order_of_the_computation() {
    let ran = Ran::new().await;
    ran.show("r.json", &["--out", &ran.name("t")]).await.unwrap();
    let right = Trace::read(&ran.path("t")).unwrap().positions;
    let found = |change: &dyn Fn(&mut Vec<super::file::TracedPosition>)| {
        let mut other = right.clone();
        change(&mut other);
        first_difference(&right, &other).map(|found| (found.position, found.what, found.layer))
    };
    assert_eq!(found(&|_| ()), None);
    let zero = Default::default();
    assert_eq!(found(&|other| other[2].layer_hashes[1] = zero), Some((2, What::Layer, Some(1))));
    let head = right.iter().position(|position| position.state.logits_hash.is_some()).unwrap();
    assert_eq!(found(&|other| other[head].state.logits_hash = None), Some((head, What::Logits, None)));
    let last = right.len() - 1;
    assert_eq!(found(&|other| drop(other.pop())), Some((last, What::Length, None)));
}

#[tokio::test]
async fn files_that_are_not_what_they_should_be_are_told_apart() {
    let ran = Ran::new().await;
    ran.show("r.json", &["--out", &ran.name("t")]).await.unwrap();
    let text = fs::read_to_string(ran.path("t")).unwrap();
    fs::write(ran.path("cut"), &text[..text.len() / 2]).unwrap();
    let mut altered: Value = serde_json::from_str(&text).unwrap();
    altered["positions"][1]["token"] = 0.into();
    fs::write(ran.path("altered"), altered.to_string()).unwrap();
    ran.alter("other.json", |statement| statement["modelId"] = format!("0x{}", "11".repeat(32)).into());
    ran.alter("token.json", |statement| statement["tokens"][0] = u32::MAX.into());
    let failures = [
        (ran.diff("t", "cut"), Exit::Usage, "not a whole trace"),
        (ran.diff("t", "none"), Exit::Usage, "No such file"),
        (ran.diff("t", "altered"), Exit::Verification, "make the root"),
        (ran.show("none", &[]).await, Exit::Usage, "No such file"),
        (ran.show("t", &[]).await, Exit::Usage, "not a receipt"),
        (ran.show("other.json", &[]).await, Exit::Verification, "it is the model"),
        (ran.show("token.json", &[]).await, Exit::Verification, "no token"),
        (ran.show("r.json", &["--positions", "99..100"]).await, Exit::Usage, "the trace has"),
        (ran.open(&["--position", "99"]).await, Exit::Usage, "the trace has"),
        (ran.open(&["--position", "1", "--layer", "99"]).await, Exit::Usage, "the model has"),
    ];
    for (failed, exit, cause) in failures {
        let failure = failed.unwrap_err();
        assert_eq!(failure.exit(), exit, "{failure:?}");
        assert!(failure.cause().contains(cause) && failure.next_step().is_some(), "{failure:?}");
    }
    ran.open(&["--position", "1", "--layer", "0"]).await.unwrap();
}

#[tokio::test]
async fn an_execution_of_the_tolerance_class_has_no_trace_to_look_into() {
    let (_, phi2) = Synthetic::tolerance_variants().swap_remove(0);
    let ran = Ran::with(&phi2).await;
    for failed in [ran.show("r.json", &[]).await, ran.open(&["--position", "1"]).await] {
        let failure = failed.unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage, "{failure:?}");
        assert!(failure.cause().contains("leaves no trace") && failure.next_step().is_some(), "{failure:?}");
    }
    // Nor does it get one by saying that it is exact.
    ran.alter("exact.json", |statement| statement["class"] = "exact".into());
    let failure = ran.show("exact.json", &[]).await.unwrap_err();
    assert!(failure.cause().contains("not of the exact class"), "{failure:?}");
}

#[test]
fn a_check_needs_a_root_and_nothing_else() {
    use clap::Parser;
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        open: Open,
    }
    let parses = |line: &str| Line::try_parse_from(line.split_whitespace()).is_ok();
    let root = "0x".to_owned() + &"11".repeat(32);
    assert!(parses(&format!("x --check p --root {root}")));
    assert!(!parses("x --check p") && !parses("x --model m --receipt r"));
    assert!(!parses(&format!("x --check p --root {root} --model m")));
    assert!(parses("x --model m --receipt r --position 3 --layer 1 --kernels scalar"));
}
