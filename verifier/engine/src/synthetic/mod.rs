//! Small models with random weights, for tests of everything that runs a model.
//!
//! A synthetic model is a complete GGUF file of one of the architectures: byte-level BPE over all bytes with a
//! few merges, a ChatML template, metadata and tensors named as llama.cpp's converters name them
//! (`conversion/*.py`). The same settings always give the same bytes.

use std::io::Write;

use assay_kernels::WeightType;
use assay_manifest::formats::gguf::{self, GgufError};

mod bert;
mod blocks;
mod metadata;
mod random;
mod rope;
mod tensors;
mod variants;
mod vocabulary;
#[cfg(test)]
mod tests;

pub use bert::{SyntheticBert, SyntheticBertError, TransformersFiles};
pub use rope::RopeScaling;
pub use tensors::{Mix, Tensor};
pub use vocabulary::Vocabulary;

/// What the model looks like; the default has two layers and some 90,000 parameters.
#[derive(Clone, Copy, Debug)]
pub struct Synthetic {
    /// Which tensors there are and how they are joined.
    pub architecture: Architecture,
    /// Seed of the weights.
    pub seed: u64,
    /// Type of the matrices; norms, biases, expert routers and rotary factors are F32.
    pub weight_type: WeightType,
    /// Weights lie within ± `reach / sqrt(columns)`. The default, 3, makes positions differ clearly; less makes
    /// a model on which rounding weighs less.
    pub reach: f32,
    /// Whether some matrices get a larger type.
    pub mix: Mix,
    /// Elements of the residual, a multiple of 32.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key-value heads.
    pub kv_heads: usize,
    /// Elements of a head, if not `hidden / heads`.
    pub head_size: Option<usize>,
    /// Elements of a head that are rotated, its first ones, if not all.
    pub rotated: Option<usize>,
    /// Elements of the feed-forward layer, a multiple of 32.
    pub feed_forward: usize,
    /// Experts of a feed-forward layer, if it is a mixture.
    pub experts: Option<Experts>,
    /// Most positions.
    pub context_length: u32,
    /// Positions that a windowed layer sees, its own included, if there are such layers.
    pub window: Option<u32>,
    /// Base of the rotary frequencies.
    pub rope_base: f32,
    /// How the rotary frequencies are stretched.
    pub rope_scaling: RopeScaling,
    /// Whether there is an output head of its own, or the embedding serves as one.
    pub head: Head,
    /// The tokens.
    pub vocabulary: Vocabulary,
    /// The token that ends an answer; by default the last control token.
    pub eos: Option<u32>,
}

/// The architectures, by the names that GGUF gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama and Mistral; Mixtral, if there are experts.
    Llama,
    /// Biases on queries, keys and values.
    Qwen2,
    /// Norms on queries and keys.
    Qwen3,
    /// Qwen3 with experts.
    Qwen3Moe,
    /// Norms on queries, keys and results, GELU, windows in five of six layers.
    Gemma3,
    /// Queries, keys and values in one matrix, gate and up in another; windows in every layer.
    Phi3,
    /// Of the tolerance class: norms with biases, every matrix with one, attention beside the feed-forward layer,
    /// which has no gate.
    Phi2,
    /// Of the tolerance class: half of each head rotated, gate and up in one matrix, norms of results.
    Glm4,
}

/// Experts of a mixture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Experts {
    /// How many there are.
    pub count: usize,
    /// How many a position uses.
    pub used: usize,
    /// Elements of an expert's inner layer, a multiple of 32; Mixtral has no key for it, and
    /// [`Synthetic::feed_forward`] must be the same.
    pub feed_forward: usize,
}

/// Where the output head comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// The embedding.
    Tied,
    /// A tensor of its own.
    Own,
}

impl Architecture {
    /// The value of `general.architecture`, with which the architecture's keys begin.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Qwen3Moe => "qwen3moe",
            Self::Gemma3 => "gemma3",
            Self::Phi3 => "phi3",
            Self::Phi2 => "phi2",
            Self::Glm4 => "glm4",
        }
    }
}

impl Default for Synthetic {
    fn default() -> Self {
        Self {
            architecture: Architecture::Llama,
            seed: 1,
            weight_type: WeightType::Q8_0,
            reach: 3.0,
            mix: Mix::Uniform,
            hidden: 64,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            head_size: None,
            rotated: None,
            feed_forward: 96,
            experts: None,
            context_length: 256,
            window: None,
            rope_base: 10_000.0,
            rope_scaling: RopeScaling::None,
            head: Head::Tied,
            vocabulary: Vocabulary::Small,
            eos: None,
        }
    }
}

impl Synthetic {
    /// A model of the default shape with matrices of this type; wide enough for the type's blocks.
    pub fn of(weight_type: WeightType) -> Self {
        let shape = Self { weight_type, ..Self::default() };
        match weight_type.block().0 {
            256 => Self { hidden: 256, feed_forward: 256, ..shape },
            _ => shape,
        }
    }

    /// The model file.
    ///
    /// # Errors
    /// When the settings make no file, such as a size that is not a multiple of a block.
    pub fn gguf(&self) -> Result<Vec<u8>, GgufError> {
        let mut file = Vec::new();
        self.write(&mut file)?;
        Ok(file)
    }

    /// Writes the model file; only its tensors are held in memory.
    ///
    /// # Errors
    /// As [`Synthetic::gguf`], and when the sink fails.
    pub fn write(&self, sink: impl Write) -> Result<(), GgufError> {
        let tensors = self.tensors();
        let tensors: Vec<_> = tensors.iter().map(Tensor::data).collect();
        gguf::write(sink, &self.metadata(), &tensors)
    }

    fn head_size(&self) -> usize {
        self.head_size.unwrap_or(self.hidden / self.heads)
    }

    fn rotated(&self) -> usize {
        self.rotated.unwrap_or(self.head_size())
    }
}
