//! The pass of an encoder: some texts through every layer, all at once.
//!
//! Rows of activations never meet, but in attention and pooling, and there only those of one text.

use std::sync::Arc;

use assay_kernels::{
    Activations, Cpu, Head, Matrix, MemoryError, PAGE_POSITIONS, Page, Pool, Product, QUERIES_MAX, matmul,
};

use super::config::{EncoderConfig, Pooling};
use super::weights::{Affine, Layer, LayerNorm, Weights};
use crate::forward::{Chunk, Chunks, layer_heads};

/// Rows that are computed at once where there are more: enough to use each weight often while it is in the cache.
pub(super) const PASS_ROWS: usize = 512;

/// What normalising a value or its activation costs, in multiply-adds of a matrix product.
const OPS_PER_VALUE: usize = 16;

/// Bytes that a row of a pass takes, rounded up; none when the number overflows.
pub(super) fn row_bytes(config: &EncoderConfig) -> Option<usize> {
    /// Seven rows of f32, two of activations, keys and values in binary16, and what chunks and pages round up to.
    const PER_HIDDEN: usize = 64;
    /// A row of f32 and one of activations.
    const PER_FEED_FORWARD: usize = 16;
    let hidden = config.hidden.checked_mul(PER_HIDDEN)?;
    hidden.checked_add(config.feed_forward.checked_mul(PER_FEED_FORWARD)?)
}

/// The buffers of a pass; `[rows, hidden]` where nothing else is said.
pub(super) struct Scratch {
    /// The rows as the last layer left them.
    x: Vec<f32>,
    /// What is added to them.
    update: Vec<f32>,
    input: Activations,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    /// What attention returns, in chunks of queries of one head.
    attended: Vec<f32>,
    /// The same, by rows.
    heads: Activations,
    /// `[rows, feed forward]`.
    up: Vec<f32>,
    inner: Activations,
}

impl Scratch {
    /// Buffers for passes of at most `rows_max` rows.
    pub fn new(rows_max: usize, config: &EncoderConfig) -> Self {
        let floats = |width: usize| vec![0.0; rows_max * width];
        Self {
            x: floats(config.hidden),
            update: floats(config.hidden),
            input: Activations::new(rows_max, config.hidden),
            queries: floats(config.hidden),
            keys: floats(config.hidden),
            values: floats(config.hidden),
            attended: Vec::new(),
            heads: Activations::new(rows_max, config.hidden),
            up: floats(config.feed_forward),
            inner: Activations::new(rows_max, config.feed_forward),
        }
    }
}

/// A text of a pass.
struct Part<'a> {
    tokens: &'a [u32],
    /// Its first row.
    first: usize,
    /// Keys and values of the layer that runs.
    pages: Vec<Arc<Page>>,
}

/// A pass through an encoder.
pub(super) struct Forward<'a> {
    pub pool: &'a Pool,
    pub config: &'a EncoderConfig,
    pub weights: &'a Weights,
    pub scratch: &'a mut Scratch,
}

impl Forward<'_> {
    /// The pooled rows of each text, `[texts, hidden]`.
    ///
    /// # Errors
    /// When there is no memory for a page.
    pub fn run(&mut self, texts: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, MemoryError> {
        let mut parts = Vec::with_capacity(texts.len());
        let mut rows = Vec::new();
        for (part, tokens) in texts.iter().enumerate() {
            let pages = (0..tokens.len().div_ceil(PAGE_POSITIONS))
                .map(|_| Page::new(self.config.cache_shape()).map(Arc::new))
                .collect::<Result<_, _>>()?;
            parts.push(Part { tokens, first: rows.len(), pages });
            rows.extend((0..tokens.len()).map(|index| (part, index)));
        }
        self.embed(&parts, &rows);
        let weights = self.weights;
        for layer in &weights.layers {
            self.attention(layer, &mut parts, &rows);
            self.feed_forward(layer, rows.len());
        }
        Ok(parts.iter().map(|part| self.pool_rows(part)).collect())
    }

    /// Begins every row with the sum of its token, its type and its position, normalised.
    fn embed(&mut self, parts: &[Part<'_>], rows: &[(usize, usize)]) {
        let (cpu, config, weights) = (self.pool.cpu(), self.config, self.weights);
        let width = config.hidden;
        let x = &mut self.scratch.x[..rows.len() * width];
        self.pool.for_each_row(x, width, width * OPS_PER_VALUE, |row, out| {
            let (part, index) = rows[row];
            let mut sum = vec![0.0; width];
            weights.tokens.row(parts[part].tokens[index] as usize, &mut sum);
            cpu.add(&mut sum, &weights.token_type);
            weights.positions.row(index, out);
            cpu.add(&mut sum, out);
            weights.norm.apply(cpu, config.epsilon, &sum, out);
        });
    }

    /// `x = norm(x + (W_o · attention(x) + b_o))`.
    fn attention(&mut self, layer: &Layer, parts: &mut [Part<'_>], rows: &[(usize, usize)]) {
        let (pool, width) = (self.pool, self.config.hidden);
        let Scratch { x, input, queries, keys, values, .. } = &mut *self.scratch;
        let [query, key, value] = [&layer.query, &layer.key, &layer.value];
        fill(pool, input, x, rows.len(), &[&query.matrix, &key.matrix, &value.matrix]);
        let len = rows.len() * width;
        let mut products = [
            Product { matrix: &query.matrix, out: &mut queries[..len] },
            Product { matrix: &key.matrix, out: &mut keys[..len] },
            Product { matrix: &value.matrix, out: &mut values[..len] },
        ];
        matmul(pool, input, &mut products);
        for (affine, product) in [query, key, value].into_iter().zip(products) {
            add_bias(pool, affine, product.out);
        }
        self.store(parts);
        let chunks =
            Chunks::new(self.config.heads, self.config.heads, parts.iter().map(|part| part.tokens.len()));
        self.attend(parts, &chunks);
        self.merge(&layer.attention_output, rows, &chunks);
        self.settle(&layer.attention_output, &layer.attention_norm, rows.len());
    }

    /// Writes the keys and values of all rows into the pages.
    fn store(&self, parts: &mut [Part<'_>]) {
        let (cpu, width, size) = (self.pool.cpu(), self.config.hidden, self.config.head_size());
        let (keys, values) = (&self.scratch.keys, &self.scratch.values);
        let mut tasks = Vec::new();
        for part in parts {
            let (first, count) = (part.first, part.tokens.len());
            let heads = layer_heads(&mut part.pages, 0, self.config.heads);
            tasks.extend(heads.into_iter().enumerate().map(|(head, pages)| (first, count, head, pages)));
        }
        let rows: usize = tasks.iter().map(|(_, count, ..)| count).sum();
        let ops = size * 8 * rows / tasks.len().max(1);
        self.pool.for_each(&mut tasks, ops, |_, (first, count, head, pages)| {
            for position in 0..*count {
                let at = (*first + position) * width + *head * size;
                let page = &mut pages[position / PAGE_POSITIONS];
                let (key, value) = (&keys[at..][..size], &values[at..][..size]);
                cpu.write_position(page, position % PAGE_POSITIONS, key, value);
            }
        });
    }

    /// Attention of every row over all rows of its text.
    fn attend(&mut self, parts: &[Part<'_>], chunks: &Chunks) {
        let (pool, config, size) = (self.pool, self.config, self.config.head_size());
        let chunk_width = QUERIES_MAX * size;
        let Scratch { attended, queries, .. } = &mut *self.scratch;
        attended.resize(chunks.all().len() * chunk_width, 0.0);
        let longest = parts.iter().map(|part| part.tokens.len()).max().unwrap_or(0);
        pool.for_each_row(attended, chunk_width, 2 * chunk_width * longest, |chunk, out| {
            let Chunk { part, kv_head: head, queries: chosen } = &chunks.all()[chunk];
            let part = &parts[*part];
            let mut of_head = vec![0.0; chosen.len() * size];
            for (query, out) in chosen.clone().zip(of_head.chunks_exact_mut(size)) {
                let at = (part.first + query) * config.hidden + head * size;
                out.copy_from_slice(&queries[at..][..size]);
            }
            let spans = vec![0..part.tokens.len(); chosen.len()];
            let cache = Head::new(&part.pages, 0, *head);
            let out = &mut out[..of_head.len()];
            pool.cpu().attend(&of_head, cache, &spans, config.attention_scale, out);
        });
    }

    /// Puts the heads of each row together and multiplies them with the output matrix.
    fn merge(&mut self, output: &Affine, rows: &[(usize, usize)], chunks: &Chunks) {
        let (pool, size) = (self.pool, self.config.head_size());
        let Scratch { attended, heads, update, .. } = &mut *self.scratch;
        heads.fill(pool, rows.len(), &[&output.matrix], |row, out| {
            for (head, out) in out.chunks_exact_mut(size).enumerate() {
                let (chunk, place) = chunks.place(rows[row], head);
                out.copy_from_slice(&attended[(chunk * QUERIES_MAX + place) * size..][..size]);
            }
        });
        let out = &mut update[..rows.len() * output.matrix.rows()];
        matmul(pool, heads, &mut [Product { matrix: &output.matrix, out }]);
    }

    /// `x = norm(x + (W_down · gelu(W_up · x + b_up) + b_down))`.
    fn feed_forward(&mut self, layer: &Layer, rows: usize) {
        let (pool, width) = (self.pool, self.config.feed_forward);
        let Scratch { x, input, up, inner, update, .. } = &mut *self.scratch;
        fill(pool, input, x, rows, &[&layer.up.matrix]);
        let up = &mut up[..rows * width];
        matmul(pool, input, &mut [Product { matrix: &layer.up.matrix, out: up }]);
        let up: &[f32] = up;
        inner.fill(pool, rows, &[&layer.down.matrix], |row, out| {
            out.copy_from_slice(&up[row * width..][..width]);
            pool.cpu().add(out, &layer.up.bias);
            pool.cpu().gelu(out);
        });
        let out = &mut update[..rows * self.config.hidden];
        matmul(pool, inner, &mut [Product { matrix: &layer.down.matrix, out }]);
        self.settle(&layer.down, &layer.output_norm, rows);
    }

    /// `x = norm(x + (update + bias))`.
    fn settle(&mut self, affine: &Affine, norm: &LayerNorm, rows: usize) {
        let (cpu, width, epsilon) = (self.pool.cpu(), self.config.hidden, self.config.epsilon);
        let Scratch { x, update, .. } = &mut *self.scratch;
        let pairs = x.chunks_exact_mut(width).zip(update.chunks_exact_mut(width));
        let mut pairs: Vec<_> = pairs.take(rows).collect();
        self.pool.for_each(&mut pairs, width * OPS_PER_VALUE, |_, (x, update)| {
            cpu.add(update, &affine.bias);
            cpu.add(update, x);
            norm.apply(cpu, epsilon, update, x);
        });
    }

    /// One row from those of a text.
    fn pool_rows(&self, part: &Part<'_>) -> Vec<f32> {
        let width = self.config.hidden;
        let rows = &self.scratch.x[part.first * width..][..part.tokens.len() * width];
        let mut pooled = rows[..width].to_vec();
        if self.config.pooling == Pooling::Mean {
            self.pool.cpu().mean_rows(rows, &mut pooled);
        }
        pooled
    }
}

/// Prepares rows for matrices.
fn fill(pool: &Pool, input: &mut Activations, x: &[f32], rows: usize, consumers: &[&Matrix]) {
    let width = input.cols();
    input.fill(pool, rows, consumers, |row, out| out.copy_from_slice(&x[row * width..][..width]));
}

/// Adds the bias to the results of a matrix.
fn add_bias(pool: &Pool, affine: &Affine, results: &mut [f32]) {
    let (cpu, width): (Cpu, usize) = (pool.cpu(), affine.bias.len());
    pool.for_each_row(results, width, width, |_, row| cpu.add(row, &affine.bias));
}
