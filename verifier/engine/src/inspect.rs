//! A look into an execution: the states behind the leaves of its trace.

use std::ops::Range;

use assay_kernels::float::check_environment;
use assay_manifest::Digest32;
use assay_protocol::request::Request;
use assay_protocol::trace::{PositionState, layers_root};

use crate::engine::{Engine, ExecuteError};
use crate::forward::{Forward, HEAD_ROWS, Part, Scratch, logits_hash};
use crate::model::Model;
use crate::sampler;
use crate::walk::index_u32;

/// One position of an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// What the trace's leaf is made of.
    pub state: PositionState,
    /// BLAKE3 of the residual after each layer; empty for the last token, which has no forward pass.
    pub layer_hashes: Vec<Digest32>,
    /// The token that the sampler chooses after this position without a constraint, where the output head ran and every logit is
    /// finite.
    pub chosen: Option<u32>,
}

/// What is looked into: an answer, or the beginning of one, as somebody claims it.
#[derive(Clone, Copy, Debug)]
pub struct Inspection<'a> {
    /// The request.
    pub request: &'a Request,
    /// The sampler's seed.
    pub seed: &'a Digest32,
    /// The answer's tokens; the last has no forward pass.
    pub tokens: &'a [u32],
}

impl Engine {
    /// The states of some positions of the sequence that prompt and answer make. Positions before them are
    /// computed as well, but their output heads, a fifth of the work, are not.
    ///
    /// # Errors
    /// [`ExecuteError`] when the prompt cannot be rendered, or this machine has no memory for the sequence.
    ///
    /// # Panics
    /// When a token is not in the vocabulary, or a position not in the sequence.
    pub fn inspect(
        &self,
        model: &Model,
        what: Inspection<'_>,
        positions: Range<usize>,
    ) -> Result<Vec<Inspected>, ExecuteError> {
        check_environment()?;
        let mut sequence = model.prompt(what.request).map_err(ExecuteError::Prompt)?;
        let n_in = sequence.len();
        sequence.extend_from_slice(what.tokens);
        assert!(positions.end <= sequence.len(), "positions {positions:?} of {}", sequence.len());
        // The last token of an answer has no forward pass (clause J19).
        let passed = sequence.len() - usize::from(!what.tokens.is_empty());
        let chunk = self.settings().prefill_chunk.get();
        let (mut pages, mut scratch) = (Vec::new(), Scratch::new(chunk, model.config()));
        let mut found = Vec::with_capacity(positions.len());
        for first in (0..passed.min(positions.end)).step_by(chunk) {
            let end = passed.min(positions.end).min(first + chunk);
            let mut forward = Forward::new(self.pool(), model, &mut scratch);
            let part = Part { pages: &mut pages, first, tokens: &sequence[first..end] };
            forward.run(&mut [part]).map_err(ExecuteError::OutOfMemory)?;
            let wanted = positions.start.clamp(first, end)..end;
            // A prompt without tokens answers nothing, and yet somebody may claim that it did.
            let read = wanted.start..wanted.end.min(n_in.saturating_sub(1)).max(wanted.start);
            found.extend(read.clone().map(|position| without_head(&forward, &sequence, first, position)));
            let answered: Vec<usize> = (read.end..wanted.end).collect();
            for positions in answered.chunks(HEAD_ROWS) {
                found.extend(with_heads(&mut forward, what, &sequence, first, positions));
            }
        }
        if positions.contains(&passed) {
            let state = PositionState {
                position: index_u32(passed),
                token: sequence[passed],
                layers_root: None,
                logits_hash: None,
            };
            found.push(Inspected { state, layer_hashes: Vec::new(), chosen: None });
        }
        Ok(found)
    }
}

/// A position of a pass that began at `first`.
fn without_head(forward: &Forward<'_>, sequence: &[u32], first: usize, position: usize) -> Inspected {
    let layer_hashes = forward.layer_hashes(position - first).to_vec();
    let state = PositionState {
        position: index_u32(position),
        token: sequence[position],
        layers_root: Some(layers_root(&layer_hashes)),
        logits_hash: None,
    };
    Inspected { state, layer_hashes, chosen: None }
}

/// Positions whose output heads run; at most [`HEAD_ROWS`].
fn with_heads(
    forward: &mut Forward<'_>,
    what: Inspection<'_>,
    sequence: &[u32],
    first: usize,
    positions: &[usize],
) -> Vec<Inspected> {
    let mut found: Vec<Inspected> =
        positions.iter().map(|position| without_head(forward, sequence, first, *position)).collect();
    let rows: Vec<usize> = positions.iter().map(|position| position - first).collect();
    let logits = forward.logits(&rows);
    let vocab = logits.len() / rows.len();
    for ((inspected, position), logits) in found.iter_mut().zip(positions).zip(logits.chunks_exact(vocab)) {
        let (sampler, next) = (&what.request.sampler, index_u32(position + 1));
        inspected.state.logits_hash = logits_hash(logits);
        inspected.chosen = sampler::choose(logits, sampler, what.seed, next, &sequence[..=*position]).ok();
    }
    found
}
