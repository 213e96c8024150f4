//! A loaded model: immutable, shared by everyone who runs it.

use std::sync::Arc;

use assay_kernels::Matrix;
use assay_kernels::reference::Rope;
use assay_manifest::SpecId;
use assay_protocol::request::Request;

use crate::config::Config;
use crate::load::{self, LoadError, LoadOptions, LoadedModel};
use crate::source::WeightSource;
use crate::text::{RenderError, Text};

/// Weights, tokenizer and configuration of one model.
pub struct Model {
    config: Config,
    text: Text,
    weights: Weights,
    spec_id: SpecId,
}

/// The tensors, packed for the kernels.
pub(crate) struct Weights {
    /// `[vocab, hidden]`.
    pub embedding: Matrix,
    pub layers: Vec<Layer>,
    /// `[hidden]`.
    pub output_norm: Vec<f32>,
    /// `[vocab, hidden]`; none where the embedding serves as the output head too.
    pub output: Option<Matrix>,
    pub rope: Rope,
    /// Of layers with a window, where they have their own.
    pub window_rope: Option<Rope>,
}

/// The tensors of one layer; a matrix is `[results, inputs]`.
pub(crate) struct Layer {
    /// `[hidden]`.
    pub attention_norm: Vec<f32>,
    /// `[heads · head size, hidden]`.
    pub query: Projection,
    /// `[kv heads · head size, hidden]`.
    pub key: Projection,
    /// `[kv heads · head size, hidden]`.
    pub value: Projection,
    /// `[head size]`, for queries and for keys.
    pub head_norms: Option<[Vec<f32>; 2]>,
    /// `[hidden, heads · head size]`.
    pub attention_output: Matrix,
    /// `[hidden]`, for what attention returns.
    pub attention_after_norm: Option<Vec<f32>>,
    /// `[hidden]`.
    pub feed_forward_norm: Vec<f32>,
    pub feed_forward: FeedForward,
    /// `[hidden]`, for what the feed-forward layer returns.
    pub feed_forward_after_norm: Option<Vec<f32>>,
}

/// A matrix and what is added to its results.
pub(crate) struct Projection {
    pub matrix: Matrix,
    pub bias: Option<Vec<f32>>,
}

/// A gated feed-forward layer, or several of which each token takes some.
pub(crate) enum FeedForward {
    Dense(Box<Gated>),
    Experts {
        /// `[experts, hidden]`.
        router: Matrix,
        experts: Vec<Gated>,
    },
}

/// The matrices of a gated feed-forward layer.
pub(crate) struct Gated {
    /// `[feed forward, hidden]`.
    pub gate: Matrix,
    /// `[feed forward, hidden]`.
    pub up: Matrix,
    /// `[hidden, feed forward]`.
    pub down: Matrix,
}

impl Model {
    /// Reads, checks and packs a GGUF file; `progress` hears of bytes of tensors done and in total.
    ///
    /// # Errors
    /// [`LoadError`] when the file cannot be read, is not GGUF, or does not hold exactly the tensors and
    /// settings of a model of the exact class, all weights finite.
    pub fn load(
        source: &dyn WeightSource,
        options: &LoadOptions,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Arc<Self>, LoadError> {
        let LoadedModel { config, text, weights, spec_id } = load::load(source, options, progress)?;
        Ok(Arc::new(Self { config, text, weights, spec_id }))
    }

    /// The name of the definitions that an execution of this model follows.
    pub const fn spec_id(&self) -> SpecId {
        self.spec_id
    }

    /// The model's shape.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Tokenizer and chat template.
    pub const fn text(&self) -> &Text {
        &self.text
    }

    /// The tokens of a request's prompt.
    ///
    /// # Errors
    /// [`RenderError`] when the chat template refuses the messages or exceeds its limits.
    pub fn prompt(&self, request: &Request) -> Result<Vec<u32>, RenderError> {
        self.text.render(&request.prompt, request.now_s)
    }

    pub(crate) const fn weights(&self) -> &Weights {
        &self.weights
    }
}

impl Weights {
    /// The output head.
    pub fn head(&self) -> &Matrix {
        self.output.as_ref().unwrap_or(&self.embedding)
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("config", &self.config).field("spec_id", &self.spec_id).finish()
    }
}
