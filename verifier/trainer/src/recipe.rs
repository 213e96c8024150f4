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
