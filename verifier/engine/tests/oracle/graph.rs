//! The models as textbooks have them: whole sequences, plain f32 tensor operations, no cache.
//!
//! Nothing is shared with the engine: candle reads the file and dequantises it, and multiplies, exponentiates
//! and sums in its own order. The joints are those of the papers and of `transformers`; it has been
//! compared with llama.cpp on these files with F32 weights, to a mean divergence under 1e-6 nats. They differ in
//! one place: llama.cpp leaves out the windows of Phi-3.

use candle_core::{D, DType, Device, Result, Tensor};

use crate::file::File;
use crate::rope::{Reach, Rotations};
use crate::slip::Slip;

/// In Gemma 3, one layer in so many sees everything.
const GEMMA3_PERIOD: usize = 6;

pub struct Oracle {
    file: File,
    slip: Option<Slip>,
    hidden: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    head_size: usize,
    epsilon: f64,
}

/// What all layers of a reach share.
struct Sight {
    rotations: Rotations,
    /// `[positions, positions]`: 0 where a query sees a key, −∞ elsewhere.
    mask: Tensor,
}

impl Oracle {
    pub fn new(bytes: &[u8], slip: Option<Slip>) -> Result<Self> {
        let file = File::read(bytes)?;
        let size = |name| file.size(name).unwrap();
        let (hidden, heads) = (size("embedding_length"), size("attention.head_count"));
        Ok(Self {
            hidden,
            heads,
            layers: size("block_count"),
            kv_heads: file.size("attention.head_count_kv").unwrap_or(heads),
            head_size: file.size("attention.key_length").unwrap_or(hidden / heads),
            epsilon: file.number("attention.layer_norm_rms_epsilon").unwrap(),
            file,
            slip,
        })
    }

    /// The logits of every position, `[positions, vocab]`.
    pub fn logits(&self, tokens: &[u32]) -> Result<Tensor> {
        let embedding = self.file.tensor("token_embd.weight");
        let mut x = embedding.index_select(&Tensor::new(tokens, &Device::Cpu)?, 0)?;
        if self.file.architecture == "gemma3" && !self.slips(Slip::EmbeddingScale) {
            x = (x * (self.hidden as f64).sqrt())?;
        }
        let local = self.sight(Reach::Window, tokens.len())?;
        let global = self.sight(Reach::Everything, tokens.len())?;
        for layer in 0..self.layers {
            let sight = if self.reach(layer) == Reach::Window { &local } else { &global };
            let normed = self.norm(&x, self.part(layer, "attn_norm.weight"))?;
            let attended = self.attention(layer, &normed, sight)?;
            x = (x + self.post_norm(layer, "post_attention_norm.weight", attended)?)?;
            let normed = self.norm(&x, self.part(layer, "ffn_norm.weight"))?;
            let fed = self.feed_forward(layer, &normed)?;
            x = (x + self.post_norm(layer, "post_ffw_norm.weight", fed)?)?;
        }
        let head = self.file.optional("output.weight").unwrap_or(embedding);
        linear(&self.norm(&x, self.file.tensor("output_norm.weight"))?, head)
    }

    fn slips(&self, slip: Slip) -> bool {
        self.slip == Some(slip)
    }

    fn part(&self, layer: usize, part: &str) -> &Tensor {
        self.file.tensor(&format!("blk.{layer}.{part}"))
    }

    fn reach(&self, layer: usize) -> Reach {
        let windowed = match self.file.architecture.as_str() {
            "gemma3" if self.slips(Slip::LayerPattern) => !layer.is_multiple_of(GEMMA3_PERIOD),
            "gemma3" => layer % GEMMA3_PERIOD < GEMMA3_PERIOD - 1,
            "phi3" => true,
            _ => false,
        };
        if windowed { Reach::Window } else { Reach::Everything }
    }

    fn sight(&self, reach: Reach, positions: usize) -> Result<Sight> {
        let window = match self.file.size("attention.sliding_window") {
            Some(window) if window > 0 && reach == Reach::Window => match self.slip {
                Some(Slip::Window) => positions,
                Some(Slip::WindowEdge) => window + 1,
                _ => window,
            },
            _ => positions,
        };
        let sees = |query: usize, key: usize| key <= query && query - key < window;
        let at = |i: usize| if sees(i / positions, i % positions) { 0.0 } else { f32::NEG_INFINITY };
        let mask: Vec<f32> = (0..positions * positions).map(at).collect();
        let rotated = self.file.size("rope.dimension_count").unwrap_or(self.head_size);
        Ok(Sight {
            rotations: Rotations::new(&self.file, reach, rotated, positions, self.slip)?,
            mask: Tensor::from_vec(mask, (positions, positions), &Device::Cpu)?,
        })
    }

    /// `x / sqrt(mean(x²) + ε) · w` over the last dimension (Zhang and Sennrich, 2019).
    fn norm(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
        x.broadcast_div(&(mean + self.epsilon)?.sqrt()?)?.broadcast_mul(weight)
    }

    fn post_norm(&self, layer: usize, part: &str, x: Tensor) -> Result<Tensor> {
        match self.file.part(layer, part) {
            Some(weight) if !self.slips(Slip::PostNorm) => self.norm(&x, weight),
            _ => Ok(x),
        }
    }

    /// Attention of every position over those that it sees, `[positions, hidden]`.
    fn attention(&self, layer: usize, x: &Tensor, sight: &Sight) -> Result<Tensor> {
        let [queries, keys, values] = self.projections(layer, x)?;
        let queries = sight.rotations.apply(&self.head_norm(layer, "attn_q_norm.weight", queries)?)?;
        let keys = sight.rotations.apply(&self.head_norm(layer, "attn_k_norm.weight", keys)?)?;
        let scale = if self.slips(Slip::AttentionScale) { 1.0 } else { (self.head_size as f64).sqrt() };
        let queries = queries.transpose(0, 1)?.contiguous()?;
        let (keys, values) = (self.for_each_query_head(&keys)?, self.for_each_query_head(&values)?);
        let scores = (queries.matmul(&keys.transpose(1, 2)?)? / scale)?.broadcast_add(&sight.mask)?;
        let attended = softmax(&scores)?.matmul(&values)?.transpose(0, 1)?.contiguous()?;
        linear(&attended.flatten_from(1)?, self.part(layer, "attn_output.weight"))
    }

    /// Queries, keys and values, `[positions, heads, head size]`.
    fn projections(&self, layer: usize, x: &Tensor) -> Result<[Tensor; 3]> {
        let (queries, keys) = (self.heads * self.head_size, self.kv_heads * self.head_size);
        let split = |x: Tensor| x.reshape((x.dim(0)?, (), self.head_size));
        if let Some(fused) = self.file.part(layer, "attn_qkv.weight") {
            let all = linear(x, fused)?;
            let part = |start, len| split(all.narrow(1, start, len)?.contiguous()?);
            return Ok([part(0, queries)?, part(queries, keys)?, part(queries + keys, keys)?]);
        }
        let project = |part: &str| {
            let product = linear(x, self.part(layer, &format!("{part}.weight")))?;
            split(match self.file.part(layer, &format!("{part}.bias")) {
                Some(bias) if !self.slips(Slip::Bias) => product.broadcast_add(bias)?,
                _ => product,
            })
        };
        Ok([project("attn_q")?, project("attn_k")?, project("attn_v")?])
    }

    fn head_norm(&self, layer: usize, part: &str, heads: Tensor) -> Result<Tensor> {
        match self.file.part(layer, part) {
            Some(weight) if !self.slips(Slip::QkNorm) => self.norm(&heads, weight),
            _ => Ok(heads),
        }
    }

    /// The key-value head that each query head reads, `[heads, positions, head size]`: neighbours share one
    /// (Ainslie et al., 2023).
    fn for_each_query_head(&self, heads: &Tensor) -> Result<Tensor> {
        let read = |query: usize| match self.slips(Slip::HeadGroups) {
            true => query % self.kv_heads,
            false => query / (self.heads / self.kv_heads),
        };
        let read: Vec<u32> = (0..self.heads).map(|query| read(query) as u32).collect();
        heads.index_select(&Tensor::new(read, &Device::Cpu)?, 1)?.transpose(0, 1)?.contiguous()
    }

    fn feed_forward(&self, layer: usize, x: &Tensor) -> Result<Tensor> {
        if self.file.part(layer, "ffn_gate_inp.weight").is_some() {
            return self.mixture(layer, x);
        }
        let (up, down) = (self.part(layer, "ffn_up.weight"), self.part(layer, "ffn_down.weight"));
        match self.file.part(layer, "ffn_gate.weight") {
            Some(gate) => self.gated(x, gate, up, down),
            None => {
                let width = up.dim(0)? / 2;
                let (first, second) = (up.narrow(0, 0, width)?, up.narrow(0, width, width)?);
                match self.slips(Slip::GateOrder) {
                    true => self.gated(x, &second, &first, down),
                    false => self.gated(x, &first, &second, down),
                }
            }
        }
    }

    /// `W_down · (f(W_gate · x) · (W_up · x))` (Shazeer, 2020).
    fn gated(&self, x: &Tensor, gate: &Tensor, up: &Tensor, down: &Tensor) -> Result<Tensor> {
        let gate = linear(x, gate)?;
        let gelu = (self.file.architecture == "gemma3") != self.slips(Slip::Activation);
        let gate = if gelu { gate.gelu()? } else { gate.silu()? };
        linear(&(gate * linear(x, up)?)?, down)
    }

    /// The likeliest experts' results, weighted by their likelihoods among one another (Jiang et al., 2024).
    fn mixture(&self, layer: usize, x: &Tensor) -> Result<Tensor> {
        let likelihoods = softmax(&linear(x, self.part(layer, "ffn_gate_inp.weight"))?)?;
        let weights = self.route(&likelihoods)?;
        let expert = |part: &str, index| self.part(layer, part).get(index);
        let mut sum = x.zeros_like()?;
        for index in 0..weights.dim(1)? {
            let gate = expert("ffn_gate_exps.weight", index)?;
            let up = expert("ffn_up_exps.weight", index)?;
            let down = expert("ffn_down_exps.weight", index)?;
            let result = self.gated(x, &gate, &up, &down)?;
            sum = (sum + result.broadcast_mul(&weights.narrow(1, index, 1)?)?)?;
        }
        Ok(sum)
    }

    /// The weight of each expert for each position, `[positions, experts]`; 0 for those not chosen.
    fn route(&self, likelihoods: &Tensor) -> Result<Tensor> {
        let used = self.file.size("expert_used_count").unwrap() - usize::from(self.slips(Slip::ExpertCount));
        let mut rows: Vec<Vec<f32>> = likelihoods.to_vec2()?;
        for row in &mut rows {
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
            order[used..].iter().for_each(|index| row[*index] = 0.0);
            let whole = if self.slips(Slip::ExpertShares) { 1.0 } else { row.iter().sum() };
            row.iter_mut().for_each(|weight| *weight /= whole);
        }
        Tensor::new(rows, &Device::Cpu)
    }
}

/// `x · Wᵀ`.
fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.contiguous()?.matmul(&weight.t()?)
}

fn softmax(x: &Tensor) -> Result<Tensor> {
    log_softmax(x)?.exp()
}

/// Logarithms of the likelihoods over the last dimension.
pub fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let shifted = x.broadcast_sub(&x.max_keepdim(D::Minus1)?)?;
    let sum = shifted.to_dtype(DType::F64)?.exp()?.sum_keepdim(D::Minus1)?;
    shifted.broadcast_sub(&sum.log()?.to_dtype(shifted.dtype())?)
}
