//! Compares real encoders with an independent implementation:
//! `cargo run --release -p assay-engine --example embed_oracle -- FOLDER [MODEL.gguf…]`.
//!
//! FOLDER holds a BERT model in the layout of transformers (the example `embed` says where to get one). Its weights
//! run through candle in f32, its texts through the `tokenizers` library; FOLDER in this engine, and each file made
//! from it, must give nearly the same embeddings.

#[allow(dead_code, reason = "the example makes no slips")]
#[path = "../tests/oracle/encoder.rs"]
mod encoder;

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use assay_engine::embedding::{Encoder, Pooling, TooLong, Transformers};
use assay_engine::{Engine, LoadOptions, Settings};
use candle_core::{Device, Tensor};
use tokenizers::Tokenizer;

const TEXTS: [&str; 12] = [
    "The cat sits outside.",
    "A feline is sitting in the garden.",
    "The new movie is awesome!",
    "How do I reset my password?",
    "I forgot my login credentials and cannot sign in.",
    "Photosynthesis turns light, water and carbon dioxide into sugar.",
    "",
    "Zürich, naïve café — 42 % of $1,000?",
    "東京 is the capital of 日本.",
    "def main(): print('hello, world')",
    "The quick brown fox jumps over the lazy dog. The quick brown fox jumps over the lazy dog. The quick brown \
     fox jumps over the lazy dog. The quick brown fox jumps over the lazy dog. The quick brown fox jumps over it.",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
];

/// Most that 1 less the cosine may be with the model's own weights.
const PLAIN_MAX: f64 = 1e-6;

/// Tokens and embedding of a text.
type Expected = (Vec<u32>, Tensor);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: embed_oracle FOLDER [MODEL.gguf…]")?;
    let read = |name: &str| std::fs::read(Path::new(&folder).join(name));
    let (config, tokenizer, weights) =
        (read("config.json")?, read("tokenizer.json")?, read("model.safetensors")?);
    let pooling = read("1_Pooling/config.json").ok();
    let options = LoadOptions::default();
    let files = Transformers {
        config: &config,
        tokenizer: &tokenizer,
        pooling: pooling.as_deref(),
        weights: &weights,
    };
    let ours = Encoder::from_transformers(&files, &options, &mut |_, _| ())?;
    let oracle = encoder::Encoder {
        tensors: tensors(&weights)?,
        heads: ours.config().heads,
        epsilon: f64::from(ours.config().epsilon),
        mean: ours.config().pooling == Pooling::Mean,
        slip: None,
    };
    let expected = expected(&oracle, &tokenizer)?;
    let engine = Engine::new(Settings::for_this_machine())?;
    let worst = compare(&engine, &folder, &ours, &expected)?;
    if worst > PLAIN_MAX {
        return Err(format!("{folder} is further away than {PLAIN_MAX:e}").into());
    }
    for path in arguments {
        let encoder = Encoder::load(&std::fs::read(&path)?, &options, &mut |_, _| ())?;
        compare(&engine, &path, &encoder, &expected)?;
    }
    Ok(())
}

/// The model's tensors under their names in GGUF.
fn tensors(weights: &[u8]) -> Result<HashMap<String, Tensor>, Box<dyn Error>> {
    let names = [
        ("embeddings.word_embeddings", "token_embd"),
        ("embeddings.position_embeddings", "position_embd"),
        ("embeddings.token_type_embeddings", "token_types"),
        ("embeddings.LayerNorm", "token_embd_norm"),
        ("encoder.layer", "blk"),
        ("attention.self.query", "attn_q"),
        ("attention.self.key", "attn_k"),
        ("attention.self.value", "attn_v"),
        ("attention.output.dense", "attn_output"),
        ("attention.output.LayerNorm", "attn_output_norm"),
        ("intermediate.dense", "ffn_up"),
        ("output.dense", "ffn_down"),
        ("output.LayerNorm", "layer_output_norm"),
    ];
    let read = candle_core::safetensors::load_buffer(weights, &Device::Cpu)?;
    let renamed = read.into_iter().map(|(name, tensor)| {
        (names.iter().fold(name, |name, (theirs, ours)| name.replace(theirs, ours)), tensor)
    });
    Ok(renamed.collect())
}

fn expected(oracle: &encoder::Encoder, tokenizer: &[u8]) -> Result<Vec<Expected>, Box<dyn Error>> {
    let mut tokenizer = Tokenizer::from_bytes(tokenizer).map_err(|error| error.to_string())?;
    tokenizer.with_padding(None).with_truncation(None).map_err(|error| error.to_string())?;
    let mut expected = Vec::new();
    for text in TEXTS {
        let encoded = tokenizer.encode(text, true).map_err(|error| error.to_string())?;
        let tokens = encoded.get_ids().to_vec();
        expected.push((tokens.clone(), oracle.embed(&tokens)?));
    }
    Ok(expected)
}

/// How far the embeddings are from what is expected, at most.
fn compare(
    engine: &Engine,
    name: &str,
    encoder: &Arc<Encoder>,
    expected: &[Expected],
) -> Result<f64, Box<dyn Error>> {
    let embeddings = engine.encode(encoder, &TEXTS, TooLong::Refuse)?;
    let (mut worst, mut sum) = (0f64, 0f64);
    for ((text, embedding), (tokens, expected)) in TEXTS.iter().zip(&embeddings).zip(expected) {
        if encoder.text().encode_sentence(text)? != *tokens {
            return Err(format!("{name} reads other tokens in {text:?}").into());
        }
        let angle = encoder::angle(expected, &embedding.values)?;
        (worst, sum) = (worst.max(angle), sum + angle);
    }
    let mean = sum / TEXTS.len() as f64;
    println!("{name}: 1 - cosine is {mean:.2e} in the mean, {worst:.2e} at most; spec {}", encoder.spec_id());
    Ok(worst)
}
