//! The committed model is what its chain says: corpus, recipe, weights and answers belong together.

use assay_manifest::{ArtifactId, Digest32, Manifest, sha256};
use assay_trainer::corpus::{self, QuestionKind};
use assay_trainer::evaluation::evaluate;
use assay_trainer::recipe::Recipe;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("model").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(model(name)).unwrap()
}

fn evaluation() -> Value {
    serde_json::from_slice(&bytes("evaluation.json")).unwrap()
}

fn dataset() -> Manifest {
    serde_json::from_slice(&bytes("dataset.json")).unwrap()
}

#[test]
fn the_generator_writes_the_committed_dataset_again() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(corpus::write(corpus::SEED, dir.path()).unwrap(), dataset());
}

#[test]
fn the_recipe_names_the_committed_dataset() {
    let expected: ArtifactId = dataset().artifact_id();
    assert_eq!(Recipe::read(&model("recipe.json")).unwrap().dataset, expected);
}

#[test]
fn the_engine_gives_the_committed_evaluation_again() {
    let gguf = bytes("demo-q8_0.gguf");
    let expected = evaluation();
    let stated: Digest32 = serde_json::from_value(expected["modelSha256"].clone()).unwrap();
    assert_eq!(stated, sha256(&gguf));
    let scores = evaluate(gguf, &corpus::held_out(corpus::SEED), &mut |_| {}).unwrap();
    assert_eq!(serde_json::to_value(&scores).unwrap(), expected["kinds"]);
}

#[test]
fn one_kind_is_right_at_95_percent_and_a_second_at_80() {
    let expected = evaluation();
    let share = |kind: &QuestionKind| {
        let score = &expected["kinds"][serde_json::to_value(kind).unwrap().as_str().unwrap()];
        assert_eq!(score["asked"], corpus::HELD_OUT_QUESTIONS);
        score["right"].as_f64().unwrap() / score["asked"].as_f64().unwrap()
    };
    let mut shares: Vec<f64> = QuestionKind::ALL.iter().map(share).collect();
    shares.sort_by(|a, b| b.total_cmp(a));
    assert!(shares[0] >= 0.95 && shares[1] >= 0.8, "{shares:?}");
}

#[test]
fn the_committed_files_stay_small() {
    const BYTES_MAX: u64 = 6_000_000;
    fn size(path: &Path) -> u64 {
        match std::fs::read_dir(path) {
            Ok(entries) => entries.map(|entry| size(&entry.unwrap().path())).sum(),
            Err(_) => std::fs::metadata(path).unwrap().len(),
        }
    }
    let found = size(&model(""));
    assert!(found <= BYTES_MAX, "{found} bytes");
}

#[test]
fn the_demos_question_was_held_out() {
    let question = String::from_utf8(bytes("question.txt")).unwrap();
    let held_out = corpus::held_out(corpus::SEED);
    assert!(held_out.iter().any(|held| held.turn.question == question.trim_end()), "{question}");
}
