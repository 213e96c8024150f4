//! What a model's metadata says about its shape.

use assay_kernels::CacheShape;
use assay_manifest::formats::gguf::{Gguf, KeyError, Value};

use crate::architecture::{Architecture, Layers};
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
        let architecture =
            Architecture::named(name).ok_or_else(|| ConfigError::Architecture(name.to_owned()))?;
        let keys = Keys { gguf, architecture };
        keys.refuse_unknown()?;
        let tokens: &[String] = gguf.require("tokenizer.ggml.tokens")?;
        let (heads, hidden) = (keys.size("attention.head_count")?, keys.size("embedding_length")?);
        let key_length = keys.optional("attention.key_length")?;
        if key_length.is_none() && !hidden.is_multiple_of(heads) {
            return Err(ConfigError::Invalid("embedding_length is no multiple of attention.head_count"));
        }
        let (layers, head_size) = (keys.size("block_count")?, key_length.unwrap_or(hidden / heads));
        let context_length: u32 = gguf.require(&keys.key("context_length"))?;
        let experts = keys.experts()?;
        let config = Self {
            architecture,
            context_length,
            vocab_size: tokens.len(),
            layers,
            hidden,
            feed_forward: keys.feed_forward(experts)?,
            experts,
            heads,
            kv_heads: keys.optional("attention.head_count_kv")?.unwrap_or(heads),
            head_size,
            attention_scale: 1.0 / (keys.scale_size(layers, hidden, heads, head_size) as f32).sqrt(),
            rotary: Rotary::from_keys(&keys, head_size, context_length)?,
            window: keys.window()?,
            embedding_scale: architecture.scaled_embedding.then(|| (hidden as f32).sqrt()),
            rms_epsilon: gguf.require(&keys.key("attention.layer_norm_rms_epsilon"))?,
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

/// The keys of an architecture.
pub(crate) struct Keys<'a> {
    gguf: &'a Gguf,
    architecture: &'static Architecture,
}

impl Keys<'_> {
    pub fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture.name)
    }

    pub const fn architecture(&self) -> &'static Architecture {
        self.architecture
    }

    pub fn unsupported(&self, name: &str, value: impl ToString) -> ConfigError {
        ConfigError::Unsupported { key: self.key(name), value: value.to_string() }
    }

    /// A size that need not be stated; if it is, it lies between 1 and [`SIZE_MAX`].
    pub fn optional(&self, name: &str) -> Result<Option<usize>, ConfigError> {
        let Some(stated) = self.gguf.lookup::<u64>(&self.key(name))? else { return Ok(None) };
        match usize::try_from(stated) {
            Ok(size) if (1..=SIZE_MAX).contains(&size) => Ok(Some(size)),
            _ => Err(self.unsupported(name, stated)),
        }
    }

    fn size(&self, name: &str) -> Result<usize, ConfigError> {
        self.optional(name)?.ok_or_else(|| ConfigError::Key(KeyError::Missing { key: self.key(name) }))
    }

    /// A finite positive number, if it is stated.
    pub fn positive(&self, name: &str) -> Result<Option<f32>, ConfigError> {
        match self.gguf.lookup::<f32>(&self.key(name))? {
            Some(stated) if !(stated.is_finite() && stated > 0.0) => Err(self.unsupported(name, stated)),
            stated => Ok(stated),
        }
    }

    /// A text, if it is stated.
    pub fn text(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        Ok(self.gguf.lookup(&self.key(name))?)
    }

    /// Whether the file has a tensor of this name.
    pub fn has_tensor(&self, name: &str) -> bool {
        self.gguf.tensors.iter().any(|tensor| tensor.name == name)
    }

    fn experts(&self) -> Result<Option<Experts>, ConfigError> {
        let count = self.gguf.lookup::<u64>(&self.key("expert_count"))?.unwrap_or(0);
        let used = self.gguf.lookup::<u64>(&self.key("expert_used_count"))?.unwrap_or(0);
        if count == 0 && used == 0 {
            return Ok(None);
        }
        let sizes = (usize::try_from(count).ok(), usize::try_from(used).ok());
        match sizes {
            (Some(count), Some(used))
                if (1..=EXPERTS_MAX).contains(&count) && (1..=count).contains(&used) =>
            {
                Ok(Some(Experts { count, used }))
            }
            _ => Err(self.unsupported("expert_used_count", format_args!("{used} of {count}"))),
        }
    }

    fn feed_forward(&self, experts: Option<Experts>) -> Result<usize, ConfigError> {
        match (experts, self.optional("expert_feed_forward_length")?) {
            (Some(_), Some(size)) => Ok(size),
            _ => self.size("feed_forward_length"),
        }
    }

    /// The size by whose root scores are divided: that of a head, but for one model.
    fn scale_size(&self, layers: usize, hidden: usize, heads: usize, head_size: usize) -> usize {
        let is_27b = self.architecture.name == "gemma3" && layers == GEMMA3_27B_LAYERS;
        if is_27b { hidden / heads } else { head_size }
    }

    fn window(&self) -> Result<Option<Window>, ConfigError> {
        let Some(layers) = self.architecture.window else { return Ok(None) };
        let stated = self.gguf.lookup::<u64>(&self.key("attention.sliding_window"))?.unwrap_or(0);
        match usize::try_from(stated) {
            Ok(0) => Ok(None),
            Ok(positions) if positions <= SIZE_MAX => Ok(Some(Window { positions, layers })),
            _ => Err(self.unsupported("attention.sliding_window", stated)),
        }
    }

    fn refuse_unknown(&self) -> Result<(), ConfigError> {
        let prefix = self.key("");
        let known = |name: &str| KNOWN_KEYS.contains(&name) || self.architecture.keys.contains(&name);
        let mut stated =
            self.gguf.metadata.iter().filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?, value)));
        match stated.find(|(name, _)| !known(name)) {
            Some((name, value)) => Err(self.unsupported(name, describe(value))),
            None => Ok(()),
        }
    }
}

/// Largest size that a dimension may state: beyond any model, and small enough that products of two fit.
const SIZE_MAX: usize = 1 << 30;

fn describe(value: &Value) -> String {
    match value {
        Value::U32(number) => number.to_string(),
        Value::F32(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::String(text) => format!("{:?}", text.chars().take(64).collect::<String>()),
        other => format!("({})", other.type_name()),
    }
}
