//! Sixteen lanes in the registers of x86-64: one of AVX-512, or two of AVX2.

use std::arch::x86_64::*;

use crate::lanes::isa::Isa;
use crate::matrix::Quads;
use crate::reference::LANES;

/// AVX2 with FMA and F16C. A value exists only in code that runs where the CPU has it.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

/// AVX-512 with VNNI. A value exists only in code that runs where the CPU has it.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx2 {
    /// # Safety
    /// The CPU must have AVX2, FMA and F16C.
    #[inline(always)]
    pub(crate) const unsafe fn new() -> Self {
        Self(())
    }
}

impl Avx512 {
    /// # Safety
    /// The CPU must have AVX-512 F, BW, DQ, VL and VNNI.
    #[inline(always)]
    pub(crate) const unsafe fn new() -> Self {
        Self(())
    }
}

// SAFETY, of every block below: `self` proves the features, and references are as long as the loads and stores
// through them; lines of quads are aligned to 64 bytes.

/// Methods whose body is one expression of intrinsics.
macro_rules! intrinsics {
    ($(fn $name:ident($self:ident $(, $arg:ident: $type:ty)*) -> $result:ty = $body:expr;)+) => {$(
        #[inline(always)]
        fn $name($self, $($arg: $type),*) -> $result {
            // SAFETY: see above.
            unsafe { $body }
        }
    )+};
}

impl Isa for Avx512 {
    const ROWS: usize = 8;
    const PAIRS: bool = true;
    type Floats = __m512;
    type Ints = __m512i;
    type Bytes = __m512i;

    intrinsics! {
        fn splat(self, value: f32) -> __m512 = _mm512_set1_ps(value);
        fn load(self, values: &[f32; LANES]) -> __m512 = _mm512_loadu_ps(values.as_ptr());
        fn store(self, values: __m512, out: &mut [f32; LANES]) -> () = _mm512_storeu_ps(out.as_mut_ptr(), values);
        fn add(self, a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        fn subtract(self, a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        fn multiply(self, a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        fn halves(self, bits: &[u16; LANES]) -> __m512 =
            _mm512_cvtph_ps(_mm256_loadu_si256(bits.as_ptr().cast()));
        fn to_halves(self, values: __m512) -> [u16; LANES] = {
            let halves = _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(values);
            std::mem::transmute::<__m256i, [u16; LANES]>(halves)
        };
        fn upper_halves(self, bits: &[u16; LANES]) -> __m512 = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(
            _mm512_cvtepu16_epi32(_mm256_loadu_si256(bits.as_ptr().cast())),
        ));
        fn signed_bytes(self, bytes: &[i8; LANES]) -> __m512 =
            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(bytes.as_ptr().cast())));
        fn nibbles(self, bytes: &[i8; LANES]) -> (__m512, __m512) = {
            let wide = _mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.as_ptr().cast()));
            let low = _mm512_and_si512(wide, _mm512_set1_epi32(15));
            (_mm512_cvtepi32_ps(low), _mm512_cvtepi32_ps(_mm512_srli_epi32::<4>(wide)))
        };
        fn splat_int(self, value: i32) -> __m512i = _mm512_set1_epi32(value);
        fn to_floats(self, ints: __m512i) -> __m512 = _mm512_cvtepi32_ps(ints);
        fn prefetch(self, line: *const u8) -> () = _mm_prefetch::<_MM_HINT_T0>(line.cast());
        fn prefetch_outer(self, line: *const u8) -> () = _mm_prefetch::<_MM_HINT_T1>(line.cast());
        fn quads(self, line: &Quads) -> __m512i = _mm512_load_si512(std::ptr::from_ref(line).cast());
        fn bits(self, bytes: __m512i, from: u32, width: u32) -> __m512i = {
            let moved = _mm512_srl_epi16(bytes, _mm_cvtsi32_si128(from.cast_signed()));
            _mm512_and_si512(moved, _mm512_set1_epi8((1 << width) - 1))
        };
        fn join(self, low: __m512i, high: __m512i, by: u32) -> __m512i =
            _mm512_or_si512(low, _mm512_sll_epi16(high, _mm_cvtsi32_si128(by.cast_signed())));
        fn dot(self, sum: __m512i, weights: __m512i, x: &[i8; 4]) -> __m512i =
            _mm512_dpbusd_epi32(sum, weights, _mm512_set1_epi32(quad(x)));
        fn dot_wide(self, sum: __m512i, weights: __m512i, x: &[i8; 4]) -> __m512i =
            _mm512_dpbusd_epi32(sum, weights, _mm512_set1_epi32(quad(x)));
        fn wide_start(self, sum_of_x: i32) -> __m512i = _mm512_set1_epi32(-128 * sum_of_x);
    }

    #[inline(always)]
    fn sum_bytes(self, bytes: &[i8; LANES]) -> i32 {
        sum_bytes(bytes)
    }
}

impl Isa for Avx2 {
    const ROWS: usize = 4;
    const PAIRS: bool = false;
    type Floats = [__m256; 2];
    type Ints = [__m256i; 2];
    type Bytes = [__m256i; 2];

    intrinsics! {
        fn splat(self, value: f32) -> [__m256; 2] = [_mm256_set1_ps(value); 2];
        fn load(self, values: &[f32; LANES]) -> [__m256; 2] =
            [_mm256_loadu_ps(values.as_ptr()), _mm256_loadu_ps(values.as_ptr().add(8))];
        fn store(self, values: [__m256; 2], out: &mut [f32; LANES]) -> () = {
            _mm256_storeu_ps(out.as_mut_ptr(), values[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), values[1]);
        };
        fn add(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] =
            [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])];
        fn subtract(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] =
            [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])];
        fn multiply(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] =
            [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])];
        fn fma(self, a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] =
            [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])];
        fn halves(self, bits: &[u16; LANES]) -> [__m256; 2] = {
            let bits = bits.as_ptr().cast::<__m128i>();
            [_mm256_cvtph_ps(_mm_loadu_si128(bits)), _mm256_cvtph_ps(_mm_loadu_si128(bits.add(1)))]
        };
        fn to_halves(self, values: [__m256; 2]) -> [u16; LANES] = {
            let low = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(values[0]);
            let high = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(values[1]);
            std::mem::transmute::<[__m128i; 2], [u16; LANES]>([low, high])
        };
        fn upper_halves(self, bits: &[u16; LANES]) -> [__m256; 2] = {
            let bits = bits.as_ptr().cast::<__m128i>();
            let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(bits));
            let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(bits.add(1)));
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)),
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high)),
            ]
        };
        fn signed_bytes(self, bytes: &[i8; LANES]) -> [__m256; 2] = {
            let bytes = bytes.as_ptr();
            let low = _mm256_cvtepi8_epi32(_mm_loadl_epi64(bytes.cast()));
            let high = _mm256_cvtepi8_epi32(_mm_loadl_epi64(bytes.add(8).cast()));
            [_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)]
        };
        fn nibbles(self, bytes: &[i8; LANES]) -> ([__m256; 2], [__m256; 2]) = {
            let bytes = bytes.as_ptr();
            let first = _mm256_cvtepu8_epi32(_mm_loadl_epi64(bytes.cast()));
            let second = _mm256_cvtepu8_epi32(_mm_loadl_epi64(bytes.add(8).cast()));
            let mask = _mm256_set1_epi32(15);
            let low = [_mm256_and_si256(first, mask), _mm256_and_si256(second, mask)];
            let high = [_mm256_srli_epi32::<4>(first), _mm256_srli_epi32::<4>(second)];
            (
                [_mm256_cvtepi32_ps(low[0]), _mm256_cvtepi32_ps(low[1])],
                [_mm256_cvtepi32_ps(high[0]), _mm256_cvtepi32_ps(high[1])],
            )
        };
        fn splat_int(self, value: i32) -> [__m256i; 2] = [_mm256_set1_epi32(value); 2];
        fn to_floats(self, ints: [__m256i; 2]) -> [__m256; 2] =
            [_mm256_cvtepi32_ps(ints[0]), _mm256_cvtepi32_ps(ints[1])];
        fn prefetch(self, line: *const u8) -> () = _mm_prefetch::<_MM_HINT_T0>(line.cast());
        fn prefetch_outer(self, line: *const u8) -> () = _mm_prefetch::<_MM_HINT_T1>(line.cast());
        fn quads(self, line: &Quads) -> [__m256i; 2] = {
            let line = std::ptr::from_ref(line).cast::<__m256i>();
            [_mm256_load_si256(line), _mm256_load_si256(line.add(1))]
        };
        fn bits(self, bytes: [__m256i; 2], from: u32, width: u32) -> [__m256i; 2] = {
            let (from, mask) = (_mm_cvtsi32_si128(from.cast_signed()), _mm256_set1_epi8((1 << width) - 1));
            [
                _mm256_and_si256(_mm256_srl_epi16(bytes[0], from), mask),
                _mm256_and_si256(_mm256_srl_epi16(bytes[1], from), mask),
            ]
        };
        fn join(self, low: [__m256i; 2], high: [__m256i; 2], by: u32) -> [__m256i; 2] = {
            let by = _mm_cvtsi32_si128(by.cast_signed());
            [
                _mm256_or_si256(low[0], _mm256_sll_epi16(high[0], by)),
                _mm256_or_si256(low[1], _mm256_sll_epi16(high[1], by)),
            ]
        };
        // Pairs of products are added in 16 bits: twice 127 · 127 is 32,258 at the most, which fits.
        fn dot(self, sum: [__m256i; 2], weights: [__m256i; 2], x: &[i8; 4]) -> [__m256i; 2] = {
            let (x, ones) = (_mm256_set1_epi32(quad(x)), _mm256_set1_epi16(1));
            [
                _mm256_add_epi32(sum[0], _mm256_madd_epi16(_mm256_maddubs_epi16(weights[0], x), ones)),
                _mm256_add_epi32(sum[1], _mm256_madd_epi16(_mm256_maddubs_epi16(weights[1], x), ones)),
            ]
        };
        // With their signs, weights have magnitudes of at most 128; their signs move to `x`, of at most 127:
        // twice 128 · 127 is 32,512, which fits.
        fn dot_wide(self, sum: [__m256i; 2], weights: [__m256i; 2], x: &[i8; 4]) -> [__m256i; 2] = {
            let (x, ones) = (_mm256_set1_epi32(quad(x)), _mm256_set1_epi16(1));
            let flip = _mm256_set1_epi8(-128);
            let signed = [_mm256_xor_si256(weights[0], flip), _mm256_xor_si256(weights[1], flip)];
            let low = _mm256_maddubs_epi16(_mm256_abs_epi8(signed[0]), _mm256_sign_epi8(x, signed[0]));
            let high = _mm256_maddubs_epi16(_mm256_abs_epi8(signed[1]), _mm256_sign_epi8(x, signed[1]));
            [
                _mm256_add_epi32(sum[0], _mm256_madd_epi16(low, ones)),
                _mm256_add_epi32(sum[1], _mm256_madd_epi16(high, ones)),
            ]
        };
        fn wide_start(self, _sum_of_x: i32) -> [__m256i; 2] = [_mm256_setzero_si256(); 2];
    }

    #[inline(always)]
    fn sum_bytes(self, bytes: &[i8; LANES]) -> i32 {
        sum_bytes(bytes)
    }
}

/// Four activations as the 32 bits that are repeated in every lane.
#[inline(always)]
fn quad(x: &[i8; 4]) -> i32 {
    i32::from_le_bytes([x[0] as u8, x[1] as u8, x[2] as u8, x[3] as u8])
}

/// The sum of sixteen bytes, by way of the sum of their distances from the least.
#[inline(always)]
fn sum_bytes(bytes: &[i8; LANES]) -> i32 {
    // SAFETY: the load is as long as the array; SSE2 is always there.
    unsafe {
        let distances = _mm_xor_si128(_mm_loadu_si128(bytes.as_ptr().cast()), _mm_set1_epi8(-128));
        let halves = _mm_sad_epu8(distances, _mm_setzero_si128());
        let sum = _mm_add_epi32(halves, _mm_unpackhi_epi64(halves, halves));
        _mm_cvtsi128_si32(sum) - 128 * LANES as i32
    }
}
