//! A loaded model: immutable, shared by everyone who runs it.

use assay_kernels::Matrix;
use assay_kernels::reference::Rope;
use assay_manifest::SpecId;
use assay_protocol::request::Request;

use crate::config::Config;
use crate::load::{self, LoadError, LoadOptions};
use crate::source::WeightSource;
use crate::spec;
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
}

/// The tensors of one layer; a matrix is `[results, inputs]`.
pub(crate) struct Layer {
    /// `[hidden]`.
    pub attention_norm: Vec<f32>,
    /// `[heads · head size, hidden]`.
    pub query: Matrix,
    /// `[kv heads · head size, hidden]`.
    pub key: Matrix,
    /// `[kv heads · head size, hidden]`.
    pub value: Matrix,
    /// `[hidden, heads · head size]`.
    pub attention_output: Matrix,
    /// `[hidden]`.
    pub feed_forward_norm: Vec<f32>,
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
    ) -> Result<Self, LoadError> {
        let (config, text, weights) = load::load(source, options, progress)?;
        let spec_id = spec::spec_id(&spec::definitions(&weights));
        Ok(Self { config, text, weights, spec_id })
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

impl Layer {
    /// Every matrix.
    pub fn matrices(&self) -> [&Matrix; 7] {
        let Self { query, key, value, attention_output, gate, up, down, .. } = self;
        [query, key, value, attention_output, gate, up, down]
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("config", &self.config).field("spec_id", &self.spec_id).finish()
    }
}
