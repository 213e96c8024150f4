//! Running a synthetic model, and the receipt that comes of it.

use std::fs;

use assay_engine::synthetic::Synthetic;
use assay_engine::{Model, Observer};
use assay_protocol::certificate::ValidatorSet;
use assay_protocol::job::Verdict;
use assay_protocol::receipt::Trust;

use super::*;
use crate::cli::testing::parse;
use tokio::sync::oneshot::error::TryRecvError;

fn trust() -> Trust {
    Trust::of_genesis(Digest32::ZERO, ValidatorSet::new(Vec::new()))
}

/// Runs the model with these further arguments and reads the receipt.
async fn run(dir: &Path, arguments: &[&str]) -> Result<SelfReceipt, Failure> {
    run_model(dir, &Synthetic::default(), arguments).await
}

async fn run_model(dir: &Path, model: &Synthetic, arguments: &[&str]) -> Result<SelfReceipt, Failure> {
    let file = model.gguf().unwrap();
    let model = dir.join("synthetic.gguf");
    fs::write(&model, file).unwrap();
    let receipt = dir.join("receipt.json");
    let paths = ["--model", model.to_str().unwrap(), "--receipt", receipt.to_str().unwrap(), "--json"];
    let (context, run) = parse::<Run>(dir, &[&paths, arguments].concat());
    run.run(&context).await?;
    match serde_json::from_slice(&fs::read(&receipt).unwrap()).unwrap() {
        Receipt::Own(receipt) => Ok(*receipt),
        Receipt::Ledger(_) => panic!("a receipt of a ledger"),
    }
}

#[tokio::test]
async fn an_answer_leaves_a_receipt_that_its_owner_signed() {
    let dir = tempfile::tempdir().unwrap();
    let receipt = run(dir.path(), &["--prompt", "the and", "--max-tokens", "12"]).await.unwrap();
    let statement = receipt.statement.clone();
    assert_eq!(
        statement.request.prompt_hash,
        prompt_hash(&model(dir.path()).prompt(&statement.request).unwrap())
    );
    assert!(!statement.tokens.is_empty() && statement.tokens.len() <= 12);
    let (context, _) = parse::<Run>(dir.path(), &["--model", "x", "--prompt", "x"]);
    let seed = context.keystore().unwrap().roles().load(&Role::Receipts).unwrap().unwrap();
    assert_eq!(statement.signer, seed.sr25519().public().0);
    let report = Receipt::Own(Box::new(receipt.clone())).verify(&trust()).unwrap();
    assert_eq!(report.verdict, Verdict::SelfSigned);
    let mut altered = receipt;
    altered.statement.tokens[0] ^= 1;
    assert_eq!(Receipt::Own(Box::new(altered)).verify(&trust()).unwrap_err().check, "signature");
}

fn model(dir: &Path) -> Arc<Model> {
    let file = GgufFile::open(&dir.join("synthetic.gguf")).unwrap();
    file.load(Output::new(Format::Json)).unwrap()
}

#[tokio::test]
async fn threads_and_chunks_change_nothing_and_seeds_do() {
    let dir = tempfile::tempdir().unwrap();
    let sampled = ["--prompt", "in the", "--raw", "--temperature", "1.5", "--max-tokens", "24"];
    let one = [&sampled[..], &["--seed", "7", "--threads", "1"]].concat();
    let one = run(dir.path(), &one).await.unwrap().statement;
    let two =
        [&sampled[..], &["--seed", "7", "--threads", "2", "--prefill-chunk", "3", "--kernels", "scalar"]]
            .concat();
    let two = run(dir.path(), &two).await.unwrap().statement;
    assert_eq!((&one.tokens, one.trace_root), (&two.tokens, two.trace_root));
    let other = run(dir.path(), &[&sampled[..], &["--seed", "8"]].concat()).await.unwrap().statement;
    assert_ne!(one.tokens, other.tokens);
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_with_a_next_step() {
    let dir = tempfile::tempdir().unwrap();
    let long = "the ".repeat(400);
    let failure = run(dir.path(), &["--prompt", &long]).await.unwrap_err();
    assert_eq!(failure.exit(), Exit::Usage);
    assert!(failure.next_step().is_some());
    let endless = run(dir.path(), &["--prompt", "the", "--max-tokens", "100000"]).await.unwrap();
    assert!(endless.statement.request.max_tokens < 256, "as many as the context has room for");
}

#[tokio::test]
async fn what_the_exact_engine_does_not_know_runs_in_the_tolerance_class_and_its_receipt_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["--prompt", "the and", "--raw", "--max-tokens", "5", "--seed", "7"];
    let exact = run(dir.path(), &arguments).await.unwrap().statement;
    assert_eq!(exact.class, Class::Exact);
    for (name, synthetic) in Synthetic::tolerance_variants() {
        let receipt = run_model(dir.path(), &synthetic, &arguments).await.unwrap();
        let again = run_model(dir.path(), &synthetic, &arguments).await.unwrap();
        let statement = &receipt.statement;
        assert_eq!((statement.class, statement.trace_root), (Class::Tolerance, Digest32::ZERO), "{name}");
        assert!(statement.spec_id != exact.spec_id && statement.tokens.len() == 5, "{name}");
        assert_eq!(again.statement.tokens, statement.tokens, "{name}");
        let report = Receipt::Own(Box::new(receipt)).verify(&trust()).unwrap();
        assert_eq!((report.class, report.verdict), (Class::Tolerance, Verdict::SelfSigned), "{name}");
    }
}

#[tokio::test]
async fn settings_of_the_exact_engine_are_refused_where_they_would_do_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (_, phi2) = Synthetic::tolerance_variants().swap_remove(0);
    for setting in [["--threads", "1"], ["--kernels", "scalar"]] {
        let arguments = [&["--prompt", "the", "--raw"][..], &setting].concat();
        let failure = run_model(dir.path(), &phi2, &arguments).await.unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage, "{failure:?}");
        assert!(failure.next_step().unwrap().contains("RAYON_NUM_THREADS"), "{failure:?}");
    }
    run_model(dir.path(), &phi2, &["--prompt", "the", "--raw", "--prefill-chunk", "1"]).await.unwrap();
}

#[tokio::test]
async fn nothing_is_hashed_before_the_first_token() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["--prompt", "the and", "--max-tokens", "2"]).await.unwrap();
    let (model, stop) = (model(dir.path()), AtomicBool::new(false));
    let (begin, mut begun) = oneshot::channel();
    let mut stream = Stream::new(model.text(), Output::new(Format::Json), &stop, begin);
    assert!(stream.positions(2, 2).is_continue());
    assert_eq!(begun.try_recv(), Err(TryRecvError::Empty));
    for _ in 0..2 {
        assert!(stream.token(0).is_continue());
    }
    assert_eq!(begun.try_recv(), Ok(()));
    stream.finish().unwrap();
}
