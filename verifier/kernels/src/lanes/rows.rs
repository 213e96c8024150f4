//! Kernels over one row of activations.

use super::isa::Isa;
use crate::activation::{RowBlock, RowParts};
use crate::reference::{self, BLOCK, HALF, LANES, LENGTH_MIN, Pairing, SEGMENT, tree_sum};

/// See [`reference::quantise_block`]; also sums each block's integers, whole and by halves.
#[inline(always)]
pub(crate) fn quantise<I: Isa>(
    isa: I,
    values: &[f32],
    (row, rows): (usize, usize),
    blocks: &mut [RowBlock],
    parts: &mut [RowParts],
) {
    assert!(row < rows, "row {row} of {rows}");
    for (index, values) in values.as_chunks::<BLOCK>().0.iter().enumerate() {
        let block = &mut blocks[index * rows + row];
        let scale = reference::quantise_block(values, &mut block.quants);
        let halves = block.quants.as_chunks::<HALF>().0;
        let halves = [isa.sum_bytes(&halves[0]), isa.sum_bytes(&halves[1])];
        let sum = halves[0] + halves[1];
        (block.scale, block.sum) = (scale, sum);
        let offsets = [scale * sum as f32, scale * halves[0] as f32, scale * halves[1] as f32];
        parts[index * rows + row] = RowParts { halves, offsets };
    }
}

/// See [`reference::rms_norm`].
#[inline(always)]
pub(crate) fn rms_norm<I: Isa>(_: I, x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    assert!(weight.len() == x.len() && out.len() == x.len(), "rows of {}", x.len());
    let scale = 1.0 / (sum_of_squares(x) / x.len() as f32 + epsilon).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = (x * scale) * weight;
    }
}

#[inline(always)]
fn sum_of_squares(x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = value.mul_add(*value, *lane);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane = value.mul_add(*value, *lane);
    }
    tree_sum(lanes)
}

#[inline(always)]
fn sum_of_values(x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += value;
    }
    tree_sum(lanes)
}

/// See [`reference::layer_norm`].
#[inline(always)]
pub(crate) fn layer_norm<I: Isa>(
    _: I,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    epsilon: f32,
    out: &mut [f32],
) {
    let fits = weight.len() == x.len() && bias.len() == x.len() && out.len() == x.len();
    assert!(fits, "rows of {}", x.len());
    let count = x.len() as f32;
    let mean = sum_of_values(x) / count;
    for (out, x) in out.iter_mut().zip(x) {
        *out = x - mean;
    }
    let scale = 1.0 / (sum_of_squares(out) / count + epsilon).sqrt();
    for ((out, weight), bias) in out.iter_mut().zip(weight).zip(bias) {
        *out = (*out * scale).mul_add(*weight, *bias);
    }
}

/// See [`reference::l2_norm`].
#[inline(always)]
pub(crate) fn l2_norm<I: Isa>(_: I, x: &mut [f32]) {
    let length = sum_of_squares(x).sqrt();
    let length = if length < LENGTH_MIN { LENGTH_MIN } else { length };
    for x in x {
        *x /= length;
    }
}

/// See [`reference::gelu`].
#[inline(always)]
pub(crate) fn gelu<I: Isa>(_: I, x: &mut [f32]) {
    for x in x {
        *x = reference::gelu(*x);
    }
}

/// See [`reference::mean_rows`].
#[inline(always)]
pub(crate) fn mean_rows<I: Isa>(_: I, rows: &[f32], out: &mut [f32]) {
    let width = out.len();
    assert!(width > 0 && !rows.is_empty() && rows.len().is_multiple_of(width), "rows of {width}");
    out.fill(0.0);
    let mut sums = vec![0.0; width];
    for rows in rows.chunks(SEGMENT * width) {
        sums.fill(0.0);
        for row in rows.chunks_exact(width) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
        for (total, sum) in out.iter_mut().zip(&sums) {
            *total += sum;
        }
    }
    let count = (rows.len() / width) as f32;
    for out in out {
        *out /= count;
    }
}

/// See [`reference::swiglu`].
#[inline(always)]
pub(crate) fn swiglu<I: Isa>(_: I, gate: &[f32], up: &[f32], out: &mut [f32]) {
    assert!(up.len() == gate.len() && out.len() == gate.len(), "rows of {}", gate.len());
    for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
        *out = reference::swiglu(*gate, *up);
    }
}

/// See [`reference::geglu`].
#[inline(always)]
pub(crate) fn geglu<I: Isa>(_: I, gate: &[f32], up: &[f32], out: &mut [f32]) {
    assert!(up.len() == gate.len() && out.len() == gate.len(), "rows of {}", gate.len());
    for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
        *out = reference::geglu(*gate, *up);
    }
}

/// See [`reference::rotate`]: every head of a row.
#[inline(always)]
pub(crate) fn rotate<I: Isa>(
    _: I,
    pairing: Pairing,
    row: &mut [f32],
    head_size: usize,
    cos: &[f32],
    sin: &[f32],
) {
    let fits = sin.len() == cos.len() && 2 * cos.len() <= head_size && row.len().is_multiple_of(head_size);
    assert!(fits, "{} pairs of heads of {head_size}", cos.len());
    for head in row.chunks_exact_mut(head_size) {
        reference::rotate(pairing, head, cos, sin);
    }
}

/// `x += weight · y`, one fused multiply-add an element.
#[inline(always)]
pub(crate) fn add_scaled<I: Isa>(_: I, x: &mut [f32], weight: f32, y: &[f32]) {
    assert_eq!(x.len(), y.len(), "rows of equal length");
    for (x, y) in x.iter_mut().zip(y) {
        *x = weight.mul_add(*y, *x);
    }
}

/// `x += y`, one rounding an element.
#[inline(always)]
pub(crate) fn add<I: Isa>(_: I, x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len(), "rows of equal length");
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}
