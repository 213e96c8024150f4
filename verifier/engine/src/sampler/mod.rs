//! Chooses a token from logits: by the request's settings, the seed and the position, and nothing else.
//!
//! The rule is exact: adjusted logits by IEEE operations, probabilities as integers, and one number drawn
//! from a hash of seed and position. It is written down in `docs/NUMERICS.md`, "Sampling".

mod logits;
mod logprobs;
mod mask;
mod weights;

#[cfg(test)]
mod tests;

pub use logprobs::{Logprobs, logprobs};
pub use mask::TokenMask;
pub(crate) use mask::restrict;

use assay_manifest::{Digest32, TaggedHash};
use assay_protocol::commitment::FailCode;
use assay_protocol::request::Sampler;

/// No token could be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// A logit is a NaN or infinite, as given or after penalties and bias.
    #[error("choosing a token: the logit of token {token} is not finite")]
    NotFinite {
        /// The token.
        token: u32,
    },
    /// There are no logits.
    #[error("choosing a token: there are no logits")]
    Empty,
    /// A constraint allows no token.
    #[error("choosing a token: none is allowed")]
    NoneAllowed,
}

impl SampleError {
    /// The failure as providers commit to it.
    pub fn fail_code(&self) -> FailCode {
        match self {
            Self::NotFinite { .. } | Self::Empty => FailCode::NotFinite,
            Self::NoneAllowed => FailCode::Unsupported,
        }
    }
}

/// The settings ask for something that the definition does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// A bias for a token that the model does not have.
    #[error("checking the sampler: a bias is given for token {token}, but the model has {vocab_size} tokens")]
    UnknownToken {
        /// The token.
        token: u32,
        /// Number of tokens.
        vocab_size: u32,
    },
}

/// Checks settings against a model, before any work.
///
/// Their ranges are those that [`Request::check`](assay_protocol::request::Request::check) has checked.
///
/// # Errors
/// When a bias is given for a token that the model does not have.
pub fn check(settings: &Sampler, vocab_size: u32) -> Result<(), Unsupported> {
    match settings.logit_bias.iter().find(|(token, _)| *token >= vocab_size) {
        Some((token, _)) => Err(Unsupported::UnknownToken { token: *token, vocab_size }),
        None => Ok(()),
    }
}

/// The token at a position: a function of its arguments, the same on every machine.
///
/// `logits` has one entry a token, `[vocab_size]`; `history` are the tokens before the position, those of
/// the prompt included, to which the penalties apply.
///
/// # Errors
/// When a logit is not finite or there is none.
pub fn choose(
    logits: &[f32],
    settings: &Sampler,
    seed: &Digest32,
    position: u32,
    history: &[u32],
) -> Result<u32, SampleError> {
    choose_allowed(logits, None, settings, seed, position, history)
}

/// As [`choose`], among the tokens that a mask allows; among all, where there is none.
///
/// # Errors
/// As [`choose`], and when no token is allowed.
pub fn choose_allowed(
    logits: &[f32],
    allowed: Option<&TokenMask>,
    settings: &Sampler,
    seed: &Digest32,
    position: u32,
    history: &[u32],
) -> Result<u32, SampleError> {
    let adjusted = restrict(logits::adjust(logits, settings, history)?, allowed);
    let best = logits::greatest(&adjusted).ok_or(SampleError::Empty)?;
    if adjusted[best as usize] == f32::NEG_INFINITY {
        return Err(SampleError::NoneAllowed);
    }
    if settings.temperature.get() == 0.0 {
        return Ok(best);
    }
    let candidates = weights::Candidates::new(&adjusted, best, settings);
    Ok(candidates.draw(uniform(seed, position)))
}

/// The random number of a position: the first eight bytes, little-endian, of a hash.
fn uniform(seed: &Digest32, position: u32) -> u64 {
    let hash = TaggedHash::new("assay/sample/1").digest(seed).u32(position).finish();
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
