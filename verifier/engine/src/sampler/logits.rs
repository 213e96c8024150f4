//! Penalties and bias, and the greatest logit.

use std::borrow::Cow;

use assay_protocol::request::Sampler;

use super::SampleError;

/// The logits with penalties and bias, all finite.
///
/// In this order, each step one rounding: repetition, frequency, presence, bias.
pub(super) fn adjust<'l>(
    logits: &'l [f32],
    settings: &Sampler,
    history: &[u32],
) -> Result<Cow<'l, [f32]>, SampleError> {
    check_finite(logits)?;
    let repetition = settings.repetition_penalty.get();
    let frequency = settings.frequency_penalty.get();
    let presence = settings.presence_penalty.get();
    let penalises = repetition != 1.0 || frequency != 0.0 || presence != 0.0;
    if !penalises && settings.logit_bias.is_empty() {
        return Ok(logits.into());
    }
    let mut adjusted = logits.to_vec();
    if penalises {
        for (logit, count) in adjusted.iter_mut().zip(counts(logits.len(), history)) {
            if count > 0 {
                let repeated = if *logit > 0.0 { *logit / repetition } else { *logit * repetition };
                *logit = repeated - count as f32 * frequency - presence;
            }
        }
    }
    for (token, bias) in &settings.logit_bias {
        if let Some(logit) = adjusted.get_mut(*token as usize) {
            *logit += bias.get();
        }
    }
    check_finite(&adjusted)?;
    Ok(adjusted.into())
}

/// How often each token occurs.
fn counts(vocab_size: usize, history: &[u32]) -> Vec<u32> {
    let mut counts = vec![0u32; vocab_size];
    for token in history {
        if let Some(count) = counts.get_mut(*token as usize) {
            *count = count.saturating_add(1);
        }
    }
    counts
}

fn check_finite(logits: &[f32]) -> Result<(), SampleError> {
    if logits.iter().fold(true, |finite, logit| finite & logit.is_finite()) {
        return Ok(());
    }
    match (0u32..).zip(logits).find(|(_, logit)| !logit.is_finite()) {
        Some((token, _)) => Err(SampleError::NotFinite { token }),
        None => Ok(()),
    }
}

/// The token of the greatest logit; of equal ones, the lowest.
pub(super) fn greatest(logits: &[f32]) -> Option<u32> {
    /// Logits that are compared side by side, without waiting for one another.
    const LANES: usize = 32;
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks.iter().map(|chunk| chunk.as_slice()).chain([rest]) {
        for (lane, logit) in lanes.iter_mut().zip(chunk) {
            *lane = if *logit > *lane { *logit } else { *lane };
        }
    }
    let greatest = lanes.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let any = |logits: &[f32]| logits.iter().fold(false, |any, logit| any | (*logit >= greatest));
    let skipped = chunks.iter().take_while(|chunk| !any(*chunk)).count() * LANES;
    let found = logits[skipped..].iter().position(|logit| *logit >= greatest)?;
    u32::try_from(skipped + found).ok()
}
