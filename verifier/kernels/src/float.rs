//! Conversions that are exact, and the floating-point environment that everything here rests on.

use std::hint::black_box;

/// Widens binary16 bits. Exact, infinities and NaNs included.
#[inline(always)]
pub const fn f16_to_f32(bits: u16) -> f32 {
    /// Moves the exponent from binary16's bias of 15 to binary32's of 127; exact also for subnormals.
    const BIAS: f32 = f32::from_bits((127 + 127 - 15) << 23);
    let magnitude = f32::from_bits(((bits & 0x7fff) as u32) << 13) * BIAS;
    // Infinities and NaNs have all bits of the exponent set, in both formats.
    let not_finite = if bits & 0x7c00 == 0x7c00 { 0xff << 23 } else { 0 };
    f32::from_bits(magnitude.to_bits() | not_finite | ((bits & 0x8000) as u32) << 16)
}

/// Widens bfloat16 bits, which are the upper half of a binary32. Exact.
#[inline(always)]
pub const fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits((bits as u32) << 16)
}

/// Whether bfloat16 bits are neither infinite nor NaN.
pub const fn bf16_is_finite(bits: u16) -> bool {
    bits & 0x7f80 != 0x7f80
}

/// Whether binary16 bits are neither infinite nor NaN.
pub const fn f16_is_finite(bits: u16) -> bool {
    bits & 0x7c00 != 0x7c00
}

/// Rounds to binary16, to nearest, ties to even.
pub fn f32_to_f16(value: f32) -> u16 {
    half::f16::from_f32(value).to_bits()
}

/// This thread's floating-point settings would change results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("checking this thread's floating-point settings: {0}")]
pub struct FloatEnvironmentError(&'static str);

/// Checks that subnormals are kept and that results are rounded to nearest. These settings belong to the
/// thread, and a library loaded into the process can change them.
///
/// # Errors
/// When subnormal inputs or results are taken as zero, another rounding is set, or Arm's alternative to binary16.
pub fn check_environment() -> Result<(), FloatEnvironmentError> {
    if black_box(f32::MIN_POSITIVE) * black_box(0.5) == 0.0 {
        return Err(FloatEnvironmentError("subnormal results are flushed to zero"));
    }
    if black_box(f32::from_bits(1)) * black_box(8_388_608.0) == 0.0 {
        return Err(FloatEnvironmentError("subnormal operands are taken as zero"));
    }
    let half_ulp = black_box(f32::EPSILON) * 0.5;
    let down = black_box(1.0) + half_ulp == 1.0 && black_box(-1.0) - half_ulp == -1.0;
    let up = black_box(1.0) + half_ulp * 1.5 > 1.0 && black_box(-1.0) - half_ulp * 1.5 < -1.0;
    if !(down && up) {
        return Err(FloatEnvironmentError("results are not rounded to nearest"));
    }
    #[cfg(target_arch = "aarch64")]
    if crate::aarch64::alternative_halves() {
        return Err(FloatEnvironmentError("binary16 is converted as Arm's alternative to it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_widens_as_ieee_says() {
        for bits in 0..=u16::MAX {
            let (found, expected) = (f16_to_f32(bits), half::f16::from_bits(bits).to_f32());
            let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
            assert!(same, "{bits:#x}");
        }
    }

    #[test]
    fn the_default_environment_is_right() {
        assert_eq!(check_environment(), Ok(()));
    }

    /// The register of these settings.
    #[cfg(target_arch = "x86_64")]
    #[expect(deprecated, reason = "the only way to set the control register is deprecated, for good reason")]
    mod control {
        const FLUSH_RESULTS: u32 = 1 << 15;
        const ZERO_OPERANDS: u32 = 1 << 6;
        const ROUND_DOWN: u32 = 1 << 13;
        pub const REFUSED: [u32; 3] = [FLUSH_RESULTS, ZERO_OPERANDS, ROUND_DOWN];

        pub fn get() -> u32 {
            // SAFETY: SSE is part of x86-64.
            unsafe { std::arch::x86_64::_mm_getcsr() }
        }

        pub fn set(bits: u32) {
            // SAFETY: as above, and the test restores the register before anything else computes.
            unsafe { std::arch::x86_64::_mm_setcsr(bits) }
        }
    }

    /// The register of these settings.
    #[cfg(target_arch = "aarch64")]
    mod control {
        use std::arch::asm;

        const FLUSH: u64 = 1 << 24;
        const ROUND_DOWN: u64 = 2 << 22;
        const ALTERNATIVE_HALVES: u64 = 1 << 26;
        pub const REFUSED: [u64; 3] = [FLUSH, ROUND_DOWN, ALTERNATIVE_HALVES];

        pub fn get() -> u64 {
            let bits;
            // SAFETY: every program may read the register.
            unsafe { asm!("mrs {}, fpcr", out(reg) bits) };
            bits
        }

        pub fn set(bits: u64) {
            // SAFETY: every program may write it, and the test restores it before anything else computes.
            unsafe { asm!("msr fpcr, {}", in(reg) bits) };
        }
    }

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[test]
    fn settings_that_change_results_are_noticed() {
        let saved = control::get();
        for bit in control::REFUSED {
            control::set(saved | bit);
            let checked = check_environment();
            control::set(saved);
            assert!(checked.is_err(), "{bit:#x}");
        }
        assert_eq!(check_environment(), Ok(()));
    }
}
