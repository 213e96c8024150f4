//! Activations, quantised for the block weight types.

use super::BLOCK;

/// Largest magnitude of a quantised activation. Without −128, a product with any 8-bit weight fits every
/// instruction set's exact integer dot.
const QUANT_MAX: i32 = 127;

/// Adding and subtracting 1.5·2^23 rounds to the nearest integer, ties to even, for magnitudes under 2^22.
pub(super) const ROUNDING_MAGIC: f32 = 12_582_912.0;

/// Quantises one block: returns the scale, `amax / 127`, and writes `rne(x · (127 / amax))`.
///
/// A block whose `127 / amax` is infinite (all zero, or `amax` under about 3.7e-37) is a zero block with scale
/// 0. A block that holds a NaN or an infinity gets a scale that is not finite, so that every result made
/// from it is not finite either.
#[inline(always)]
pub fn quantise_block(x: &[f32; BLOCK], quants: &mut [i8; BLOCK]) -> f32 {
    // Magnitudes of floats order as their bits do, NaN above infinity.
    let mut amax_bits = 0;
    for value in x {
        amax_bits = amax_bits.max(value.to_bits() & 0x7fff_ffff);
    }
    let amax = f32::from_bits(amax_bits);
    let inverse = 127.0 / amax;
    if inverse == f32::INFINITY {
        *quants = [0; BLOCK];
        return 0.0;
    }
    for (quant, value) in quants.iter_mut().zip(x) {
        // The sum's lowest bits are the rounded integer. (A conversion that saturates would be slower.)
        let rounded = (value * inverse + ROUNDING_MAGIC).to_bits().cast_signed();
        let integer = rounded.wrapping_sub(ROUNDING_MAGIC.to_bits().cast_signed());
        *quant = integer.clamp(-QUANT_MAX, QUANT_MAX) as i8;
    }
    amax / 127.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantised(first: f32) -> (f32, [i8; BLOCK]) {
        let mut x = [0.0; BLOCK];
        x[0] = first;
        x[1] = first / 2.0;
        let mut quants = [0; BLOCK];
        (quantise_block(&x, &mut quants), quants)
    }

    #[test]
    fn the_largest_magnitude_becomes_127_and_ties_go_to_even() {
        let (scale, quants) = quantised(-254.0);
        assert_eq!(scale, 2.0);
        // −63.5 lies between −63 and −64.
        assert_eq!(quants[..3], [-127, -64, 0]);
    }

    #[test]
    fn tiny_blocks_are_zero_blocks() {
        for tiny in [0.0, -0.0, f32::from_bits(1), 3.7e-37] {
            let (scale, quants) = quantised(tiny);
            assert_eq!((scale.to_bits(), quants), (0, [0; BLOCK]), "{tiny:e}");
        }
        assert_eq!(quantised(3.8e-37).1[0], 127);
    }

    #[test]
    fn non_finite_blocks_have_a_non_finite_scale() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(!quantised(bad).0.is_finite());
        }
    }
}
