//! Writes a model of a real size with random weights, to measure speed on:
//! `cargo run --release -p assay-engine --example random_model -- OUT.gguf SHAPE TYPE`.
//!
//! SHAPE is `1b` (Llama 3.2 1B) or `0.5b` (Qwen2 0.5B); TYPE is a type of weights such as `q4_k`, or `q4_k_m`
//! for the mixture of that name. Where a matrix's columns do not fill blocks of 256, the type is the one that
//! llama.cpp falls back to.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};

use assay_engine::synthetic::{Architecture, Mix, RopeScaling, Synthetic, Vocabulary};
use assay_kernels::WeightType;

const USAGE: &str = "usage: random_model OUT.gguf 1b|0.5b TYPE|q4_k_m";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, shape, name] = arguments.as_slice() else { return Err(USAGE.into()) };
    let (mix, name) = match name.as_str() {
        "q4_k_m" => (Mix::Medium, "q4_k"),
        name => (Mix::Uniform, name),
    };
    let weight_type = WeightType::ALL.into_iter().find(|weight_type| weight_type.name() == name);
    let weight_type = weight_type.ok_or(USAGE)?;
    let shape = match shape.as_str() {
        "1b" => llama_1b(),
        "0.5b" => qwen2_half_b(),
        _ => return Err(USAGE.into()),
    };
    let mut sink = BufWriter::new(File::create(path)?);
    Synthetic { weight_type, mix, ..shape }.write(&mut sink)?;
    sink.flush()?;
    Ok(())
}

/// `config.json` of Llama-3.2-1B.
fn llama_1b() -> Synthetic {
    Synthetic {
        hidden: 2_048,
        layers: 16,
        heads: 32,
        kv_heads: 8,
        head_size: Some(64),
        feed_forward: 8_192,
        context_length: 131_072,
        rope_base: 500_000.0,
        rope_scaling: RopeScaling::Llama3 { factor: 32.0 },
        vocabulary: Vocabulary::Filled { size: 128_256, pre: "llama-bpe" },
        ..Synthetic::default()
    }
}

/// `config.json` of Qwen2-0.5B.
fn qwen2_half_b() -> Synthetic {
    Synthetic {
        architecture: Architecture::Qwen2,
        hidden: 896,
        layers: 24,
        heads: 14,
        kv_heads: 2,
        feed_forward: 4_864,
        context_length: 32_768,
        rope_base: 1_000_000.0,
        vocabulary: Vocabulary::Filled { size: 151_936, pre: "qwen2" },
        ..Synthetic::default()
    }
}
