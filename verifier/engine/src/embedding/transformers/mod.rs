//! The layout of Hugging Face's transformers, read as the header that llama.cpp's converter would write.

mod settings;
mod tokenizer;

use std::collections::BTreeSet;
use std::io::BufReader;

use assay_manifest::formats::gguf::{Gguf, TensorInfo};
use assay_manifest::formats::safetensors::{self, Safetensors};

use super::error::EncoderError;
use crate::source::{SourceReader, WeightSource};

/// The files that decide an encoder.
#[derive(Clone, Copy)]
pub struct Transformers<'a> {
    /// `config.json`.
    pub config: &'a [u8],
    /// `tokenizer.json`.
    pub tokenizer: &'a [u8],
    /// `1_Pooling/config.json` of sentence-transformers; without it, rows are averaged.
    pub pooling: Option<&'a [u8]>,
    /// `model.safetensors`.
    pub weights: &'a dyn WeightSource,
}

/// The version of the format whose metadata this is.
const GGUF_VERSION: u32 = 3;
const ALIGNMENT: u64 = 32;

/// Tensors outside of layers.
const NAMES: [(&str, &str); 4] = [
    ("embeddings.word_embeddings", "token_embd"),
    ("embeddings.position_embeddings", "position_embd"),
    ("embeddings.token_type_embeddings", "token_types"),
    ("embeddings.LayerNorm", "token_embd_norm"),
];

/// Tensors of a layer.
const LAYER_NAMES: [(&str, &str); 8] = [
    ("attention.self.query", "attn_q"),
    ("attention.self.key", "attn_k"),
    ("attention.self.value", "attn_v"),
    ("attention.output.dense", "attn_output"),
    ("attention.output.LayerNorm", "attn_output_norm"),
    ("intermediate.dense", "ffn_up"),
    ("output.dense", "ffn_down"),
    ("output.LayerNorm", "layer_output_norm"),
];

/// Beginnings of names of tensors that no embedding needs: the positions' numbers, and the heads of the training.
const UNUSED: [&str; 3] = ["embeddings.position_ids", "pooler.", "cls."];

impl Transformers<'_> {
    /// Metadata and tensors under the names that GGUF gives them, each where it stands in `weights`.
    ///
    /// # Errors
    /// When a file is not of its format, or describes what is not implemented.
    pub fn header(&self) -> Result<Gguf, EncoderError> {
        let settings = settings::Settings::parse(self.config, self.pooling)?;
        let reader = BufReader::new(SourceReader::new(self.weights));
        let header = Safetensors::parse(reader, self.weights.size_bytes())?;
        let (mut tensors, mut names) = (Vec::new(), BTreeSet::new());
        for tensor in header.tensors.into_iter().filter(|tensor| !is_unused(&tensor.name)) {
            let tensor = renamed(tensor);
            if !names.insert(tensor.name.clone()) {
                return Err(EncoderError::DuplicateTensor(tensor.name));
            }
            tensors.push(tensor);
        }
        let mut metadata = settings.metadata();
        // The vocabulary gets as large as the settings say, so the weights must agree first.
        settings.check_rows(&tensors)?;
        metadata.extend(tokenizer::metadata(self.tokenizer, settings.vocab_size)?);
        Ok(Gguf {
            version: GGUF_VERSION,
            metadata,
            tensors,
            alignment: ALIGNMENT,
            data_offset: header.data_offset,
        })
    }
}

/// A name without the prefix that models with a head of their training have.
fn bare(name: &str) -> &str {
    name.strip_prefix("bert.").unwrap_or(name)
}

fn is_unused(name: &str) -> bool {
    UNUSED.iter().any(|unused| bare(name).starts_with(unused))
}

/// A tensor as GGUF has it; one that has no place in the architecture keeps its name, and is refused for it.
fn renamed(tensor: safetensors::TensorInfo) -> TensorInfo {
    let name = gguf_name(bare(&tensor.name)).unwrap_or_else(|| tensor.name.clone());
    let dims = tensor.shape.iter().rev().copied().collect();
    TensorInfo { name, dtype: tensor.dtype, dims, offset: tensor.offset, nbytes: tensor.nbytes }
}

fn gguf_name(name: &str) -> Option<String> {
    let (part, kind) = name.rsplit_once('.')?;
    let kind = match kind {
        "weight" | "gamma" => "weight",
        "bias" | "beta" => "bias",
        _ => return None,
    };
    let find = |names: &[(&str, &'static str)], part: &str| {
        names.iter().find(|(theirs, _)| *theirs == part).map(|(_, ours)| *ours)
    };
    match part.strip_prefix("encoder.layer.").and_then(|layer| layer.split_once('.')) {
        Some((layer, part)) => Some(format!("blk.{layer}.{}.{kind}", find(&LAYER_NAMES, part)?)),
        None => Some(format!("{}.{kind}", find(&NAMES, part)?)),
    }
}
