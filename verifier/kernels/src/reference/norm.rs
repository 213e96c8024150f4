//! RMS normalisation (Zhang and Sennrich, 2019).

use super::{LANES, tree_sum};

/// `out = (x · s) · weight`, with `s = 1 / sqrt(Σx² / n + epsilon)`.
///
/// The squares are summed by fused multiply-adds into sixteen lanes (element `i` into lane `i mod 16`), which
/// [`tree_sum`] adds.
pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let mut lanes = [0.0f32; LANES];
    for (i, value) in x.iter().enumerate() {
        lanes[i % LANES] = value.mul_add(*value, lanes[i % LANES]);
    }
    let scale = 1.0 / (tree_sum(lanes) / x.len() as f32 + epsilon).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = (x * scale) * weight;
    }
}
