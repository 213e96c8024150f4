//! Files that hold no encoder of the exact class are refused with a reason, never with a panic.

use std::sync::Arc;

use assay_engine::embedding::{Encoder, EncoderError};
use assay_engine::synthetic::{Synthetic, SyntheticBert, Tensor, TransformersFiles};
use assay_engine::{LoadError, LoadOptions, Model};
use assay_kernels::WeightType;
use assay_manifest::formats::gguf::{self, Array, Metadata, Value};

use crate::support::load;

/// A file with something changed.
fn changed(change: impl FnOnce(&mut Metadata, &mut Vec<Tensor>)) -> Vec<u8> {
    let synthetic = SyntheticBert { layers: 1, ..SyntheticBert::default() };
    let (mut metadata, mut tensors) = (synthetic.metadata().unwrap(), synthetic.tensors());
    change(&mut metadata, &mut tensors);
    let tensors: Vec<_> = tensors.iter().map(Tensor::data).collect();
    let mut file = Vec::new();
    gguf::write(&mut file, &metadata, &tensors).unwrap();
    file
}

fn transformers(files: &TransformersFiles) -> Result<Arc<Encoder>, EncoderError> {
    Encoder::from_transformers(&files.borrowed(), &LoadOptions::default(), &mut |_, _| ())
}

#[test]
fn decoders_and_encoders_are_not_mixed_up() {
    let encoder = SyntheticBert::default().gguf().unwrap();
    let error = Model::load(&encoder, &LoadOptions::default(), &mut |_, _| ()).unwrap_err();
    assert!(error.to_string().contains("bert"), "{error}");
    let error = load(&Synthetic::default().gguf().unwrap()).unwrap_err();
    assert!(error.to_string().contains("llama"), "{error}");
}

#[test]
fn other_settings_are_refused() {
    for (key, value) in [
        ("bert.attention.causal", Value::Bool(true)),
        ("bert.pooling_type", Value::U32(0)),
        ("bert.pooling_type", Value::U32(3)),
        ("bert.attention.head_count", Value::U32(0)),
        ("bert.attention.head_count", Value::U32(3)),
        ("bert.attention.head_count_kv", Value::U32(2)),
        ("bert.attention.layer_norm_epsilon", Value::F32(f32::NAN)),
        ("bert.attention.layer_norm_epsilon", Value::F32(0.0)),
        ("bert.context_length", Value::U32(0)),
        ("bert.context_length", Value::U32(1 << 30)),
        ("bert.feed_forward_length", Value::U32(1 << 30)),
        ("bert.embedding_length", Value::U64(u64::MAX)),
        ("bert.block_count", Value::U64(u64::MAX)),
        ("bert.vocab_size", Value::U32(7)),
        ("bert.attention.alibi_bias_max", Value::F32(8.0)),
        ("tokenizer.ggml.token_type_count", Value::U32(0)),
    ] {
        let file = changed(|metadata, _| {
            metadata.insert(key.to_owned(), value.clone());
        });
        let refused = load(&file);
        assert!(matches!(refused, Err(EncoderError::Load(LoadError::Config(_)))), "{key}: {refused:?}");
    }
    for key in ["bert.pooling_type", "bert.context_length", "tokenizer.ggml.token_type_count"] {
        let file = changed(|metadata, _| {
            metadata.remove(key);
        });
        assert!(load(&file).unwrap_err().to_string().contains(key), "{key}");
    }
}

#[test]
fn tensors_that_are_missing_unexpected_or_of_another_shape_are_named() {
    let count = SyntheticBert { layers: 1, ..SyntheticBert::default() }.tensors().len();
    for index in 0..count {
        let mut name = String::new();
        let file = changed(|_, tensors| name = tensors.remove(index).name);
        let refused = load(&file);
        let missing =
            matches!(&refused, Err(EncoderError::Load(LoadError::MissingTensor(tensor))) if *tensor == name);
        assert!(missing, "{name}: {refused:?}");
        let file = changed(|_, tensors| tensors[index].data[..4].copy_from_slice(&f32::NAN.to_le_bytes()));
        let refused = load(&file);
        assert!(matches!(refused, Err(EncoderError::Load(LoadError::Weights { .. }))), "{name}: {refused:?}");
    }
    let file = changed(|_, tensors| {
        let extra = Tensor { name: "blk.0.attn_qkv.weight".to_owned(), ..tensors[0].clone() };
        tensors.push(extra);
    });
    assert!(matches!(load(&file), Err(EncoderError::Load(LoadError::UnexpectedTensor(_)))));
    let file = changed(|metadata, _| {
        metadata.insert("bert.context_length".to_owned(), Value::U32(95));
    });
    assert!(matches!(load(&file), Err(EncoderError::Load(LoadError::Shape { .. }))));
}

#[test]
fn biases_in_blocks_are_refused() {
    let synthetic = SyntheticBert::of(WeightType::Q8_0);
    let mut tensors = synthetic.tensors();
    let like = tensors.iter().find(|tensor| tensor.name == "token_embd.weight").unwrap().clone();
    let bias = tensors.iter_mut().find(|tensor| tensor.name == "blk.0.attn_q.bias").unwrap();
    (bias.dtype, bias.data) = (like.dtype, like.data[..68].to_vec());
    let tensors: Vec<_> = tensors.iter().map(Tensor::data).collect();
    let mut file = Vec::new();
    gguf::write(&mut file, &synthetic.metadata().unwrap(), &tensors).unwrap();
    assert!(matches!(load(&file), Err(EncoderError::Load(LoadError::Type { .. }))));
}

#[test]
fn other_tokenizers_are_refused() {
    for (key, value) in [
        ("tokenizer.ggml.model", Value::String("t5".to_owned())),
        ("tokenizer.ggml.unknown_token_id", Value::U32(100_000)),
        ("tokenizer.ggml.token_type", Value::Array(Array::I32(vec![1]))),
    ] {
        let file = changed(|metadata, _| {
            metadata.insert(key.to_owned(), value.clone());
        });
        let refused = load(&file);
        assert!(matches!(refused, Err(EncoderError::Load(LoadError::Text(_)))), "{key}: {refused:?}");
    }
}

#[test]
fn damaged_files_are_refused_or_load_without_a_panic() {
    let file = changed(|_, _| ());
    for len in (0..file.len()).step_by(997) {
        assert!(load(&file[..len]).is_err(), "{len} bytes");
    }
    for at in (0..6_000).step_by(41) {
        for bit in [0x01, 0x40, 0xff] {
            let mut damaged = file.clone();
            damaged[at] ^= bit;
            let _ = load(&damaged);
        }
    }
}

#[test]
fn damaged_transformers_files_are_refused_or_load_without_a_panic() {
    let files = SyntheticBert { layers: 1, ..SyntheticBert::default() }.transformers().unwrap();
    for at in (0..files.weights.len().min(4_000)).step_by(37) {
        let mut damaged = files.clone();
        damaged.weights[at] ^= 0x41;
        let _ = transformers(&damaged);
        damaged.weights.truncate(at);
        assert!(transformers(&damaged).is_err(), "{at} bytes");
    }
    for at in 0..files.config.len() {
        let config = files.config[..at].to_owned();
        let refused = transformers(&TransformersFiles { config, ..files.clone() });
        assert!(matches!(refused, Err(EncoderError::Json { .. })), "{at} bytes");
    }
    for at in (0..files.tokenizer.len()).step_by(7) {
        let tokenizer = files.tokenizer[..at].to_owned();
        let refused = transformers(&TransformersFiles { tokenizer, ..files.clone() });
        assert!(matches!(refused, Err(EncoderError::Json { .. })), "{at} bytes");
    }
}

#[test]
fn what_transformers_files_say_otherwise_is_refused() {
    let files = SyntheticBert { layers: 1, ..SyntheticBert::default() }.transformers().unwrap();
    for (from, to) in [
        (r#""model_type": "bert""#, r#""model_type": "roberta""#),
        (r#""hidden_act": "gelu""#, r#""hidden_act": "gelu_new""#),
        (r#""absolute""#, r#""relative_key""#),
        (r#""hidden_size": 64"#, r#""hidden_size": 65"#),
        (r#""vocab_size": 89"#, r#""vocab_size": 4000000000"#),
        (r#""vocab_size": 89"#, r#""vocab_size": 88"#),
        (r#""num_hidden_layers": 1"#, r#""num_hidden_layers": 4000000000"#),
    ] {
        assert!(files.config.contains(from), "{from} in {}", files.config);
        let config = files.config.replace(from, to);
        assert!(transformers(&TransformersFiles { config, ..files.clone() }).is_err(), "{to}");
    }
    for (from, to) in [
        (r#""type": "WordPiece""#, r#""type": "BPE""#),
        (r#""BertNormalizer""#, r#""NFC""#),
        (r#""BertPreTokenizer""#, r#""Whitespace""#),
        (r#""TemplateProcessing""#, r#""RobertaProcessing""#),
        (r###""continuing_subword_prefix": "##""###, r#""continuing_subword_prefix": "@@""#),
        (r#""clean_text": true"#, r#""clean_text": false"#),
        (r#""unk_token": "[UNK]""#, r#""unk_token": "[NONE]""#),
        (r#""the": 8"#, r#""the": 4"#),
    ] {
        let found = files.tokenizer.contains(from);
        assert!(found, "{from} in {}", files.tokenizer);
        let tokenizer = files.tokenizer.replacen(from, to, 1);
        assert!(transformers(&TransformersFiles { tokenizer, ..files.clone() }).is_err(), "{to}");
    }
    let pooling = r#"{"pooling_mode_max_tokens": true}"#.to_owned();
    assert!(transformers(&TransformersFiles { pooling, ..files }).is_err());
}
