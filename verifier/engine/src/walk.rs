//! The one walk along a sequence that executing and verifying share.
//!
//! Verifying is executing with the next tokens known in advance: positions are computed in chunks instead of
//! one by one, and each sampled token is compared with the claimed one before it is taken.

use std::ops::Range;
use std::sync::Arc;

use assay_manifest::Digest32;
use assay_protocol::commitment::{FailCode, Finish};
use assay_protocol::request::Request;
use assay_protocol::trace::{PositionState, TraceBuilder};

use crate::constraint::{Constraint, States};
use crate::engine::Failure;
use crate::finish::FinishRule;
use crate::forward::{State, logits_hash};
use crate::model::Model;
use crate::sampler::{self, Logprobs};

/// What is to be computed.
#[derive(Clone)]
pub(crate) struct Task {
    pub model: Arc<Model>,
    pub request: Request,
    pub seed: Digest32,
    /// The tokens of the request's prompt.
    pub prompt: Vec<u32>,
    /// The tokens that somebody claims, if this is a verification.
    pub claimed: Option<Vec<u32>>,
    /// The state of the answer's constraint in which it begins, if it has one.
    pub constraint: Option<Arc<dyn Constraint>>,
    /// Positions of the longest sequence that can come about.
    pub positions_max: usize,
    /// Of how many of the likeliest tokens logarithms of probabilities are wanted, if any are.
    pub logprobs: Option<usize>,
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
#[derive(Clone, Debug)]
pub(crate) struct Walked {
    pub end: End,
    /// The right tokens of the answer up to the end.
    pub answer: Vec<u32>,
    /// Root over the positions that were traced.
    pub trace_root: Digest32,
}

/// What follows from the logits of a position.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// Hash of the logits; none when one is not finite.
    hash: Option<Digest32>,
    token: Result<u32, FailCode>,
    logprobs: Option<Logprobs>,
}

/// What a position brings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing: a position within the prompt.
    Read,
    /// The next token of the answer.
    Token(Token),
}

/// A token of an answer, as its reader hears of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub id: u32,
    pub logprobs: Option<Logprobs>,
}

pub(crate) struct Walk {
    task: Task,
    finish: FinishRule,
    n_in: usize,
    /// Prompt and right tokens so far.
    sequence: Vec<u32>,
    /// Tokens whose forward pass may run before they are known to be right: prompt and claim.
    known: Vec<u32>,
    /// The positions whose forward pass runs in chunks.
    ahead: usize,
    /// Positions that were visited.
    visited: usize,
    /// Of the answer's constraint, if it has one.
    states: Option<States>,
    trace: TraceBuilder,
}

impl Walk {
    pub fn new(task: Task) -> Self {
        let vocab = task.model.config().vocab_size;
        let prompt = task.prompt.clone();
        let claimed = task.claimed.iter().flatten().copied();
        let known: Vec<u32> =
            prompt.iter().copied().chain(claimed.take_while(|token| (*token as usize) < vocab)).collect();
        // The last claimed token gets a forward pass only if the answer turns out to go on after it.
        let ahead = prompt.len().max(known.len() - 1).min(task.positions_max);
        let states = task.constraint.clone().map(|start| States::new(start, prompt.len() - 1));
        Self {
            finish: FinishRule::new(task.model.text(), &task.request),
            n_in: prompt.len(),
            sequence: prompt,
            known,
            ahead,
            visited: 0,
            states,
            trace: TraceBuilder::new(),
            task,
        }
    }

    pub const fn model(&self) -> &Arc<Model> {
        &self.task.model
    }

    /// The tokens of the prompt.
    pub fn prompt(&self) -> &[u32] {
        &self.sequence[..self.n_in]
    }

    /// Every token whose positions were visited.
    pub fn visited(&self) -> &[u32] {
        &self.sequence[..self.visited]
    }

    /// Positions that were visited, and how many are known in advance.
    pub const fn progress(&self) -> (usize, usize) {
        (self.visited, self.ahead)
    }

    /// The positions that are to be computed next, at most `max` and at least one.
    pub fn wanted(&self, max: usize) -> Range<usize> {
        self.visited..self.ahead.min(self.visited + max).max(self.visited + 1)
    }

    /// The tokens at wanted positions.
    pub fn tokens(&self, positions: Range<usize>) -> &[u32] {
        let tokens = if positions.end <= self.known.len() { &self.known } else { &self.sequence };
        &tokens[positions]
    }

    /// Visits the first positions of the prompt, whose states are known from another sequence.
    pub fn skip(&mut self, roots: &[Digest32]) {
        debug_assert!(self.visited == 0 && roots.len() < self.n_in, "a part of the prompt");
        for root in roots {
            self.push(Some(*root), None);
        }
    }

    /// Whether the output head must run at a position.
    pub const fn needs_logits(&self, position: usize) -> bool {
        position + 1 >= self.n_in
    }

    /// Brings the answer's constraint to a position that [`Walk::choose`] is asked about next; tokens up to it are
    /// taken to be right.
    pub fn prepare(&mut self, position: usize) {
        if let Some(mut states) = self.states.take() {
            states.follow(self.tokens(0..position + 1), self.visited);
            self.states = Some(states);
        }
    }

    /// What follows from the logits of a position; tokens before it are taken to be right.
    pub fn choose(&self, position: usize, logits: &[f32]) -> Choice {
        let Task { request, seed, logprobs, .. } = &self.task;
        let history = self.tokens(0..position + 1);
        let allowed = self.states.as_ref().map(|states| states.allowed(position, logits.len()));
        let (allowed, next) = (allowed.as_ref(), index_u32(position + 1));
        let token = sampler::choose_allowed(logits, allowed, &request.sampler, seed, next, history);
        let token = token.map_err(|error| error.fail_code());
        let logprobs = token.ok().zip(*logprobs);
        let logprobs = logprobs
            .map(|(token, top)| sampler::logprobs(&sampler::restrict(logits.into(), allowed), token, top));
        Choice { hash: logits_hash(logits), token, logprobs }
    }

    /// Visits the next position: traces it, and takes the token that follows.
    pub fn visit(&mut self, state: State, choice: Option<Choice>) -> Result<Step, End> {
        let Some(root) = state.root else { return Err(self.failed(FailCode::NotFinite)) };
        let Some(choice) = choice else {
            self.push(Some(root), None);
            return Ok(Step::Read);
        };
        let Some(hash) = choice.hash else { return Err(self.failed(FailCode::NotFinite)) };
        self.push(Some(root), Some(hash));
        let id = choice.token.map_err(|code| self.failed(code))?;
        let index = self.sequence.len() - self.n_in;
        match &self.task.claimed {
            Some(claimed) if claimed.get(index) != Some(&id) => Err(End::Mismatch { right_token: id }),
            _ => Ok(Step::Token(Token { id, logprobs: choice.logprobs })),
        }
    }

    /// Takes a right token into the answer; says whether that is the end.
    pub fn take(&mut self, token: u32) -> Option<End> {
        self.sequence.push(token);
        let finished = self.finish.push(self.task.model.text(), token).map(End::Finished);
        let full = self.sequence.len() >= self.task.model.config().context_size();
        let end = finished.or_else(|| full.then(|| self.failed(FailCode::ContextOverflow)))?;
        // The last token has no forward pass (clause J19).
        self.trace.push(&PositionState {
            position: index_u32(self.sequence.len() - 1),
            token,
            layers_root: None,
            logits_hash: None,
        });
        Some(end)
    }

    /// What there is at the end.
    pub fn walked(&self, end: End) -> Walked {
        Walked { end, answer: self.sequence[self.n_in..].to_vec(), trace_root: self.trace.root() }
    }

    fn push(&mut self, layers_root: Option<Digest32>, logits_hash: Option<Digest32>) {
        let token = self.sequence[self.visited];
        self.trace.push(&PositionState {
            position: index_u32(self.visited),
            token,
            layers_root,
            logits_hash,
        });
        self.visited += 1;
    }

    fn failed(&self, code: FailCode) -> End {
        End::Failed(Failure { code, position: index_u32(self.sequence.len() - self.n_in) })
    }
}

/// A position as the trace has it: under the context length, which is a u32.
pub(crate) fn index_u32(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}
