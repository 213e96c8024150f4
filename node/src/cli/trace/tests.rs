//! Traces of a synthetic model: recomputed, opened, compared, and what is wrong with their files.

use std::fs;
use std::path::PathBuf;

use assay_engine::synthetic::Synthetic;
use assay_manifest::Digest32;
use assay_protocol::trace::layers_root;
use serde_json::Value;

use super::check::{Check, Checked};
use super::diff::{Diff, What, first_difference};
use super::file::{Trace, TraceFile};
use super::open::Open;
use super::show::Show;
use crate::cli::context::Context;
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

    fn parse_check(
        &self,
        (receipt, trace): (&str, &str),
        positions: &str,
        rest: &[&str],
    ) -> (Context, Check) {
        let (model, receipt, trace) = (self.name("m.gguf"), self.name(receipt), self.name(trace));
        let arguments =
            ["--model", &model, "--receipt", &receipt, "--positions", positions, "--json", &trace];
        parse::<Check>(self.dir.path(), &[&arguments[..], rest].concat())
    }

    /// What is found at some positions, and how the command ends.
    async fn check(
        &self,
        files: (&str, &str),
        positions: &str,
        rest: &[&str],
    ) -> (Result<Checked, Failure>, Result<(), Failure>) {
        let (context, check) = self.parse_check(files, positions, rest);
        let checked = check.check(context.output());
        let (context, check) = self.parse_check(files, positions, rest);
        (checked, check.run(&context).await)
    }

    /// A receipt `NAME.json` and a trace `NAME` that fit together, of a trace in which something was changed.
    fn forge(&self, name: &str, change: impl FnOnce(&mut Trace)) {
        let mut trace = Trace::read(&self.path("t")).unwrap();
        change(&mut trace);
        for position in &mut trace.positions {
            let layers = &position.layer_hashes;
            position.state.layers_root = (!layers.is_empty()).then(|| layers_root(layers));
        }
        trace.trace_root = trace.tree().root();
        let root = trace.trace_root.to_string();
        fs::write(self.path(name), serde_json::to_string(&TraceFile::Trace(trace)).unwrap()).unwrap();
        self.alter(&format!("{name}.json"), |statement| statement["traceRoot"] = root.into());
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
async fn every_range_of_a_right_trace_agrees_on_every_machine() {
    let ran = Ran::new().await;
    ran.show("r.json", &["--out", &ran.name("t")]).await.unwrap();
    let total = Trace::read(&ran.path("t")).unwrap().positions.len();
    let one = ["--kernels", "scalar", "--threads", "1", "--prefill-chunk", "1"];
    for (start, end) in [(0, 1), (0, total), (2, 5), (total - 2, total), (total - 1, total)] {
        for rest in [&one[..], &[]] {
            let (checked, ended) = ran.check(("r.json", "t"), &format!("{start}..{end}"), rest).await;
            let checked = checked.unwrap();
            assert!(checked.equal && checked.difference.is_none() && checked.unlike.is_none());
            assert!(checked.positions.iter().map(|row| row.position as usize).eq(start..end));
            for row in &checked.positions {
                assert!(row.token_equal && row.layers_equal && row.logits_equal, "{row:?}");
            }
            ended.unwrap();
        }
    }
}

#[tokio::test]
async fn what_a_trace_has_wrong_is_found_where_it_stands_and_in_no_other_range() {
    let ran = Ran::new().await;
    ran.show("r.json", &["--out", &ran.name("t")]).await.unwrap();
    let trace = Trace::read(&ran.path("t")).unwrap();
    let (head, total) = (trace.prompt_tokens as usize, trace.positions.len());
    let zero = Digest32::ZERO;
    ran.forge("layer", |trace| trace.positions[head].layer_hashes[1] = zero);
    ran.forge("logits", |trace| trace.positions[head].state.logits_hash = Some(zero));
    ran.forge("no-logits", |trace| trace.positions[head].state.logits_hash = None);
    ran.forge("token", |trace| trace.positions[head].state.token ^= 1);
    let cases = [
        ("layer", What::Layer, Some(1), [true, false, true], "layer 1"),
        ("logits", What::Logits, None, [true, true, false], "logits"),
        ("no-logits", What::Logits, None, [true, true, false], "logits"),
        ("token", What::Token, None, [false, true, true], "token"),
    ];
    for (name, what, layer, equal, cause) in cases {
        let files = (&*format!("{name}.json"), name);
        let (checked, ended) = ran.check(files, &format!("{}..{total}", head - 1), &[]).await;
        let checked = checked.unwrap();
        let difference = checked.difference.unwrap();
        assert_eq!((difference.position, difference.what, difference.layer), (head, what, layer), "{name}");
        for row in &checked.positions {
            let found = [row.token_equal, row.layers_equal, row.logits_equal];
            assert_eq!(found, if row.position as usize == head { equal } else { [true; 3] }, "{name}");
        }
        let failure = ended.unwrap_err();
        assert_eq!(failure.exit(), Exit::Verification);
        let place = format!("checking positions {}..{total}: at position {head} ", head - 1);
        assert!(failure.cause().starts_with(&place) && failure.cause().contains(cause), "{failure:?}");
        assert!(failure.next_step().is_some());
        ran.check(files, &format!("0..{head}"), &[]).await.1.unwrap();
        let after = ran.check(files, &format!("{}..{total}", head + 1), &[]).await.1;
        match after {
            // What is computed after a wrong token says nothing of that token.
            Err(failure) if what == What::Token => assert!(failure.cause().contains("before those to check")),
            after => after.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_token_that_the_model_does_not_choose_is_found_after_the_position_before_it() {
    let ran = Ran::new().await;
    ran.alter("other.json", |statement| {
        let token = statement["tokens"][3].as_u64().unwrap();
        statement["tokens"][3] = (token ^ 1).into();
    });
    // The whole trace of a receipt with a wrong token, and its root in the receipt: all states are right.
    ran.show("other.json", &["--out", &ran.name("t")]).await.unwrap_err();
    ran.forge("unlike", |_| ());
    let mut receipt: Value = serde_json::from_slice(&fs::read(ran.path("other.json")).unwrap()).unwrap();
    let trace = Trace::read(&ran.path("t")).unwrap();
    receipt["statement"]["traceRoot"] = trace.trace_root.to_string().into();
    fs::write(ran.path("unlike.json"), receipt.to_string()).unwrap();
    let (files, wrong) = (("unlike.json", "unlike"), trace.prompt_tokens as usize + 3);
    let (checked, ended) = ran.check(files, &format!("{}..{wrong}", wrong - 1), &[]).await;
    let checked = checked.unwrap();
    assert!(checked.difference.is_none() && !checked.equal);
    assert_eq!(checked.unlike.unwrap().position as usize, wrong);
    assert!(ended.unwrap_err().cause().contains(&format!("at position {wrong} the model chooses")));
    ran.check(files, &format!("0..{}", wrong - 1), &[]).await.1.unwrap();
}

#[tokio::test]
async fn a_check_of_what_is_not_there_is_told_apart() {
    let ran = Ran::new().await;
    ran.show("r.json", &["--out", &ran.name("t")]).await.unwrap();
    let total = Trace::read(&ran.path("t")).unwrap().positions.len();
    ran.forge("altered", |trace| trace.positions[1].state.token = 0);
    ran.forge("short", |trace| drop(trace.positions.pop()));
    let beyond = format!("{}..{}", total - 1, total + 1);
    let cases = [
        (("r.json", "t"), "99..100", Exit::Usage, "the trace has"),
        (("r.json", "t"), &*beyond, Exit::Usage, "the trace has"),
        (("r.json", "none"), "0..1", Exit::Usage, "No such file"),
        (("r.json", "r.json"), "0..1", Exit::Usage, "not a whole trace"),
        (("none", "t"), "0..1", Exit::Usage, "No such file"),
        (("r.json", "altered"), "0..1", Exit::Verification, "and the receipt says"),
        (("short.json", "short"), "0..1", Exit::Verification, "the receipt's prompt and answer"),
    ];
    for (files, positions, exit, cause) in cases {
        let (checked, ended) = ran.check(files, positions, &[]).await;
        for failure in [checked.map(drop).unwrap_err(), ended.unwrap_err()] {
            assert_eq!(failure.exit(), exit, "{failure:?}");
            assert!(failure.cause().contains(cause) && failure.next_step().is_some(), "{failure:?}");
        }
    }
}

#[test]
fn a_range_has_two_ends_and_something_between() {
    use clap::Parser;
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        check: Check,
    }
    let parses = |positions: &[&str]| {
        let line = ["x", "--model", "m", "--receipt", "r", "t"];
        Line::try_parse_from([&line[..], positions].concat()).is_ok()
    };
    assert!(parses(&["--positions", "0..1"]) && parses(&["--positions", "7..4294967295"]));
    assert!(!parses(&[]), "the whole trace is what `show` is for");
    for bad in ["", "3", "..", "3..", "..3", "3..3", "4..3", "-1..3", "0..4294967296", "0..=3", "a..b"] {
        assert!(!parses(&["--positions", bad]), "{bad}");
    }
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
