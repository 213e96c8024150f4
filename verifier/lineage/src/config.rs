//! `config.json` of a llama model, checked for everything that would change its answers.

use crate::error::LineageError;
use assay_manifest::formats::gguf::{Metadata, Value};
use serde::Deserialize;

/// The numbers of a llama network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LlamaConfig {
    pub vocabulary: u32,
    pub hidden: u32,
    pub feed_forward: u32,
    pub layers: u32,
    pub heads: u32,
    pub kv_heads: u32,
    pub context: u32,
    pub rope_theta: f32,
    pub norm_eps: f32,
    pub tied_output: bool,
}

/// The file's fields, as far as they matter. Fields that are `null` or missing have transformers' default.
#[derive(Deserialize)]
struct File {
    model_type: String,
    vocab_size: u32,
    hidden_size: u32,
    intermediate_size: u32,
    num_hidden_layers: u32,
    num_attention_heads: u32,
    num_key_value_heads: Option<u32>,
    head_dim: Option<u32>,
    max_position_embeddings: u32,
    rope_theta: Option<f64>,
    rope_scaling: Option<serde_json::Value>,
    rms_norm_eps: f64,
    hidden_act: String,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    tie_word_embeddings: Option<bool>,
}

/// `LlamaConfig.rope_theta` of transformers where the file has none.
const DEFAULT_ROPE_THETA: f64 = 10_000.0;

impl LlamaConfig {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, LineageError> {
        let file: File = serde_json::from_slice(json).map_err(LineageError::json("config.json"))?;
        file.check_supported()?;
        let config = Self {
            vocabulary: file.vocab_size,
            hidden: file.hidden_size,
            feed_forward: file.intermediate_size,
            layers: file.num_hidden_layers,
            heads: file.num_attention_heads,
            kv_heads: file.num_key_value_heads.unwrap_or(file.num_attention_heads),
            context: file.max_position_embeddings,
            rope_theta: file.rope_theta.unwrap_or(DEFAULT_ROPE_THETA) as f32,
            norm_eps: file.rms_norm_eps as f32,
            tied_output: file.tie_word_embeddings.unwrap_or(false),
        };
        config.check()?;
        match file.head_dim {
            Some(head) if head != config.head() => {
                Err(LineageError::unsupported("a head that is not hidden_size / heads wide", head))
            }
            _ => Ok(config),
        }
    }

    fn check(&self) -> Result<(), LineageError> {
        let divides = |whole: u32, part: u32| part > 0 && whole > 0 && whole.is_multiple_of(part);
        if !divides(self.hidden, self.heads) || !self.head().is_multiple_of(2) {
            return Err(LineageError::Config("hidden_size is not a whole number of heads of even width"));
        }
        if !divides(self.heads, self.kv_heads) {
            return Err(LineageError::Config("heads are not a multiple of num_key_value_heads"));
        }
        Ok(())
    }

    /// Width of a head.
    pub(crate) fn head(&self) -> u32 {
        self.hidden / self.heads
    }

    /// Rows of the projection to keys or values.
    pub(crate) fn kv_rows(&self) -> u32 {
        self.kv_heads * self.head()
    }

    /// The keys that llama.cpp reads a llama network's sizes from.
    pub(crate) fn metadata(&self) -> Metadata {
        let count = Value::U32;
        [
            ("general.architecture", Value::String("llama".to_owned())),
            ("llama.vocab_size", count(self.vocabulary)),
            ("llama.context_length", count(self.context)),
            ("llama.embedding_length", count(self.hidden)),
            ("llama.feed_forward_length", count(self.feed_forward)),
            ("llama.block_count", count(self.layers)),
            ("llama.attention.head_count", count(self.heads)),
            ("llama.attention.head_count_kv", count(self.kv_heads)),
            ("llama.attention.layer_norm_rms_epsilon", Value::F32(self.norm_eps)),
            ("llama.rope.dimension_count", count(self.head())),
            ("llama.rope.freq_base", Value::F32(self.rope_theta)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}

impl File {
    fn check_supported(&self) -> Result<(), LineageError> {
        if self.model_type != "llama" {
            return Err(LineageError::unsupported("the architecture", &self.model_type));
        }
        if self.hidden_act != "silu" {
            return Err(LineageError::unsupported("the activation", &self.hidden_act));
        }
        if let Some(scaling) = &self.rope_scaling {
            return Err(LineageError::unsupported("rope scaling", scaling));
        }
        if self.attention_bias == Some(true) || self.mlp_bias == Some(true) {
            return Err(LineageError::unsupported("a bias", "attention_bias or mlp_bias"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config() -> serde_json::Value {
        json!({
            "model_type": "llama", "vocab_size": 300, "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "hidden_act": "silu",
            "rope_scaling": null,
        })
    }

    fn parse(config: &serde_json::Value) -> Result<LlamaConfig, LineageError> {
        LlamaConfig::parse(config.to_string().as_bytes())
    }

    #[test]
    fn missing_fields_have_the_defaults_of_transformers() {
        let parsed = parse(&config()).unwrap();
        assert_eq!((parsed.rope_theta, parsed.tied_output, parsed.kv_rows()), (10_000.0, false, 32));
        let mut all_heads = config();
        all_heads.as_object_mut().unwrap().remove("num_key_value_heads");
        assert_eq!(parse(&all_heads).unwrap().kv_heads, 4);
    }

    #[test]
    fn what_the_recipe_does_not_cover_is_refused() {
        for (field, value) in [
            ("model_type", json!("qwen2")),
            ("hidden_act", json!("gelu")),
            ("rope_scaling", json!({"rope_type": "llama3"})),
            ("attention_bias", json!(true)),
            ("mlp_bias", json!(true)),
            ("head_dim", json!(32)),
        ] {
            let mut config = config();
            config[field] = value;
            assert!(matches!(parse(&config), Err(LineageError::Unsupported { .. })), "{field}");
        }
    }

    #[test]
    fn sizes_that_do_not_divide_are_refused() {
        for (field, value) in [
            ("num_attention_heads", 0),
            ("num_attention_heads", 3),
            ("num_attention_heads", 64),
            ("num_key_value_heads", 3),
            ("num_key_value_heads", 0),
            ("hidden_size", 0),
        ] {
            let mut config = config();
            config[field] = json!(value);
            assert!(matches!(parse(&config), Err(LineageError::Config(_))), "{field} {value}");
        }
    }
}
