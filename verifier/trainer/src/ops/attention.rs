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

/// A head of a row, which attends to its document's rows up to its own.
struct Query {
    h: usize,
    row: usize,
    first: usize,
}

impl Query {
    /// The rows that it sees.
    fn seen(&self) -> Range<usize> {
        self.first..self.row + 1
    }
}

impl Attention {
    fn head(&self) -> usize {
        2 * self.rope.half
    }

    /// Columns of the joint projection.
    fn columns(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head()
    }

    fn queries(&self) -> impl Iterator<Item = Query> + '_ {
        self.documents.iter().flat_map(move |document| {
            let first = document.start;
            (0..self.heads).flat_map(move |h| document.clone().map(move |row| Query { h, row, first }))
        })
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
        let turned = self.turned(x);
        let rows = Rows { attention: self, turned: &turned };
        let mut out = vec![0f32; x.len() / self.columns() * self.heads * self.head()];
        let mut weights = Vec::new();
        for query in self.queries() {
            rows.weights(&query, &mut weights);
            let out = &mut out[self.output_at(&query)];
            for (weight, seen) in weights.iter().zip(query.seen()) {
                add_scaled(out, *weight, &turned[self.value_at(query.h, seen)]);
            }
        }
        out
    }

    fn backward(&self, x: &[f32], grad: &[f32]) -> Vec<f32> {
        let turned = self.turned(x);
        let rows = Rows { attention: self, turned: &turned };
        let mut dx = vec![0f32; x.len()];
        let mut scratch = Scratch::default();
        for query in self.queries() {
            rows.backward(&query, &grad[self.output_at(&query)], &mut dx, &mut scratch);
        }
        self.for_each_turned(&mut dx, RopeTable::turn_back);
        dx
    }

    /// Place of a query's result.
    fn output_at(&self, query: &Query) -> Range<usize> {
        let start = (query.row * self.heads + query.h) * self.head();
        start..start + self.head()
    }

    /// Places of a head's query, key and value in the rows of the joint projection.
    fn query_at(&self, h: usize, row: usize) -> Range<usize> {
        self.slot_at(row, h)
    }

    fn key_at(&self, h: usize, row: usize) -> Range<usize> {
        self.slot_at(row, self.heads + self.kv_head(h))
    }

    fn value_at(&self, h: usize, row: usize) -> Range<usize> {
        self.slot_at(row, self.heads + self.kv_heads + self.kv_head(h))
    }

    fn kv_head(&self, h: usize) -> usize {
        h * self.kv_heads / self.heads
    }

    fn slot_at(&self, row: usize, slot: usize) -> Range<usize> {
        let start = row * self.columns() + slot * self.head();
        start..start + self.head()
    }
}

/// Rows of the joint projection, queries and keys turned to their positions.
struct Rows<'a> {
    attention: &'a Attention,
    turned: &'a [f32],
}

/// Buffers of a query's backward pass: its attention to each row that it sees, and the gradient of that.
#[derive(Default)]
struct Scratch {
    weights: Vec<f32>,
    weight_grads: Vec<f32>,
}

impl Rows<'_> {
    fn score_scale(&self) -> f32 {
        1.0 / (self.attention.head() as f32).sqrt()
    }

    /// Attention of a query to each row that it sees.
    #[inline(always)]
    fn weights(&self, query: &Query, weights: &mut Vec<f32>) {
        let vector = &self.turned[self.attention.query_at(query.h, query.row)];
        let scale = self.score_scale();
        weights.clear();
        weights.resize(query.seen().len(), 0.0);
        for (weight, seen) in weights.iter_mut().zip(query.seen()) {
            *weight = dot(vector, &self.turned[self.attention.key_at(query.h, seen)]) * scale;
        }
        softmax(weights);
    }

    /// Adds the gradients of a query, and of the keys and values that it sees, to `dx`.
    #[inline(always)]
    fn backward(&self, query: &Query, grad: &[f32], dx: &mut [f32], scratch: &mut Scratch) {
        self.weights(query, &mut scratch.weights);
        scratch.weight_grads.clear();
        for (weight, seen) in scratch.weights.iter().zip(query.seen()) {
            let value = self.attention.value_at(query.h, seen);
            scratch.weight_grads.push(dot(grad, &self.turned[value.clone()]));
            add_scaled(&mut dx[value], *weight, grad);
        }
        let mean = dot(&scratch.weights, &scratch.weight_grads);
        let scale = self.score_scale();
        let own = self.attention.query_at(query.h, query.row);
        let grads = scratch.weights.iter().zip(&scratch.weight_grads);
        for ((weight, weight_grad), seen) in grads.zip(query.seen()) {
            let score_grad = weight * (weight_grad - mean) * scale;
            let key = self.attention.key_at(query.h, seen);
            add_scaled(&mut dx[own.clone()], score_grad, &self.turned[key.clone()]);
            add_scaled(&mut dx[key], score_grad, &self.turned[own.clone()]);
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
