//! The exponential function and the activations built on it.

use super::activation::ROUNDING_MAGIC;

/// Arguments below are taken as this: the smallest whose result is a normal number.
const EXP_MIN: f32 = -87.3;
/// Arguments above are taken as this: the largest whose power of two fits the exponent field.
const EXP_MAX: f32 = 88.3;
/// ln 2 in two parts, the first (355/512) with few bits, so that its product with the integer part is
/// exact (Cephes).
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// Coefficients of `(e^r − 1 − r) / r²` on |r| ≤ ln 2 / 2, highest first (Cephes, `expf.c`).
const POLYNOMIAL: [f32; 6] =
    [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];

/// e^x, with a relative error under 1e-7 between the bounds of its argument.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = if x < EXP_MIN { EXP_MIN } else { x };
    let x = if x > EXP_MAX { EXP_MAX } else { x };
    // The sum's lowest bits are the rounded integer. (A conversion that saturates would be slower.)
    let rounded = x * std::f32::consts::LOG2_E + ROUNDING_MAGIC;
    let n = rounded - ROUNDING_MAGIC;
    let exponent = rounded.to_bits().wrapping_sub(ROUNDING_MAGIC.to_bits()).wrapping_add(127);
    let r = n.mul_add(-LN2_HIGH, x);
    let r = n.mul_add(-LN2_LOW, r);
    let mut p = POLYNOMIAL[0];
    for coefficient in &POLYNOMIAL[1..] {
        p = p.mul_add(r, *coefficient);
    }
    let y = (p * r).mul_add(r, r) + 1.0;
    y * f32::from_bits(exponent << 23)
}

/// SiLU: `x / (1 + e^−x)`.
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// SwiGLU of one element: `silu(gate) · up`.
#[inline(always)]
pub fn swiglu(gate: f32, up: f32) -> f32 {
    silu(gate) * up
}

/// GELU by its tanh approximation (Hendrycks and Gimpel, 2016): `x · σ(2u)` with `u = √(2/π) · (x + 0.044715 x³)`,
/// as `x / (1 + e^(−2u))`.
#[inline(always)]
pub fn gelu_tanh(x: f32) -> f32 {
    let cubic = (x * x).mul_add(GELU_CUBIC, 1.0);
    x / (1.0 + exp(x * cubic * GELU_SCALE))
}

/// `−2 · √(2/π)`.
const GELU_SCALE: f32 = -1.595_769_2;
const GELU_CUBIC: f32 = 0.044_715;

/// GeGLU of one element: `gelu_tanh(gate) · up`.
#[inline(always)]
pub fn geglu(gate: f32, up: f32) -> f32 {
    gelu_tanh(gate) * up
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relative_error_stays_under_1e_7() {
        let worst = (0..=175_600u32)
            .map(|i| -87.3 + i as f32 * 0.001)
            .map(|x| {
                let exact = libm::exp(f64::from(x));
                ((f64::from(exp(x)) - exact) / exact).abs()
            })
            .fold(0.0, f64::max);
        assert!(worst < 1e-7, "{worst:e}");
    }

    #[test]
    fn gelu_is_the_tanh_approximation() {
        for i in -800..=800 {
            let x = f64::from(i) / 100.0;
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
            let expected = 0.5 * x * (1.0 + libm::tanh(u));
            assert!((f64::from(gelu_tanh(x as f32)) - expected).abs() < 1e-6, "{x}");
        }
        assert_eq!(gelu_tanh(100.0), 100.0);
        assert!(gelu_tanh(-100.0).abs() < 1e-30);
    }

    #[test]
    fn bounds_hold_at_the_ends() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        assert!(exp(f32::NEG_INFINITY) > 0.0);
        assert!(exp(f32::INFINITY).is_finite());
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(silu(f32::NEG_INFINITY), f32::NEG_INFINITY);
    }
}
