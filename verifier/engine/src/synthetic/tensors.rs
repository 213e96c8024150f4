//! The tensors of a synthetic model.

use assay_kernels::WeightType;
use assay_manifest::formats::DType;
use assay_manifest::formats::gguf::TensorData;

use super::blocks::{self, le_bytes};
use super::random::Random;
use super::{Architecture, Experts, Head, Synthetic};

/// Whether every matrix has the same type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// It has.
    Uniform,
    /// As in llama.cpp's `Q4_K_M`: the embedding is Q6_K, and so are the values and the down projection of
    /// about half of the layers.
    Medium,
}

/// A tensor of a synthetic model.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// The name.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions in GGUF's order, columns first.
    pub dims: Vec<u64>,
    /// The elements.
    pub data: Vec<u8>,
}

impl Tensor {
    /// The tensor as the writer takes it.
    pub fn data(&self) -> TensorData<'_> {
        TensorData { name: &self.name, dtype: self.dtype, dims: &self.dims, data: &self.data }
    }
}

impl Synthetic {
    /// The file's tensors.
    pub fn tensors(&self) -> Vec<Tensor> {
        let (vocab, hidden) = (self.vocabulary.len(), self.hidden);
        let mut made = Maker { shape: self, random: Random(self.seed), tensors: Vec::new() };
        made.matrix("token_embd.weight", &[vocab, hidden]);
        for layer in 0..self.layers {
            made.attention(layer);
            made.feed_forward(layer);
            made.norms(layer);
        }
        made.norm("output_norm.weight", hidden);
        if self.architecture == Architecture::Phi2 {
            made.bias("output_norm", hidden);
            made.bias("output", vocab);
        }
        if self.head == Head::Own {
            made.matrix("output.weight", &[vocab, hidden]);
        }
        for (name, factors) in self.rope_scaling.factors(self.rotated(), &mut made.random) {
            made.vector(name, &factors);
        }
        made.tensors
    }

    /// The type of a matrix.
    fn type_of(&self, name: &str, cols: usize) -> WeightType {
        let layer = name.split('.').nth(1).and_then(|layer| layer.parse().ok()).unwrap_or(0);
        let large = match self.mix {
            Mix::Uniform => false,
            Mix::Medium => {
                matches!(name, "token_embd.weight" | "output.weight")
                    || (name.contains("attn_v") || name.contains("ffn_down")) && self.has_more_bits(layer)
            }
        };
        fitting(if large { WeightType::Q6_K } else { self.weight_type }, cols)
    }

    /// llama.cpp's choice of layers (`use_more_bits`): the first and the last eighth, and a third between.
    const fn has_more_bits(&self, layer: usize) -> bool {
        let eighth = self.layers / 8;
        layer < eighth || layer >= 7 * self.layers / 8 || (layer - eighth) % 3 == 2
    }
}

/// The type that llama.cpp takes where columns do not fill blocks of 256 (`tensor_type_fallback`, with Q4_0
/// for its IQ4_NL).
const fn fitting(weight_type: WeightType, cols: usize) -> WeightType {
    if cols.is_multiple_of(256) {
        return weight_type;
    }
    match weight_type {
        WeightType::Q2_K | WeightType::Q3_K => WeightType::Q4_0,
        WeightType::Q4_K => WeightType::Q5_0,
        WeightType::Q5_K => WeightType::Q5_1,
        WeightType::Q6_K => WeightType::Q8_0,
        other => other,
    }
}

/// The tensors so far. Their order is that of the draws, so it is part of what a seed means.
struct Maker<'a> {
    shape: &'a Synthetic,
    random: Random,
    tensors: Vec<Tensor>,
}

impl Maker<'_> {
    fn attention(&mut self, layer: usize) {
        let Synthetic { hidden, heads, kv_heads, architecture, .. } = *self.shape;
        let head_size = self.shape.head_size();
        let (queries, keys) = (heads * head_size, kv_heads * head_size);
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        if matches!(architecture, Architecture::Phi3 | Architecture::Phi2) {
            self.matrix(&name("attn_qkv"), &[queries + 2 * keys, hidden]);
        } else {
            self.matrix(&name("attn_q"), &[queries, hidden]);
            self.matrix(&name("attn_k"), &[keys, hidden]);
            self.matrix(&name("attn_v"), &[keys, hidden]);
        }
        self.matrix(&name("attn_output"), &[hidden, queries]);
        let biases = match architecture {
            Architecture::Qwen2 | Architecture::Glm4 => {
                vec![("attn_q", queries), ("attn_k", keys), ("attn_v", keys)]
            }
            Architecture::Phi2 => vec![("attn_qkv", queries + 2 * keys), ("attn_output", hidden)],
            _ => Vec::new(),
        };
        for (part, len) in biases {
            self.bias(&format!("blk.{layer}.{part}"), len);
        }
    }

    fn feed_forward(&mut self, layer: usize) {
        let Synthetic { hidden, feed_forward, .. } = *self.shape;
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        if let Some(Experts { count, feed_forward, .. }) = self.shape.experts {
            self.router(&name("ffn_gate_inp"), [count, hidden]);
            self.matrix(&name("ffn_gate_exps"), &[count, feed_forward, hidden]);
            self.matrix(&name("ffn_up_exps"), &[count, feed_forward, hidden]);
            self.matrix(&name("ffn_down_exps"), &[count, hidden, feed_forward]);
            return;
        }
        match self.shape.architecture {
            Architecture::Phi3 | Architecture::Glm4 => {
                self.matrix(&name("ffn_up"), &[2 * feed_forward, hidden]);
            }
            Architecture::Phi2 => self.matrix(&name("ffn_up"), &[feed_forward, hidden]),
            _ => {
                self.matrix(&name("ffn_gate"), &[feed_forward, hidden]);
                self.matrix(&name("ffn_up"), &[feed_forward, hidden]);
            }
        }
        self.matrix(&name("ffn_down"), &[hidden, feed_forward]);
        if self.shape.architecture == Architecture::Phi2 {
            self.bias(&format!("blk.{layer}.ffn_up"), feed_forward);
            self.bias(&format!("blk.{layer}.ffn_down"), hidden);
        }
    }

    fn norms(&mut self, layer: usize) {
        use Architecture::{Gemma3, Glm4, Phi2, Qwen3, Qwen3Moe};
        let Synthetic { hidden, architecture, .. } = *self.shape;
        let head_size = self.shape.head_size();
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        self.norm(&name("attn_norm"), hidden);
        if architecture == Phi2 {
            self.bias(&format!("blk.{layer}.attn_norm"), hidden);
            return;
        }
        self.norm(&name("ffn_norm"), hidden);
        if matches!(architecture, Qwen3 | Qwen3Moe | Gemma3) {
            self.norm(&name("attn_q_norm"), head_size);
            self.norm(&name("attn_k_norm"), head_size);
        }
        if matches!(architecture, Gemma3 | Glm4) {
            self.norm(&name("post_attention_norm"), hidden);
            self.norm(&name("post_ffw_norm"), hidden);
        }
    }

    fn matrix(&mut self, name: &str, shape: &[usize]) {
        let cols = shape.last().copied().unwrap_or(1);
        let weight_type = self.shape.type_of(name, cols);
        let elements = shape.iter().product();
        let data =
            blocks::random(weight_type, elements, self.shape.reach / (cols as f32).sqrt(), &mut self.random);
        self.push(name, blocks::dtype(weight_type), shape, data);
    }

    /// The matrix that rates the experts, always F32. Its ratings lie as far apart as those of trained models: the
    /// last expert chosen has a small share, so that an error that tips the choice moves little.
    fn router(&mut self, name: &str, shape: [usize; 2]) {
        const SPREAD: f32 = 3.0;
        let reach = SPREAD * self.shape.reach / (shape[1] as f32).sqrt();
        let data = blocks::random(WeightType::F32, shape[0] * shape[1], reach, &mut self.random);
        self.push(name, DType::F32, &shape, data);
    }

    fn norm(&mut self, name: &str, len: usize) {
        let values: Vec<f32> = (0..len).map(|_| 1.0 + 0.25 * self.random.symmetric()).collect();
        self.vector(name, &values);
    }

    fn bias(&mut self, of: &str, len: usize) {
        let values: Vec<f32> = (0..len).map(|_| self.random.symmetric()).collect();
        self.vector(&format!("{of}.bias"), &values);
    }

    fn vector(&mut self, name: &str, values: &[f32]) {
        self.push(name, DType::F32, &[values.len()], le_bytes(values));
    }

    fn push(&mut self, name: &str, dtype: DType, shape: &[usize], data: Vec<u8>) {
        let dims = shape.iter().rev().map(|dim| *dim as u64).collect();
        self.tensors.push(Tensor { name: name.to_owned(), dtype, dims, data });
    }
}
