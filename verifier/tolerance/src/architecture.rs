//! The architectures, as a table of what candle's code for each takes for granted.
//!
//! candle checks little of a file and panics on some that contradict themselves; a row holds what is checked
//! before candle sees anything. What a row does not name, a file must not have.

use candle_core::quantized::gguf_file::Content;
use candle_core::{DType, Device, Result};
use candle_transformers::models::{quantized_glm4, quantized_phi};

use crate::reader::Reader;
use crate::weights::Weights;

/// What a model of an architecture must have.
pub(crate) struct Architecture {
    /// `general.architecture`, which prefixes the keys of its metadata.
    pub name: &'static str,
    /// The key of what norms add to a variance.
    pub epsilon: &'static str,
    /// Keys that its metadata may hold besides those of all, without prefix.
    pub keys: &'static [&'static str],
    /// Base of the rotations, where candle has it in its code.
    pub rope_base: Option<f32>,
    /// Which elements of a head are rotated.
    pub rotated: Rotated,
    /// How many key-value heads there are.
    pub kv_heads: KvHeads,
    /// Most positions: candle makes the rotations of all of them when it loads a model.
    pub context_max: u32,
    /// Tensors besides those of layers.
    pub whole: &'static [Part],
    /// Tensors of a layer, `blk.N.…`.
    pub layer: &'static [Part],
    /// candle's own reading.
    pub read: fn(Content, &mut Reader<'_>) -> Result<Weights>,
}

/// Elements of a head that are rotated, its first ones.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rotated {
    /// As the file states.
    Stated,
    /// Half of them, whatever the file states.
    Half,
}

/// Key-value heads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum KvHeads {
    /// As many as query heads.
    Equal,
    /// A divisor of the query heads.
    Grouped,
}

/// A tensor that a file has.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub name: &'static str,
    pub kind: Kind,
    pub need: Need,
    /// Tensors that a file may have instead, which hold its rows in this order, and how many rows each holds.
    pub pieces: &'static [(&'static str, Dim)],
}

/// What a tensor is.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// `[results, inputs]`, of any type of weights.
    Matrix(Dim, Dim),
    /// Numbers of F32.
    Vector(Dim),
}

impl Kind {
    /// The same with so many rows, or numbers.
    pub const fn with_rows(self, rows: Dim) -> Self {
        match self {
            Self::Matrix(_, cols) => Self::Matrix(rows, cols),
            Self::Vector(_) => Self::Vector(rows),
        }
    }
}

/// Whether a file must have a tensor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Always,
    Optional,
}

/// A dimension, by what it counts.
#[derive(Clone, Copy)]
pub(crate) enum Dim {
    Vocab,
    Hidden,
    /// Elements of all query heads.
    Queries,
    /// Elements of all key heads, or of all value heads.
    Keys,
    /// Queries, keys and values after one another.
    QueriesKeysValues,
    FeedForward,
    /// Gate and up after one another.
    GateAndUp,
}

const fn matrix(name: &'static str, rows: Dim, cols: Dim) -> Part {
    Part { name, kind: Kind::Matrix(rows, cols), need: Need::Always, pieces: &[] }
}

const fn vector(name: &'static str, len: Dim) -> Part {
    Part { name, kind: Kind::Vector(len), need: Need::Always, pieces: &[] }
}

const fn whole_or(pieces: &'static [(&'static str, Dim)], part: Part) -> Part {
    Part { pieces, ..part }
}

const fn optional(part: Part) -> Part {
    Part { need: Need::Optional, ..part }
}

/// Phi-1, Phi-1.5 and Phi-2. Converters wrote queries, keys and values together once, and apart since.
const PHI2: Architecture = Architecture {
    name: "phi2",
    epsilon: "attention.layer_norm_epsilon",
    keys: &[],
    rope_base: Some(10_000.0),
    rotated: Rotated::Stated,
    kv_heads: KvHeads::Equal,
    context_max: quantized_phi::MAX_SEQ_LEN as u32,
    whole: &[
        matrix("token_embd.weight", Dim::Vocab, Dim::Hidden),
        vector("output_norm.weight", Dim::Hidden),
        vector("output_norm.bias", Dim::Hidden),
        matrix("output.weight", Dim::Vocab, Dim::Hidden),
        vector("output.bias", Dim::Vocab),
    ],
    layer: &[
        vector("attn_norm.weight", Dim::Hidden),
        vector("attn_norm.bias", Dim::Hidden),
        whole_or(
            &[("attn_q.weight", Dim::Queries), ("attn_k.weight", Dim::Keys), ("attn_v.weight", Dim::Keys)],
            matrix("attn_qkv.weight", Dim::QueriesKeysValues, Dim::Hidden),
        ),
        whole_or(
            &[("attn_q.bias", Dim::Queries), ("attn_k.bias", Dim::Keys), ("attn_v.bias", Dim::Keys)],
            vector("attn_qkv.bias", Dim::QueriesKeysValues),
        ),
        matrix("attn_output.weight", Dim::Hidden, Dim::Queries),
        vector("attn_output.bias", Dim::Hidden),
        matrix("ffn_up.weight", Dim::FeedForward, Dim::Hidden),
        vector("ffn_up.bias", Dim::FeedForward),
        matrix("ffn_down.weight", Dim::Hidden, Dim::FeedForward),
        vector("ffn_down.bias", Dim::Hidden),
    ],
    read: |content, reader| {
        quantized_phi::ModelWeights::from_gguf(content, reader, &Device::Cpu).map(Weights::Phi2)
    },
};

/// GLM-4-0414 and GLM-Z1-0414.
const GLM4: Architecture = Architecture {
    name: "glm4",
    epsilon: "attention.layer_norm_rms_epsilon",
    keys: &["attention.key_length", "attention.value_length"],
    rope_base: None,
    rotated: Rotated::Half,
    kv_heads: KvHeads::Grouped,
    // Of a model with the largest heads that are accepted, the rotations take 256 MiB.
    context_max: 1 << 17,
    whole: &[
        matrix("token_embd.weight", Dim::Vocab, Dim::Hidden),
        vector("output_norm.weight", Dim::Hidden),
        optional(matrix("output.weight", Dim::Vocab, Dim::Hidden)),
    ],
    layer: &[
        vector("attn_norm.weight", Dim::Hidden),
        matrix("attn_q.weight", Dim::Queries, Dim::Hidden),
        matrix("attn_k.weight", Dim::Keys, Dim::Hidden),
        matrix("attn_v.weight", Dim::Keys, Dim::Hidden),
        optional(vector("attn_q.bias", Dim::Queries)),
        optional(vector("attn_k.bias", Dim::Keys)),
        optional(vector("attn_v.bias", Dim::Keys)),
        matrix("attn_output.weight", Dim::Hidden, Dim::Queries),
        vector("post_attention_norm.weight", Dim::Hidden),
        vector("ffn_norm.weight", Dim::Hidden),
        matrix("ffn_up.weight", Dim::GateAndUp, Dim::Hidden),
        matrix("ffn_down.weight", Dim::Hidden, Dim::FeedForward),
        vector("post_ffw_norm.weight", Dim::Hidden),
    ],
    read: |content, reader| {
        quantized_glm4::ModelWeights::from_gguf(content, reader, &Device::Cpu, DType::F32).map(Weights::Glm4)
    },
};

/// Every architecture. Others for which candle has code are left out where it does not compute what the file means:
/// `lfm2` forgets what stood before a chunk of the prompt, and `gemma` and `gemma2` are taken for Gemma 3.
pub(crate) static ARCHITECTURES: [Architecture; 2] = [PHI2, GLM4];

impl Architecture {
    /// The architecture of this name, if candle runs it.
    pub fn named(name: &str) -> Option<&'static Self> {
        ARCHITECTURES.iter().find(|architecture| architecture.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_engine_names_these_and_no_others() {
        let names = ARCHITECTURES.iter().map(|architecture| architecture.name);
        assert!(names.eq(assay_engine::architecture::TOLERANCE));
    }
}
