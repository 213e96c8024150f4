//! Kernels over one row of activations.

use super::isa::Isa;
use crate::reference::{self, BLOCK, LANES, tree_sum};

/// See [`reference::quantise_block`]; also sums each block's integers.
#[inline(always)]
pub(crate) fn quantise<I: Isa>(
    _: I,
    values: &[f32],
    quants: &mut [[i8; BLOCK]],
    scales: &mut [f32],
    sums: &mut [i32],
) {
    let blocks = values.as_chunks::<BLOCK>().0.iter().zip(quants);
    for (((values, quants), scale), sum) in blocks.zip(scales).zip(sums) {
        *scale = reference::quantise_block(values, quants);
        *sum = quants.iter().map(|quant| i32::from(*quant)).sum();
    }
}

/// See [`reference::rms_norm`].
#[inline(always)]
pub(crate) fn rms_norm<I: Isa>(_: I, x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    assert!(weight.len() == x.len() && out.len() == x.len(), "rows of {}", x.len());
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
    let scale = 1.0 / (tree_sum(lanes) / x.len() as f32 + epsilon).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = (x * scale) * weight;
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

/// See [`reference::rotate`]: every head of a row.
#[inline(always)]
pub(crate) fn rotate<I: Isa>(_: I, row: &mut [f32], cos: &[f32], sin: &[f32]) {
    assert!(sin.len() == cos.len() && row.len().is_multiple_of(2 * cos.len()), "heads of {}", 2 * cos.len());
    for head in row.chunks_exact_mut(2 * cos.len()) {
        reference::rotate(head, cos, sin);
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
