//! The recipe: every number that decides the weights, beside the dataset.

use crate::corpus::DocumentKind;
use crate::error::TrainerError;
use assay_manifest::ArtifactId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Everything that training depends on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recipe {
    /// The dataset: the id of the corpus' manifest.
    pub dataset: ArtifactId,
    /// Seed of the first weights and of the order of documents.
    pub seed: u64,
    /// Most tokens of the vocabulary; a small corpus may fill fewer.
    pub vocabulary_max: usize,
    /// The network's sizes.
    pub model: Shape,
    /// How a step goes.
    pub step: Step,
    /// The learning rate over the steps.
    pub rate: Rate,
    /// What is trained on, one stage after the other.
    pub stages: Vec<Stage>,
}

/// Sizes of a llama network.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shape {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Width of the feed-forward part.
    pub feed_forward: usize,
    /// Longest document, in tokens.
    pub context: usize,
    /// Base of the rotary angles.
    pub rope_theta: f64,
    /// What RMSNorm adds to the mean square.
    pub norm_eps: f64,
}

/// Batch and optimiser (AdamW, Loshchilov and Hutter 2019).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// Parts of a batch that are computed beside one another and summed in order.
    pub shards: usize,
    /// Most tokens of a shard.
    pub tokens_per_shard: usize,
    /// Weight of the loss on the tokens of a story; on answers it is 1, on questions 0.
    pub story_weight: f32,
    /// Decay of the mean of gradients.
    pub beta1: f32,
    /// Decay of the mean of squared gradients.
    pub beta2: f32,
    /// Weight decay of matrices.
    pub weight_decay: f32,
    /// Longest gradient.
    pub gradient_norm_max: f32,
}

/// Learning rate: a linear rise, a plateau, and a linear fall to zero at the last step.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rate {
    /// On the plateau.
    pub peak: f32,
    /// Steps of the rise.
    pub rise_steps: usize,
    /// Steps of the fall.
    pub fall_steps: usize,
}

/// A number of steps with one mix of documents.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stage {
    /// Number of steps.
    pub steps: usize,
    /// Shares of the kinds of documents.
    pub mix: BTreeMap<DocumentKind, usize>,
}

impl Recipe {
    /// Reads and checks a recipe.
    ///
    /// # Errors
    /// When the file cannot be read, or its sizes do not fit together.
    pub fn read(path: &Path) -> Result<Self, TrainerError> {
        let bytes = std::fs::read(path).map_err(TrainerError::io("reading", path))?;
        let recipe: Self = serde_json::from_slice(&bytes).map_err(TrainerError::json(path))?;
        recipe.check()?;
        Ok(recipe)
    }

    fn check(&self) -> Result<(), TrainerError> {
        let Shape { hidden, layers, heads, kv_heads, feed_forward, .. } = self.model;
        let fits = heads > 0
            && kv_heads > 0
            && hidden % (2 * heads) == 0
            && heads % kv_heads == 0
            && layers > 0
            && feed_forward > 0;
        let reason = if !fits {
            "hidden size, heads and key-value heads do not divide one another"
        } else if self.step.shards == 0 || self.step.tokens_per_shard < self.model.context {
            "a shard must hold the longest document"
        } else if self.steps() == 0 || self.steps() < self.rate.rise_steps + self.rate.fall_steps {
            "the learning rate takes more steps than there are"
        } else if self.stages.iter().any(|stage| stage.mix.values().sum::<usize>() == 0) {
            "a stage has no documents"
        } else {
            return Ok(());
        };
        Err(TrainerError::Recipe(reason))
    }

    /// Number of steps, all stages together.
    pub fn steps(&self) -> usize {
        self.stages.iter().map(|stage| stage.steps).sum()
    }

    /// The stage that a step belongs to.
    pub fn stage(&self, step: usize) -> &Stage {
        let mut end = 0;
        let stage = self.stages.iter().find(|stage| {
            end += stage.steps;
            step < end
        });
        stage.unwrap_or(&self.stages[self.stages.len() - 1])
    }

    /// Learning rate of a step, from 0 on.
    pub fn learning_rate(&self, step: usize) -> f32 {
        let Rate { peak, rise_steps, fall_steps } = self.rate;
        let risen = (step + 1) as f32 / rise_steps.max(1) as f32;
        let left = (self.steps() - step) as f32 / fall_steps.max(1) as f32;
        peak * risen.min(left).min(1.0)
    }
}

impl Shape {
    /// Width of an attention head.
    pub fn head(&self) -> usize {
        self.hidden / self.heads
    }

    /// Rows of the joint projection to queries, keys and values.
    pub fn qkv_rows(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        let text = include_str!("../model/recipe.json");
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_rate_rises_stays_and_falls_to_zero_after_the_last_step() {
        let mut recipe = recipe();
        recipe.stages.truncate(1);
        recipe.stages[0].steps = 10;
        recipe.rate = Rate { peak: 1.0, rise_steps: 4, fall_steps: 5 };
        let rates: Vec<f32> = (0..10).map(|step| recipe.learning_rate(step)).collect();
        assert_eq!(rates, [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2]);
    }

    #[test]
    fn stages_follow_one_another() {
        let mut recipe = recipe();
        let stage = |steps, kind| Stage { steps, mix: BTreeMap::from([(kind, 1)]) };
        recipe.stages = vec![stage(2, DocumentKind::Sums), stage(3, DocumentKind::Reading)];
        let kinds: Vec<_> = (0..5).flat_map(|step| recipe.stage(step).mix.keys().copied()).collect();
        let (sums, reading) = (DocumentKind::Sums, DocumentKind::Reading);
        assert_eq!(kinds, [sums, sums, reading, reading, reading]);
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let changes: [fn(&mut Recipe); 7] = [
            |recipe| recipe.model.heads = 0,
            |recipe| recipe.model.heads = 3,
            |recipe| recipe.model.kv_heads = 3,
            |recipe| recipe.step.shards = 0,
            |recipe| recipe.step.tokens_per_shard = recipe.model.context - 1,
            |recipe| recipe.rate.rise_steps = recipe.steps() + 1,
            |recipe| recipe.stages[0].mix.clear(),
        ];
        for (i, change) in changes.iter().enumerate() {
            let mut recipe = recipe();
            assert!(recipe.check().is_ok());
            change(&mut recipe);
            assert!(matches!(recipe.check(), Err(TrainerError::Recipe(_))), "change {i}");
        }
    }
}
