//! The training loop: a function of recipe and dataset alone, counted in steps.

use crate::answers::answer_all;
use crate::batch::{Batch, Library};
use crate::checkpoint::Checkpoint;
use crate::corpus::{DocumentKind, HeldOut, QuestionKind};
use crate::error::TrainerError;
use crate::model::Model;
use crate::ops::row_losses;
use crate::optimizer::{AdamW, Gradient, gradient, mean};
use crate::recipe::Recipe;
use rayon::ThreadPool;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;
use tokenizers::Tokenizer;

/// Steps between two lines of the log.
const LOG_EVERY_STEPS: usize = 100;
/// Steps between two checkpoints.
const CHECKPOINT_EVERY_STEPS: usize = 500;
/// Steps between two trials on held-out questions, and how many of each kind they take.
const TRIAL_EVERY_STEPS: usize = 1000;
const TRIAL_QUESTIONS: usize = 100;

/// What training needs beside the recipe.
pub struct Inputs<'a> {
    /// The corpus in tokens.
    pub library: &'a Library,
    /// The vocabulary.
    pub tokenizer: &'a Tokenizer,
    /// Questions for the trials, which change nothing in the training.
    pub held_out: &'a [HeldOut],
}

/// What a shard found.
struct ShardResult {
    gradient: Gradient,
    losses: Losses,
    tokens: usize,
}

/// Sum of losses on answers and stories, and their number, by kind of document.
type Losses = BTreeMap<DocumentKind, (f64, usize)>;

/// Trains a model, and goes on from the checkpoint file where there is one.
///
/// Each line of the log goes to `log`. The results are the same for any number of threads, and on machines
/// whose matrix products are blocked alike (same vector unit and cache sizes).
///
/// # Errors
/// When a tensor operation or the checkpoint file fails.
pub fn train(
    recipe: &Recipe,
    inputs: &Inputs<'_>,
    checkpoint_path: &Path,
    log: &mut dyn FnMut(String),
) -> Result<Model, TrainerError> {
    let vocabulary = inputs.tokenizer.get_vocab_size(true);
    let model = Model::new(recipe.model.clone(), vocabulary, recipe.seed)?;
    let mut optimizer = AdamW::new(&model);
    let first = Checkpoint::resume(checkpoint_path, &model, &mut optimizer)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(recipe.step.shards).build()?;
    log(format!("weights {} vocabulary {vocabulary} steps {}", model.weight_count(), recipe.steps()));

    let start = Instant::now();
    let mut progress = Progress::default();
    for step in first..recipe.steps() {
        let gradient = progress.collect(run_shards(&pool, &model, recipe, inputs.library, step)?);
        let rate = recipe.learning_rate(step);
        let length = optimizer.update(&model, &gradient, &recipe.step, step, rate)?;
        let done = step + 1;
        if done % LOG_EVERY_STEPS == 0 || done == recipe.steps() {
            log(format!("step {done} rate {rate:.2e} gradient {length:.2} {}", progress.take(start)));
        }
        if done % TRIAL_EVERY_STEPS == 0 || done == recipe.steps() {
            log(format!("step {done} trial {}", trial(&model, inputs)?));
        }
        if done % CHECKPOINT_EVERY_STEPS == 0 {
            Checkpoint::save(checkpoint_path, &model, &optimizer, done)?;
        }
    }
    Ok(model)
}

fn run_shards(
    pool: &ThreadPool,
    model: &Model,
    recipe: &Recipe,
    library: &Library,
    step: usize,
) -> Result<Vec<ShardResult>, TrainerError> {
    let run = |shard| run_shard(model, &library.batch(recipe, step, shard));
    pool.install(|| (0..recipe.step.shards).into_par_iter().map(run).collect())
}

fn run_shard(model: &Model, batch: &Batch) -> Result<ShardResult, TrainerError> {
    let (logits, loss) = model.loss(batch)?;
    let gradient = gradient(model, &loss)?;
    let mut losses = Losses::new();
    for (loss, target) in row_losses(&logits, &batch.targets)?.into_iter().zip(&batch.targets) {
        let (sum, count) = losses.entry(target.kind).or_default();
        *sum += f64::from(loss);
        *count += 1;
    }
    Ok(ShardResult { gradient, losses, tokens: batch.ids.len() })
}

/// What happened since the last line of the log.
#[derive(Default)]
struct Progress {
    losses: Losses,
    tokens: usize,
}

impl Progress {
    /// Takes note of the shards' losses and joins their gradients.
    fn collect(&mut self, results: Vec<ShardResult>) -> Gradient {
        for result in &results {
            self.tokens += result.tokens;
            for (kind, (sum, count)) in &result.losses {
                let entry = self.losses.entry(*kind).or_default();
                entry.0 += sum;
                entry.1 += count;
            }
        }
        mean(results.into_iter().map(|result| result.gradient).collect())
    }

    /// The losses as text, and a fresh start for them.
    fn take(&mut self, start: Instant) -> String {
        let losses = std::mem::take(&mut self.losses);
        let losses: Vec<String> =
            losses.iter().map(|(kind, (sum, n))| format!("{} {:.3}", kind.name(), sum / *n as f64)).collect();
        let seconds = start.elapsed().as_secs_f64();
        format!("loss {} tokens {} seconds {seconds:.0}", losses.join(" "), self.tokens)
    }
}

/// How many held-out questions the model answers right now, by kind.
fn trial(model: &Model, inputs: &Inputs<'_>) -> Result<String, TrainerError> {
    let mut parts = Vec::new();
    for kind in QuestionKind::ALL {
        let of_kind = inputs.held_out.iter().filter(|question| question.kind == kind);
        let asked: Vec<&HeldOut> = of_kind.take(TRIAL_QUESTIONS).collect();
        let questions: Vec<&str> = asked.iter().map(|question| question.turn.question.as_str()).collect();
        let answers = answer_all(model, inputs.tokenizer, &questions)?;
        let right =
            answers.iter().zip(&asked).filter(|(answer, asked)| **answer == asked.turn.answer).count();
        parts.push(format!("{kind:?} {right}/{}", asked.len()).to_lowercase());
        if let Some((answer, asked)) = answers.iter().zip(&asked).find(|(a, b)| **a != b.turn.answer) {
            parts.push(format!("({:?} -> {answer:?})", asked.turn.question));
        }
    }
    Ok(parts.join(" "))
}
