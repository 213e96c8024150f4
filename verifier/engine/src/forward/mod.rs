//! The forward pass: some positions of some sequences through every layer, all at once.
//!
//! Rows of activations never meet, but in attention, and there only those of one sequence. So the company in
//! which a position is computed, and the size of the chunk, change nothing.

mod attention;
mod chunks;
mod feed_forward;
mod scratch;

use std::sync::Arc;

use assay_kernels::{MemoryError, PAGE_POSITIONS, Page, Pool, Product, matmul};
use assay_manifest::Digest32;
use assay_protocol::trace::layers_root;

pub(crate) use self::chunks::{Chunk, Chunks, layer_heads};
use self::scratch::RowState;
pub(crate) use self::scratch::{HEAD_ROWS, Scratch, all_finite, hash_floats};
use crate::model::Model;

/// What a pass takes of one sequence.
pub(crate) struct Part<'a> {
    /// The sequence's pages; those that its next positions need are added.
    pub pages: &'a mut Vec<Arc<Page>>,
    /// The first position that is computed.
    pub first: usize,
    /// The tokens there.
    pub tokens: &'a [u32],
}

/// What a position leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Root over the hashes of the residual after each layer; none when one is not finite.
    pub root: Option<Digest32>,
}

/// A pass through a model.
pub(crate) struct Forward<'a> {
    pool: &'a Pool,
    model: &'a Model,
    scratch: &'a mut Scratch,
    rows: usize,
}

/// A row of a pass: whose it is.
#[derive(Clone, Copy)]
struct Row {
    part: usize,
    /// Which of its part's rows.
    index: usize,
    position: usize,
}

impl<'a> Forward<'a> {
    /// A pass with these buffers, which must have been made for the model's configuration.
    pub fn new(pool: &'a Pool, model: &'a Model, scratch: &'a mut Scratch) -> Self {
        Self { pool, model, scratch, rows: 0 }
    }

    /// Runs all rows of all parts through every layer.
    ///
    /// # Errors
    /// When there is no memory for a page.
    pub fn run(&mut self, parts: &mut [Part<'_>]) -> Result<(), MemoryError> {
        let shape = self.model.config().cache_shape();
        for part in parts.iter_mut() {
            let pages = (part.first + part.tokens.len()).div_ceil(PAGE_POSITIONS);
            while part.pages.len() < pages {
                part.pages.push(Arc::new(Page::new(shape)?));
            }
        }
        let rows: Vec<Row> = (0..).zip(&*parts).flat_map(|(part, of)| rows_of(part, of)).collect();
        self.rows = rows.len();
        self.embed(parts);
        self.angles(&rows);
        for (index, layer) in self.model.weights().layers.iter().enumerate() {
            self.attention(index, layer, parts, &rows);
            self.feed_forward(layer);
        }
        Ok(())
    }

    /// What each row leaves behind.
    pub fn states(&self) -> Vec<State> {
        let states = &self.scratch.states[..self.rows];
        states.iter().map(|state| State { root: state.finite.then(|| layers_root(&state.hashes)) }).collect()
    }

    /// The hashes of a row's residual after each layer.
    pub fn layer_hashes(&self, row: usize) -> &[Digest32] {
        &self.scratch.states[row].hashes
    }

    /// The logits of up to [`HEAD_ROWS`] rows, `[rows, vocab]`.
    pub fn logits(&mut self, rows: &[usize]) -> &[f32] {
        let (pool, cpu, weights) = (self.pool, self.pool.cpu(), self.model.weights());
        let (config, head) = (self.model.config(), weights.head());
        let Scratch { residual, head_input, logits, .. } = &mut *self.scratch;
        head_input.fill(pool, rows.len(), &[head], |index, out| {
            let x = &residual[rows[index] * config.hidden..][..config.hidden];
            cpu.rms_norm(x, &weights.output_norm, config.rms_epsilon, out);
        });
        let out = &mut logits[..rows.len() * head.rows()];
        matmul(pool, head_input, &mut [Product { matrix: head, out }]);
        &logits[..rows.len() * head.rows()]
    }

    /// Begins every row with that of its token in the embedding.
    fn embed(&mut self, parts: &[Part<'_>]) {
        let (config, embedding) = (self.model.config(), &self.model.weights().embedding);
        let tokens: Vec<u32> = parts.iter().flat_map(|part| part.tokens).copied().collect();
        let residual = &mut self.scratch.residual[..self.rows * config.hidden];
        self.pool.for_each_row(residual, config.hidden, config.hidden, |row, out| {
            embedding.row(tokens[row] as usize, out);
            if let Some(scale) = config.embedding_scale {
                out.iter_mut().for_each(|x| *x *= scale);
            }
        });
        for state in &mut self.scratch.states[..self.rows] {
            state.hashes.clear();
            state.finite = true;
        }
    }

    fn angles(&mut self, rows: &[Row]) {
        let weights = self.model.weights();
        let tables = &mut self.scratch.angles;
        for (table, rope) in tables.iter_mut().zip([Some(&weights.rope), weights.window_rope.as_ref()]) {
            let Some(rope) = rope else { continue };
            let pairs = rope.pairs();
            let angles = table.cos.chunks_exact_mut(pairs).zip(table.sin.chunks_exact_mut(pairs));
            for ((cos, sin), row) in angles.zip(rows) {
                // Positions stay under the context length, a u32.
                rope.angles(row.position as u32, cos, sin);
            }
        }
    }

    /// Adds what a part of a layer returned to the residuals, after its norm where it has one; `last` of a layer,
    /// hashes them.
    fn add_update(&mut self, after_norm: Option<&[f32]>, last: bool) {
        /// Hashing a value costs about as much as this many multiply-adds.
        const OPS_PER_VALUE: usize = 16;
        let (cpu, config) = (self.pool.cpu(), self.model.config());
        let Scratch { residual, update, states, .. } = &mut *self.scratch;
        let width = config.hidden;
        let rows = residual.chunks_exact_mut(width).zip(update.chunks_exact(width)).zip(states);
        let mut rows: Vec<_> = rows.take(self.rows).collect();
        self.pool.for_each(&mut rows, width * OPS_PER_VALUE, |_, ((residual, update), state)| {
            match after_norm {
                None => cpu.add(residual, update),
                Some(norm) => {
                    let mut normed = vec![0.0; width];
                    cpu.rms_norm(update, norm, config.rms_epsilon, &mut normed);
                    cpu.add(residual, &normed);
                }
            }
            if last {
                state.observe(residual);
            }
        });
    }
}

impl RowState {
    fn observe(&mut self, residual: &[f32]) {
        self.finite &= all_finite(residual);
        self.hashes.push(hash_floats(residual));
    }
}

/// What tracing does at one position, on its own: the root over `layers` hashes of a residual, and the hash of the
/// logits.
pub(crate) fn traced(
    residual: &[f32],
    layers: usize,
    logits: &[f32],
) -> (Option<Digest32>, Option<Digest32>) {
    let mut state = RowState { finite: true, ..RowState::default() };
    (0..layers).for_each(|_| state.observe(std::hint::black_box(residual)));
    (state.finite.then(|| layers_root(&state.hashes)), logits_hash(logits))
}

/// BLAKE3 of logits' little-endian bytes; none when one is NaN or infinite.
pub(crate) fn logits_hash(logits: &[f32]) -> Option<Digest32> {
    all_finite(logits).then(|| hash_floats(logits))
}

fn rows_of(part: usize, of: &Part<'_>) -> impl Iterator<Item = Row> {
    let first = of.first;
    (0..of.tokens.len()).map(move |index| Row { part, index, position: first + index })
}
