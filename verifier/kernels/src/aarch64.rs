//! Sixteen lanes in the registers of 64-bit Arm: four of NEON.

use std::arch::aarch64::*;
use std::arch::asm;

use crate::lanes::isa::Isa;
use crate::matrix::Quads;
use crate::reference::LANES;

/// NEON with the dot products of Armv8.2. A value exists only in code that runs where the CPU has them.
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    /// # Safety
    /// The CPU must have NEON and its dot products.
    #[inline(always)]
    pub(crate) const unsafe fn new() -> Self {
        Self(())
    }
}

/// An array of what `$value` is for each of four registers.
macro_rules! registers {
    (|$register:ident| $value:expr) => {
        [
            registers!($register = 0, $value),
            registers!($register = 1, $value),
            registers!($register = 2, $value),
            registers!($register = 3, $value),
        ]
    };
    ($register:ident = $index:literal, $value:expr) => {{
        let $register = $index;
        $value
    }};
}

/// Methods whose body is one expression of intrinsics.
macro_rules! intrinsics {
    ($(fn $name:ident($self:ident $(, $arg:ident: $type:ty)*) -> $result:ty = $body:expr;)+) => {$(
        #[inline(always)]
        fn $name($self, $($arg: $type),*) -> $result {
            // SAFETY: `self` proves the features, and references are as long as the loads and stores through them.
            unsafe { $body }
        }
    )+};
}

impl Isa for Neon {
    const ROWS: usize = 4;
    const PAIRS: bool = false;
    type Floats = [float32x4_t; 4];
    type Ints = [int32x4_t; 4];
    type Bytes = [uint8x16_t; 4];

    intrinsics! {
        fn splat(self, value: f32) -> [float32x4_t; 4] = [vdupq_n_f32(value); 4];
        fn load(self, values: &[f32; LANES]) -> [float32x4_t; 4] =
            registers!(|i| vld1q_f32(values.as_ptr().add(4 * i)));
        fn store(self, values: [float32x4_t; 4], out: &mut [f32; LANES]) -> () = {
            registers!(|i| vst1q_f32(out.as_mut_ptr().add(4 * i), values[i]));
        };
        fn add(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] =
            registers!(|i| vaddq_f32(a[i], b[i]));
        fn subtract(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] =
            registers!(|i| vsubq_f32(a[i], b[i]));
        fn multiply(self, a: [float32x4_t; 4], b: [float32x4_t; 4]) -> [float32x4_t; 4] =
            registers!(|i| vmulq_f32(a[i], b[i]));
        fn fma(self, a: [float32x4_t; 4], b: [float32x4_t; 4], c: [float32x4_t; 4]) -> [float32x4_t; 4] =
            registers!(|i| vfmaq_f32(c[i], a[i], b[i]));
        fn halves(self, bits: &[u16; LANES]) -> [float32x4_t; 4] =
            registers!(|i| vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(bits.as_ptr().add(4 * i)))));
        fn to_halves(self, values: [float32x4_t; 4]) -> [u16; LANES] = {
            let mut halves = [0; LANES];
            registers!(|i| {
                let bits = vreinterpret_u16_f16(vcvt_f16_f32(values[i]));
                vst1_u16(halves.as_mut_ptr().add(4 * i), bits);
            });
            halves
        };
        fn upper_halves(self, bits: &[u16; LANES]) -> [float32x4_t; 4] = registers!(|i| {
            vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(bits.as_ptr().add(4 * i))))
        });
        fn signed_bytes(self, bytes: &[i8; LANES]) -> [float32x4_t; 4] = self.widen(vld1q_s8(bytes.as_ptr()));
        fn nibbles(self, bytes: &[i8; LANES]) -> ([float32x4_t; 4], [float32x4_t; 4]) = {
            let bytes = vld1q_u8(bytes.as_ptr().cast());
            let (low, high) = (vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8::<4>(bytes));
            (self.widen(vreinterpretq_s8_u8(low)), self.widen(vreinterpretq_s8_u8(high)))
        };
        fn splat_int(self, value: i32) -> [int32x4_t; 4] = [vdupq_n_s32(value); 4];
        fn to_floats(self, ints: [int32x4_t; 4]) -> [float32x4_t; 4] = registers!(|i| vcvtq_f32_s32(ints[i]));
        fn prefetch(self, line: *const u8) -> () =
            asm!("prfm pldl1keep, [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
        fn prefetch_outer(self, line: *const u8) -> () =
            asm!("prfm pldl2keep, [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
        fn quads(self, line: &Quads) -> [uint8x16_t; 4] =
            registers!(|i| vld1q_u8(std::ptr::from_ref(line).cast::<u8>().add(16 * i)));
        fn bits(self, bytes: [uint8x16_t; 4], from: u32, width: u32) -> [uint8x16_t; 4] = {
            let (back, mask) = (vdupq_n_s8(-(from as i8)), vdupq_n_u8((1 << width) - 1));
            registers!(|i| vandq_u8(vshlq_u8(bytes[i], back), mask))
        };
        fn join(self, low: [uint8x16_t; 4], high: [uint8x16_t; 4], by: u32) -> [uint8x16_t; 4] =
            registers!(|i| vorrq_u8(low[i], vshlq_u8(high[i], vdupq_n_s8(by as i8))));
        // No weight is above 127, so unsigned ones are the same when they are taken as signed.
        fn dot(self, sum: [int32x4_t; 4], weights: [uint8x16_t; 4], x: &[i8; 4]) -> [int32x4_t; 4] = {
            let x = quad(x);
            registers!(|i| signed_dot(sum[i], vreinterpretq_s8_u8(weights[i]), x))
        };
        // The sign bit of a byte less 128 is the opposite of the byte's own highest bit.
        fn dot_wide(self, sum: [int32x4_t; 4], weights: [uint8x16_t; 4], x: &[i8; 4]) -> [int32x4_t; 4] = {
            let (x, flip) = (quad(x), vdupq_n_u8(128));
            registers!(|i| signed_dot(sum[i], vreinterpretq_s8_u8(veorq_u8(weights[i], flip)), x))
        };
        fn sum_bytes(self, bytes: &[i8; LANES]) -> i32 = vaddlvq_s8(vld1q_s8(bytes.as_ptr())).into();
        fn wide_start(self, _sum_of_x: i32) -> [int32x4_t; 4] = [vdupq_n_s32(0); 4];
    }
}

impl Neon {
    intrinsics! {
        fn widen(self, bytes: int8x16_t) -> [float32x4_t; 4] = {
            let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes));
            [
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
                vcvtq_f32_s32(vmovl_high_s16(low)),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
                vcvtq_f32_s32(vmovl_high_s16(high)),
            ]
        };
    }
}

/// Four activations, repeated in every lane.
#[inline]
#[target_feature(enable = "neon")]
fn quad(x: &[i8; 4]) -> int8x16_t {
    vreinterpretq_s8_s32(vdupq_n_s32(i32::from_ne_bytes(x.map(i8::cast_unsigned))))
}

/// Adds to each lane the dot product of its four bytes. Rust's own intrinsic is not stable.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn signed_dot(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: computes with registers alone, and this function has the feature.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// Whether this thread converts numbers to and from Arm's alternative to binary16, which has no infinities.
pub(crate) fn alternative_halves() -> bool {
    /// The bit AHP of the register.
    const ALTERNATIVE: u64 = 1 << 26;
    let control: u64;
    // SAFETY: every program may read the register.
    unsafe { asm!("mrs {}, fpcr", out(reg) control, options(nomem, nostack, preserves_flags)) };
    control & ALTERNATIVE != 0
}
