//! Rotary embeddings from the papers: RoPE (Su et al., 2021), linear scaling (Chen et al., 2023), YaRN (Peng
//! et al., 2023, section 3), factors (Llama 3.1; LongRoPE, Ding et al., 2024).

use candle_core::{D, DType, Device, Result, Tensor};

use crate::file::File;
use crate::slip::Slip;

/// Base of the frequencies where a file states none, and of Gemma 3's windowed layers.
const BASE_DEFAULT: f64 = 10_000.0;
/// Turns within the original context above which a frequency is kept, and below which it is divided.
const YARN_TURNS: [f64; 2] = [32.0, 1.0];

/// Rotations of all positions of a sequence.
pub struct Rotations {
    /// `[positions, 1, rotated / 2]`.
    cos: Tensor,
    sin: Tensor,
    pairs: Pairs,
}

/// Which elements of a head are rotated together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pairs {
    /// `2i` and `2i + 1`.
    Neighbours,
    /// `i` and `i + size / 2`.
    Halves,
}

/// Layers that see a window only may rotate differently.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Window,
    Everything,
}

impl Rotations {
    /// Rotations of the first `size` elements of heads.
    pub fn new(file: &File, reach: Reach, size: usize, positions: usize, slip: Option<Slip>) -> Result<Self> {
        let local = reach == Reach::Window && file.architecture == "gemma3" && slip != Some(Slip::LocalBase);
        let (frequencies, magnitude) = match local {
            true => (powers(BASE_DEFAULT, size)?, 1.0),
            false => stretched(file, size, slip)?,
        };
        let positions: Vec<f64> = (0..positions).map(|position| position as f64).collect();
        let positions = Tensor::new(positions, &Device::Cpu)?.reshape(((), 1, 1))?;
        let angles =
            positions.broadcast_mul(&Tensor::new(frequencies, &Device::Cpu)?.reshape((1, 1, ()))?)?;
        let magnitude = if slip == Some(Slip::RopeMagnitude) { 1.0 } else { magnitude };
        let table = |values: Tensor| (values * magnitude)?.to_dtype(DType::F32);
        let neighbours = (file.architecture == "llama") != (slip == Some(Slip::RopePairing));
        let pairs = if neighbours { Pairs::Neighbours } else { Pairs::Halves };
        Ok(Self { cos: table(angles.cos()?)?, sin: table(angles.sin()?)?, pairs })
    }

    /// Rotates heads `[positions, heads, head size]`.
    pub fn apply(&self, heads: &Tensor) -> Result<Tensor> {
        let (positions, count, head_size) = heads.dims3()?;
        let half = self.cos.dim(2)?;
        let size = 2 * half;
        let (heads, rest) = (heads.narrow(2, 0, size)?, heads.narrow(2, size, head_size - size)?);
        let (a, b) = match self.pairs {
            Pairs::Halves => (heads.narrow(2, 0, half)?, heads.narrow(2, half, half)?),
            Pairs::Neighbours => {
                let pairs = heads.reshape((positions, count, half, 2))?;
                (pairs.narrow(3, 0, 1)?.squeeze(3)?, pairs.narrow(3, 1, 1)?.squeeze(3)?)
            }
        };
        let turned_a = (a.broadcast_mul(&self.cos)? - b.broadcast_mul(&self.sin)?)?;
        let turned_b = (a.broadcast_mul(&self.sin)? + b.broadcast_mul(&self.cos)?)?;
        let turned = match self.pairs {
            Pairs::Halves => Tensor::cat(&[turned_a, turned_b], D::Minus1)?,
            Pairs::Neighbours => {
                Tensor::stack(&[turned_a, turned_b], D::Minus1)?.reshape((positions, count, size))?
            }
        };
        Tensor::cat(&[turned, rest], D::Minus1)
    }
}

/// `base^(−2i / size)`.
fn powers(base: f64, size: usize) -> Result<Vec<f64>> {
    let exponents: Vec<f64> = (0..size / 2).map(|i| -((2 * i) as f64) / size as f64).collect();
    (Tensor::new(exponents, &Device::Cpu)? * ln(base)?)?.exp()?.to_vec1()
}

fn ln(x: f64) -> Result<f64> {
    Tensor::new(x, &Device::Cpu)?.log()?.to_scalar()
}

/// Frequencies, and the factor by which queries and keys are enlarged.
fn stretched(file: &File, size: usize, slip: Option<Slip>) -> Result<(Vec<f64>, f64)> {
    let base = file.number("rope.freq_base").filter(|_| slip != Some(Slip::RopeBase));
    let base = base.unwrap_or(BASE_DEFAULT);
    let mut frequencies = powers(base, size)?;
    if let Some(factors) = factors(file, slip) {
        let factors: Vec<f32> = factors.to_vec1()?;
        frequencies.iter_mut().zip(factors).for_each(|(frequency, factor)| *frequency /= f64::from(factor));
    }
    let mut magnitude = file.number("rope.scaling.attn_factor").unwrap_or(1.0);
    let factor = file.number("rope.scaling.factor").unwrap_or(1.0);
    let kind = file.text("rope.scaling.type").filter(|_| slip != Some(Slip::RopeScaling));
    match kind {
        Some("linear") => frequencies.iter_mut().for_each(|frequency| *frequency /= factor),
        Some("yarn") => {
            let original = file.size("rope.scaling.original_context_length").unwrap() as f64;
            magnitude *= 0.1 * ln(factor)? + 1.0;
            let kept = yarn_kept(base, size, original)?;
            for (frequency, kept) in frequencies.iter_mut().zip(kept) {
                *frequency *= kept + (1.0 - kept) / factor;
            }
        }
        _ => {}
    }
    Ok((frequencies, magnitude))
}

/// The factors of a frequency each. LongRoPE's are chosen by the longest sequence that the model takes, not
/// by the sequence at hand, so that a sequence does not change as it grows.
fn factors(file: &File, slip: Option<Slip>) -> Option<&candle_core::Tensor> {
    if slip != Some(Slip::RopeFactors)
        && let Some(factors) = file.optional("rope_freqs.weight")
    {
        return Some(factors);
    }
    let original = file.size("rope.scaling.original_context_length")?;
    let long = file.size("context_length")? > original;
    let name = match long != (slip == Some(Slip::RopeFactors)) {
        true => "rope_factors_long.weight",
        false => "rope_factors_short.weight",
    };
    file.optional(name)
}

/// By how much YaRN keeps each frequency, between 0 and 1.
fn yarn_kept(base: f64, size: usize, original: f64) -> Result<Vec<f64>> {
    // The index of the frequency that makes so many turns within the original context.
    let index = |turns: f64| -> Result<f64> {
        Ok(size as f64 * ln(original / (turns * std::f64::consts::TAU))? / (2.0 * ln(base)?))
    };
    let low = index(YARN_TURNS[0])?.floor().max(0.0);
    let high = index(YARN_TURNS[1])?.ceil().min(size as f64 - 1.0);
    let ramp = |i: usize| ((i as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
    Ok((0..size / 2).map(|i| 1.0 - ramp(i)).collect())
}
