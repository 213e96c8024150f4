//! The tensors of an encoder.

use assay_kernels::{Cpu, Matrix};

use super::config::EncoderConfig;
use crate::load::LoadError;
use crate::tensors::Tensors;

/// The tensors, packed for the kernels.
pub(super) struct Weights {
    /// `[vocab, hidden]`.
    pub tokens: Matrix,
    /// `[positions, hidden]`.
    pub positions: Matrix,
    /// The first row of `[types, hidden]`.
    pub token_type: Vec<f32>,
    pub norm: LayerNorm,
    pub layers: Vec<Layer>,
}

/// The tensors of one layer.
pub(super) struct Layer {
    /// `[hidden, hidden]` each.
    pub query: Affine,
    pub key: Affine,
    pub value: Affine,
    pub attention_output: Affine,
    pub attention_norm: LayerNorm,
    /// `[feed forward, hidden]`.
    pub up: Affine,
    /// `[hidden, feed forward]`.
    pub down: Affine,
    pub output_norm: LayerNorm,
}

/// A matrix `[results, inputs]`, and what is added to its results.
pub(super) struct Affine {
    pub matrix: Matrix,
    pub bias: Vec<f32>,
}

/// What a normalised row is multiplied with, and what is added then, `[hidden]` each.
pub(super) struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl LayerNorm {
    pub fn apply(&self, cpu: Cpu, epsilon: f32, x: &[f32], out: &mut [f32]) {
        cpu.layer_norm(x, &self.weight, &self.bias, epsilon, out);
    }
}

impl Weights {
    pub fn take(tensors: &mut Tensors<'_>, config: &EncoderConfig) -> Result<Self, LoadError> {
        let hidden = config.hidden;
        let types = tensors.matrix("token_types.weight", config.token_types, hidden)?;
        let mut token_type = vec![0.0; hidden];
        types.row(0, &mut token_type);
        let tokens = tensors.matrix("token_embd.weight", config.vocab_size, hidden)?;
        let positions = tensors.matrix("position_embd.weight", config.context_length, hidden)?;
        let norm = LayerNorm::take(tensors, "token_embd_norm", hidden)?;
        // No capacity from the count: it is not to be trusted before the tensors have been found.
        let mut layers = Vec::new();
        for index in 0..config.layers {
            layers.push(Layer::take(tensors, index, config)?);
        }
        Ok(Self { tokens, positions, token_type, norm, layers })
    }
}

impl Layer {
    fn take(tensors: &mut Tensors<'_>, index: usize, config: &EncoderConfig) -> Result<Self, LoadError> {
        let name = |part: &str| format!("blk.{index}.{part}");
        let EncoderConfig { hidden, feed_forward, .. } = *config;
        Ok(Self {
            query: Affine::take(tensors, &name("attn_q"), hidden, hidden)?,
            key: Affine::take(tensors, &name("attn_k"), hidden, hidden)?,
            value: Affine::take(tensors, &name("attn_v"), hidden, hidden)?,
            attention_output: Affine::take(tensors, &name("attn_output"), hidden, hidden)?,
            attention_norm: LayerNorm::take(tensors, &name("attn_output_norm"), hidden)?,
            up: Affine::take(tensors, &name("ffn_up"), feed_forward, hidden)?,
            down: Affine::take(tensors, &name("ffn_down"), hidden, feed_forward)?,
            output_norm: LayerNorm::take(tensors, &name("layer_output_norm"), hidden)?,
        })
    }
}

impl Affine {
    fn take(tensors: &mut Tensors<'_>, name: &str, rows: usize, cols: usize) -> Result<Self, LoadError> {
        Ok(Self {
            matrix: tensors.matrix(&format!("{name}.weight"), rows, cols)?,
            bias: tensors.numbers(&format!("{name}.bias"), rows)?,
        })
    }
}

impl LayerNorm {
    fn take(tensors: &mut Tensors<'_>, name: &str, len: usize) -> Result<Self, LoadError> {
        Ok(Self {
            weight: tensors.numbers(&format!("{name}.weight"), len)?,
            bias: tensors.numbers(&format!("{name}.bias"), len)?,
        })
    }
}
