//! What is checked of a request before any work: the same by the engines of both classes.

use assay_protocol::commitment::FailCode;
use assay_protocol::request::{Request, prompt_hash};

use crate::engine::ExecuteError;
use crate::sampler;
use crate::text::Text;

/// Why everybody fails before any work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The failure.
    pub code: FailCode,
    /// Tokens of the prompt; 0 where it could not be rendered.
    pub n_in: u32,
}

/// The prompt's tokens, if this is a request that a model with this text and context length can answer.
///
/// # Errors
/// When this machine cannot render the prompt, though others may.
pub fn checked(
    text: &Text,
    context_length: u32,
    request: &Request,
) -> Result<Result<Vec<u32>, Refused>, ExecuteError> {
    let refused = |code, n_in| Ok(Err(Refused { code, n_in }));
    if sampler::check(&request.sampler, text.vocab_size()).is_err() {
        return refused(FailCode::Unsupported, 0);
    }
    let prompt = match text.render(&request.prompt, request.now_s) {
        Ok(prompt) if prompt.is_empty() => return refused(FailCode::Template, 0),
        Ok(prompt) => prompt,
        Err(error) => match error.fail_code() {
            Some(code) => return refused(code, 0),
            None => return Err(ExecuteError::Prompt(error)),
        },
    };
    if usize::try_from(request.n_in) != Ok(prompt.len()) || request.prompt_hash != prompt_hash(&prompt) {
        return refused(FailCode::Prompt, 0);
    }
    if request.n_in >= context_length {
        return refused(FailCode::ContextOverflow, request.n_in);
    }
    Ok(Ok(prompt))
}

/// Positions of the longest sequence that can come about from a prompt of so many tokens.
pub fn sequence_max(context_length: u32, request: &Request, prompt: usize) -> usize {
    let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    prompt.saturating_add(size(request.max_tokens)).min(size(context_length))
}
