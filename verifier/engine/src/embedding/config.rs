//! What an encoder's metadata says about its shape.

use assay_kernels::CacheShape;
use assay_manifest::formats::gguf::Gguf;

use super::forward::{PASS_ROWS, row_bytes};
use crate::config::ConfigError;
use crate::keys::Keys;

/// `general.architecture`.
pub(super) const ARCHITECTURE: &str = "bert";

/// Keys that are understood. Any other could change the computation, so it is refused.
const KNOWN_KEYS: [&str; 10] = [
    "vocab_size",
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.layer_norm_epsilon",
    "attention.causal",
    "pooling_type",
];

/// Most bytes of a pass's buffers. A file that could need more is refused: BERT-large takes 70 MB, and a base model
/// with 8,192 positions 800 MB.
const PASS_BYTES_MAX: usize = 1 << 30;

/// How the rows of a text become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first, that of the class token.
    Cls,
}

impl Pooling {
    /// The number that GGUF files give it (`llama_pooling_type` of llama.cpp).
    pub const fn number(self) -> u32 {
        match self {
            Self::Mean => 1,
            Self::Cls => 2,
        }
    }

    /// The name of its definition in `docs/NUMERICS.md`.
    pub(super) const fn definition(self) -> &'static str {
        match self {
            Self::Mean => "mean-pooling",
            Self::Cls => "cls-pooling",
        }
    }
}

/// Shape and parameters of an encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Most tokens of a text, with those around it.
    pub context_length: usize,
    /// Tokens of the vocabulary.
    pub vocab_size: usize,
    /// Rows of the embedding of token types, of which only the first is used.
    pub token_types: usize,
    /// Layers.
    pub layers: usize,
    /// Elements of a row, and of an embedding.
    pub hidden: usize,
    /// Elements of the feed-forward layer.
    pub feed_forward: usize,
    /// Heads of attention; a divisor of `hidden`.
    pub heads: usize,
    /// What scores are multiplied by.
    pub attention_scale: f32,
    /// Added to the variance before the root.
    pub epsilon: f32,
    /// How rows become an embedding.
    pub pooling: Pooling,
}

impl EncoderConfig {
    /// Reads and checks the metadata.
    ///
    /// # Errors
    /// [`ConfigError`] when a key is missing, unknown, or holds what is not implemented or makes no sense.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, ConfigError> {
        let name: &str = gguf.require("general.architecture")?;
        if name != ARCHITECTURE {
            let (key, value) =
                ("general.architecture".to_owned(), format!("{name:?} (encoders: {ARCHITECTURE:?})"));
            return Err(ConfigError::Unsupported { key, value });
        }
        let keys = Keys::new(gguf, ARCHITECTURE);
        keys.refuse_unknown(|name| KNOWN_KEYS.contains(&name))?;
        let tokens: &[String] = gguf.require("tokenizer.ggml.tokens")?;
        let token_types: u32 = gguf.require("tokenizer.ggml.token_type_count")?;
        let (heads, hidden) = (keys.size("attention.head_count")?, keys.size("embedding_length")?);
        let config = Self {
            context_length: keys.size("context_length")?,
            vocab_size: tokens.len(),
            token_types: usize::try_from(token_types).unwrap_or(usize::MAX),
            layers: keys.size("block_count")?,
            hidden,
            feed_forward: keys.size("feed_forward_length")?,
            heads,
            attention_scale: 1.0 / ((hidden / heads) as f32).sqrt(),
            epsilon: keys.require("attention.layer_norm_epsilon")?,
            pooling: pooling(&keys)?,
        };
        config.check(&keys)?;
        Ok(config)
    }

    /// Elements of a head.
    pub const fn head_size(&self) -> usize {
        self.hidden / self.heads
    }

    /// What the pages of a text hold: one layer at a time.
    pub(super) const fn cache_shape(&self) -> CacheShape {
        CacheShape { layers: 1, kv_heads: self.heads, head_size: self.head_size() }
    }

    fn check(&self, keys: &Keys<'_>) -> Result<(), ConfigError> {
        let invalid = |what| Err(ConfigError::Invalid(what));
        if self.vocab_size == 0 || self.token_types == 0 {
            return invalid("the vocabulary and the token types must not be empty");
        }
        if !self.hidden.is_multiple_of(self.heads) {
            return invalid("embedding_length is no multiple of attention.head_count");
        }
        if !(self.epsilon.is_finite() && self.epsilon > 0.0) {
            return invalid("attention.layer_norm_epsilon must be finite and positive");
        }
        if let Some(true) = keys.lookup("attention.causal")? {
            return Err(keys.unsupported("attention.causal", true));
        }
        for (name, expected) in [("vocab_size", self.vocab_size), ("attention.head_count_kv", self.heads)] {
            if let Some(stated) = keys.optional(name)?.filter(|stated| *stated != expected) {
                return Err(keys.unsupported(name, stated));
            }
        }
        let rows = self.context_length.max(PASS_ROWS);
        match row_bytes(self).and_then(|bytes| bytes.checked_mul(rows)) {
            Some(bytes) if bytes <= PASS_BYTES_MAX => Ok(()),
            _ => invalid("context_length times the sizes of a row is above the limit of 1 GiB"),
        }
    }
}

fn pooling(keys: &Keys<'_>) -> Result<Pooling, ConfigError> {
    let stated: u32 = keys.require("pooling_type")?;
    let known = [Pooling::Mean, Pooling::Cls];
    known
        .into_iter()
        .find(|pooling| pooling.number() == stated)
        .ok_or_else(|| keys.unsupported("pooling_type", stated))
}
