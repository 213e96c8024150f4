//! A llama model of the smallest useful size, with random weights.

use assay_lineage::TransformersSource;
use assay_manifest::formats::DType;
use assay_manifest::formats::safetensors::{self, TensorData};
use half::{bf16, f16};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub const VOCABULARY: u64 = 47;
pub const HIDDEN: u64 = 64;
pub const FEED_FORWARD: u64 = 96;
pub const HEADS: u64 = 4;
pub const KV_HEADS: u64 = 2;

/// A model whose parts a test can change before it is converted.
#[derive(Clone)]
pub struct TinyModel {
    pub config: Value,
    pub tokenizer: Value,
    pub tensors: BTreeMap<String, Tensor>,
}

#[derive(Clone)]
pub struct Tensor {
    pub shape: Vec<u64>,
    pub values: Vec<f32>,
}

/// The bytes of a [`TinyModel`]'s files.
pub struct Files {
    config: Vec<u8>,
    tokenizer: Vec<u8>,
    tokenizer_config: Vec<u8>,
    weights: Vec<u8>,
}

impl TinyModel {
    pub fn new() -> Self {
        let kv = HIDDEN / HEADS * KV_HEADS;
        let shapes = [
            ("model.embed_tokens", vec![VOCABULARY, HIDDEN]),
            ("model.layers.0.input_layernorm", vec![HIDDEN]),
            ("model.layers.0.self_attn.q_proj", vec![HIDDEN, HIDDEN]),
            ("model.layers.0.self_attn.k_proj", vec![kv, HIDDEN]),
            ("model.layers.0.self_attn.v_proj", vec![kv, HIDDEN]),
            ("model.layers.0.self_attn.o_proj", vec![HIDDEN, HIDDEN]),
            ("model.layers.0.post_attention_layernorm", vec![HIDDEN]),
            ("model.layers.0.mlp.gate_proj", vec![FEED_FORWARD, HIDDEN]),
            ("model.layers.0.mlp.up_proj", vec![FEED_FORWARD, HIDDEN]),
            ("model.layers.0.mlp.down_proj", vec![HIDDEN, FEED_FORWARD]),
            ("model.norm", vec![HIDDEN]),
        ];
        let tensor = |(seed, (name, shape)): (usize, (&str, Vec<u64>))| {
            (format!("{name}.weight"), Tensor::random(shape, seed as u64 + 1))
        };
        Self {
            config: config(),
            tokenizer: tokenizer(),
            tensors: shapes.into_iter().enumerate().map(tensor).collect(),
        }
    }

    pub fn files(&self, dtype: DType) -> Files {
        let data: Vec<(&String, &Tensor, Vec<u8>)> =
            self.tensors.iter().map(|(name, tensor)| (name, tensor, tensor.bytes(dtype))).collect();
        let tensors: Vec<TensorData<'_>> = data
            .iter()
            .map(|(name, tensor, data)| TensorData { name, dtype, shape: &tensor.shape, data })
            .collect();
        let mut weights = Vec::new();
        safetensors::write(&mut weights, &BTreeMap::new(), &tensors).unwrap();
        Files {
            config: self.config.to_string().into_bytes(),
            tokenizer: self.tokenizer.to_string().into_bytes(),
            tokenizer_config: json!({"eos_token": "<end>"}).to_string().into_bytes(),
            weights,
        }
    }
}

impl Files {
    pub fn named(&self) -> [(&'static str, &[u8]); 4] {
        [
            ("config.json", &self.config),
            ("tokenizer.json", &self.tokenizer),
            ("tokenizer_config.json", &self.tokenizer_config),
            ("model.safetensors", &self.weights),
        ]
    }

    pub fn source(&self) -> TransformersSource<'_> {
        TransformersSource::from_files(self.named()).unwrap()
    }
}

impl Tensor {
    /// Values that F16 and BF16 hold exactly, so that every source type gives the same model.
    fn random(shape: Vec<u64>, seed: u64) -> Self {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 57) as f32 - 64.0) / 64.0
        };
        let values = (0..shape.iter().product()).map(|_| next()).collect();
        Self { shape, values }
    }

    fn bytes(&self, dtype: DType) -> Vec<u8> {
        let values = self.values.iter();
        match dtype {
            DType::F32 => values.flat_map(|value| value.to_le_bytes()).collect(),
            DType::F16 => values.flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
            DType::BF16 => values.flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect(),
            other => panic!("the tests have no weights of type {other}"),
        }
    }
}

fn config() -> Value {
    json!({
        "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": HIDDEN,
        "intermediate_size": FEED_FORWARD, "num_hidden_layers": 1, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
        "hidden_act": "silu", "tie_word_embeddings": true,
    })
}

fn tokenizer() -> Value {
    json!({
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
        "added_tokens": [{"id": 0, "content": "<end>", "special": true}],
        "model": {"type": "BPE", "vocab": {"<end>": 0, "a": 1, "b": 2, "ab": 3}, "merges": ["a b"]},
    })
}
