//! Kernels over one row of activations.

use super::isa::Isa;
use crate::activation::{GROUP_ROWS, GroupBlock, START};
use crate::reference::{self, BLOCK, HALF, LANES, Pairing, tree_sum};

/// See [`reference::quantise_block`]; also sums each block's integers, whole and by halves.
#[inline(always)]
pub(crate) fn quantise<I: Isa>(_: I, values: &[f32], row: usize, blocks: &mut [GroupBlock]) {
    assert!(row < GROUP_ROWS, "row {row} of a group");
    for (values, block) in values.as_chunks::<BLOCK>().0.iter().zip(blocks) {
        let quants = &mut block.quants[row];
        let scale = reference::quantise_block(values, quants);
        block.scales[row] = scale;
        let (first, second) = quants.split_at(HALF);
        let halves = [sum(first), sum(second)];
        let sums = [halves[0] + halves[1], halves[0], halves[1]];
        for (starts, (part, less)) in block.starts.iter_mut().zip(START) {
            starts[row] = -less * sums[part];
        }
        for (offsets, sum) in block.offsets.iter_mut().zip(sums) {
            offsets[row] = scale * sum as f32;
        }
    }
}

#[inline(always)]
fn sum(quants: &[i8]) -> i32 {
    let mut sum = 0;
    for quant in quants {
        sum += i32::from(*quant);
    }
    sum
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
