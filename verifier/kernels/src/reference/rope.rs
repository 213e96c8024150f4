//! Rotary position embedding (Su and others, 2021) over interleaved pairs, as llama files have it.

/// The frequencies of one model: pair `i` of `head_size / 2` turns by `base^(−2i / head_size)` a position.
#[derive(Clone, Debug)]
pub struct Rope {
    frequencies: Vec<f64>,
}

impl Rope {
    /// Frequencies in f64, from the pure-Rust `libm`.
    pub fn new(base: f32, head_size: usize) -> Self {
        let frequency = |i: usize| libm::pow(f64::from(base), -2.0 * i as f64 / head_size as f64);
        Self { frequencies: (0..head_size / 2).map(frequency).collect() }
    }

    /// Cosine and sine of each pair's angle at `position`, computed in f64 and rounded once to f32.
    pub fn angles(&self, position: u32, cos: &mut [f32], sin: &mut [f32]) {
        for ((frequency, cos), sin) in self.frequencies.iter().zip(cos).zip(sin) {
            let angle = f64::from(position) * frequency;
            *cos = libm::cos(angle) as f32;
            *sin = libm::sin(angle) as f32;
        }
    }
}

/// Rotates the pairs (2i, 2i+1) of one head in place.
#[inline(always)]
pub fn rotate(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    for ((pair, cos), sin) in head.as_chunks_mut::<2>().0.iter_mut().zip(cos).zip(sin) {
        let [a, b] = *pair;
        *pair = [a.mul_add(*cos, -(b * sin)), a.mul_add(*sin, b * cos)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_zero_rotates_nothing_and_angles_grow_with_the_position() {
        let rope = Rope::new(10_000.0, 4);
        let (mut cos, mut sin) = ([0.0; 2], [0.0; 2]);
        rope.angles(0, &mut cos, &mut sin);
        assert_eq!((cos, sin), ([1.0; 2], [0.0; 2]));
        let mut head = [1.0, -2.0, 3.0, 4.0];
        rotate(&mut head, &cos, &sin);
        assert_eq!(head, [1.0, -2.0, 3.0, 4.0]);
        rope.angles(3, &mut cos, &mut sin);
        assert_eq!(sin, [libm::sin(3.0) as f32, libm::sin(0.03) as f32]);
    }
}
