//! BERT as its paper has it (Devlin et al., 2018): one text at a time, plain f32 tensor operations.
//!
//! Nothing is shared with the engine: candle reads the file, dequantises it, and multiplies, exponentiates and sums
//! in its own order.

use std::collections::HashMap;

use candle_core::{D, DType, Device, Result, Tensor};

/// Mistakes that an implementation could make; the oracle makes one on demand, to show that it would be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncoderSlip {
    /// Lets a position see only those before it.
    Causal,
    /// Leaves out the embedding of the token's type.
    TokenType,
    /// Begins with the second position.
    Position,
    /// Leaves out the biases.
    Bias,
    /// Does not divide the scores by the root of the head's size.
    AttentionScale,
    /// Normalises before a layer's parts instead of after them.
    PreNorm,
    /// Leaves out what is added to the parts of a layer.
    Residual,
    /// Takes SiLU for GELU.
    Activation,
    /// Divides by the standard deviation without taking the mean off.
    RmsNorm,
    /// Takes the mean for the first row, or the first row for the mean.
    Pooling,
}

pub struct Encoder {
    /// By their names in GGUF; matrices are `[results, inputs]`.
    pub tensors: HashMap<String, Tensor>,
    pub heads: usize,
    pub epsilon: f64,
    /// Whether rows are averaged; otherwise the first one is taken.
    pub mean: bool,
    pub slip: Option<EncoderSlip>,
}

impl Encoder {
    /// The embedding of a text's tokens, `[hidden]`.
    pub fn embed(&self, tokens: &[u32]) -> Result<Tensor> {
        let first = usize::from(self.slips(EncoderSlip::Position));
        let mut x = self.tensor("token_embd.weight").index_select(&Tensor::new(tokens, &Device::Cpu)?, 0)?;
        x = (x + self.tensor("position_embd.weight").narrow(0, first, tokens.len())?)?;
        if !self.slips(EncoderSlip::TokenType) {
            x = x.broadcast_add(&self.tensor("token_types.weight").get(0)?)?;
        }
        x = self.norm(&x, "token_embd_norm")?;
        for layer in 0.. {
            let name = |part: &str| format!("blk.{layer}.{part}");
            if !self.tensors.contains_key(&name("attn_q.weight")) {
                break;
            }
            let parts = [name("attn_output_norm"), name("layer_output_norm")];
            x = self.settled(&x, &parts[0], |x| self.attention(layer, x))?;
            x = self.settled(&x, &parts[1], |x| {
                let up = self.linear(x, &name("ffn_up"))?;
                let up = if self.slips(EncoderSlip::Activation) { up.silu()? } else { up.gelu_erf()? };
                self.linear(&up, &name("ffn_down"))
            })?;
        }
        let mean = self.mean != self.slips(EncoderSlip::Pooling);
        let pooled = if mean { x.mean(0)? } else { x.get(0)? };
        let length = pooled.sqr()?.sum_all()?.sqrt()?;
        pooled.broadcast_div(&length)
    }

    fn slips(&self, slip: EncoderSlip) -> bool {
        self.slip == Some(slip)
    }

    fn tensor(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("tensor {name} is missing"))
    }

    /// `norm(x + f(x))`.
    fn settled(&self, x: &Tensor, norm: &str, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        if self.slips(EncoderSlip::PreNorm) {
            return x + f(&self.norm(x, norm)?)?;
        }
        let sum = if self.slips(EncoderSlip::Residual) { f(x)? } else { (x + f(x)?)? };
        self.norm(&sum, norm)
    }

    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let product = x.matmul(&self.tensor(&format!("{name}.weight")).t()?)?;
        match self.slips(EncoderSlip::Bias) {
            true => Ok(product),
            false => product.broadcast_add(self.tensor(&format!("{name}.bias"))),
        }
    }

    /// `(x − mean) / sqrt(variance + ε) · w + b` over the last dimension (Ba, Kiros and Hinton, 2016).
    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let mean = x.mean_keepdim(D::Minus1)?;
        let x = if self.slips(EncoderSlip::RmsNorm) { x.clone() } else { x.broadcast_sub(&mean)? };
        let deviation = (x.sqr()?.mean_keepdim(D::Minus1)? + self.epsilon)?.sqrt()?;
        let normed = x.broadcast_div(&deviation)?.broadcast_mul(self.tensor(&format!("{name}.weight")))?;
        normed.broadcast_add(self.tensor(&format!("{name}.bias")))
    }

    fn attention(&self, layer: usize, x: &Tensor) -> Result<Tensor> {
        let (positions, hidden) = x.dims2()?;
        let size = hidden / self.heads;
        let heads = |part: &str| {
            let projected = self.linear(x, &format!("blk.{layer}.{part}"))?;
            projected.reshape((positions, self.heads, size))?.transpose(0, 1)?.contiguous()
        };
        let (queries, keys, values) = (heads("attn_q")?, heads("attn_k")?, heads("attn_v")?);
        let scale = if self.slips(EncoderSlip::AttentionScale) { 1.0 } else { (size as f64).sqrt() };
        let mut scores = (queries.matmul(&keys.transpose(1, 2)?)? / scale)?;
        if self.slips(EncoderSlip::Causal) {
            let hidden = |i: usize| i % positions > i / positions;
            let mask = (0..positions * positions).map(|i| if hidden(i) { f32::NEG_INFINITY } else { 0.0 });
            let mask = Tensor::from_iter(mask, &Device::Cpu)?.reshape((positions, positions))?;
            scores = scores.broadcast_add(&mask)?;
        }
        let exp = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
        let weights = exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)?;
        let attended = weights.matmul(&values)?.transpose(0, 1)?.contiguous()?.flatten_from(1)?;
        self.linear(&attended, &format!("blk.{layer}.attn_output"))
    }
}

/// 1 less the cosine of two vectors.
pub fn angle(oracle: &Tensor, ours: &[f32]) -> Result<f64> {
    let oracle = oracle.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let ours: Vec<f64> = ours.iter().map(|x| f64::from(*x)).collect();
    Ok(1.0 - dot(&oracle, &ours) / (dot(&oracle, &oracle) * dot(&ours, &ours)).sqrt())
}
