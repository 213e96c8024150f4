//! The tokens that may be chosen.

use std::borrow::Cow;

/// Which of a model's tokens may come next, a bit a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenMask {
    words: Vec<u64>,
    vocab_size: usize,
}

impl TokenMask {
    /// No token of a vocabulary of this size.
    pub fn none(vocab_size: usize) -> Self {
        Self { words: vec![0; vocab_size.div_ceil(u64::BITS as usize)], vocab_size }
    }

    /// Allows a token; one that the vocabulary does not have stays out.
    pub fn allow(&mut self, token: u32) {
        let (word, bit) = place(token);
        if (token as usize) < self.vocab_size {
            self.words[word] |= bit;
        }
    }

    /// Whether a token is allowed.
    pub fn allows(&self, token: u32) -> bool {
        let (word, bit) = place(token);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }
}

/// Where a token's bit stands.
fn place(token: u32) -> (usize, u64) {
    ((token / u64::BITS) as usize, 1 << (token % u64::BITS))
}

/// Logits of which those of tokens that are not allowed are −∞; without a mask, the same.
pub(crate) fn restrict<'l>(logits: Cow<'l, [f32]>, allowed: Option<&TokenMask>) -> Cow<'l, [f32]> {
    let Some(allowed) = allowed else { return logits };
    let mut logits = logits.into_owned();
    for (token, logit) in (0u32..).zip(&mut logits) {
        if !allowed.allows(token) {
            *logit = f32::NEG_INFINITY;
        }
    }
    logits.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_holds_what_was_allowed_and_nothing_beyond_the_vocabulary() {
        let mut mask = TokenMask::none(65);
        for token in [0, 63, 64, 65, u32::MAX] {
            mask.allow(token);
        }
        let allowed: Vec<u32> = (0..200).filter(|token| mask.allows(*token)).collect();
        assert_eq!(allowed, [0, 63, 64]);
        assert!(!mask.allows(u32::MAX));
        assert_ne!(mask, TokenMask::none(65));
    }
}
