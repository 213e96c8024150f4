//! Rows of weights, and their dot products with rows of activations, per weight type.

use super::blocks::{Block, HALF, read_blocks};
use super::{BLOCK, SEGMENT};
use crate::float::{bf16_to_f32, f16_to_f32};
use crate::weight::{Integers, WeightType};

/// A block of activations: scale and integers, as [`quantise_block`](super::quantise_block) makes them.
pub type ActivationBlock = (f32, [i8; BLOCK]);

/// The dot product of a row of weights, as a file has it, with a row of activations.
///
/// Plain numbers are widened exactly and meet `x`; quantised ones meet the blocks of `x`.
///
/// # Panics
/// When the lengths do not fit.
pub fn dot(weight_type: WeightType, row: &[u8], x: &[f32], blocks: &[ActivationBlock]) -> f32 {
    match weight_type.integers() {
        None => dot_numbers(&row_numbers(weight_type, row), x),
        Some(integers) => dot_blocks(integers, &row_blocks(weight_type, row), blocks),
    }
}

/// A row as numbers: exact for plain ones; `scale · integer`, rounded, and then plus the minimum, rounded, for
/// types that have minima.
pub fn row_values(weight_type: WeightType, row: &[u8]) -> Vec<f32> {
    let Some(integers) = weight_type.integers() else { return row_numbers(weight_type, row) };
    let value = |block: &Block, i: usize| {
        let scaled = block.half_scale(i / HALF) * (i32::from(block.stored[i]) - integers.less) as f32;
        if integers.minima { scaled + block.half_minimum(i / HALF) } else { scaled }
    };
    row_blocks(weight_type, row)
        .iter()
        .flat_map(|block| (0..BLOCK).map(|i| value(block, i)).collect::<Vec<_>>())
        .collect()
}

/// The numbers of a row of F32, F16 or BF16.
fn row_numbers(weight_type: WeightType, row: &[u8]) -> Vec<f32> {
    let halves = || row.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes));
    match weight_type {
        WeightType::F16 => halves().map(f16_to_f32).collect(),
        WeightType::BF16 => halves().map(bf16_to_f32).collect(),
        _ => row.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
    }
}

/// The blocks of a quantised row.
fn row_blocks(weight_type: WeightType, row: &[u8]) -> Vec<Block> {
    let (elements, bytes) = weight_type.block();
    let mut blocks = vec![Block::default(); row.len() / bytes * (elements / BLOCK)];
    for (bytes, blocks) in row.chunks_exact(bytes).zip(blocks.chunks_exact_mut(elements / BLOCK)) {
        read_blocks(weight_type, bytes, blocks);
    }
    blocks
}

/// A chain of fused multiply-adds in index order per segment, segments added in order.
fn dot_numbers(weights: &[f32], x: &[f32]) -> f32 {
    assert_eq!(weights.len(), x.len(), "a weight for each activation");
    let segments = weights.chunks(SEGMENT).zip(x.chunks(SEGMENT));
    segments.fold(0.0, |total, (weights, x)| {
        total + weights.iter().zip(x).fold(0.0, |sum: f32, (weight, x)| weight.mul_add(*x, sum))
    })
}

/// Eight blocks a segment, segments added in order. In a block, each group of weights joins the segment's sum
/// by one fused multiply-add, and its minimum by another; see [`add_group`].
fn dot_blocks(integers: Integers, weights: &[Block], x: &[ActivationBlock]) -> f32 {
    assert_eq!(weights.len(), x.len(), "a block of weights for each block of activations");
    let blocks_per_segment = SEGMENT / BLOCK;
    let segments = weights.chunks(blocks_per_segment).zip(x.chunks(blocks_per_segment));
    segments.fold(0.0, |total, (weights, x)| {
        let mut sum = 0.0;
        for (block, x) in weights.iter().zip(x) {
            for first in (0..BLOCK).step_by(integers.group) {
                sum = add_group(integers, block, x, first, sum);
            }
        }
        total + sum
    })
}

/// `fma(scale · x_scale, Σ integer · x, sum)`; then, where the type has minima, `fma(minimum, x_scale · Σ x,
/// ·)`. Both sums are exact, their conversions to f32 and the products of scales rounded once.
fn add_group(
    integers: Integers,
    block: &Block,
    (x_scale, x): &ActivationBlock,
    first: usize,
    sum: f32,
) -> f32 {
    let group = first..first + integers.group;
    let (stored, x) = (&block.stored[group.clone()], &x[group]);
    let products = stored.iter().zip(x).map(|(q, x)| (i32::from(*q) - integers.less) * i32::from(*x));
    let dot: i32 = products.sum();
    let sum = (block.half_scale(first / HALF) * x_scale).mul_add(dot as f32, sum);
    if !integers.minima {
        return sum;
    }
    let of_x: i32 = x.iter().map(|x| i32::from(*x)).sum();
    block.half_minimum(first / HALF).mul_add(x_scale * of_x as f32, sum)
}
