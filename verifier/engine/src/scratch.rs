//! The buffers of a forward pass, made once an execution.

use assay_kernels::{Activations, Matrix, Pool};
use assay_manifest::Digest32;

use crate::config::Config;

/// Rows for which the output head runs at once. Its results are the widest of all (rows times vocabulary).
pub(crate) const HEAD_ROWS: usize = 8;

/// What one position leaves for the trace.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowState {
    /// Hash of the residual after each layer.
    pub layer_hashes: Vec<Digest32>,
    /// Whether every residual was finite.
    pub finite: bool,
    bytes: Vec<u8>,
}

impl RowState {
    fn observe(&mut self, residual: &[f32]) {
        self.finite &= all_finite(residual);
        self.layer_hashes.push(hash_floats(residual, &mut self.bytes));
    }
}

/// The residuals of a chunk of positions, and the states hashed from them.
pub(crate) struct Residual {
    /// `[positions, hidden]`.
    pub values: Vec<f32>,
    pub states: Vec<RowState>,
    hidden: usize,
    /// Result of a matrix that adds to the residual.
    update: Vec<f32>,
}

impl Residual {
    fn new(positions: usize, config: &Config) -> Self {
        let hidden = config.hidden;
        Self {
            values: vec![0.0; positions * hidden],
            states: vec![RowState::default(); positions],
            hidden,
            update: vec![0.0; positions * hidden],
        }
    }

    /// Begins a chunk with the rows of its tokens.
    pub fn embed(&mut self, tokens: &[u32], embedding: &Matrix) {
        let rows = self.values.chunks_exact_mut(self.hidden);
        for ((token, row), state) in tokens.iter().zip(rows).zip(&mut self.states) {
            embedding.row(*token as usize, row);
            state.layer_hashes.clear();
            state.finite = true;
        }
    }

    /// One position's residual.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.hidden..][..self.hidden]
    }

    /// Adds the product of `matrix` with `x` to the residuals.
    pub fn add_product(&mut self, pool: &Pool, matrix: &Matrix, x: &Activations, rows: usize) {
        let (hidden, update) = (self.hidden, &mut self.update[..rows * self.hidden]);
        assay_kernels::matmul(pool, matrix, x, update);
        let values = &mut self.values[..rows * hidden];
        pool.for_each_row(values, hidden, hidden, |row, values| {
            pool.cpu().add(values, &update[row * hidden..][..hidden]);
        });
    }

    /// Hashes the residuals as a layer leaves them.
    pub fn observe(&mut self, pool: &Pool, rows: usize) {
        /// Hashing a value costs about as much as this many multiply-adds.
        const OPS_PER_VALUE: usize = 16;
        let (hidden, values) = (self.hidden, &self.values);
        pool.for_each(&mut self.states[..rows], hidden * OPS_PER_VALUE, |row, state| {
            state.observe(&values[row * hidden..][..hidden]);
        });
    }
}

/// Every buffer of a forward pass; `[positions, …]` where nothing else is said.
pub(crate) struct Scratch {
    pub residual: Residual,
    /// Normalised residuals.
    pub normed: Activations,
    pub queries: Vec<f32>,
    pub keys: Vec<f32>,
    pub values: Vec<f32>,
    /// Cosines and sines of the positions' angles.
    pub cos: Vec<f32>,
    pub sin: Vec<f32>,
    pub attended: Vec<f32>,
    pub heads: Activations,
    pub gate: Vec<f32>,
    pub up: Vec<f32>,
    pub inner: Activations,
    pub head_input: Activations,
    /// `[HEAD_ROWS, vocab]`.
    pub logits: Vec<f32>,
    /// For hashing logits.
    pub bytes: Vec<u8>,
}

impl Scratch {
    /// Buffers for chunks of at most `positions`.
    pub fn new(positions: usize, config: &Config) -> Self {
        let floats = |width: usize| vec![0.0; positions * width];
        let (queries, keys) = (config.heads * config.head_size, config.kv_heads * config.head_size);
        let head_rows = positions.min(HEAD_ROWS);
        Self {
            residual: Residual::new(positions, config),
            normed: Activations::new(positions, config.hidden),
            queries: floats(queries),
            keys: floats(keys),
            values: floats(keys),
            cos: floats(config.head_size / 2),
            sin: floats(config.head_size / 2),
            attended: floats(queries),
            heads: Activations::new(positions, queries),
            gate: floats(config.feed_forward),
            up: floats(config.feed_forward),
            inner: Activations::new(positions, config.feed_forward),
            head_input: Activations::new(head_rows, config.hidden),
            logits: vec![0.0; head_rows * config.vocab_size],
            bytes: Vec::new(),
        }
    }
}

/// Whether no value is NaN or infinite.
pub(crate) fn all_finite(values: &[f32]) -> bool {
    values.iter().fold(true, |finite, value| finite & value.is_finite())
}

/// BLAKE3 of the values' little-endian bytes; `bytes` is kept from call to call.
pub(crate) fn hash_floats(values: &[f32], bytes: &mut Vec<u8>) -> Digest32 {
    bytes.clear();
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    Digest32::from_bytes(*blake3::hash(bytes).as_bytes())
}
