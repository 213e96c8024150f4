//! The models as their papers have them: whole sequences, f64, no cache, and nothing of candle.

use std::collections::HashMap;

use assay_engine::synthetic::{Architecture, Synthetic};
use assay_kernels::WeightType;
use assay_kernels::reference::row_values;
use assay_manifest::formats::DType;

/// What both architectures add to a variance in these files.
const EPSILON: f64 = 1e-5;

/// Mistakes that an implementation could make, each on demand, to show that it would be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slip {
    /// Rotates the pairs of the other convention.
    RopePairs,
    /// Rotates whole heads.
    RopeAll,
    /// Leaves out the biases of queries, keys and values.
    Bias,
    /// Does not divide the scores by the root of the head's size.
    Scale,
    /// Takes the second half of a fused matrix for the gate, or leaves out the activation where there is no gate.
    Activation,
    /// Sees one position less.
    Mask,
}

/// A row for each position.
type Rows = Vec<Vec<f64>>;

/// Elements of a head that are rotated, in which pairs, and the base of the frequencies.
struct Rotation {
    size: usize,
    neighbours: bool,
    base: f64,
}

pub struct Reference {
    model: Synthetic,
    tensors: HashMap<String, Vec<f64>>,
    slip: Option<Slip>,
}

impl Reference {
    pub fn new(model: &Synthetic, slip: Option<Slip>) -> Self {
        let values = |dtype, data: &[u8]| {
            let weight_type = if dtype == DType::F32 { WeightType::F32 } else { model.weight_type };
            row_values(weight_type, data).into_iter().map(f64::from).collect()
        };
        let tensors = model.tensors().into_iter();
        let tensors = tensors.map(|tensor| (tensor.name, values(tensor.dtype, &tensor.data))).collect();
        Self { model: *model, tensors, slip }
    }

    /// The logits after a sequence, `[vocab]`.
    pub fn logits(&self, tokens: &[u32]) -> Vec<f64> {
        let embedding = self.tensor("token_embd.weight");
        let row =
            |token: &u32| embedding[*token as usize * self.model.hidden..][..self.model.hidden].to_vec();
        let mut x: Rows = tokens.iter().map(row).collect();
        for layer in 0..self.model.layers {
            match self.model.architecture {
                Architecture::Phi2 => self.phi2(layer, &mut x),
                Architecture::Glm4 => self.glm4(layer, &mut x),
                other => panic!("{other:?} is of the exact class"),
            }
        }
        let last = self.norm("output_norm", &x[x.len() - 1]);
        match self.tensors.contains_key("output.weight") {
            true => self.linear("output", &last),
            false => product(embedding, &last),
        }
    }

    /// Attention and feed-forward side by side behind one norm (Li et al., 2023; Wang and Komatsuzaki, 2021).
    fn phi2(&self, layer: usize, x: &mut Rows) {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let normed: Rows = x.iter().map(|x| self.norm(&name("attn_norm"), x)).collect();
        let width = self.model.hidden;
        let fused: Rows = normed.iter().map(|x| self.linear(&name("attn_qkv"), x)).collect();
        let part = |index: usize| -> Rows {
            fused.iter().map(|row| row[index * width..][..width].to_vec()).collect()
        };
        let rotation = Rotation { size: self.model.rotated.unwrap(), neighbours: false, base: 10_000.0 };
        let attended = self.attention([part(0), part(1), part(2)], &rotation);
        for ((x, attended), normed) in x.iter_mut().zip(&attended).zip(&normed) {
            let up = self.linear(&name("ffn_up"), normed);
            let active = |up: f64| if self.slips(Slip::Activation) { up } else { gelu(up) };
            let fed = self.linear(&name("ffn_down"), &up.into_iter().map(active).collect::<Vec<_>>());
            let attended = self.linear(&name("attn_output"), attended);
            add(x, &attended);
            add(x, &fed);
        }
    }

    /// Norms before and after both parts, and a gate (GLM-4-0414, as in `transformers`).
    fn glm4(&self, layer: usize, x: &mut Rows) {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let project = |part: &str| -> Rows {
            x.iter().map(|x| self.linear(&name(part), &self.norm(&name("attn_norm"), x))).collect()
        };
        let parts = [project("attn_q"), project("attn_k"), project("attn_v")];
        let base = f64::from(self.model.rope_base);
        let rotation = Rotation { size: self.model.rotated.unwrap(), neighbours: true, base };
        for (x, attended) in x.iter_mut().zip(self.attention(parts, &rotation)) {
            let attended = self.linear(&name("attn_output"), &attended);
            add(x, &self.norm(&name("post_attention_norm"), &attended));
            let both = self.linear(&name("ffn_up"), &self.norm(&name("ffn_norm"), x));
            let (first, second) = both.split_at(self.model.feed_forward);
            let (gate, up) = if self.slips(Slip::Activation) { (second, first) } else { (first, second) };
            let gated: Vec<f64> = gate.iter().zip(up).map(|(gate, up)| silu(*gate) * up).collect();
            add(x, &self.norm(&name("post_ffw_norm"), &self.linear(&name("ffn_down"), &gated)));
        }
    }

    /// Causal attention with grouped heads (Ainslie et al., 2023).
    fn attention(&self, [mut queries, mut keys, values]: [Rows; 3], rotation: &Rotation) -> Rows {
        let Synthetic { heads, kv_heads, hidden, head_size, .. } = self.model;
        let head_size = head_size.unwrap_or(hidden / heads);
        for rows in [&mut queries, &mut keys] {
            for (position, row) in rows.iter_mut().enumerate() {
                row.chunks_exact_mut(head_size).for_each(|head| self.rotate(head, position, rotation));
            }
        }
        let scale = if self.slips(Slip::Scale) { 1.0 } else { (head_size as f64).sqrt() };
        let attended = |(position, query): (usize, &Vec<f64>)| {
            let seen = if self.slips(Slip::Mask) { position.max(1) } else { position + 1 };
            let head = |index: usize| {
                let part = index / (heads / kv_heads) * head_size;
                let query = &query[index * head_size..][..head_size];
                let scores = keys[..seen].iter().map(|key| dot(query, &key[part..][..head_size]) / scale);
                let weights = softmax(&scores.collect::<Vec<_>>());
                let mut sum = vec![0.0; head_size];
                for (weight, value) in weights.iter().zip(&values) {
                    let part = value[part..][..head_size].iter().map(|value| weight * value);
                    add(&mut sum, &part.collect::<Vec<_>>());
                }
                sum
            };
            (0..heads).flat_map(head).collect()
        };
        queries.iter().enumerate().map(attended).collect()
    }

    /// RoPE (Su et al., 2021) over the first elements of a head.
    fn rotate(&self, head: &mut [f64], position: usize, rotation: &Rotation) {
        let size = if self.slips(Slip::RopeAll) { head.len() } else { rotation.size };
        for pair in 0..size / 2 {
            let (a, b) = match rotation.neighbours != self.slips(Slip::RopePairs) {
                true => (2 * pair, 2 * pair + 1),
                false => (pair, pair + size / 2),
            };
            let angle = position as f64 * libm::pow(rotation.base, -((2 * pair) as f64) / size as f64);
            let (sin, cos) = libm::sincos(angle);
            (head[a], head[b]) = (head[a] * cos - head[b] * sin, head[a] * sin + head[b] * cos);
        }
    }

    /// With a bias, around the mean (Ba et al., 2016); else as it is (Zhang and Sennrich, 2019).
    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let mean_of = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        let bias = self.tensors.get(&format!("{name}.bias"));
        let mean = bias.map_or(0.0, |_| mean_of(x));
        let centred: Vec<f64> = x.iter().map(|x| x - mean).collect();
        let squares: Vec<f64> = centred.iter().map(|x| x * x).collect();
        let divisor = (mean_of(&squares) + EPSILON).sqrt();
        let weight = self.tensor(&format!("{name}.weight"));
        let mut normed: Vec<f64> =
            centred.iter().zip(weight).map(|(x, weight)| x / divisor * weight).collect();
        bias.into_iter().for_each(|bias| add(&mut normed, bias));
        normed
    }

    fn linear(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let mut result = product(self.tensor(&format!("{name}.weight")), x);
        let left_out =
            self.slips(Slip::Bias) && ["qkv", "attn_q", "attn_k", "attn_v"].iter().any(|n| name.ends_with(n));
        let bias = self.tensors.get(&format!("{name}.bias")).filter(|_| !left_out);
        bias.into_iter().for_each(|bias| add(&mut result, bias));
        result
    }

    fn tensor(&self, name: &str) -> &[f64] {
        self.tensors.get(name).unwrap_or_else(|| panic!("tensor {name} is missing"))
    }

    fn slips(&self, slip: Slip) -> bool {
        self.slip == Some(slip)
    }
}

fn product(matrix: &[f64], x: &[f64]) -> Vec<f64> {
    matrix.chunks_exact(x.len()).map(|row| dot(row, x)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(x: &mut [f64], y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

fn softmax(x: &[f64]) -> Vec<f64> {
    let greatest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = x.iter().map(|x| libm::exp(x - greatest)).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

fn silu(x: f64) -> f64 {
    x / (1.0 + libm::exp(-x))
}

/// By its tanh approximation (Hendrycks and Gimpel, 2016).
fn gelu(x: f64) -> f64 {
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
    0.5 * x * (1.0 + libm::tanh(inner))
}
