//! Rotary position embedding (Su and others, 2021) and the ways to stretch it to longer contexts.

/// Which elements of a head are turned together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// `(2i, 2i + 1)`, as llama files have it.
    Interleaved,
    /// `(i, i + n/2)` of `n` turned elements, as GPT-NeoX has it.
    Halves,
}

/// How frequencies are changed for contexts longer than those of the training.
#[derive(Clone, Debug, PartialEq)]
pub enum Scaling {
    /// Not at all.
    None,
    /// Every frequency is divided by this (position interpolation; Chen and others, 2023).
    Linear(f32),
    /// Frequency `i` is divided by factor `i` of the file: Llama 3 and LongRoPE (Ding and others, 2024).
    Factors(Vec<f32>),
    /// By parts (Peng and others, 2023).
    Yarn(Yarn),
}

/// Parameters of YaRN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    /// How much longer the context becomes.
    pub factor: f32,
    /// Positions of the training.
    pub context_original: u32,
    /// Turns in the original context above which a frequency is kept.
    pub beta_fast: f32,
    /// Turns below which it is divided by `factor`.
    pub beta_slow: f32,
}

/// The rotations of one model: pair `i` turns by a frequency a position.
#[derive(Clone, Debug)]
pub struct Rope {
    pairing: Pairing,
    frequencies: Vec<f64>,
    /// What cosine and sine are multiplied by.
    magnitude: f64,
}

impl Rope {
    /// Turns the first `rotated` elements of a head; pair `i` has the frequency `base^(−2i / rotated)`, in f64,
    /// from the pure-Rust `libm`, and then as `scaling` changes it. `magnitude` multiplies cosines and sines.
    ///
    /// # Panics
    /// When `rotated` is odd or there are fewer factors than pairs.
    pub fn new(pairing: Pairing, base: f32, rotated: usize, scaling: &Scaling, magnitude: f64) -> Self {
        assert!(rotated.is_multiple_of(2), "pairs of {rotated} elements");
        let plain = |i: usize| libm::pow(f64::from(base), -2.0 * i as f64 / rotated as f64);
        let frequency = |i: usize| match scaling {
            Scaling::None => plain(i),
            Scaling::Linear(factor) => plain(i) / f64::from(*factor),
            Scaling::Factors(factors) => plain(i) / f64::from(factors[i]),
            Scaling::Yarn(yarn) => yarn.frequency(plain(i), f64::from(base), rotated, i),
        };
        Self { pairing, frequencies: (0..rotated / 2).map(frequency).collect(), magnitude }
    }

    /// Pairs that are turned.
    pub fn pairs(&self) -> usize {
        self.frequencies.len()
    }

    /// Which elements of a head are turned together.
    pub const fn pairing(&self) -> Pairing {
        self.pairing
    }

    /// Cosine and sine of each pair's angle at `position`, times the magnitude, computed in f64 and rounded
    /// once to f32.
    pub fn angles(&self, position: u32, cos: &mut [f32], sin: &mut [f32]) {
        for ((frequency, cos), sin) in self.frequencies.iter().zip(cos).zip(sin) {
            let angle = f64::from(position) * frequency;
            *cos = (libm::cos(angle) * self.magnitude) as f32;
            *sin = (libm::sin(angle) * self.magnitude) as f32;
        }
    }
}

impl Yarn {
    /// Between the pairs that turn `beta_fast` and `beta_slow` times in the original context, the frequency goes
    /// over from the plain one to that divided by the factor.
    fn frequency(self, plain: f64, base: f64, rotated: usize, pair: usize) -> f64 {
        let (low, high) = self.ramp(base, rotated);
        let along = (pair as f64 - low) / f64::max(0.001, high - low);
        let kept = 1.0 - along.clamp(0.0, 1.0);
        plain / f64::from(self.factor) * (1.0 - kept) + plain * kept
    }

    /// The pairs, perhaps between two, where the ramp begins and ends.
    fn ramp(self, base: f64, rotated: usize) -> (f64, f64) {
        let pair_of = |turns: f32| {
            let length = f64::from(self.context_original) / (f64::from(turns) * std::f64::consts::TAU);
            rotated as f64 * libm::log(length) / (2.0 * libm::log(base))
        };
        let low = libm::floor(pair_of(self.beta_fast)).max(0.0);
        let high = libm::ceil(pair_of(self.beta_slow)).min(rotated as f64 - 1.0);
        (low, high)
    }

    /// What cosines and sines are multiplied by: `1 + 0.1 · ln(factor)`.
    pub fn magnitude(self) -> f64 {
        1.0 + 0.1 * libm::log(f64::from(self.factor))
    }
}

/// Turns the pairs of one head in place; elements beyond them stay.
#[inline(always)]
pub fn rotate(pairing: Pairing, head: &mut [f32], cos: &[f32], sin: &[f32]) {
    match pairing {
        Pairing::Interleaved => {
            for ((pair, cos), sin) in head.as_chunks_mut::<2>().0.iter_mut().zip(cos).zip(sin) {
                let [a, b] = *pair;
                *pair = [a.mul_add(*cos, -(b * sin)), a.mul_add(*sin, b * cos)];
            }
        }
        Pairing::Halves => {
            let (first, second) = head[..2 * cos.len()].split_at_mut(cos.len());
            for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                (*a, *b) = (a.mul_add(*cos, -(*b * sin)), a.mul_add(*sin, *b * cos));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(pairing: Pairing, scaling: &Scaling) -> Rope {
        Rope::new(pairing, 10_000.0, 4, scaling, 1.0)
    }

    #[test]
    fn position_zero_rotates_nothing_and_angles_grow_with_the_position() {
        let rope = rope(Pairing::Interleaved, &Scaling::None);
        let (mut cos, mut sin) = ([0.0; 2], [0.0; 2]);
        rope.angles(0, &mut cos, &mut sin);
        assert_eq!((cos, sin), ([1.0; 2], [0.0; 2]));
        let mut head = [1.0, -2.0, 3.0, 4.0];
        rotate(Pairing::Interleaved, &mut head, &cos, &sin);
        assert_eq!(head, [1.0, -2.0, 3.0, 4.0]);
        rope.angles(3, &mut cos, &mut sin);
        assert_eq!(sin, [libm::sin(3.0) as f32, libm::sin(0.03) as f32]);
    }

    #[test]
    fn pairings_turn_the_same_pairs_at_other_places() {
        let (cos, sin) = ([0.6, 0.8], [0.8, 0.6]);
        let (mut interleaved, mut halves) = ([1.0, 2.0, 3.0, 4.0, 9.0], [1.0, 3.0, 2.0, 4.0, 9.0]);
        rotate(Pairing::Interleaved, &mut interleaved, &cos, &sin);
        rotate(Pairing::Halves, &mut halves, &cos, &sin);
        let [a, b, c, d, rest] = interleaved;
        assert_eq!(halves, [a, c, b, d, rest]);
    }

    #[test]
    fn scalings_divide_the_frequencies() {
        let sin_at_8 = |scaling| {
            let mut sin = [0.0; 2];
            rope(Pairing::Halves, &scaling).angles(8, &mut [0.0; 2], &mut sin);
            sin
        };
        let at = |a: f64, b: f64| [libm::sin(a) as f32, libm::sin(b) as f32];
        assert_eq!(sin_at_8(Scaling::Linear(4.0)), at(2.0, 0.02));
        assert_eq!(sin_at_8(Scaling::Factors(vec![1.0, 8.0])), at(8.0, 0.01));
        // The first pair turns often enough in 64 positions to be kept, the second hardly at all.
        let yarn = Yarn { factor: 4.0, context_original: 64, beta_fast: 8.0, beta_slow: 1.0 };
        assert_eq!(sin_at_8(Scaling::Yarn(yarn)), at(8.0, 0.02));
    }
}
