//! The exact parts with the instructions of x86-64.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, __m512, __m512i, _mm_loadu_si128, _mm256_abs_epi8, _mm256_add_epi16,
    _mm256_add_epi32, _mm256_and_si256, _mm256_cvtph_ps, _mm256_load_si256, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32,
    _mm256_setzero_si256, _mm256_sign_epi8, _mm256_srli_epi16, _mm256_xor_si256, _mm512_and_si512,
    _mm512_cvtph_ps, _mm512_dpbusd_epi32, _mm512_load_si512, _mm512_set1_epi8, _mm512_set1_epi32,
    _mm512_srli_epi16,
};

use crate::lanes::isa::Isa;
use crate::matrix::{Q4_0_LINES, Q8_0_LINES, Quads};
use crate::reference::{BLOCK, LANES};

/// AVX2 with F16C. A value exists only in code that runs where the CPU has it.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

/// AVX-512 with VNNI. A value exists only in code that runs where the CPU has it.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx2 {
    /// # Safety
    /// The CPU must have AVX2 and F16C.
    #[inline(always)]
    pub(crate) const unsafe fn new() -> Self {
        Self(())
    }
}

impl Avx512 {
    /// # Safety
    /// The CPU must have AVX-512 F, BW and VNNI.
    #[inline(always)]
    pub(crate) const unsafe fn new() -> Self {
        Self(())
    }
}

/// Four activations as the 32 bits that are repeated for every row.
#[inline(always)]
fn quad(x: &[i8; BLOCK], index: usize) -> i32 {
    i32::from_le_bytes(x.as_chunks::<4>().0[index].map(i8::cast_unsigned))
}

impl Isa for Avx512 {
    /// Stored weights are unsigned and 128 too large: 128 · Σ x is taken off beforehand.
    #[inline(always)]
    fn q8_0(self, lines: &[Quads; Q8_0_LINES], x: &[i8; BLOCK], sum: i32) -> [i32; LANES] {
        // SAFETY: `self` proves the features; a line is 64 bytes, aligned to as many.
        unsafe {
            let mut dots = _mm512_set1_epi32(-128 * sum);
            for (index, line) in lines.iter().enumerate() {
                let weights = _mm512_load_si512(std::ptr::from_ref(line).cast());
                dots = _mm512_dpbusd_epi32(dots, weights, _mm512_set1_epi32(quad(x, index)));
            }
            std::mem::transmute::<__m512i, [i32; LANES]>(dots)
        }
    }

    /// Stored weights are unsigned and 8 too large.
    #[inline(always)]
    fn q4_0(self, lines: &[Quads; Q4_0_LINES], x: &[i8; BLOCK], sum: i32) -> [i32; LANES] {
        // SAFETY: `self` proves the features; a line is 64 bytes, aligned to as many.
        unsafe {
            let low_halves = _mm512_set1_epi8(15);
            let mut dots = _mm512_set1_epi32(-8 * sum);
            for (index, line) in lines.iter().enumerate() {
                let weights = _mm512_load_si512(std::ptr::from_ref(line).cast());
                let low = _mm512_and_si512(weights, low_halves);
                let high = _mm512_and_si512(_mm512_srli_epi16::<4>(weights), low_halves);
                dots = _mm512_dpbusd_epi32(dots, low, _mm512_set1_epi32(quad(x, index)));
                dots = _mm512_dpbusd_epi32(dots, high, _mm512_set1_epi32(quad(x, index + Q4_0_LINES)));
            }
            std::mem::transmute::<__m512i, [i32; LANES]>(dots)
        }
    }

    #[inline(always)]
    fn halves(self, bits: &[u16; LANES]) -> [f32; LANES] {
        // SAFETY: `self` proves the features; sixteen numbers of 16 bits are 256.
        unsafe {
            let floats = _mm512_cvtph_ps(_mm256_loadu_si256(bits.as_ptr().cast()));
            std::mem::transmute::<__m512, [f32; LANES]>(floats)
        }
    }
}

impl Isa for Avx2 {
    /// Pairs of products are added in 16 bits: magnitudes of weights (at most 128) times activations (at
    /// most 127) give at most 32,512, which fits.
    #[inline(always)]
    fn q8_0(self, lines: &[Quads; Q8_0_LINES], x: &[i8; BLOCK], _sum: i32) -> [i32; LANES] {
        // SAFETY: `self` proves the features; half a line is 32 bytes, aligned to as many.
        unsafe {
            let mut dots = [_mm256_setzero_si256(); 2];
            for (index, line) in lines.iter().enumerate() {
                let x = _mm256_set1_epi32(quad(x, index));
                for (half, dots) in dots.iter_mut().enumerate() {
                    let stored = _mm256_load_si256(std::ptr::from_ref(line).cast::<__m256i>().add(half));
                    let weights = _mm256_xor_si256(stored, _mm256_set1_epi8(-128));
                    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(x, weights));
                    *dots = _mm256_add_epi32(*dots, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
                }
            }
            std::mem::transmute::<[__m256i; 2], [i32; LANES]>(dots)
        }
    }

    /// Stored weights are unsigned and 8 too large. Four products of at most 15 · 127 fit 16 bits.
    #[inline(always)]
    fn q4_0(self, lines: &[Quads; Q4_0_LINES], x: &[i8; BLOCK], sum: i32) -> [i32; LANES] {
        // SAFETY: `self` proves the features; half a line is 32 bytes, aligned to as many.
        unsafe {
            let low_halves = _mm256_set1_epi8(15);
            let mut dots = [_mm256_set1_epi32(-8 * sum); 2];
            for (index, line) in lines.iter().enumerate() {
                let low_x = _mm256_set1_epi32(quad(x, index));
                let high_x = _mm256_set1_epi32(quad(x, index + Q4_0_LINES));
                for (half, dots) in dots.iter_mut().enumerate() {
                    let weights = _mm256_load_si256(std::ptr::from_ref(line).cast::<__m256i>().add(half));
                    let low = _mm256_and_si256(weights, low_halves);
                    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(weights), low_halves);
                    let pairs = _mm256_add_epi16(
                        _mm256_maddubs_epi16(low, low_x),
                        _mm256_maddubs_epi16(high, high_x),
                    );
                    *dots = _mm256_add_epi32(*dots, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
                }
            }
            std::mem::transmute::<[__m256i; 2], [i32; LANES]>(dots)
        }
    }

    #[inline(always)]
    fn halves(self, bits: &[u16; LANES]) -> [f32; LANES] {
        // SAFETY: `self` proves the features; eight numbers of 16 bits are 128.
        unsafe {
            let bits = bits.as_ptr().cast::<__m128i>();
            let low = _mm256_cvtph_ps(_mm_loadu_si128(bits));
            let floats = [low, _mm256_cvtph_ps(_mm_loadu_si128(bits.add(1)))];
            std::mem::transmute::<[__m256; 2], [f32; LANES]>(floats)
        }
    }
}
