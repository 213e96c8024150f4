//! What a model's metadata says about its shape.

use assay_engine::config::ConfigError;
use assay_engine::keys::Keys;
use assay_manifest::formats::gguf::Gguf;

use crate::architecture::{Architecture, Dim, KvHeads, Rotated};

/// Keys that are understood of every architecture. Any other could change the computation, so it is refused.
const KNOWN_KEYS: [&str; 10] = [
    "vocab_size",
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.finetuned",
];

/// Base of the rotations where a file states none, as in llama.cpp.
const ROPE_BASE_DEFAULT: f32 = 10_000.0;

/// Largest head; the largest published ones have 576 elements.
const HEAD_SIZE_MAX: usize = 1_024;

/// candle keeps keys and values of GLM-4 in steps of so many positions.
const CACHE_STEP: usize = 512;

/// Shape and parameters of a model.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub architecture: &'static Architecture,
    pub context_length: u32,
    pub vocab: usize,
    pub layers: usize,
    pub hidden: usize,
    pub feed_forward: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_size: usize,
    pub rotated: usize,
    pub rope_base: f32,
    pub epsilon: f32,
}

impl Shape {
    /// Reads and checks the metadata.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, ConfigError> {
        let name: &str = gguf.require("general.architecture")?;
        let architecture =
            Architecture::named(name).ok_or_else(|| ConfigError::Architecture(name.to_owned()))?;
        let keys = Keys::new(gguf, architecture.name);
        let is_known = |name: &str| {
            KNOWN_KEYS.contains(&name) || architecture.keys.contains(&name) || name == architecture.epsilon
        };
        keys.refuse_unknown(is_known)?;
        let tokens: &[String] = gguf.require("tokenizer.ggml.tokens")?;
        let (heads, hidden) = (keys.size("attention.head_count")?, keys.size("embedding_length")?);
        let head_size = keys.optional("attention.key_length")?.unwrap_or(hidden / heads);
        let shape = Self {
            architecture,
            context_length: keys.require("context_length")?,
            vocab: tokens.len(),
            layers: keys.size("block_count")?,
            hidden,
            feed_forward: keys.size("feed_forward_length")?,
            heads,
            kv_heads: keys.optional("attention.head_count_kv")?.unwrap_or(heads),
            head_size,
            rotated: keys.optional("rope.dimension_count")?.unwrap_or(head_size),
            rope_base: keys.positive("rope.freq_base")?.unwrap_or(ROPE_BASE_DEFAULT),
            epsilon: keys.require(architecture.epsilon)?,
        };
        shape.check(&keys)?;
        shape.check_assumptions(&keys)?;
        Ok(shape)
    }

    fn check(&self, keys: &Keys<'_>) -> Result<(), ConfigError> {
        let invalid = |what| Err(ConfigError::Invalid(what));
        if self.context_length == 0 || self.vocab == 0 {
            return invalid("context_length and the vocabulary must not be empty");
        }
        if self.context_length > self.architecture.context_max {
            return Err(keys.unsupported("context_length", self.context_length));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return invalid("attention.head_count is no multiple of attention.head_count_kv");
        }
        if keys.optional("attention.key_length")?.is_none() && !self.hidden.is_multiple_of(self.heads) {
            return invalid("embedding_length is no multiple of attention.head_count");
        }
        if !(1..=HEAD_SIZE_MAX).contains(&self.head_size) {
            return Err(keys.unsupported("attention.key_length", self.head_size));
        }
        if !self.rotated.is_multiple_of(2) || self.rotated > self.head_size {
            return Err(keys.unsupported("rope.dimension_count", self.rotated));
        }
        if !(self.epsilon.is_finite() && self.epsilon > 0.0) {
            return Err(keys.unsupported(self.architecture.epsilon, self.epsilon));
        }
        for (name, expected) in [("vocab_size", self.vocab), ("attention.value_length", self.head_size)] {
            let stated = keys.optional(name)?;
            if let Some(stated) = stated.filter(|stated| *stated != expected) {
                return Err(keys.unsupported(name, stated));
            }
        }
        Ok(())
    }

    /// What candle's code does whatever the file states.
    fn check_assumptions(&self, keys: &Keys<'_>) -> Result<(), ConfigError> {
        let Architecture { rope_base, rotated, kv_heads, .. } = self.architecture;
        if rope_base.is_some_and(|base| base != self.rope_base) {
            return Err(keys.unsupported("rope.freq_base", self.rope_base));
        }
        if *rotated == Rotated::Half && 2 * self.rotated != self.head_size {
            return Err(keys.unsupported("rope.dimension_count", self.rotated));
        }
        if *kv_heads == KvHeads::Equal && self.kv_heads != self.heads {
            return Err(keys.unsupported("attention.head_count_kv", self.kv_heads));
        }
        Ok(())
    }

    /// Elements along a dimension; sizes are small enough that no product here is beyond a `usize`.
    pub const fn size(&self, dim: Dim) -> usize {
        let (queries, keys) = (self.heads * self.head_size, self.kv_heads * self.head_size);
        match dim {
            Dim::Vocab => self.vocab,
            Dim::Hidden => self.hidden,
            Dim::Queries => queries,
            Dim::Keys => keys,
            Dim::QueriesKeysValues => queries + 2 * keys,
            Dim::FeedForward => self.feed_forward,
            Dim::GateAndUp => 2 * self.feed_forward,
        }
    }

    /// Bytes that a sequence takes besides the weights: keys and values of all layers; and of the layer that is
    /// computed, keys and values as each query head reads them, and scores three times over, as they are, masked, and
    /// as probabilities. Nothing where no machine has as many.
    pub fn sequence_bytes(&self, positions: usize, chunk: usize) -> Option<usize> {
        let kept = positions.checked_next_multiple_of(CACHE_STEP)?;
        let cache = self.size(Dim::Keys).checked_mul(2 * self.layers)?.checked_mul(kept)?;
        let read = self.size(Dim::Queries).checked_mul(2)?.checked_mul(kept)?;
        let scores = self.heads.checked_mul(3 * chunk.min(positions))?.checked_mul(kept)?;
        cache.checked_add(read)?.checked_add(scores)?.checked_mul(size_of::<f32>())
    }
}
