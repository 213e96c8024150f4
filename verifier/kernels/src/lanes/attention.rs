//! Attention: a lane is a position while scoring, a dimension while summing values.

use super::isa::Isa;
use crate::cache::HeadCache;
use crate::matrix::Lanes;
use crate::reference::{LANES, SEGMENT, exp, tree_sum};

/// See [`attention`](crate::reference::attention).
#[inline(always)]
pub(crate) fn attend<I: Isa>(_: I, queries: &[f32], cache: &HeadCache, positions: usize, out: &mut [f32]) {
    let head_size = cache.head_size();
    assert!((1..=cache.positions()).contains(&positions), "{positions} of {} positions", cache.positions());
    assert!(queries.len() == out.len() && out.len().is_multiple_of(head_size), "heads of {head_size}");
    let mut weights = vec![[0.0; LANES]; positions.div_ceil(LANES)];
    let heads = queries.chunks_exact(head_size).zip(out.chunks_exact_mut(head_size));
    for (query, out) in heads {
        let largest = score(query, &cache.keys, positions, &mut weights);
        let sum = exponentiate(&mut weights, largest, positions);
        weighted_sums(&weights.as_flattened()[..positions], &cache.values, sum, out);
    }
}

/// Fills `scores` and returns the largest; lanes beyond the last position hold −∞.
#[inline(always)]
fn score(query: &[f32], keys: &[Lanes<f32>], positions: usize, scores: &mut [[f32; LANES]]) -> f32 {
    let scale = 1.0 / (query.len() as f32).sqrt();
    let mut largest = [f32::NEG_INFINITY; LANES];
    for (tile, (scores, keys)) in scores.iter_mut().zip(keys.chunks_exact(query.len())).enumerate() {
        let mut sums = [0.0; LANES];
        for (q, keys) in query.iter().zip(keys) {
            for (sum, key) in sums.iter_mut().zip(keys.0) {
                *sum = q.mul_add(key, *sum);
            }
        }
        for (lane, sum) in sums.iter().enumerate() {
            let there = tile * LANES + lane < positions;
            scores[lane] = if there { sum * scale } else { f32::NEG_INFINITY };
        }
        for (largest, score) in largest.iter_mut().zip(scores) {
            *largest = if *score > *largest { *score } else { *largest };
        }
    }
    largest.iter().fold(f32::NEG_INFINITY, |max, score| if *score > max { *score } else { max })
}

/// Turns scores into weights and returns their sum; lanes beyond the last position get weight 0.
#[inline(always)]
fn exponentiate(scores: &mut [[f32; LANES]], largest: f32, positions: usize) -> f32 {
    let mut sums = [0.0; LANES];
    for (tile, scores) in scores.iter_mut().enumerate() {
        for (lane, (score, sum)) in scores.iter_mut().zip(&mut sums).enumerate() {
            let weight = exp(*score - largest);
            *score = if tile * LANES + lane < positions { weight } else { 0.0 };
            *sum += *score;
        }
    }
    tree_sum(sums)
}

/// `out[d] = Σ weight · value[d] / sum`.
#[inline(always)]
fn weighted_sums(weights: &[f32], values: &[f32], sum: f32, out: &mut [f32]) {
    let head_size = out.len();
    let mut first = 0;
    while first < head_size {
        let values = &values[first..];
        let out = &mut out[first..];
        // Several vectors at once hide the latency of the multiply-add; dimensions do not meet.
        first += match out.len() {
            64.. => dimensions::<64>(weights, values, head_size, sum, out),
            16.. => dimensions::<16>(weights, values, head_size, sum, out),
            _ => dimensions::<1>(weights, values, head_size, sum, out),
        };
    }
}

/// The first `N` dimensions of rows that begin `stride` apart; returns `N`.
#[inline(always)]
fn dimensions<const N: usize>(
    weights: &[f32],
    values: &[f32],
    stride: usize,
    sum: f32,
    out: &mut [f32],
) -> usize {
    let mut totals = [0.0; N];
    for (segment, weights) in weights.chunks(SEGMENT).enumerate() {
        let mut sums = [0.0; N];
        for (position, weight) in weights.iter().enumerate() {
            let values = &values[(segment * SEGMENT + position) * stride..][..N];
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum = weight.mul_add(*value, *sum);
            }
        }
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total += sum;
        }
    }
    for (out, total) in out.iter_mut().zip(totals) {
        *out = total / sum;
    }
    N
}
