//! What a model's metadata says about its shape.

use assay_kernels::CacheShape;
use assay_manifest::formats::gguf::{Gguf, KeyError};

use crate::architecture::{Architecture, Layers, class_of};
use crate::keys::{Keys, SIZE_MAX};
use crate::rotary::Rotary;

/// Keys that are understood of every architecture. Any other could change the computation, so it is refused.
const KNOWN_KEYS: [&str; 20] = [
    "vocab_size",
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.attn_factor",
    "rope.scaling.finetuned",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
];

/// Most experts of a layer; the largest published models have 512.
const EXPERTS_MAX: usize = 4_096;

/// Layers of Gemma 3 27B, whose queries are scaled by another size than that of its heads.
const GEMMA3_27B_LAYERS: usize = 62;

/// Shape and parameters of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What its architecture has that others have not.
    pub architecture: &'static Architecture,
    /// Most positions of a sequence, prompt and answer together.
    pub context_length: u32,
    /// Tokens of the vocabulary.
    pub vocab_size: usize,
    /// Layers.
    pub layers: usize,
    /// Elements of the residual.
    pub hidden: usize,
    /// Elements of the feed-forward layer; of one expert's, where there are experts.
    pub feed_forward: usize,
    /// The experts of each layer, in models that have them.
    pub experts: Option<Experts>,
    /// Query heads.
    pub heads: usize,
    /// Key-value heads; a divisor of the query heads.
    pub kv_heads: usize,
    /// Elements of a head; even.
    pub head_size: usize,
    /// What scores are multiplied by.
    pub attention_scale: f32,
    /// Rotations of keys and queries.
    pub rotary: Rotary,
    /// The window of some layers.
    pub window: Option<Window>,
    /// What embeddings are multiplied by.
    pub embedding_scale: Option<f32>,
    /// Added to the mean of squares before the root.
    pub rms_epsilon: f32,
}

/// Feed-forward layers of which each token takes some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Experts {
    /// How many there are.
    pub count: usize,
    /// How many a token takes.
    pub used: usize,
}

/// A limit on how far back some layers look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Positions that are seen, the query's own included.
    pub positions: usize,
    /// The layers that see no more.
    pub layers: Layers,
}

/// Metadata that does not describe a model of the exact class.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// A key is missing or of another type.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An architecture that no kernel here computes to the bit, and another engine in the tolerance class.
    #[error(
        "reading the model's configuration: architecture {0:?} is not of the exact class; the tolerance class runs it"
    )]
    Tolerance(String),
    /// Another architecture.
    #[error(
        "reading the model's configuration: architecture {0:?} is not supported (llama, qwen2, qwen3, qwen3moe, gemma3 and phi3 are)"
    )]
    Architecture(String),
    /// A key that is not understood, or a value that is not implemented.
    #[error("reading the model's configuration: {key} = {value} is not supported")]
    Unsupported {
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// Values that no model has.
    #[error("reading the model's configuration: {0}")]
    Invalid(&'static str),
}

impl Config {
    /// Reads and checks the metadata.
    ///
    /// # Errors
    /// [`ConfigError`] when a key is missing, unknown, or holds what is not implemented or makes no sense.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, ConfigError> {
        let name: &str = gguf.require("general.architecture")?;
        let architecture = Architecture::named(name).ok_or_else(|| match class_of(name) {
            Some(_) => ConfigError::Tolerance(name.to_owned()),
            None => ConfigError::Architecture(name.to_owned()),
        })?;
        let keys = Keys::new(gguf, architecture.name);
        keys.refuse_unknown(|name| KNOWN_KEYS.contains(&name) || architecture.keys.contains(&name))?;
        let tokens: &[String] = gguf.require("tokenizer.ggml.tokens")?;
        let (heads, hidden) = (keys.size("attention.head_count")?, keys.size("embedding_length")?);
        let key_length = keys.optional("attention.key_length")?;
        if key_length.is_none() && !hidden.is_multiple_of(heads) {
            return Err(ConfigError::Invalid("embedding_length is no multiple of attention.head_count"));
        }
        let (layers, head_size) = (keys.size("block_count")?, key_length.unwrap_or(hidden / heads));
        let context_length: u32 = keys.require("context_length")?;
        let experts = experts(&keys)?;
        let scale_size = scale_size(architecture, layers, hidden, heads, head_size);
        let config = Self {
            architecture,
            context_length,
            vocab_size: tokens.len(),
            layers,
            hidden,
            feed_forward: feed_forward(&keys, experts)?,
            experts,
            heads,
            kv_heads: keys.optional("attention.head_count_kv")?.unwrap_or(heads),
            head_size,
            attention_scale: 1.0 / (scale_size as f32).sqrt(),
            rotary: Rotary::from_keys(&keys, architecture.window_base, head_size, context_length)?,
            window: window(&keys, architecture)?,
            embedding_scale: architecture.scaled_embedding.then(|| (hidden as f32).sqrt()),
            rms_epsilon: keys.require("attention.layer_norm_rms_epsilon")?,
        };
        config.check(&keys)?;
        Ok(config)
    }

    /// The context length as a size.
    pub(crate) fn context_size(&self) -> usize {
        usize::try_from(self.context_length).unwrap_or(usize::MAX)
    }

    /// What the pages of a sequence hold.
    pub(crate) const fn cache_shape(&self) -> CacheShape {
        CacheShape { layers: self.layers, kv_heads: self.kv_heads, head_size: self.head_size }
    }

    /// The first position that a query at `position` sees in a layer.
    pub(crate) fn first_seen(&self, layer: usize, position: usize) -> usize {
        match self.window {
            Some(window) if window.layers.contain(layer) => (position + 1).saturating_sub(window.positions),
            _ => 0,
        }
    }

    fn check(&self, keys: &Keys<'_>) -> Result<(), ConfigError> {
        let invalid = |what| Err(ConfigError::Invalid(what));
        if self.context_length == 0 || self.vocab_size == 0 {
            return invalid("context_length and the vocabulary must not be empty");
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return invalid("attention.head_count is no multiple of attention.head_count_kv");
        }
        if !self.head_size.is_multiple_of(2) {
            return invalid("a head must have an even size");
        }
        if !(self.rms_epsilon.is_finite() && self.rms_epsilon > 0.0) {
            return invalid("attention.layer_norm_rms_epsilon must be finite and positive");
        }
        for (name, expected) in [("vocab_size", self.vocab_size), ("attention.value_length", self.head_size)]
        {
            let stated = keys.optional(name)?;
            if let Some(stated) = stated.filter(|stated| *stated != expected) {
                return Err(keys.unsupported(name, stated));
            }
        }
        Ok(())
    }
}

fn experts(keys: &Keys<'_>) -> Result<Option<Experts>, ConfigError> {
    let count = keys.lookup::<u64>("expert_count")?.unwrap_or(0);
    let used = keys.lookup::<u64>("expert_used_count")?.unwrap_or(0);
    if count == 0 && used == 0 {
        return Ok(None);
    }
    let sizes = (usize::try_from(count).ok(), usize::try_from(used).ok());
    match sizes {
        (Some(count), Some(used)) if (1..=EXPERTS_MAX).contains(&count) && (1..=count).contains(&used) => {
            Ok(Some(Experts { count, used }))
        }
        _ => Err(keys.unsupported("expert_used_count", format_args!("{used} of {count}"))),
    }
}

fn feed_forward(keys: &Keys<'_>, experts: Option<Experts>) -> Result<usize, ConfigError> {
    match (experts, keys.optional("expert_feed_forward_length")?) {
        (Some(_), Some(size)) => Ok(size),
        _ => keys.size("feed_forward_length"),
    }
}

/// The size by whose root scores are divided: that of a head, but for one model.
fn scale_size(
    architecture: &Architecture,
    layers: usize,
    hidden: usize,
    heads: usize,
    head_size: usize,
) -> usize {
    let is_27b = architecture.name == "gemma3" && layers == GEMMA3_27B_LAYERS;
    if is_27b { hidden / heads } else { head_size }
}

fn window(keys: &Keys<'_>, architecture: &Architecture) -> Result<Option<Window>, ConfigError> {
    let Some(layers) = architecture.window else { return Ok(None) };
    let stated = keys.lookup::<u64>("attention.sliding_window")?.unwrap_or(0);
    match usize::try_from(stated) {
        Ok(0) => Ok(None),
        Ok(positions) if positions <= SIZE_MAX => Ok(Some(Window { positions, layers })),
        _ => Err(keys.unsupported("attention.sliding_window", stated)),
    }
}
