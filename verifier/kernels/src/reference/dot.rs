//! Dot products of one weight row with one row of activations, per weight type.

use super::{BLOCK, SEGMENT};
use crate::float::f16_to_f32;

/// F32 weights: a chain of fused multiply-adds in index order per segment, segments added in order.
pub fn dot_f32(weights: &[f32], x: &[f32]) -> f32 {
    assert_eq!(weights.len(), x.len(), "a weight for each activation");
    let segments = weights.chunks(SEGMENT).zip(x.chunks(SEGMENT));
    segments.fold(0.0, |total, (weights, x)| {
        total + weights.iter().zip(x).fold(0.0, |sum: f32, (weight, x)| weight.mul_add(*x, sum))
    })
}

/// F16 weights, as their bits: each is widened exactly, then as [`dot_f32`].
pub fn dot_f16(weights: &[u16], x: &[f32]) -> f32 {
    let weights: Vec<f32> = weights.iter().map(|bits| f16_to_f32(*bits)).collect();
    dot_f32(&weights, x)
}

/// Quantised weights: blocks of a scale (binary16, widened exactly) and 32 integers, with activations from
/// [`quantise_block`](super::quantise_block).
///
/// Per block the integers' dot product is exact; it joins the segment's sum by one fused multiply-add with
/// the product of the two scales, which is rounded once. Segments of eight blocks are added in order.
pub fn dot_blocks(weights: &[(f32, [i8; BLOCK])], x: &[(f32, [i8; BLOCK])]) -> f32 {
    assert_eq!(weights.len(), x.len(), "a block of weights for each block of activations");
    let blocks_per_segment = SEGMENT / BLOCK;
    let segments = weights.chunks(blocks_per_segment).zip(x.chunks(blocks_per_segment));
    segments.fold(0.0, |total, (weights, x)| {
        let blocks = weights.iter().zip(x);
        total
            + blocks.fold(0.0, |sum, ((weight_scale, weights), (x_scale, x))| {
                let dot: i32 = weights.iter().zip(x).map(|(w, x)| i32::from(*w) * i32::from(*x)).sum();
                (weight_scale * x_scale).mul_add(dot as f32, sum)
            })
    })
}
