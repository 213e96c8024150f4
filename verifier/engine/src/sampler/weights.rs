//! Probabilities as integers, the filters over them, and the draw.

use std::cmp::Ordering;

use assay_kernels::reference::exp;
use assay_protocol::request::Sampler;

/// Weight of the likeliest token. With 2²⁰ tokens the total stays below 2⁶⁰, and what is a trillion times
/// less likely than the likeliest has no weight.
pub(super) const WEIGHT_ONE: f64 = (1u64 << 40) as f64;
/// Shares (`top_p`, `min_p`) are multiples of 2⁻³².
const SHARE_BITS: u32 = 32;
/// How many of the likeliest tokens `top_p` looks at first; mostly they suffice.
const TOP_P_FIRST: usize = 256;
/// By how much it looks further.
const TOP_P_GROWTH: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Candidate {
    token: u32,
    logit: f32,
    weight: u64,
}

impl Candidate {
    /// The likelier first, of equally likely ones the lower token.
    fn rank(&self, other: &Self) -> Ordering {
        other.logit.total_cmp(&self.logit).then(self.token.cmp(&other.token))
    }
}

/// The tokens that may be drawn, in ascending order, with their weights; never empty, its total never zero.
pub(super) struct Candidates(Vec<Candidate>);

impl Candidates {
    /// Weighs tokens by temperature, then filters by `top_k`, `top_p` and `min_p`. `best` has the greatest
    /// logit.
    pub(super) fn new(logits: &[f32], best: u32, settings: &Sampler) -> Self {
        let greatest = logits[best as usize];
        let temperature = settings.temperature.get();
        let weigh = |(token, logit): (u32, &f32)| {
            // Zeros of both signs are one logit, and rank as such.
            let logit = *logit + 0.0;
            let weight = weight((logit - greatest) / temperature);
            Candidate { token, logit, weight }
        };
        let mut candidates: Vec<_> = (0u32..).zip(logits).map(weigh).collect();
        top_k(&mut candidates, settings.top_k);
        candidates.retain(|candidate| candidate.weight > 0);
        top_p(&mut candidates, share(settings.top_p.get()));
        min_p(&mut candidates, share(settings.min_p.get()));
        candidates.sort_unstable_by_key(|candidate| candidate.token);
        Self(candidates)
    }

    /// The token at which the running total of weights, in ascending order of tokens, first exceeds
    /// `uniform / 2⁶⁴` of the whole.
    pub(super) fn draw(&self, uniform: u64) -> u32 {
        let whole = total(&self.0);
        let mark = ((u128::from(uniform) * u128::from(whole)) >> 64) as u64;
        let mut running = 0;
        let drawn = self.0.iter().find(|candidate| {
            running += candidate.weight;
            running > mark
        });
        drawn.map_or(0, |candidate| candidate.token)
    }
}

/// `⌊e^x · 2⁴⁰⌋` for x ≤ 0, with the definition's own exponential.
pub(super) fn weight(x: f32) -> u64 {
    (f64::from(exp(x)) * WEIGHT_ONE) as u64
}

/// A share between 0 and 1 in units of 2⁻³², rounded down.
fn share(share: f32) -> u128 {
    (f64::from(share) * f64::from(1u32 << 31) * 2.0) as u128
}

fn total(candidates: &[Candidate]) -> u64 {
    candidates.iter().map(|candidate| candidate.weight).sum()
}

/// Keeps the `k` likeliest; all when `k` is 0.
fn top_k(candidates: &mut Vec<Candidate>, k: u32) {
    let k = k as usize;
    if k > 0 && k < candidates.len() {
        candidates.select_nth_unstable_by(k, Candidate::rank);
        candidates.truncate(k);
    }
}

/// Keeps the fewest of the likeliest whose weights reach this share of the whole, at least one.
fn top_p(candidates: &mut Vec<Candidate>, share: u128) {
    let whole = u128::from(total(candidates));
    if share == 1 << SHARE_BITS {
        return;
    }
    let mut sorted = TOP_P_FIRST;
    loop {
        if sorted < candidates.len() {
            candidates.select_nth_unstable_by(sorted, Candidate::rank);
        }
        let looked_at = sorted.min(candidates.len());
        candidates[..looked_at].sort_unstable_by(Candidate::rank);
        let mut running = 0u128;
        let reached = candidates[..looked_at].iter().position(|candidate| {
            running += u128::from(candidate.weight);
            running << SHARE_BITS >= share * whole
        });
        if let Some(last) = reached {
            candidates.truncate(last + 1);
        }
        if reached.is_some() || looked_at == candidates.len() {
            return;
        }
        sorted *= TOP_P_GROWTH;
    }
}

/// Keeps what has at least this share of the likeliest token's weight.
fn min_p(candidates: &mut Vec<Candidate>, share: u128) {
    let greatest = candidates.iter().map(|candidate| candidate.weight).max().unwrap_or(0);
    candidates.retain(|candidate| u128::from(candidate.weight) << SHARE_BITS >= share * u128::from(greatest));
}
