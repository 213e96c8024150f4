//! What differs by instruction set: how a block's integers are multiplied with those of sixteen rows.

use crate::matrix::{Q4_0_LINES, Q8_0_LINES, Quads};
use crate::reference::{BLOCK, LANES};

/// A way to compute the exact integer dot; every way gives the same integers.
pub(crate) trait Isa: Copy {
    /// Σ weight · x over a block of Q8_0; `sum` is Σ x.
    fn q8_0(self, lines: &[Quads; Q8_0_LINES], x: &[i8; BLOCK], sum: i32) -> [i32; LANES];

    /// Σ weight · x over a block of Q4_0; `sum` is Σ x.
    fn q4_0(self, lines: &[Quads; Q4_0_LINES], x: &[i8; BLOCK], sum: i32) -> [i32; LANES];
}

/// Without intrinsics.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Isa for Portable {
    #[inline(always)]
    fn q8_0(self, lines: &[Quads; Q8_0_LINES], x: &[i8; BLOCK], _sum: i32) -> [i32; LANES] {
        let mut dots = [0; LANES];
        for (line, x) in lines.iter().zip(x.as_chunks::<4>().0) {
            for (dot, weights) in dots.iter_mut().zip(&line.0) {
                for (weight, x) in weights.iter().zip(x) {
                    *dot += i32::from((weight ^ 0x80) as i8) * i32::from(*x);
                }
            }
        }
        dots
    }

    #[inline(always)]
    fn q4_0(self, lines: &[Quads; Q4_0_LINES], x: &[i8; BLOCK], sum: i32) -> [i32; LANES] {
        let mut dots = [-8 * sum; LANES];
        let (low, high) = x.split_at(BLOCK / 2);
        let quads = low.as_chunks::<4>().0.iter().zip(high.as_chunks::<4>().0);
        for (line, (low, high)) in lines.iter().zip(quads) {
            for (dot, weights) in dots.iter_mut().zip(&line.0) {
                for ((weight, low), high) in weights.iter().zip(low).zip(high) {
                    *dot +=
                        i32::from(weight & 15) * i32::from(*low) + i32::from(weight >> 4) * i32::from(*high);
                }
            }
        }
        dots
    }
}
