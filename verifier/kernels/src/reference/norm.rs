//! Normalisation of rows: by the root of the mean square (Zhang and Sennrich, 2019), to mean 0 and variance 1 (Ba,
//! Kiros and Hinton, 2016), and to length 1.

use super::{LANES, tree_sum};

/// `out = (x · s) · weight`, with `s = 1 / sqrt(Σx² / n + epsilon)`.
///
/// The squares are summed by fused multiply-adds into sixteen lanes (element `i` into lane `i mod 16`), which
/// [`tree_sum`] adds.
pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let scale = 1.0 / (sum_of_squares(x) / x.len() as f32 + epsilon).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = (x * scale) * weight;
    }
}

/// `out = fma(d · s, weight, bias)`, with `d = x − Σx / n` and `s = 1 / sqrt(Σd² / n + epsilon)`.
///
/// Both sums go over sixteen lanes, as in [`rms_norm`]: the elements by additions, the squares of the
/// differences by fused multiply-adds.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, out: &mut [f32]) {
    let mut lanes = [0.0f32; LANES];
    for (i, value) in x.iter().enumerate() {
        lanes[i % LANES] += value;
    }
    let mean = tree_sum(lanes) / x.len() as f32;
    let differences: Vec<f32> = x.iter().map(|value| value - mean).collect();
    let scale = 1.0 / (sum_of_squares(&differences) / x.len() as f32 + epsilon).sqrt();
    for (i, out) in out.iter_mut().enumerate() {
        *out = (differences[i] * scale).mul_add(weight[i], bias[i]);
    }
}

/// Shortest length by which a row is divided (PyTorch, `torch.nn.functional.normalize`).
pub(crate) const LENGTH_MIN: f32 = 1e-12;

/// `x / max(sqrt(Σx²), 1e-12)`, the squares summed as in [`rms_norm`].
pub fn l2_norm(x: &mut [f32]) {
    let length = sum_of_squares(x).sqrt();
    let length = if length < LENGTH_MIN { LENGTH_MIN } else { length };
    for x in x {
        *x /= length;
    }
}

fn sum_of_squares(x: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for (i, value) in x.iter().enumerate() {
        lanes[i % LANES] = value.mul_add(*value, lanes[i % LANES]);
    }
    tree_sum(lanes)
}
