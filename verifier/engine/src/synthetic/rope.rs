//! How a model's rotary frequencies are stretched beyond the positions that it was trained on.

use super::random::Random;

/// The variants that files state; `original` is the number of positions before the stretch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All frequencies divided by a factor (Chen et al., 2023).
    Linear {
        /// The factor.
        factor: f32,
    },
    /// YaRN (Peng et al., 2023): low frequencies divided, high ones kept.
    Yarn {
        /// The factor.
        factor: f32,
        /// Positions before.
        original: u32,
    },
    /// Llama 3.1: a tensor of a factor a frequency, from 1 for the fastest to `factor` for the slowest.
    Llama3 {
        /// The factor.
        factor: f32,
    },
    /// LongRoPE (Ding et al., 2024): two tensors of a factor a frequency, one for contexts up to `original`,
    /// one for longer ones.
    LongRope {
        /// Positions before.
        original: u32,
        /// By how much queries and keys are enlarged.
        magnitude: f32,
    },
}

impl RopeScaling {
    /// The factors that go with the model as tensors: names and values `[rotated / 2]`.
    pub(super) fn factors(self, rotated: usize, random: &mut Random) -> Vec<(&'static str, Vec<f32>)> {
        let frequencies = rotated / 2;
        match self {
            Self::None | Self::Linear { .. } | Self::Yarn { .. } => Vec::new(),
            Self::Llama3 { factor } => vec![("rope_freqs.weight", llama3(frequencies, factor))],
            Self::LongRope { .. } => vec![
                ("rope_factors_long.weight", growing(frequencies, 8.0, random)),
                ("rope_factors_short.weight", growing(frequencies, 2.0, random)),
            ],
        }
    }
}

/// Factors in the manner of Llama 3.1: 1 for the fastest third, the whole factor for the slowest, between them
/// the inverse of a straight line (llama.cpp, `conversion/llama.py`).
fn llama3(frequencies: usize, factor: f32) -> Vec<f32> {
    let smooth = |i: usize| (2.0 - 3.0 * (i as f32 + 0.5) / frequencies as f32).clamp(0.0, 1.0);
    (0..frequencies).map(|i| 1.0 / ((1.0 - smooth(i)) / factor + smooth(i))).collect()
}

/// Factors that grow from 1 to about `most`.
fn growing(frequencies: usize, most: f32, random: &mut Random) -> Vec<f32> {
    let step = (most - 1.0) / frequencies as f32;
    (0..frequencies).map(|i| 1.0 + step * (i as f32 + 0.5 * random.symmetric().abs())).collect()
}
