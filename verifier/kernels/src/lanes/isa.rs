//! What differs by instruction set: how sixteen lanes are held and what is done to all of them at once.

use crate::float::{f16_to_f32, f32_to_f16};
use crate::matrix::Quads;
use crate::reference::LANES;

/// An instruction set's registers of sixteen lanes. Every operation is exact, or one IEEE operation a lane, so
/// all sets give the same.
pub(crate) trait Isa: Copy {
    /// Rows of activations that share a pass over weights: as many as the registers hold sums of.
    const ROWS: usize;
    /// Whether the registers hold those of two tiles.
    const PAIRS: bool;

    /// Sixteen `f32`.
    type Floats: Copy;
    /// Sixteen `i32`.
    type Ints: Copy;
    /// Sixteen quads of bytes.
    type Bytes: Copy;

    fn splat(self, value: f32) -> Self::Floats;
    fn load(self, values: &[f32; LANES]) -> Self::Floats;
    fn store(self, values: Self::Floats, out: &mut [f32; LANES]);
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn subtract(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn multiply(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a · b + c`, rounded once.
    fn fma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;

    /// Finite binary16 numbers, from their bits.
    fn halves(self, bits: &[u16; LANES]) -> Self::Floats;
    /// Rounded to binary16, to nearest, ties to even.
    fn to_halves(self, values: Self::Floats) -> [u16; LANES];
    /// bfloat16 numbers, from their bits.
    fn upper_halves(self, bits: &[u16; LANES]) -> Self::Floats;
    /// Signed bytes as numbers.
    fn signed_bytes(self, bytes: &[i8; LANES]) -> Self::Floats;
    /// The low and the high halves of bytes as numbers.
    fn nibbles(self, bytes: &[i8; LANES]) -> (Self::Floats, Self::Floats);

    fn splat_int(self, value: i32) -> Self::Ints;
    /// Rounded to nearest, ties to even.
    fn to_floats(self, ints: Self::Ints) -> Self::Floats;

    /// The sum of sixteen bytes.
    fn sum_bytes(self, bytes: &[i8; LANES]) -> i32;

    /// Asks for a line that is read or written soon, perhaps beyond the end of its slice.
    fn prefetch(self, line: *const u8);
    /// The same, into the second cache.
    fn prefetch_outer(self, line: *const u8);
    fn quads(self, line: &Quads) -> Self::Bytes;
    /// Bits `from` to `from + width` of every byte, moved down to bit 0.
    fn bits(self, bytes: Self::Bytes, from: u32, width: u32) -> Self::Bytes;
    /// `low | high << by` in every byte; no bit of `high` leaves its byte.
    fn join(self, low: Self::Bytes, high: Self::Bytes, by: u32) -> Self::Bytes;
    /// Adds to each lane the dot product of its unsigned quad, no byte above 127, with the signed `x`.
    fn dot(self, sum: Self::Ints, weights: Self::Bytes, x: &[i8; 4]) -> Self::Ints;
    /// The same with weights of all eight bits; magnitudes of `x` are at most 127. The lane gets the dot with
    /// each weight less 128, by way of a `sum` that begins at [`Isa::wide_start`].
    fn dot_wide(self, sum: Self::Ints, weights: Self::Bytes, x: &[i8; 4]) -> Self::Ints;
    /// Where a sum of [`Isa::dot_wide`] begins; `sum_of_x` is that of all its `x`.
    fn wide_start(self, sum_of_x: i32) -> Self::Ints;
}

/// Without intrinsics.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

macro_rules! lanewise {
    (|$lane:ident| $value:expr) => {{
        let mut out = [Default::default(); LANES];
        for $lane in 0..LANES {
            out[$lane] = $value;
        }
        out
    }};
}

impl Isa for Portable {
    const ROWS: usize = 4;
    const PAIRS: bool = false;
    type Floats = [f32; LANES];
    type Ints = [i32; LANES];
    type Bytes = [[u8; 4]; LANES];

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Floats {
        [value; LANES]
    }

    #[inline(always)]
    fn load(self, values: &[f32; LANES]) -> Self::Floats {
        *values
    }

    #[inline(always)]
    fn store(self, values: Self::Floats, out: &mut [f32; LANES]) {
        *out = values;
    }

    #[inline(always)]
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        lanewise!(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn subtract(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        lanewise!(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn multiply(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        lanewise!(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn fma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        lanewise!(|i| a[i].mul_add(b[i], c[i]))
    }

    #[inline(always)]
    fn halves(self, bits: &[u16; LANES]) -> Self::Floats {
        lanewise!(|i| f16_to_f32(bits[i]))
    }

    #[inline(always)]
    fn to_halves(self, values: Self::Floats) -> [u16; LANES] {
        lanewise!(|i| f32_to_f16(values[i]))
    }

    #[inline(always)]
    fn upper_halves(self, bits: &[u16; LANES]) -> Self::Floats {
        lanewise!(|i| crate::float::bf16_to_f32(bits[i]))
    }

    #[inline(always)]
    fn signed_bytes(self, bytes: &[i8; LANES]) -> Self::Floats {
        lanewise!(|i| f32::from(bytes[i]))
    }

    #[inline(always)]
    fn nibbles(self, bytes: &[i8; LANES]) -> (Self::Floats, Self::Floats) {
        (lanewise!(|i| f32::from(bytes[i] & 15)), lanewise!(|i| f32::from(bytes[i].cast_unsigned() >> 4)))
    }

    #[inline(always)]
    fn splat_int(self, value: i32) -> Self::Ints {
        [value; LANES]
    }

    #[inline(always)]
    fn to_floats(self, ints: Self::Ints) -> Self::Floats {
        lanewise!(|i| ints[i] as f32)
    }

    #[inline(always)]
    fn sum_bytes(self, bytes: &[i8; LANES]) -> i32 {
        let mut sum = 0;
        for byte in bytes {
            sum += i32::from(*byte);
        }
        sum
    }

    #[inline(always)]
    fn prefetch(self, _: *const u8) {}

    #[inline(always)]
    fn prefetch_outer(self, _: *const u8) {}

    #[inline(always)]
    fn quads(self, line: &Quads) -> Self::Bytes {
        line.0
    }

    #[inline(always)]
    fn bits(self, bytes: Self::Bytes, from: u32, width: u32) -> Self::Bytes {
        let mask = ((1u32 << width) - 1) * 0x0101_0101;
        lanewise!(|i| ((u32::from_le_bytes(bytes[i]) >> from) & mask).to_le_bytes())
    }

    #[inline(always)]
    fn join(self, low: Self::Bytes, high: Self::Bytes, by: u32) -> Self::Bytes {
        lanewise!(|i| (u32::from_le_bytes(low[i]) | u32::from_le_bytes(high[i]) << by).to_le_bytes())
    }

    #[inline(always)]
    fn dot(self, sum: Self::Ints, weights: Self::Bytes, x: &[i8; 4]) -> Self::Ints {
        let mut sum = sum;
        for (byte, x) in x.iter().enumerate() {
            for lane in 0..LANES {
                let weight = u32::from_le_bytes(weights[lane]) >> (8 * byte) & 0xff;
                sum[lane] += weight.cast_signed() * i32::from(*x);
            }
        }
        sum
    }

    #[inline(always)]
    fn dot_wide(self, sum: Self::Ints, weights: Self::Bytes, x: &[i8; 4]) -> Self::Ints {
        self.dot(sum, weights, x)
    }

    #[inline(always)]
    fn wide_start(self, sum_of_x: i32) -> Self::Ints {
        [-128 * sum_of_x; LANES]
    }
}
