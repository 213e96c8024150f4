//! The rotations of a model, as its metadata states them.

use assay_kernels::reference::{Pairing, Rope, Scaling, Yarn};

use crate::config::ConfigError;
use crate::keys::Keys;

/// Base of the frequencies where the metadata states none.
const BASE_DEFAULT: f32 = 10_000.0;

/// YaRN's bounds on turns where the metadata states none (Peng and others, 2023).
const BETA_FAST: f32 = 32.0;
const BETA_SLOW: f32 = 1.0;

/// Tensors of factors: of Llama 3; of LongRoPE, within and beyond the context of the training.
pub(crate) const FACTORS: &str = "rope_freqs.weight";
pub(crate) const FACTORS_SHORT: &str = "rope_factors_short.weight";
pub(crate) const FACTORS_LONG: &str = "rope_factors_long.weight";

/// How keys and queries are rotated.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotary {
    /// Base of the frequencies.
    pub base: f32,
    /// Base in layers with a window, if they have rotations of their own, which are not scaled.
    pub window_base: Option<f32>,
    /// Elements of a head that are rotated, from the first on; even.
    pub rotated: usize,
    /// How frequencies are changed.
    pub scaling: Stretch,
    /// What cosines and sines are multiplied by.
    pub magnitude: f64,
}

/// How frequencies are changed for longer contexts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stretch {
    /// Not at all.
    None,
    /// All divided by this.
    Linear(f32),
    /// By parts.
    Yarn(Yarn),
    /// Divided by the factors of this tensor, one a pair.
    Factors(&'static str),
}

impl Stretch {
    /// The name of its definition, where it has one.
    pub const fn definition(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Linear(_) => Some("rope-linear"),
            Self::Yarn(_) => Some("rope-yarn"),
            Self::Factors(_) => Some("rope-factors"),
        }
    }
}

impl Rotary {
    pub(crate) fn from_keys(
        keys: &Keys<'_>,
        window_base: Option<f32>,
        head_size: usize,
        context_length: u32,
    ) -> Result<Self, ConfigError> {
        let rotated = keys.optional("rope.dimension_count")?.unwrap_or(head_size);
        if rotated > head_size || !rotated.is_multiple_of(2) {
            return Err(keys.unsupported("rope.dimension_count", rotated));
        }
        let scaling = stretch(keys, context_length)?;
        let stated = keys.positive("rope.scaling.attn_factor")?;
        let magnitude = match scaling {
            Stretch::Yarn(yarn) => yarn.magnitude(),
            _ => 1.0,
        };
        Ok(Self {
            base: keys.positive("rope.freq_base")?.unwrap_or(BASE_DEFAULT),
            window_base: match window_base {
                Some(base) => Some(keys.positive("rope.freq_base_swa")?.unwrap_or(base)),
                None => None,
            },
            rotated,
            scaling,
            magnitude: magnitude * f64::from(stated.unwrap_or(1.0)),
        })
    }

    /// The rotations; `factors` are those of the tensor that [`Stretch::Factors`] names.
    pub(crate) fn rope(&self, pairing: Pairing, factors: Vec<f32>) -> Rope {
        let scaling = match self.scaling {
            Stretch::None => Scaling::None,
            Stretch::Linear(factor) => Scaling::Linear(factor),
            Stretch::Yarn(yarn) => Scaling::Yarn(yarn),
            Stretch::Factors(_) => Scaling::Factors(factors),
        };
        Rope::new(pairing, self.base, self.rotated, &scaling, self.magnitude)
    }

    /// The rotations of layers with a window, if they have their own.
    pub(crate) fn window_rope(&self, pairing: Pairing) -> Option<Rope> {
        self.window_base.map(|base| Rope::new(pairing, base, self.rotated, &Scaling::None, 1.0))
    }
}

fn stretch(keys: &Keys<'_>, context_length: u32) -> Result<Stretch, ConfigError> {
    if keys.has_tensor(FACTORS) {
        return match keys.text("rope.scaling.type")? {
            None | Some("none" | "llama3") => Ok(Stretch::Factors(FACTORS)),
            Some(other) => Err(keys.unsupported("rope.scaling.type", other)),
        };
    }
    if keys.has_tensor(FACTORS_LONG) && keys.has_tensor(FACTORS_SHORT) {
        // A file whose context is longer than that of the training is run with the factors for it throughout.
        let original = keys.optional("rope.scaling.original_context_length")?.unwrap_or(usize::MAX);
        let long = usize::try_from(context_length).is_ok_and(|context| context > original);
        return Ok(Stretch::Factors(if long { FACTORS_LONG } else { FACTORS_SHORT }));
    }
    let factor = match keys.positive("rope.scaling.factor")? {
        None => keys.positive("rope.scale_linear")?,
        stated => stated,
    };
    match (keys.text("rope.scaling.type")?, factor) {
        (None | Some("none"), None | Some(1.0)) => Ok(Stretch::None),
        (None | Some("linear"), Some(factor)) => Ok(Stretch::Linear(factor)),
        (Some("yarn"), Some(factor)) => yarn(keys, factor, context_length).map(Stretch::Yarn),
        (kind, _) => Err(keys.unsupported("rope.scaling.type", kind.unwrap_or("none"))),
    }
}

fn yarn(keys: &Keys<'_>, factor: f32, context_length: u32) -> Result<Yarn, ConfigError> {
    let original = keys.optional("rope.scaling.original_context_length")?;
    Ok(Yarn {
        factor,
        context_original: original.and_then(|size| u32::try_from(size).ok()).unwrap_or(context_length),
        beta_fast: keys.positive("rope.scaling.yarn_beta_fast")?.unwrap_or(BETA_FAST),
        beta_slow: keys.positive("rope.scaling.yarn_beta_slow")?.unwrap_or(BETA_SLOW),
    })
}
