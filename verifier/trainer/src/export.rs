//! The trained model in the layout of Hugging Face's transformers.

use crate::error::TrainerError;
use crate::model::Model;
use crate::recipe::Shape;
use crate::tokenizer::{END_OF_TEXT, MESSAGE_END, SPECIAL};
use assay_manifest::formats::DType;
use assay_manifest::formats::safetensors::{self, TensorData};
use candle_core::Var;
use half::f16;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use tokenizers::Tokenizer;

/// ChatML.
const CHAT_TEMPLATE: &str = "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// Writes `model.safetensors` (F16), `config.json`, `tokenizer.json` and `tokenizer_config.json`.
///
/// # Errors
/// When a file cannot be written.
pub fn export(model: &Model, tokenizer: &Tokenizer, dir: &Path) -> Result<(), TrainerError> {
    std::fs::create_dir_all(dir).map_err(TrainerError::io("creating", dir))?;
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        std::fs::write(&path, bytes).map_err(TrainerError::io("writing", &path))
    };
    let vocabulary = tokenizer.get_vocab_size(true);
    write("model.safetensors", &weights(model)?)?;
    write("config.json", &pretty(&config(model.shape(), vocabulary)))?;
    write("tokenizer_config.json", &pretty(&tokenizer_config(model.shape())))?;
    let tokenizer = tokenizer.to_string(true).map_err(TrainerError::Tokenizer)?;
    write("tokenizer.json", tokenizer.as_bytes())
}

fn pretty(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

fn config(shape: &Shape, vocabulary: usize) -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "float16",
        "vocab_size": vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head(),
        "max_position_embeddings": shape.context,
        "rope_theta": shape.rope_theta,
        "rms_norm_eps": shape.norm_eps,
        "hidden_act": "silu",
        "attention_bias": false,
        "mlp_bias": false,
        "tie_word_embeddings": true,
        "bos_token_id": special_id(END_OF_TEXT),
        "eos_token_id": special_id(MESSAGE_END),
    })
}

fn tokenizer_config(shape: &Shape) -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": false,
        "bos_token": END_OF_TEXT,
        "eos_token": MESSAGE_END,
        "model_max_length": shape.context,
        "clean_up_tokenization_spaces": false,
        "chat_template": CHAT_TEMPLATE,
    })
}

fn special_id(token: &str) -> Option<usize> {
    SPECIAL.iter().position(|special| *special == token)
}

/// A tensor under the name that transformers gives it.
struct Named {
    name: String,
    shape: Vec<u64>,
    data: Vec<u8>,
}

fn weights(model: &Model) -> Result<Vec<u8>, TrainerError> {
    let mut tensors = vec![
        Named::whole("model.embed_tokens.weight", model.embedding())?,
        Named::whole("model.norm.weight", model.norm())?,
    ];
    let shape = model.shape();
    let (queries, keys) = (shape.hidden, shape.kv_heads * shape.head());
    for (i, block) in model.blocks().iter().enumerate() {
        let name = |part: &str| format!("model.layers.{i}.{part}.weight");
        tensors.push(Named::whole(&name("input_layernorm"), &block.attention_norm)?);
        tensors.push(Named::rows(&name("self_attn.q_proj"), &block.qkv, 0, queries)?);
        tensors.push(Named::rows(&name("self_attn.k_proj"), &block.qkv, queries, keys)?);
        tensors.push(Named::rows(&name("self_attn.v_proj"), &block.qkv, queries + keys, keys)?);
        tensors.push(Named::whole(&name("self_attn.o_proj"), &block.output)?);
        tensors.push(Named::whole(&name("post_attention_layernorm"), &block.feed_forward_norm)?);
        tensors.push(Named::rows(&name("mlp.gate_proj"), &block.gate_up, 0, shape.feed_forward)?);
        let up = shape.feed_forward;
        tensors.push(Named::rows(&name("mlp.up_proj"), &block.gate_up, up, shape.feed_forward)?);
        tensors.push(Named::whole(&name("mlp.down_proj"), &block.down)?);
    }
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let tensors: Vec<TensorData<'_>> = tensors.iter().map(Named::data).collect();
    let mut file = Vec::new();
    safetensors::write(&mut file, &metadata, &tensors)?;
    Ok(file)
}

impl Named {
    fn whole(name: &str, weights: &Var) -> Result<Self, TrainerError> {
        let values = weights.flatten_all()?.to_vec1::<f32>()?;
        let shape = weights.dims().iter().map(|dim| *dim as u64).collect();
        let data = values.into_iter().flat_map(|value| f16::from_f32(value).to_le_bytes()).collect();
        Ok(Self { name: name.to_owned(), shape, data })
    }

    fn rows(name: &str, weights: &Var, first: usize, count: usize) -> Result<Self, TrainerError> {
        Self::whole(name, &Var::from_tensor(&weights.narrow(0, first, count)?)?)
    }

    fn data(&self) -> TensorData<'_> {
        TensorData { name: &self.name, dtype: DType::F16, shape: &self.shape, data: &self.data }
    }
}
