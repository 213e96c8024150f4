//! The training loop: a function of recipe and dataset alone, counted in steps.

use crate::answers::answer_all;
use crate::batch::{Batch, Library};
use crate::checkpoint;
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
/// Steps between two trials on held-out questions.
const TRIAL_EVERY_STEPS: usize = 1000;
/// Questions of each kind in a trial.
const TRIAL_QUESTIONS: usize = 50;

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
    let first = checkpoint::resume(checkpoint_path, &model, &mut optimizer)?;
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
            checkpoint::save(checkpoint_path, &model, &optimizer, done)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::{SEED, documents};
    use crate::recipe::{Rate, Shape, Stage, Step};
    use crate::tokenizer;

    fn recipe() -> Recipe {
        Recipe {
            dataset: assay_manifest::ArtifactId::ZERO,
            seed: 5,
            vocabulary_max: 400,
            model: Shape {
                hidden: 32,
                layers: 2,
                heads: 4,
                kv_heads: 2,
                feed_forward: 48,
                context: 256,
                rope_theta: 1e4,
                norm_eps: 1e-5,
            },
            step: Step {
                shards: 3,
                tokens_per_shard: 300,
                story_weight: 0.3,
                beta1: 0.9,
                beta2: 0.98,
                weight_decay: 0.05,
                gradient_norm_max: 1.0,
            },
            rate: Rate { peak: 3e-3, rise_steps: 2, fall_steps: 2 },
            stages: vec![Stage { steps: 40, mix: DocumentKind::ALL.map(|kind| (kind, 1)).into() }],
        }
    }

    /// Trains some steps on this many threads; the loss of the first and of the last step, and the weights.
    fn train_steps(threads: usize) -> (f64, f64, Gradient) {
        let recipe = recipe();
        let few = |kind| (kind, documents(SEED, kind).into_iter().take(50).collect::<Vec<_>>());
        let corpus = DocumentKind::ALL.map(few).into();
        let vocabulary = recipe.vocabulary_max;
        let documents: &BTreeMap<_, _> = &corpus;
        let tokenizer = tokenizer::learn(documents.values().flatten(), vocabulary).unwrap();
        let library = Library::new(&corpus, &tokenizer, &recipe).unwrap();
        let model = Model::new(recipe.model.clone(), tokenizer.get_vocab_size(true), recipe.seed).unwrap();
        let mut optimizer = AdamW::new(&model);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut step_losses = Vec::new();
        for step in 0..recipe.steps() {
            let results = run_shards(&pool, &model, &recipe, &library, step).unwrap();
            let losses = || results.iter().flat_map(|result| result.losses.values());
            let (sum, count) = losses().fold((0.0, 0), |(sum, count), (s, c)| (sum + s, count + c));
            step_losses.push(sum / count as f64);
            let gradient = Progress::default().collect(results);
            optimizer.update(&model, &gradient, &recipe.step, step, recipe.learning_rate(step)).unwrap();
        }
        let weights = model.parameters().into_iter().map(|w| w.flatten_all().unwrap().to_vec1().unwrap());
        (step_losses[0], step_losses[step_losses.len() - 1], weights.collect())
    }

    #[test]
    fn training_lowers_the_loss_and_gives_the_same_weights_on_any_number_of_threads() {
        let (first, last, weights) = train_steps(1);
        assert!(last < first * 0.8, "from {first} to {last}");
        for threads in [2, 3] {
            assert!(train_steps(threads).2 == weights, "{threads} threads");
        }
    }
}
