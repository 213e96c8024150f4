//! Loops in a fixed order that the compiler turns into vector code.

/// Independent sums of a dot product: one vector register of 16, or several smaller ones.
const LANES: usize = 16;

/// Dot product over [`LANES`] partial sums; a tail shorter than that is added last.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a_blocks, a_tail), (b_blocks, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0f32; LANES];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for i in 0..LANES {
            sums[i] += a[i] * b[i];
        }
    }
    let mut tail = 0.0;
    for (a, b) in a_tail.iter().zip(b_tail) {
        tail += a * b;
    }
    total(sums) + tail
}

/// Sum over [`LANES`] partial sums.
#[inline(always)]
pub(super) fn sum(values: &[f32]) -> f32 {
    let (blocks, tail) = values.as_chunks::<LANES>();
    let mut sums = [0f32; LANES];
    for block in blocks {
        for i in 0..LANES {
            sums[i] += block[i];
        }
    }
    total(sums) + tail.iter().sum::<f32>()
}

/// Largest value.
#[inline(always)]
pub(super) fn max(values: &[f32]) -> f32 {
    let (blocks, tail) = values.as_chunks::<LANES>();
    let mut largest = [f32::NEG_INFINITY; LANES];
    for block in blocks {
        for i in 0..LANES {
            largest[i] = if block[i] > largest[i] { block[i] } else { largest[i] };
        }
    }
    largest.iter().chain(tail).fold(f32::NEG_INFINITY, |a, b| a.max(*b))
}

#[inline(always)]
fn total(sums: [f32; LANES]) -> f32 {
    let mut four = [0f32; 4];
    for i in 0..4 {
        four[i] = (sums[i] + sums[i + 4]) + (sums[i + 8] + sums[i + 12]);
    }
    (four[0] + four[1]) + (four[2] + four[3])
}

/// `out += scale * x`.
#[inline(always)]
pub(super) fn add_scaled(out: &mut [f32], scale: f32, x: &[f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += scale * x;
    }
}

/// `e^x` with a relative error under 2e-7, without the platform's libm: the Cephes polynomial of `expf`.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, the first with few bits, so that `n * LN2_HIGH` is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const POLYNOMIAL: [f32; 6] =
        [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let mut p = POLYNOMIAL[0];
    for coefficient in &POLYNOMIAL[1..] {
        p = p * r + coefficient;
    }
    let fraction = p * r * r + r + 1.0;
    // The integer in `shifted`'s low bits goes to the exponent; higher bits fall off.
    f32::from_bits(fraction.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// Replaces scores by their softmax and returns the logarithm of the sum of their exponentials.
#[inline(always)]
pub(super) fn softmax(scores: &mut [f32]) -> f32 {
    let largest = max(scores);
    for score in scores.iter_mut() {
        *score = exp(*score - largest);
    }
    let total = sum(scores);
    let scale = 1.0 / total;
    for score in scores.iter_mut() {
        *score *= scale;
    }
    libm::logf(total) + largest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_near_the_exact_exponential() {
        for i in -8000..8000 {
            let x = i as f32 / 100.0;
            let exact = libm::exp(x.into());
            assert!(((f64::from(exp(x)) - exact) / exact).abs() < 2e-7, "exp({x})");
        }
    }

    #[test]
    fn sums_with_a_tail_count_every_element_once() {
        for len in [0, 1, 15, 16, 17, 33, 100] {
            let values: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let squares = values.iter().map(|x| x * x).sum::<f32>();
            assert_eq!(sum(&values), values.iter().sum::<f32>());
            assert_eq!(dot(&values, &values), squares);
            assert_eq!(max(&values), len as f32 - 1.0 + if len == 0 { f32::NEG_INFINITY } else { 0.0 });
        }
    }

    #[test]
    fn softmax_sums_to_one() {
        let mut scores: Vec<f32> = (0..21).map(|i| i as f32 * 0.3).collect();
        let exact: f64 = libm::log(scores.iter().map(|x| libm::exp(f64::from(*x))).sum());
        assert!((f64::from(softmax(&mut scores)) - exact).abs() < 1e-5);
        assert!((sum(&scores) - 1.0).abs() < 1e-6);
    }
}
