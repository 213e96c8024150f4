//! `assay-trainer`: each step of the chain from seeds to the demo model.

#![forbid(unsafe_code)]

use anyhow::{Context as _, Result};
use assay_manifest::{Digest32, Manifest, sha256};
use assay_trainer::corpus::QuestionKind;
use assay_trainer::corpus::{self, DocumentKind};
use assay_trainer::evaluation::{Score, evaluate};
use assay_trainer::recipe::Recipe;
use assay_trainer::{Inputs, Library, TrainerError, export, tokenizer, train};
use clap::{Parser, Subcommand};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Trains the demo model.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generates the corpus and its manifest, dataset.json.
    Corpus {
        /// Directory to write to.
        #[arg(long)]
        out: PathBuf,
        /// Seed of the generator.
        #[arg(long, default_value_t = corpus::SEED)]
        seed: u64,
    },
    /// Trains by a recipe; goes on from OUT/checkpoint.safetensors where there is one.
    Train {
        /// The recipe.
        #[arg(long)]
        recipe: PathBuf,
        /// Directory of the corpus, as `corpus` wrote it.
        #[arg(long)]
        corpus: PathBuf,
        /// Directory to write to: training.log and safetensors/.
        #[arg(long)]
        out: PathBuf,
    },
    /// Asks a model the held-out questions and prints the result as JSON.
    Evaluate {
        /// The model.
        #[arg(long)]
        model: PathBuf,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Corpus { out, seed } => write_corpus(&out, seed),
        Command::Train { recipe, corpus, out } => train_model(&recipe, &corpus, &out),
        Command::Evaluate { model } => evaluate_model(&model),
    }
}

/// The manifest's file beside the corpus.
const MANIFEST_FILE: &str = "dataset.json";

fn write_corpus(out: &Path, seed: u64) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    let manifest = corpus::write(seed, out)?;
    let path = out.join(MANIFEST_FILE);
    let json = serde_json::to_string_pretty(&manifest)?;
    fs::write(&path, json + "\n").with_context(|| format!("writing {}", path.display()))?;
    println!("dataset {} bytes {}", manifest.artifact_id(), manifest.size_bytes());
    Ok(())
}

fn train_model(recipe: &Path, corpus: &Path, out: &Path) -> Result<()> {
    let recipe = Recipe::read(recipe)?;
    fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    let log_path = out.join("training.log");
    let log_file = File::options().create(true).append(true).open(&log_path);
    let mut log_file = log_file.with_context(|| format!("opening {}", log_path.display()))?;
    let mut log = |line: String| {
        eprintln!("{line}");
        if let Err(error) = writeln!(log_file, "{line}") {
            eprintln!("writing {}: {error}", log_path.display());
        }
    };

    let documents = read_corpus(&recipe, corpus)?;
    let tokenizer = tokenizer::learn(documents.values().flatten(), recipe.vocabulary_max)?;
    let library = Library::new(&documents, &tokenizer, &recipe)?;
    drop(documents);
    let held_out = corpus::held_out(corpus::SEED);
    let inputs = Inputs { library: &library, tokenizer: &tokenizer, held_out: &held_out };
    let model = train(&recipe, &inputs, &out.join("checkpoint.safetensors"), &mut log)?;
    export(&model, &tokenizer, &out.join("safetensors"))?;
    Ok(())
}

/// What `evaluate` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Evaluation {
    /// How to repeat it.
    command: &'static str,
    /// Seed of the questions.
    seed: u64,
    /// SHA-256 of the model's file.
    model_sha256: Digest32,
    /// Results by kind of question.
    kinds: BTreeMap<QuestionKind, Score>,
}

fn evaluate_model(path: &Path) -> Result<()> {
    let gguf = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let model_sha256 = sha256(&gguf);
    let questions = corpus::held_out(corpus::SEED);
    let mut asked = 0;
    let kinds = evaluate(gguf, &questions, &mut |answered| {
        asked += 1;
        if !answered.is_right() {
            eprintln!("wrong: {} -> {}", answered.question.turn.question, answered.answer);
        }
        if asked % 50 == 0 {
            eprintln!("{asked} of {} questions", questions.len());
        }
    })?;
    let command = "assay-trainer evaluate --model demo-q8_0.gguf";
    let evaluation = Evaluation { command, seed: corpus::SEED, model_sha256, kinds };
    println!("{}", serde_json::to_string_pretty(&evaluation)?);
    Ok(())
}

/// Reads every file of the dataset that the recipe names.
fn read_corpus(recipe: &Recipe, dir: &Path) -> Result<BTreeMap<DocumentKind, Vec<corpus::Document>>> {
    let path = dir.join(MANIFEST_FILE);
    let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let manifest: Manifest =
        serde_json::from_slice(&bytes).with_context(|| format!("reading {}", path.display()))?;
    if manifest.artifact_id() != recipe.dataset {
        return Err(
            TrainerError::WrongDataset { expected: recipe.dataset, found: manifest.artifact_id() }.into()
        );
    }
    let read = |kind| Ok((kind, corpus::read(dir, kind, &manifest)?));
    DocumentKind::ALL.into_iter().map(read).collect()
}
