//! What differs by instruction set: the integers of a block, and widening binary16.

use crate::float::f16_to_f32;
use crate::matrix::{Q4_0_LINES, Q8_0_LINES, Quads};
use crate::reference::{BLOCK, LANES};

/// An instruction set's way to do what is exact, so that every way gives the same.
pub(crate) trait Isa: Copy {
    /// Σ weight · x over a block of Q8_0; `sum` is Σ x.
    fn q8_0(self, lines: &[Quads; Q8_0_LINES], x: &[i8; BLOCK], sum: i32) -> [i32; LANES];

    /// Σ weight · x over a block of Q4_0; `sum` is Σ x.
    fn q4_0(self, lines: &[Quads; Q4_0_LINES], x: &[i8; BLOCK], sum: i32) -> [i32; LANES];

    /// Finite binary16 numbers, from their bits.
    fn halves(self, bits: &[u16; LANES]) -> [f32; LANES];
}

/// Without intrinsics.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Isa for Portable {
    #[inline(always)]
    fn q8_0(self, lines: &[Quads; Q8_0_LINES], x: &[i8; BLOCK], _sum: i32) -> [i32; LANES] {
        let mut dots = [0; LANES];
        for (line, x) in lines.iter().zip(x.as_chunks::<4>().0) {
            for (byte, x) in x.iter().enumerate() {
                for (dot, weights) in dots.iter_mut().zip(&line.0) {
                    let signed = u32::from_le_bytes(*weights) ^ 0x8080_8080;
                    // The byte moves to the top, and comes back with its sign.
                    *dot += ((signed << (24 - 8 * byte)).cast_signed() >> 24) * i32::from(*x);
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

    #[inline(always)]
    fn halves(self, bits: &[u16; LANES]) -> [f32; LANES] {
        let mut floats = [0.0; LANES];
        for (float, bits) in floats.iter_mut().zip(bits) {
            *float = f16_to_f32(*bits);
        }
        floats
    }
}
