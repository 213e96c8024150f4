//! The forward pass of a llama model over chunks of positions, with a cache of keys and values.

use std::ops::Range;

use assay_kernels::{HeadCache, Pool, matmul};
use assay_manifest::Digest32;

use crate::config::Config;
use crate::model::{Layer, Model, Weights};
use crate::scratch::{HEAD_ROWS, RowState, Scratch, all_finite, hash_floats};

/// One sequence on its way through the model.
pub(crate) struct Forward<'a> {
    pool: &'a Pool,
    config: &'a Config,
    weights: &'a Weights,
    positions_max: usize,
    /// `[layer][kv head]`.
    caches: Vec<Vec<HeadCache>>,
    scratch: Scratch,
    /// Rows of the last chunk for which logits are there.
    logit_rows: Range<usize>,
    chunk_rows: usize,
}

/// The logits of one position.
pub(crate) struct Logits<'a> {
    /// One for each token of the vocabulary.
    pub values: &'a [f32],
    /// BLAKE3 of their little-endian bytes; none when one is NaN or infinite.
    pub hash: Option<Digest32>,
}

impl<'a> Forward<'a> {
    /// Room for `positions_max` positions, read in chunks of at most `chunk_max`.
    pub fn new(pool: &'a Pool, model: &'a Model, positions_max: usize, chunk_max: usize) -> Self {
        let config = model.config();
        let head = || HeadCache::new(config.head_size);
        let layer = || (0..config.kv_heads).map(|_| head()).collect();
        Self {
            pool,
            config,
            weights: model.weights(),
            positions_max,
            caches: (0..config.layers).map(|_| layer()).collect(),
            scratch: Scratch::new(chunk_max.min(positions_max), config),
            logit_rows: 0..0,
            chunk_rows: 0,
        }
    }

    /// Bytes of the cache for as many positions; none when the number overflows.
    pub fn cache_bytes(config: &Config, positions_max: usize) -> Option<usize> {
        let head = HeadCache::size_bytes(config.head_size, positions_max)?;
        head.checked_mul(config.kv_heads)?.checked_mul(config.layers)
    }

    /// Positions for which there is room.
    pub const fn positions_max(&self) -> usize {
        self.positions_max
    }

    /// Runs the next positions through every layer.
    pub fn advance(&mut self, tokens: &[u32], first: usize) {
        self.chunk_rows = tokens.len();
        self.logit_rows = 0..0;
        self.scratch.residual.embed(tokens, &self.weights.embedding);
        self.angles(first);
        for (index, layer) in self.weights.layers.iter().enumerate() {
            self.attention(index, layer, first);
            self.feed_forward(layer);
            self.scratch.residual.observe(self.pool, self.chunk_rows);
        }
    }

    /// What a row of the last chunk leaves for the trace.
    pub fn state(&self, row: usize) -> &RowState {
        &self.scratch.residual.states[row]
    }

    /// The logits of a row of the last chunk.
    pub fn logits(&mut self, row: usize) -> Logits<'_> {
        if !self.logit_rows.contains(&row) {
            self.run_head(row);
        }
        let vocab = self.config.vocab_size;
        let values = &self.scratch.logits[(row - self.logit_rows.start) * vocab..][..vocab];
        let hash = all_finite(values).then(|| hash_floats(values, &mut self.scratch.bytes));
        Logits { values, hash }
    }

    fn angles(&mut self, first: usize) {
        let half = self.config.head_size / 2;
        let rows = self.scratch.cos.chunks_exact_mut(half).zip(self.scratch.sin.chunks_exact_mut(half));
        for ((cos, sin), position) in rows.take(self.chunk_rows).zip(first..) {
            // Positions stay under the context length, a u32.
            self.weights.rope.angles(position as u32, cos, sin);
        }
    }

    /// `x += W_o · attention(rms_norm(x))`.
    fn attention(&mut self, index: usize, layer: &Layer, first: usize) {
        let (pool, cpu, rows) = (self.pool, self.pool.cpu(), self.chunk_rows);
        let scratch = &mut self.scratch;
        let residual = &scratch.residual;
        let epsilon = self.config.rms_epsilon;
        scratch.normed.fill(pool, rows, &[&layer.query, &layer.key, &layer.value], |row, out| {
            cpu.rms_norm(residual.row(row), &layer.attention_norm, epsilon, out);
        });
        let (queries, keys) = (layer.query.rows(), layer.key.rows());
        matmul(pool, &layer.query, &scratch.normed, &mut scratch.queries[..rows * queries]);
        matmul(pool, &layer.key, &scratch.normed, &mut scratch.keys[..rows * keys]);
        matmul(pool, &layer.value, &scratch.normed, &mut scratch.values[..rows * keys]);
        self.rotate_and_store(index, queries, keys);
        self.attend(index, first);
        let scratch = &mut self.scratch;
        let attended = &scratch.attended;
        scratch.heads.fill(pool, rows, &[&layer.attention_output], |row, out| {
            out.copy_from_slice(&attended[row * queries..][..queries]);
        });
        scratch.residual.add_product(pool, &layer.attention_output, &scratch.heads, rows);
    }

    /// Rotates the chunk's queries and keys and appends keys and values to the cache.
    fn rotate_and_store(&mut self, index: usize, queries: usize, keys: usize) {
        let (head_size, scratch) = (self.config.head_size, &mut self.scratch);
        for row in 0..self.chunk_rows {
            let cos = &scratch.cos[row * head_size / 2..][..head_size / 2];
            let sin = &scratch.sin[row * head_size / 2..][..head_size / 2];
            let (key, value) =
                (&mut scratch.keys[row * keys..][..keys], &scratch.values[row * keys..][..keys]);
            self.pool.cpu().rotate(&mut scratch.queries[row * queries..][..queries], cos, sin);
            self.pool.cpu().rotate(key, cos, sin);
            let heads = key.chunks_exact(head_size).zip(value.chunks_exact(head_size));
            for (cache, (key, value)) in self.caches[index].iter_mut().zip(heads) {
                cache.push(key, value);
            }
        }
    }

    /// Attention of every position of the chunk over those up to itself.
    fn attend(&mut self, index: usize, first: usize) {
        let (cpu, kv_heads) = (self.pool.cpu(), self.config.kv_heads);
        // The query heads that share a key-value head stand side by side.
        let width = self.config.heads / kv_heads * self.config.head_size;
        let (queries, caches) = (&self.scratch.queries, &self.caches[index]);
        let out = &mut self.scratch.attended[..self.chunk_rows * kv_heads * width];
        let ops = 2 * width * (first + self.chunk_rows);
        self.pool.for_each_row(out, width, ops, |group, out| {
            let (row, kv_head) = (group / kv_heads, group % kv_heads);
            cpu.attend(&queries[group * width..][..width], &caches[kv_head], first + row + 1, out);
        });
    }

    /// `x += W_down · swiglu(W_gate · n, W_up · n)`, with `n = rms_norm(x)`.
    fn feed_forward(&mut self, layer: &Layer) {
        let (pool, cpu, rows) = (self.pool, self.pool.cpu(), self.chunk_rows);
        let scratch = &mut self.scratch;
        let residual = &scratch.residual;
        let epsilon = self.config.rms_epsilon;
        scratch.normed.fill(pool, rows, &[&layer.gate, &layer.up], |row, out| {
            cpu.rms_norm(residual.row(row), &layer.feed_forward_norm, epsilon, out);
        });
        let width = self.config.feed_forward;
        matmul(pool, &layer.gate, &scratch.normed, &mut scratch.gate[..rows * width]);
        matmul(pool, &layer.up, &scratch.normed, &mut scratch.up[..rows * width]);
        let (gate, up) = (&scratch.gate, &scratch.up);
        scratch.inner.fill(pool, rows, &[&layer.down], |row, out| {
            cpu.swiglu(&gate[row * width..][..width], &up[row * width..][..width], out);
        });
        scratch.residual.add_product(pool, &layer.down, &scratch.inner, rows);
    }

    /// Fills the logits of `row` and of rows after it, as many as there is room for.
    fn run_head(&mut self, row: usize) {
        let (pool, cpu, scratch) = (self.pool, self.pool.cpu(), &mut self.scratch);
        let (head, residual) = (self.weights.head(), &scratch.residual);
        let rows = HEAD_ROWS.min(self.chunk_rows - row);
        let (norm, epsilon) = (&self.weights.output_norm, self.config.rms_epsilon);
        scratch.head_input.fill(pool, rows, &[head], |index, out| {
            cpu.rms_norm(residual.row(row + index), norm, epsilon, out);
        });
        matmul(pool, head, &scratch.head_input, &mut scratch.logits[..rows * head.rows()]);
        self.logit_rows = row..row + rows;
    }
}
