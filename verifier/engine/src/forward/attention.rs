//! The attention of a layer.

use assay_kernels::reference::Rope;
use assay_kernels::{Cpu, Head, PAGE_POSITIONS, Product, QUERIES_MAX, matmul};

use super::chunks::{Chunk, Chunks, layer_heads};
use super::scratch::{Angles, Scratch};
use super::{Forward, Part, Row};
use crate::config::Config;
use crate::model::{Layer, Projection, Weights};

/// What turns results of a projection into queries or keys.
#[derive(Clone, Copy)]
struct Heads<'a> {
    cpu: Cpu,
    size: usize,
    bias: Option<&'a [f32]>,
    norm: Option<(&'a [f32], f32)>,
    rope: Option<(&'a Rope, &'a Angles)>,
}

impl Heads<'_> {
    /// Head `head` of `row`, whose projection's results begin at `from`: with bias, normalised, rotated.
    fn finish(&self, from: &[f32], row: usize, head: usize, out: &mut [f32]) {
        let (cpu, first) = (self.cpu, head * self.size);
        out.copy_from_slice(&from[first..][..self.size]);
        if let Some(bias) = self.bias {
            cpu.add(out, &bias[first..][..self.size]);
        }
        if let Some((norm, epsilon)) = self.norm {
            let plain = out.to_vec();
            cpu.rms_norm(&plain, norm, epsilon, out);
        }
        if let Some((rope, angles)) = self.rope {
            let pairs = row * rope.pairs()..(row + 1) * rope.pairs();
            cpu.rotate(rope.pairing(), out, self.size, &angles.cos[pairs.clone()], &angles.sin[pairs]);
        }
    }
}

impl Forward<'_> {
    /// `x += norm(W_o · attention(norm(x)))`, the outer norm where the layer has one.
    pub(super) fn attention(&mut self, index: usize, layer: &Layer, parts: &mut [Part<'_>], rows: &[Row]) {
        let (pool, cpu, config) = (self.pool, self.pool.cpu(), self.model.config());
        let Scratch { residual, normed, queries, keys, values, .. } = &mut *self.scratch;
        let matrices = [&layer.query, &layer.key, &layer.value].map(|projection| &projection.matrix);
        normed.fill(pool, self.rows, &matrices, |row, out| {
            let x = &residual[row * config.hidden..][..config.hidden];
            cpu.rms_norm(x, &layer.attention_norm, config.rms_epsilon, out);
        });
        let [query, key, value] = matrices;
        let (of_queries, of_keys) = (self.rows * query.rows(), self.rows * key.rows());
        matmul(
            pool,
            normed,
            &mut [
                Product { matrix: query, out: &mut queries[..of_queries] },
                Product { matrix: key, out: &mut keys[..of_keys] },
                Product { matrix: value, out: &mut values[..of_keys] },
            ],
        );
        self.store(index, layer, parts, rows);
        let lengths = parts.iter().map(|part| part.tokens.len());
        let chunks = Chunks::new(config.heads, config.kv_heads, lengths);
        self.attend(index, layer, parts, rows, &chunks);
        self.merge(layer, rows, &chunks);
        self.add_update(layer.attention_after_norm.as_deref(), false);
    }

    /// Writes the keys and values of all rows into the pages.
    fn store(&mut self, index: usize, layer: &Layer, parts: &mut [Part<'_>], rows: &[Row]) {
        let config = self.model.config();
        let (keys, values) = (self.heads(index, &layer.key, Some(1), layer), self.values(&layer.value));
        let Scratch { keys: from_keys, values: from_values, .. } = &*self.scratch;
        let (size, width) = (config.head_size, config.kv_heads * config.head_size);
        let starts: Vec<usize> = parts.iter().map(|part| part.first / PAGE_POSITIONS).collect();
        let ops = size * 8 * (rows.len() / parts.len().max(1));
        let mut tasks = Vec::new();
        for (part, of) in parts.iter_mut().enumerate() {
            let pages = of.first / PAGE_POSITIONS..(of.first + of.tokens.len()).div_ceil(PAGE_POSITIONS);
            let heads = layer_heads(&mut of.pages[pages], index, config.kv_heads);
            tasks.extend(heads.into_iter().enumerate().map(|(head, pages)| (part, head, pages)));
        }
        self.pool.for_each(&mut tasks, ops, |_, (part, head, pages)| {
            let (mut key, mut value) = (vec![0.0; size], vec![0.0; size]);
            for (row, of) in rows.iter().enumerate().filter(|(_, row)| row.part == *part) {
                let first = row * width;
                keys.finish(&from_keys[first..][..width], row, *head, &mut key);
                values.finish(&from_values[first..][..width], row, *head, &mut value);
                let page = &mut pages[of.position / PAGE_POSITIONS - starts[*part]];
                keys.cpu.write_position(page, of.position % PAGE_POSITIONS, &key, &value);
            }
        });
    }

    /// Attention of every row over the positions that it sees.
    fn attend(&mut self, index: usize, layer: &Layer, parts: &[Part<'_>], rows: &[Row], chunks: &Chunks) {
        let config = self.model.config();
        let (size, sharing) = (config.head_size, chunks.sharing());
        let (width, chunk_width) = (config.heads * size, QUERIES_MAX * size);
        let mut attended = std::mem::take(&mut self.scratch.attended);
        attended.resize(chunks.all().len() * chunk_width, 0.0);
        let heads = self.heads(index, &layer.query, Some(0), layer);
        let from = &self.scratch.queries;
        // The first row of each part.
        let mut starts = vec![0; parts.len()];
        rows.iter().enumerate().rev().for_each(|(row, of)| starts[of.part] = row);
        let positions = rows.iter().map(|row| row.position - config.first_seen(index, row.position) + 1);
        let ops = 2 * chunk_width * positions.sum::<usize>() / rows.len().max(1);
        self.pool.for_each_row(&mut attended, chunk_width, ops, |chunk, out| {
            let Chunk { part, kv_head, queries } = &chunks.all()[chunk];
            let count = queries.len() * size;
            let mut finished = vec![0.0; count];
            let mut spans = Vec::with_capacity(QUERIES_MAX);
            for (query, out) in queries.clone().zip(finished.chunks_exact_mut(size)) {
                let row = starts[*part] + query / sharing;
                let head = kv_head * sharing + query % sharing;
                heads.finish(&from[row * width..][..width], row, head, out);
                let position = rows[row].position;
                spans.push(config.first_seen(index, position)..position + 1);
            }
            let cache = Head::new(parts[*part].pages, index, *kv_head);
            heads.cpu.attend(&finished, cache, &spans, config.attention_scale, &mut out[..count]);
        });
        self.scratch.attended = attended;
    }

    /// Puts the heads of each row together and multiplies them with the output matrix.
    fn merge(&mut self, layer: &Layer, rows: &[Row], chunks: &Chunks) {
        let size = self.model.config().head_size;
        let output = &layer.attention_output;
        let Scratch { attended, heads, update, .. } = &mut *self.scratch;
        heads.fill(self.pool, self.rows, &[output], |row, out| {
            for (head, out) in out.chunks_exact_mut(size).enumerate() {
                let (chunk, place) = chunks.place((rows[row].part, rows[row].index), head);
                out.copy_from_slice(&attended[(chunk * QUERIES_MAX + place) * size..][..size]);
            }
        });
        let out = &mut update[..self.rows * output.rows()];
        matmul(self.pool, heads, &mut [Product { matrix: output, out }]);
    }

    /// What finishes queries (`norm` 0) or keys (1) of a layer.
    fn heads<'b>(
        &'b self,
        index: usize,
        projection: &'b Projection,
        norm: Option<usize>,
        layer: &'b Layer,
    ) -> Heads<'b> {
        let (config, weights) = (self.model.config(), self.model.weights());
        let norms = layer.head_norms.as_ref().zip(norm);
        let (rope, angles) = rotation(config, weights, &self.scratch.angles, index);
        Heads {
            norm: norms.map(|(norms, norm)| (norms[norm].as_slice(), config.rms_epsilon)),
            rope: Some((rope, angles)),
            ..self.values(projection)
        }
    }

    /// What finishes values.
    fn values<'b>(&self, projection: &'b Projection) -> Heads<'b> {
        let size = self.model.config().head_size;
        Heads { cpu: self.pool.cpu(), size, bias: projection.bias.as_deref(), norm: None, rope: None }
    }
}

/// The rotations of a layer.
fn rotation<'b>(
    config: &Config,
    weights: &'b Weights,
    angles: &'b [Angles; 2],
    layer: usize,
) -> (&'b Rope, &'b Angles) {
    let windowed = config.window.is_some_and(|window| window.layers.contain(layer));
    match &weights.window_rope {
        Some(rope) if windowed => (rope, &angles[1]),
        _ => (&weights.rope, &angles[0]),
    }
}
