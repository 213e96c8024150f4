//! How likely the model held a token to be.

use super::weights::{WEIGHT_ONE, weight};

/// Logarithms of probabilities, natural.
#[derive(Clone, Debug, PartialEq)]
pub struct Logprobs {
    /// Of the chosen token.
    pub chosen: f32,
    /// Of the most likely ones, the greatest first, of equal ones the lowest token first.
    pub top: Vec<(u32, f32)>,
}

/// `ln softmax(logits)` of `chosen` and of the `top` likeliest, of the logits as the model gives them: before
/// penalties, bias, temperature and cuts. A token whose logit is −∞ is none that could be chosen, and not among the
/// likeliest. The same on every machine; see `docs/NUMERICS.md`, "Sampling".
///
/// # Panics
/// When there is no such token.
pub fn logprobs(logits: &[f32], chosen: u32, top: usize) -> Logprobs {
    let greatest =
        logits.iter().fold(f32::NEG_INFINITY, |max, logit| if *logit > max { *logit } else { max });
    let whole: u64 = logits.iter().map(|logit| weight(logit - greatest)).sum();
    let log_whole = libm::log(whole as f64 / WEIGHT_ONE);
    let of = |token: u32| (f64::from(logits[token as usize] - greatest) - log_whole) as f32;
    let mut ranked: Vec<u32> = (0u32..).zip(logits).map(|(token, _)| token).collect();
    // Zeros of both signs are one logit.
    let logit = |token: &u32| logits[*token as usize] + 0.0;
    let rank = |a: &u32, b: &u32| logit(b).total_cmp(&logit(a)).then(a.cmp(b));
    let top = top.min(ranked.len());
    if top < ranked.len() {
        ranked.select_nth_unstable_by(top, rank);
        ranked.truncate(top);
    }
    ranked.retain(|token| logits[*token as usize] > f32::NEG_INFINITY);
    ranked.sort_unstable_by(rank);
    Logprobs { chosen: of(chosen), top: ranked.into_iter().map(|token| (token, of(token))).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_of_all_tokens_sum_to_one_and_rank_as_their_logits() {
        let logits = [1.0, -2.0, 3.5, 3.5, 0.0];
        let found = logprobs(&logits, 0, 5);
        assert_eq!(found.top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [2, 3, 0, 4, 1]);
        let sum: f64 = found.top.iter().map(|(_, log)| libm::exp(f64::from(*log))).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        assert_eq!(found.chosen, found.top[2].1);
        assert_eq!(logprobs(&logits, 1, 2).top, found.top[..2]);
        assert_eq!(logprobs(&logits, 1, 0).top, []);
    }

    #[test]
    fn tokens_that_could_not_be_chosen_have_no_share() {
        const NONE: f32 = f32::NEG_INFINITY;
        let found = logprobs(&[NONE, 1.0, NONE, 2.0], 1, 3);
        assert_eq!(found, Logprobs { chosen: found.top[1].1, top: found.top.clone() });
        let alone = logprobs(&[1.0, 2.0], 0, 3);
        assert_eq!(found.top, [(3, alone.top[0].1), (1, alone.top[1].1)]);
    }

    #[test]
    fn a_certain_token_has_a_probability_of_one() {
        let found = logprobs(&[50.0, -50.0], 0, 1);
        assert_eq!((found.chosen, found.top), (0.0, vec![(0, 0.0)]));
    }
}
