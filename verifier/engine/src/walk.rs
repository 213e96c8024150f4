//! The one walk along a sequence that executing and verifying share.
//!
//! Verifying is executing with the next tokens known in advance: positions are read in chunks instead of
//! one by one, and each sampled token is compared with the claimed one before it is taken.

use std::ops::Range;

use assay_manifest::Digest32;
use assay_protocol::commitment::{FailCode, Finish};
use assay_protocol::request::Request;
use assay_protocol::trace::{PositionState, TraceBuilder};

use crate::engine::{ExecuteError, Failure};
use crate::finish::FinishRule;
use crate::forward::Forward;
use crate::model::Model;
use crate::observer::Observer;
use crate::sampler;

/// What is to be computed.
#[derive(Clone, Copy)]
pub(crate) struct Task<'a> {
    pub model: &'a Model,
    pub request: &'a Request,
    pub seed: &'a Digest32,
    /// The tokens that somebody claims, if this is a verification.
    pub claimed: Option<&'a [u32]>,
}

/// Why a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The answer is complete.
    Finished(Finish),
    /// The next token is this one, and the claim has another, or none.
    Mismatch { right_token: u32 },
    /// The computation fails for everybody.
    Failed(Failure),
}

/// Where a walk has come to.
pub(crate) struct Walked {
    pub end: End,
    /// The right tokens of the answer up to the end.
    pub answer: Vec<u32>,
    /// Root over the positions that were traced.
    pub trace_root: Digest32,
}

pub(crate) struct Walk<'a> {
    task: Task<'a>,
    forward: Forward<'a>,
    finish: FinishRule<'a>,
    n_in: usize,
    /// Prompt and right tokens so far.
    sequence: Vec<u32>,
    /// Tokens whose forward pass may run before they are known to be right: prompt and claim.
    known: Vec<u32>,
    /// The positions whose forward pass runs in chunks.
    ahead: usize,
    chunk_max: usize,
    /// The positions that `forward` holds.
    chunk: Range<usize>,
    trace: TraceBuilder,
}

impl<'a> Walk<'a> {
    pub fn new(task: Task<'a>, forward: Forward<'a>, prompt: Vec<u32>, chunk_max: usize) -> Self {
        let vocab = task.model.config().vocab_size;
        let claimed = task.claimed.unwrap_or_default().iter().copied();
        let known: Vec<u32> =
            prompt.iter().copied().chain(claimed.take_while(|token| (*token as usize) < vocab)).collect();
        // The last claimed token gets a forward pass only if the answer turns out to go on after it.
        let ahead = prompt.len().max(known.len() - 1).min(forward.positions_max());
        Self {
            finish: FinishRule::new(task.model.text(), task.request),
            task,
            forward,
            n_in: prompt.len(),
            sequence: prompt,
            known,
            ahead,
            chunk_max,
            chunk: 0..0,
            trace: TraceBuilder::new(),
        }
    }

    /// Walks from the first position to the end.
    pub fn run(mut self, observer: &mut dyn Observer) -> Result<Walked, ExecuteError> {
        let mut position = 0;
        loop {
            if !self.chunk.contains(&position) {
                self.read_chunk(position, observer)?;
            }
            let end = match self.visit(position) {
                Ok(None) => None,
                Ok(Some(token)) => {
                    if observer.token(token).is_break() {
                        return Err(ExecuteError::Stopped);
                    }
                    self.take(token)
                }
                Err(end) => Some(end),
            };
            if let Some(end) = end {
                let answer = self.sequence.split_off(self.n_in);
                return Ok(Walked { end, answer, trace_root: self.trace.root() });
            }
            position += 1;
        }
    }

    /// Runs the forward pass from `position` on, as far as tokens are known.
    fn read_chunk(&mut self, position: usize, observer: &mut dyn Observer) -> Result<(), ExecuteError> {
        let end = self.ahead.min(position + self.chunk_max).max(position + 1);
        let tokens = if end <= self.known.len() { &self.known } else { &self.sequence };
        self.forward.advance(&tokens[position..end], position);
        self.chunk = position..end;
        if end <= self.ahead && observer.positions(end, self.ahead).is_break() {
            return Err(ExecuteError::Stopped);
        }
        Ok(())
    }

    /// Traces a position; from the last of the prompt on, yields the token that follows.
    fn visit(&mut self, position: usize) -> Result<Option<u32>, End> {
        let row = position - self.chunk.start;
        let state = self.forward.state(row);
        if !state.finite {
            return Err(self.failed(FailCode::NotFinite));
        }
        let mut traced = PositionState {
            position: index_u32(position),
            token: self.sequence[position],
            layer_hashes: state.layer_hashes.clone(),
            logits_hash: None,
        };
        if position + 1 < self.n_in {
            self.trace.push(&traced);
            return Ok(None);
        }
        let logits = self.forward.logits(row);
        if logits.hash.is_none() {
            return Err(self.failed(FailCode::NotFinite));
        }
        traced.logits_hash = logits.hash;
        self.trace.push(&traced);
        let Task { request, seed, claimed, .. } = self.task;
        let position = index_u32(position + 1);
        let token = sampler::choose(logits.values, &request.sampler, seed, position, &self.sequence)
            .map_err(|error| self.failed(error.fail_code()))?;
        let index = self.sequence.len() - self.n_in;
        match claimed {
            Some(claimed) if claimed.get(index) != Some(&token) => Err(End::Mismatch { right_token: token }),
            _ => Ok(Some(token)),
        }
    }

    /// Takes a right token into the answer; says whether that is the end.
    fn take(&mut self, token: u32) -> Option<End> {
        self.sequence.push(token);
        let finished = self.finish.push(token).map(End::Finished);
        let full = self.sequence.len() >= self.task.model.config().context_size();
        let end = finished.or_else(|| full.then(|| self.failed(FailCode::ContextOverflow)))?;
        // The last token has no forward pass (clause J19).
        self.trace.push(&PositionState {
            position: index_u32(self.sequence.len() - 1),
            token,
            layer_hashes: Vec::new(),
            logits_hash: None,
        });
        Some(end)
    }

    fn failed(&self, code: FailCode) -> End {
        End::Failed(Failure { code, position: index_u32(self.sequence.len() - self.n_in) })
    }
}

/// A position as the trace has it: under the context length, which is a u32.
fn index_u32(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}
