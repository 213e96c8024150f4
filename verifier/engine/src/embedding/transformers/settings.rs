//! `config.json` of a BERT model, and `1_Pooling/config.json` of sentence-transformers.

use assay_manifest::formats::gguf::{Metadata, TensorInfo, Value};
use serde::Deserialize;

use crate::embedding::{EncoderError, Pooling};

const CONFIG: &str = "config.json";
const POOLING: &str = "1_Pooling/config.json";

/// The settings that make up the architecture; others concern the training.
#[derive(Deserialize)]
struct Config {
    model_type: String,
    vocab_size: u32,
    hidden_size: u32,
    num_hidden_layers: u32,
    num_attention_heads: u32,
    intermediate_size: u32,
    max_position_embeddings: u32,
    type_vocab_size: u32,
    layer_norm_eps: f64,
    hidden_act: String,
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
}

/// Which rows make an embedding; of versions that know more ways, those must be off.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct PoolingConfig {
    pooling_mode_cls_token: bool,
    pooling_mode_mean_tokens: bool,
    pooling_mode_max_tokens: bool,
    pooling_mode_mean_sqrt_len_tokens: bool,
    pooling_mode_weightedmean_tokens: bool,
    pooling_mode_lasttoken: bool,
}

/// What the files say about the shape.
pub(super) struct Settings {
    config: Config,
    pooling: Pooling,
    pub vocab_size: u32,
}

impl Settings {
    pub fn parse(config: &[u8], pooling: Option<&[u8]>) -> Result<Self, EncoderError> {
        let config: Config = serde_json::from_slice(config).map_err(EncoderError::json(CONFIG))?;
        config.check()?;
        let pooling = pooling.map_or(Ok(Pooling::Mean), parse_pooling)?;
        Ok(Self { vocab_size: config.vocab_size, pooling, config })
    }

    /// Refuses another number of tokens than the embedding has rows.
    pub fn check_rows(&self, tensors: &[TensorInfo]) -> Result<(), EncoderError> {
        let embedding = tensors.iter().find(|tensor| tensor.name == "token_embd.weight");
        match embedding.map(|tensor| tensor.dims.last().copied().unwrap_or(0)) {
            Some(rows) if rows != u64::from(self.vocab_size) => Err(EncoderError::Unsupported {
                file: CONFIG,
                what: "a vocab_size other than the rows of the embedding",
                found: format!("{} and {rows}", self.vocab_size),
            }),
            _ => Ok(()),
        }
    }

    /// The keys that llama.cpp's converter writes (`BertModel` of `convert_hf_to_gguf.py`).
    pub fn metadata(&self) -> Metadata {
        let Config { layer_norm_eps, .. } = self.config;
        [
            ("general.architecture", Value::String("bert".to_owned())),
            ("bert.context_length", Value::U32(self.config.max_position_embeddings)),
            ("bert.embedding_length", Value::U32(self.config.hidden_size)),
            ("bert.feed_forward_length", Value::U32(self.config.intermediate_size)),
            ("bert.block_count", Value::U32(self.config.num_hidden_layers)),
            ("bert.attention.head_count", Value::U32(self.config.num_attention_heads)),
            ("bert.attention.layer_norm_epsilon", Value::F32(layer_norm_eps as f32)),
            ("bert.attention.causal", Value::Bool(false)),
            ("bert.pooling_type", Value::U32(self.pooling.number())),
            ("tokenizer.ggml.token_type_count", Value::U32(self.config.type_vocab_size)),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }
}

impl Config {
    fn check(&self) -> Result<(), EncoderError> {
        let unsupported = |what, found: &str| {
            Err(EncoderError::Unsupported { file: CONFIG, what, found: found.chars().take(64).collect() })
        };
        let positions = self.position_embedding_type.as_deref().unwrap_or("absolute");
        match self {
            _ if self.model_type != "bert" => unsupported("this model_type", &self.model_type),
            _ if self.hidden_act != "gelu" => unsupported("this hidden_act", &self.hidden_act),
            _ if positions != "absolute" => unsupported("this position_embedding_type", positions),
            _ if self.is_decoder => unsupported("a decoder", "is_decoder"),
            _ => Ok(()),
        }
    }
}

fn parse_pooling(json: &[u8]) -> Result<Pooling, EncoderError> {
    let config: PoolingConfig = serde_json::from_slice(json).map_err(EncoderError::json(POOLING))?;
    let others = config.pooling_mode_max_tokens
        || config.pooling_mode_mean_sqrt_len_tokens
        || config.pooling_mode_weightedmean_tokens
        || config.pooling_mode_lasttoken;
    match (config.pooling_mode_mean_tokens, config.pooling_mode_cls_token, others) {
        (true, false, false) => Ok(Pooling::Mean),
        (false, true, false) => Ok(Pooling::Cls),
        _ => Err(EncoderError::Unsupported {
            file: POOLING,
            what: "a pooling other than the mean or the class token's",
            found: "several modes, another or none".to_owned(),
        }),
    }
}
