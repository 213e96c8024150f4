//! Attention of one query head over the positions that it sees; no online softmax.

use super::{LANES, SEGMENT, exp, tree_sum};
use crate::float::f16_to_f32;

/// `out = softmax(scale · q·K) · V` over the positions from `first` on, whose keys and values are the rows of
/// `keys` and `values`, in binary16 (widened exactly), each of `query.len()` elements.
///
/// - Score: a chain of fused multiply-adds over the dimensions, times `scale`.
/// - Weight: `exp(score − largest score)`; their sum goes over sixteen lanes (position mod 16) and
///   [`tree_sum`].
/// - Result: per dimension a chain of fused multiply-adds over the positions of each segment (position / 256),
///   segments added in order, and one division by the sum of the weights.
pub fn attention(
    query: &[f32],
    first: usize,
    keys: &[&[u16]],
    values: &[&[u16]],
    scale: f32,
    out: &mut [f32],
) {
    let score = |key: &&[u16]| {
        let chain = |sum: f32, (q, k): (&f32, &u16)| q.mul_add(f16_to_f32(*k), sum);
        query.iter().zip(*key).fold(0.0, chain) * scale
    };
    let scores: Vec<f32> = keys.iter().map(score).collect();
    let largest = scores.iter().fold(f32::NEG_INFINITY, |max, s| if *s > max { *s } else { max });
    let weights: Vec<f32> = scores.iter().map(|score| exp(score - largest)).collect();
    let mut lanes = [0.0; LANES];
    for (position, weight) in (first..).zip(&weights) {
        lanes[position % LANES] += weight;
    }
    let sum = tree_sum(lanes);
    for (dim, out) in out.iter_mut().enumerate() {
        let mut totals = (0.0, 0.0);
        for ((position, weight), value) in (first..).zip(&weights).zip(values) {
            totals.1 = weight.mul_add(f16_to_f32(value[dim]), totals.1);
            if (position + 1).is_multiple_of(SEGMENT) {
                totals = (totals.0 + totals.1, 0.0);
            }
        }
        *out = (totals.0 + totals.1) / sum;
    }
}
