//! What a model's metadata says about its shape.

use assay_manifest::formats::gguf::{Gguf, KeyError, Value};

/// The only architecture so far.
const ARCHITECTURE: &str = "llama";

/// Keys of the architecture that are understood. Any other could change the computation, so it is refused.
const KNOWN_KEYS: [&str; 16] = [
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
    "rope.scaling.type",
    "rope.scale_linear",
    "expert_count",
    "expert_used_count",
];

/// Base of the rotary frequencies where the metadata states none.
const ROPE_BASE_DEFAULT: f32 = 10_000.0;

/// Shape and parameters of a llama model.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Most positions of a sequence, prompt and answer together.
    pub context_length: u32,
    /// Tokens of the vocabulary.
    pub vocab_size: usize,
    /// Layers.
    pub layers: usize,
    /// Elements of the residual.
    pub hidden: usize,
    /// Elements of the feed-forward layer.
    pub feed_forward: usize,
    /// Query heads.
    pub heads: usize,
    /// Key-value heads; a divisor of the query heads.
    pub kv_heads: usize,
    /// Elements of a head; even.
    pub head_size: usize,
    /// Base of the rotary frequencies.
    pub rope_base: f32,
    /// Added to the mean of squares before the root.
    pub rms_epsilon: f32,
}

/// Metadata that does not describe a model of the exact class.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// A key is missing or of another type.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Another architecture.
    #[error("reading the model's configuration: architecture {0:?} is not supported (llama is)")]
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
        let architecture: &str = gguf.require("general.architecture")?;
        if architecture != ARCHITECTURE {
            return Err(ConfigError::Architecture(architecture.to_owned()));
        }
        refuse_unknown_keys(gguf)?;
        refuse_variants(gguf)?;
        let tokens: &[String] = gguf.require("tokenizer.ggml.tokens")?;
        let heads = size(gguf, "attention.head_count")?;
        let hidden = size(gguf, "embedding_length")?;
        let key_length = optional(gguf, "attention.key_length")?;
        if key_length.is_none() && !hidden.is_multiple_of(heads) {
            return Err(ConfigError::Invalid("embedding_length is no multiple of attention.head_count"));
        }
        let config = Self {
            context_length: gguf.require(&key("context_length"))?,
            vocab_size: tokens.len(),
            layers: size(gguf, "block_count")?,
            hidden,
            feed_forward: size(gguf, "feed_forward_length")?,
            heads,
            kv_heads: optional(gguf, "attention.head_count_kv")?.unwrap_or(heads),
            head_size: key_length.unwrap_or(hidden / heads),
            rope_base: gguf.lookup(&key("rope.freq_base"))?.unwrap_or(ROPE_BASE_DEFAULT),
            rms_epsilon: gguf.require(&key("attention.layer_norm_rms_epsilon"))?,
        };
        config.check(gguf)?;
        Ok(config)
    }

    /// The context length as a size.
    pub(crate) fn context_size(&self) -> usize {
        usize::try_from(self.context_length).unwrap_or(usize::MAX)
    }

    fn check(&self, gguf: &Gguf) -> Result<(), ConfigError> {
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
        if !(self.rope_base.is_finite() && self.rope_base > 0.0) {
            return invalid("rope.freq_base must be finite and positive");
        }
        if !(self.rms_epsilon.is_finite() && self.rms_epsilon > 0.0) {
            return invalid("attention.layer_norm_rms_epsilon must be finite and positive");
        }
        for (name, expected) in [
            ("vocab_size", self.vocab_size),
            ("attention.value_length", self.head_size),
            ("rope.dimension_count", self.head_size),
        ] {
            let stated = optional(gguf, name)?;
            if let Some(stated) = stated.filter(|stated| *stated != expected) {
                return Err(ConfigError::Unsupported { key: key(name), value: stated.to_string() });
            }
        }
        Ok(())
    }
}

fn key(name: &str) -> String {
    format!("{ARCHITECTURE}.{name}")
}

/// Largest size that a dimension may state: beyond any model, and small enough that products of two fit.
const SIZE_MAX: usize = 1 << 30;

fn optional(gguf: &Gguf, name: &str) -> Result<Option<usize>, ConfigError> {
    let Some(stated) = gguf.lookup::<u64>(&key(name))? else { return Ok(None) };
    match usize::try_from(stated) {
        Ok(size) if (1..=SIZE_MAX).contains(&size) => Ok(Some(size)),
        _ => Err(ConfigError::Unsupported { key: key(name), value: stated.to_string() }),
    }
}

fn size(gguf: &Gguf, name: &str) -> Result<usize, ConfigError> {
    optional(gguf, name)?.ok_or_else(|| ConfigError::Key(KeyError::Missing { key: key(name) }))
}

fn refuse_unknown_keys(gguf: &Gguf) -> Result<(), ConfigError> {
    let prefix = key("");
    let names = gguf.metadata.iter().filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?, value)));
    match names.into_iter().find(|(name, _)| !KNOWN_KEYS.contains(name)) {
        Some((name, value)) => Err(ConfigError::Unsupported { key: key(name), value: describe(value) }),
        None => Ok(()),
    }
}

/// Known keys whose values other than the plain one are not implemented.
fn refuse_variants(gguf: &Gguf) -> Result<(), ConfigError> {
    for name in ["rope.scaling.type", "rope.scale_linear", "expert_count", "expert_used_count"] {
        if let Some(value) = gguf.get(&key(name)).filter(|value| !is_plain(name, value)) {
            return Err(ConfigError::Unsupported { key: key(name), value: describe(value) });
        }
    }
    Ok(())
}

fn is_plain(name: &str, value: &Value) -> bool {
    match value {
        Value::String(scaling) => name == "rope.scaling.type" && scaling == "none",
        Value::F32(scale) => name == "rope.scale_linear" && *scale == 1.0,
        Value::U32(experts) => name.starts_with("expert") && *experts == 0,
        _ => false,
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::U32(number) => number.to_string(),
        Value::F32(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::String(text) => format!("{:?}", text.chars().take(64).collect::<String>()),
        other => format!("({})", other.type_name()),
    }
}
