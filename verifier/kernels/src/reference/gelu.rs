//! GELU by the error function (Hendrycks and Gimpel, 2016).

/// The argument from which on the error function is 1 in binary32.
const ERF_MAX: f32 = 4.0;
/// erf(z) / z as a quotient of polynomials in z², fitted for the least absolute error of erf on |z| ≤ 4 (1.6e-9
/// before rounding); lowest first, as the constant of the denominator is 1.
const NUMERATOR: [f32; 7] = [
    std::f32::consts::FRAC_2_SQRT_PI,
    1.847_103_1e-1,
    5.433_258_8e-2,
    3.839_526_8e-3,
    3.826_92e-4,
    4.780_534_7e-6,
    -1.366_675_8e-8,
];
const DENOMINATOR: [f32; 6] =
    [1.0, 4.970_288e-1, 1.138_262_9e-1, 1.545_351_1e-2, 1.309_578_3e-3, 6.400_922_5e-5];

/// The error function, with an absolute error under 3.4e-7.
#[inline(always)]
pub fn erf(z: f32) -> f32 {
    let z = if z < -ERF_MAX { -ERF_MAX } else { z };
    let z = if z > ERF_MAX { ERF_MAX } else { z };
    let square = z * z;
    let quotient = (z * polynomial(&NUMERATOR, square)) / polynomial(&DENOMINATOR, square);
    let quotient = if quotient < -1.0 { -1.0 } else { quotient };
    if quotient > 1.0 { 1.0 } else { quotient }
}

/// Horner's rule by fused multiply-adds.
#[inline(always)]
fn polynomial<const N: usize>(coefficients: &[f32; N], x: f32) -> f32 {
    let mut sum = coefficients[N - 1];
    for power in (0..N - 1).rev() {
        sum = sum.mul_add(x, coefficients[power]);
    }
    sum
}

/// GELU: `x/2 · (1 + erf(x / √2))`, as `fma(x/2, erf(x · (1/√2)), x/2)`.
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    let half = 0.5 * x;
    half.mul_add(erf(x * std::f32::consts::FRAC_1_SQRT_2), half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_absolute_error_of_erf_stays_under_3_4e_7() {
        let worst = (-600_000..=600_000)
            .map(|i| i as f32 * 1e-5)
            .map(|z| (f64::from(erf(z)) - libm::erf(f64::from(z))).abs())
            .fold(0.0, f64::max);
        assert!(worst < 3.4e-7, "{worst:e}");
    }

    #[test]
    fn the_ends_are_exact() {
        for (z, expected) in [(4.0, 1.0), (-4.0, -1.0), (f32::INFINITY, 1.0), (f32::MIN, -1.0), (0.0, 0.0)] {
            assert_eq!(erf(z).to_bits(), f32::to_bits(expected), "{z}");
        }
        assert!(erf(f32::NAN).is_nan());
        assert_eq!((gelu(100.0), gelu(-100.0), gelu(0.0)), (100.0, 0.0, 0.0));
        assert!(gelu(f32::NAN).is_nan());
    }

    #[test]
    fn gelu_is_the_product_with_the_normal_distribution() {
        for i in -8_000..=8_000 {
            let x = f64::from(i) / 1_000.0;
            let expected = 0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2));
            assert!((f64::from(gelu(x as f32)) - expected).abs() < 1e-6, "{x}");
        }
    }
}
