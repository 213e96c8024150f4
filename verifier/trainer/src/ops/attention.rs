//! Causal attention over packed documents, with rotary positions (Su et al. 2021) inside.

use super::arithmetic::{add_scaled, dot, softmax};
use super::{elements, with_elements};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// Cosines and sines of the rotary angles, `[positions, head / 2]`.
///
/// Dimension `i` of a head turns together with dimension `i + head / 2`, as transformers' llama does.
#[derive(Debug)]
pub struct RopeTable {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl RopeTable {
    /// Angles of `positions` positions for heads of `head` dimensions.
    pub fn new(positions: usize, head: usize, theta: f64) -> Self {
        let half = head / 2;
        let angle = |i: usize| {
            let frequency = libm::pow(theta, -2.0 * (i % half) as f64 / head as f64);
            (i / half) as f64 * frequency
        };
        let angles = (0..positions * half).map(angle);
        let (cos, sin) = angles.map(|a| (libm::cos(a) as f32, libm::sin(a) as f32)).unzip();
        Self { half, cos, sin }
    }

    /// Turns a head's vector to its position.
    fn turn(&self, vector: &mut [f32], position: usize) {
        self.rotate(vector, position, |sin| sin);
    }

    /// Turns it back; the gradient of [`Self::turn`].
    fn turn_back(&self, vector: &mut [f32], position: usize) {
        self.rotate(vector, position, |sin| -sin);
    }

    #[inline(always)]
    fn rotate(&self, vector: &mut [f32], position: usize, signed: impl Fn(f32) -> f32) {
        let angles = position * self.half..(position + 1) * self.half;
        let (cos, sin) = (&self.cos[angles.clone()], &self.sin[angles]);
        let (low, high) = vector.split_at_mut(self.half);
        for i in 0..self.half {
            let (a, b, sin) = (low[i], high[i], signed(sin[i]));
            low[i] = a * cos[i] - b * sin;
            high[i] = b * cos[i] + a * sin;
        }
    }
}

/// Attention inside each document: `[tokens, (heads + 2 kv_heads) * head]`, queries before keys before
/// values, to `[tokens, heads * head]`.
#[derive(Clone)]
pub struct Attention {
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values; each serves `heads / kv_heads` heads of queries.
    pub kv_heads: usize,
    /// Where the documents stand.
    pub documents: Arc<Vec<Range<usize>>>,
    /// Angles of at least as many positions as the longest document has.
    pub rope: Arc<RopeTable>,
}

/// A view of one document's heads in the packed rows.
struct Heads<'a> {
    attention: &'a Attention,
    turned: &'a [f32],
}

impl Attention {
    fn head(&self) -> usize {
        2 * self.rope.half
    }

    /// Columns of the joint projection.
    fn columns(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head()
    }

    /// Applies `turn` to every query and key.
    fn for_each_turned(&self, x: &mut [f32], turn: fn(&RopeTable, &mut [f32], usize)) {
        let (head, columns) = (self.head(), self.columns());
        for document in self.documents.iter() {
            for row in document.clone() {
                let queries_and_keys = &mut x[row * columns..][..(self.heads + self.kv_heads) * head];
                for vector in queries_and_keys.chunks_exact_mut(head) {
                    turn(&self.rope, vector, row - document.start);
                }
            }
        }
    }

    fn turned(&self, x: &[f32]) -> Vec<f32> {
        let mut turned = x.to_vec();
        self.for_each_turned(&mut turned, RopeTable::turn);
        turned
    }

    fn forward(&self, x: &[f32]) -> Vec<f32> {
        let head = self.head();
        let turned = self.turned(x);
        let heads = Heads { attention: self, turned: &turned };
        let mut out = vec![0f32; x.len() / self.columns() * self.heads * head];
        let mut weights = Vec::new();
        for document in self.documents.iter() {
            for h in 0..self.heads {
                for row in document.clone() {
                    let seen = document.start..row + 1;
                    heads.weights(h, row, seen.clone(), &mut weights);
                    let out = &mut out[(row * self.heads + h) * head..][..head];
                    for (weight, other) in weights.iter().zip(seen) {
                        add_scaled(out, *weight, heads.value(h, other));
                    }
                }
            }
        }
        out
    }

    fn backward(&self, x: &[f32], grad: &[f32]) -> Vec<f32> {
        let turned = self.turned(x);
        let heads = Heads { attention: self, turned: &turned };
        let mut dx = vec![0f32; x.len()];
        let mut scratch = Scratch::default();
        for document in self.documents.iter() {
            for h in 0..self.heads {
                for row in document.clone() {
                    heads.backward_row(h, row, document.start..row + 1, grad, &mut dx, &mut scratch);
                }
            }
        }
        self.for_each_turned(&mut dx, RopeTable::turn_back);
        dx
    }
}

/// Buffers of a row's backward pass.
#[derive(Default)]
struct Scratch {
    weights: Vec<f32>,
    weight_grads: Vec<f32>,
}

impl Heads<'_> {
    /// Place of a head's query in the rows.
    fn query_at(&self, h: usize, row: usize) -> Range<usize> {
        self.at(row, h)
    }

    fn key_at(&self, h: usize, row: usize) -> Range<usize> {
        self.at(row, self.attention.heads + self.kv_head(h))
    }

    fn value_at(&self, h: usize, row: usize) -> Range<usize> {
        self.at(row, self.attention.heads + self.attention.kv_heads + self.kv_head(h))
    }

    fn value(&self, h: usize, row: usize) -> &[f32] {
        &self.turned[self.value_at(h, row)]
    }

    fn kv_head(&self, h: usize) -> usize {
        h * self.attention.kv_heads / self.attention.heads
    }

    #[inline(always)]
    fn at(&self, row: usize, slot: usize) -> Range<usize> {
        let head = self.attention.head();
        let start = row * self.attention.columns() + slot * head;
        start..start + head
    }

    fn score_scale(&self) -> f32 {
        1.0 / (self.attention.head() as f32).sqrt()
    }

    /// Attention of a row to each row that it sees.
    #[inline(always)]
    fn weights(&self, h: usize, row: usize, seen: Range<usize>, weights: &mut Vec<f32>) {
        let query = &self.turned[self.query_at(h, row)];
        let scale = self.score_scale();
        weights.clear();
        weights.resize(seen.len(), 0.0);
        for (weight, other) in weights.iter_mut().zip(seen) {
            *weight = dot(query, &self.turned[self.key_at(h, other)]) * scale;
        }
        softmax(weights);
    }

    /// Adds a row's gradients to those of its query and of the keys and values that it sees.
    #[inline(always)]
    fn backward_row(
        &self,
        h: usize,
        row: usize,
        seen: Range<usize>,
        grad: &[f32],
        dx: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let head = self.attention.head();
        let grad = &grad[(row * self.attention.heads + h) * head..][..head];
        self.weights(h, row, seen.clone(), &mut scratch.weights);
        scratch.weight_grads.clear();
        for (weight, other) in scratch.weights.iter().zip(seen.clone()) {
            scratch.weight_grads.push(dot(grad, self.value(h, other)));
            add_scaled(&mut dx[self.value_at(h, other)], *weight, grad);
        }
        let mean = dot(&scratch.weights, &scratch.weight_grads);
        let scale = self.score_scale();
        let query = self.query_at(h, row);
        for ((weight, weight_grad), other) in scratch.weights.iter().zip(&scratch.weight_grads).zip(seen) {
            let score_grad = weight * (weight_grad - mean) * scale;
            let key = self.key_at(h, other);
            add_scaled(&mut dx[query.clone()], score_grad, &self.turned[key.clone()]);
            add_scaled(&mut dx[key], score_grad, &self.turned[query.clone()]);
        }
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let tokens = layout.shape().dims2()?.0;
        let out = self.forward(elements(x, layout)?);
        Ok((CpuStorage::F32(out), (tokens, self.heads * self.head()).into()))
    }

    fn bwd(&self, x: &Tensor, _result: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let dx = with_elements(x, |x| with_elements(grad, |grad| self.backward(x, grad)))??;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}
