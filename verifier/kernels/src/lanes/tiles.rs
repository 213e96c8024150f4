//! Matrix products: rows of activations with tiles of sixteen weight rows.

use super::isa::Isa;
use crate::activation::Row;
use crate::float::f16_to_f32;
use crate::matmul::TileColumns;
use crate::matrix::{Lanes, Matrix, Packed, Q4_0_LINES, Q8_0_LINES, Quads};
use crate::reference::{BLOCK, LANES, SEGMENT};

/// Blocks of a segment.
const SEGMENT_BLOCKS: usize = SEGMENT / BLOCK;

/// Multiplies every row of `x` with the weight rows of `tiles`; see [`dot_f32`](crate::reference::dot_f32) and its siblings.
#[inline(always)]
pub(crate) fn multiply<I: Isa>(isa: I, matrix: &Matrix, x: &[Row], out: &mut TileColumns<'_>) {
    let (cols, blocks) = (matrix.cols(), matrix.cols() / BLOCK);
    for tile in out.tiles() {
        match &matrix.packed {
            Packed::F32(lanes) => {
                let lanes = &lanes[tile * cols..][..cols];
                each_row(x, tile, out, |x| floats(lanes, &x.values, |weight| weight));
            }
            Packed::F16(lanes) => {
                let lanes = &lanes[tile * cols..][..cols];
                each_row(x, tile, out, |x| floats(lanes, &x.values, f16_to_f32));
            }
            Packed::Q8_0 { quants, scales } => {
                let lines = quants[tile * blocks * Q8_0_LINES..].as_chunks().0;
                let scales = &scales[tile * blocks..][..blocks];
                each_row(x, tile, out, |x| integers(lines, scales, x, |l, x, sum| isa.q8_0(l, x, sum)));
            }
            Packed::Q4_0 { quants, scales } => {
                let lines = quants[tile * blocks * Q4_0_LINES..].as_chunks().0;
                let scales = &scales[tile * blocks..][..blocks];
                each_row(x, tile, out, |x| integers(lines, scales, x, |l, x, sum| isa.q4_0(l, x, sum)));
            }
        }
    }
}

#[inline(always)]
fn each_row(x: &[Row], tile: usize, out: &mut TileColumns<'_>, multiply: impl Fn(&Row) -> [f32; LANES]) {
    for (index, x) in x.iter().enumerate() {
        out.write(index, tile, &multiply(x));
    }
}

/// Weights that are numbers: `widen` gives them as f32.
#[inline(always)]
fn floats<T: Copy>(weights: &[Lanes<T>], x: &[f32], widen: impl Fn(T) -> f32) -> [f32; LANES] {
    let mut totals = [0.0; LANES];
    for (weights, x) in weights.chunks(SEGMENT).zip(x.chunks(SEGMENT)) {
        let mut sums = [0.0; LANES];
        for (weights, x) in weights.iter().zip(x) {
            for (sum, weight) in sums.iter_mut().zip(weights.0) {
                *sum = widen(weight).mul_add(*x, *sum);
            }
        }
        add(&mut totals, &sums);
    }
    totals
}

/// Weights in blocks of `N` lines: `dot` gives the block's exact integers.
#[inline(always)]
fn integers<const N: usize>(
    lines: &[[Quads; N]],
    scales: &[Lanes<u16>],
    x: &Row,
    dot: impl Fn(&[Quads; N], &[i8; BLOCK], i32) -> [i32; LANES],
) -> [f32; LANES] {
    let mut totals = [0.0; LANES];
    for first in (0..scales.len()).step_by(SEGMENT_BLOCKS) {
        let mut sums = [0.0; LANES];
        for block in first..scales.len().min(first + SEGMENT_BLOCKS) {
            let dots = dot(&lines[block], &x.quants[block], x.sums[block]);
            let x_scale = x.scales[block];
            for ((sum, scale), dot) in sums.iter_mut().zip(scales[block].0).zip(dots) {
                *sum = (f16_to_f32(scale) * x_scale).mul_add(dot as f32, *sum);
            }
        }
        add(&mut totals, &sums);
    }
    totals
}

#[inline(always)]
fn add(totals: &mut [f32; LANES], sums: &[f32; LANES]) {
    for (total, sum) in totals.iter_mut().zip(sums) {
        *total += sum;
    }
}
