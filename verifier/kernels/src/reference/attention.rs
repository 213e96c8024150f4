//! Attention of one query head over the positions so far; no online softmax.

use super::{LANES, SEGMENT, exp, tree_sum};

/// `out = softmax(q·K / sqrt(n)) · V` over all rows of `keys` and `values`, each of `n = query.len()` elements.
///
/// - Score: a chain of fused multiply-adds over the dimensions, times `1 / sqrt(n)`.
/// - Weight: `exp(score − largest score)`; their sum goes over sixteen lanes (position mod 16) and
///   [`tree_sum`].
/// - Result: per dimension a chain of fused multiply-adds over the positions of each segment, segments added in order,
///   and one division by the sum of the weights.
pub fn attention(query: &[f32], keys: &[&[f32]], values: &[&[f32]], out: &mut [f32]) {
    let scale = 1.0 / (query.len() as f32).sqrt();
    let score =
        |key: &&[f32]| scale * query.iter().zip(*key).fold(0.0, |sum: f32, (q, k)| q.mul_add(*k, sum));
    let scores: Vec<f32> = keys.iter().map(score).collect();
    let largest = scores.iter().fold(f32::NEG_INFINITY, |max, s| if *s > max { *s } else { max });
    let weights: Vec<f32> = scores.iter().map(|score| exp(score - largest)).collect();
    let mut lanes = [0.0; LANES];
    for (position, weight) in weights.iter().enumerate() {
        lanes[position % LANES] += weight;
    }
    let sum = tree_sum(lanes);
    for (dim, out) in out.iter_mut().enumerate() {
        let segments = weights.chunks(SEGMENT).zip(values.chunks(SEGMENT));
        let total = segments.fold(0.0, |total, (weights, values)| {
            total + weights.iter().zip(values).fold(0.0, |sum: f32, (w, value)| w.mul_add(value[dim], sum))
        });
        *out = total / sum;
    }
}
