//! A loaded model with the engine that runs it: what answers calls, in whatever process it is.

use std::fmt::Display;
use std::sync::Arc;

use assay_engine::engine::Claimed;
use assay_engine::{Engine, Execution, Failure, Model, Observer, Verified};
use assay_manifest::{Digest32, SpecId};
use assay_protocol::request::{Request, prompt_hash};

use super::message::{Call, Counted, Question, Reply};
use crate::worker::{Answer, Outcome};

/// The model and its engine, which others may share.
#[derive(Clone)]
pub struct Hosted {
    engine: Arc<Engine>,
    model: Arc<Model>,
}

impl Hosted {
    /// A model to be run by an engine.
    pub const fn new(engine: Arc<Engine>, model: Arc<Model>) -> Self {
        Self { engine, model }
    }

    /// The definitions that executions follow.
    pub fn spec_id(&self) -> SpecId {
        self.model.spec_id()
    }

    /// Answers a call; `observer` can end an execution early.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn answer(&self, call: &Call, observer: &mut dyn Observer) -> Result<Reply, String> {
        match call {
            Call::Count(question) => self.count(question).map(Reply::Counted),
            Call::Fits(request) => self.fits(request).map(Reply::Fits),
            Call::Execute { request, seed } => self.execute(request, seed, observer).map(Reply::Outcome),
            Call::Verify { request, seed, claimed } => {
                let claim = Claimed { tokens: &claimed.tokens, finish: claimed.finish };
                self.verify(request, seed, claim, observer).map(Reply::Outcome)
            }
            Call::Decode(tokens) => Ok(Reply::Text(self.model.text().decode(tokens))),
        }
    }

    fn count(&self, question: &Question) -> Result<Counted, String> {
        let (text, context_length) = (self.model.text(), self.model.config().context_length);
        assay_engine::sampler::check(&question.sampler, text.vocab_size()).map_err(in_words)?;
        let tokens = text.render(&question.prompt, question.now_s).map_err(in_words)?;
        let n_in = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        if n_in.saturating_add(question.max_tokens) > context_length {
            return Err(format!(
                "the prompt has {n_in} tokens, and with {} to generate that is over the model's {context_length}",
                question.max_tokens
            ));
        }
        Ok(Counted { n_in, prompt_hash: prompt_hash(&tokens), context_length })
    }

    fn fits(&self, request: &Request) -> Result<bool, String> {
        self.engine.check_memory(&self.model, request).map_err(in_words)?;
        let tokens = match self.model.text().render(&request.prompt, request.now_s) {
            Ok(tokens) => tokens,
            // A template that refuses the messages is an agreed failure, not a prompt of another tokenizer.
            Err(error) if error.fail_code().is_some() => return Ok(true),
            Err(error) => return Err(error.to_string()),
        };
        let counted = u32::try_from(tokens.len()).is_ok_and(|n_in| n_in == request.n_in);
        Ok(counted && prompt_hash(&tokens) == request.prompt_hash)
    }

    fn execute(
        &self,
        request: &Request,
        seed: &Digest32,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, String> {
        let execution = self.engine.execute(&self.model, request, seed, observer);
        execution.map(outcome).map_err(in_words)
    }

    fn verify(
        &self,
        request: &Request,
        seed: &Digest32,
        claim: Claimed<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, String> {
        let verified = self.engine.verify(&self.model, request, seed, claim, observer);
        Ok(match verified.map_err(in_words)? {
            Verified::Accepted(execution) | Verified::Failed(execution) => outcome(execution),
            Verified::Rejected { position, right_token, trace_root } => {
                Outcome::Reject { position, right_token, trace_root }
            }
        })
    }
}

fn outcome(execution: Execution) -> Outcome {
    let answer = Answer { tokens: execution.tokens, finish: execution.finish };
    let trace_root = execution.trace_root;
    match execution.failure {
        Some(Failure { code, position }) => Outcome::Fail { code, position, answer, trace_root },
        None => Outcome::Answer { answer, trace_root },
    }
}

fn in_words(error: impl Display) -> String {
    error.to_string()
}
