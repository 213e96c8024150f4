//! Executes requests and verifies claimed answers.

use std::num::NonZeroUsize;

use assay_kernels::float::{FloatEnvironmentError, check_environment};
use assay_kernels::pool::PoolError;
use assay_kernels::{Cpu, Pool};
use assay_manifest::Digest32;
use assay_protocol::commitment::{FailCode, Finish};
use assay_protocol::request::{Request, prompt_hash};
use assay_protocol::trace::TraceBuilder;

use crate::forward::Forward;
use crate::model::Model;
use crate::observer::Observer;
use crate::sampler;
use crate::text::RenderError;
use crate::walk::{End, Task, Walk, Walked};

/// The right token of a rejection where the right answer has none: it ended before.
pub const NO_TOKEN: u32 = u32::MAX;

/// How this machine works; no setting changes a result.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Threads that share the work of one execution.
    pub threads: NonZeroUsize,
    /// Positions that are read at once where more than one is known.
    pub prefill_chunk: NonZeroUsize,
    /// Most bytes of keys and values of one execution.
    pub cache_bytes_max: usize,
}

impl Settings {
    /// Positions read at once by default: enough to use each weight often while it is in the cache.
    pub const PREFILL_CHUNK: NonZeroUsize = NonZeroUsize::new(64).unwrap();

    /// One thread a core, and no limit of memory.
    pub fn for_this_machine() -> Self {
        Self {
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            prefill_chunk: Self::PREFILL_CHUNK,
            cache_bytes_max: usize::MAX,
        }
    }
}

/// Threads and settings; runs one execution at a time at full speed, several side by side.
#[derive(Debug)]
pub struct Engine {
    pool: Pool,
    settings: Settings,
}

/// Tokens that were processed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt; 0 where it could not be rendered.
    pub n_in: u32,
    /// Of the answer.
    pub n_out: u32,
}

/// A computation that fails for everybody, at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub code: FailCode,
    /// Index in the answer of the token that could not be computed.
    pub position: u32,
}

/// What a model makes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The answer; ends with the end-of-generation token if that ended it.
    pub tokens: Vec<u32>,
    /// Why it ended; [`Finish::Failed`] exactly if there is a failure.
    pub finish: Finish,
    /// Root over all positions. Of a failed execution, over those before the first that has no finite state;
    /// of one that failed before any work, of the empty tree.
    pub trace_root: Digest32,
    /// Tokens processed.
    pub usage: Usage,
    /// What went wrong, if something did.
    pub failure: Option<Failure>,
}

/// An answer that somebody claims.
#[derive(Clone, Copy, Debug)]
pub struct Claimed<'a> {
    /// Its tokens.
    pub tokens: &'a [u32],
    /// Why it ended.
    pub finish: Finish,
}

/// What a verification finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// Tokens and finish are right.
    Accepted(Execution),
    /// The answer is right before `position` and not there.
    Rejected {
        /// Index in the answer of the first wrong token. When all claimed tokens are right and only the end
        /// is not, their number.
        position: u32,
        /// The token that belongs there; [`NO_TOKEN`] if the right answer ended before.
        right_token: u32,
        /// Root over the positions before that token: the prompt's and `position` of the answer's. Where the right
        /// answer ended before, its complete root.
        trace_root: Digest32,
    },
    /// The computation fails for everybody, at or before the claimed answer's end.
    Failed(Execution),
}

/// This machine could not run the request; nothing is said about its result.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// A claim that only the requester's signature can judge.
    #[error("verifying an answer: a cancelled one cannot be re-executed")]
    Cancelled,
    /// The observer ended it.
    #[error("executing a request: ended by its observer")]
    Stopped,
    /// The cache would not fit.
    #[error("executing a request: {positions} positions need more than this machine's {max} bytes of cache")]
    Memory {
        /// Positions of prompt and answer.
        positions: usize,
        /// The limit.
        max: usize,
    },
    /// The prompt could not be rendered on this machine.
    #[error(transparent)]
    Prompt(RenderError),
    /// The calling thread's floating-point settings are wrong.
    #[error(transparent)]
    Float(#[from] FloatEnvironmentError),
}

impl Engine {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`PoolError`] when the system gives no thread, or one with settings that would change results.
    pub fn new(settings: Settings) -> Result<Self, PoolError> {
        Self::with_cpu(settings, Cpu::detect())
    }

    /// An engine that runs the kernels of one instruction set, for tests and benchmarks.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn with_cpu(settings: Settings, cpu: Cpu) -> Result<Self, PoolError> {
        Ok(Self { pool: Pool::new(settings.threads, cpu)?, settings })
    }

    /// Executes a request.
    ///
    /// # Errors
    /// [`ExecuteError`] when this machine cannot run it; a failure that everybody finds is an [`Execution`].
    pub fn execute(
        &self,
        model: &Model,
        request: &Request,
        seed: &Digest32,
        observer: &mut dyn Observer,
    ) -> Result<Execution, ExecuteError> {
        let (walked, usage) = self.walk(Task { model, request, seed, claimed: None }, observer)?;
        Ok(execution(walked, usage))
    }

    /// Re-executes a claimed answer in one pass over its tokens.
    ///
    /// The claim is judged token by token, in order: wrong is the first token that is not the sampled one, or
    /// that follows the answer's end (clause J19); if there is none, the end, where it is not the right one.
    ///
    /// # Errors
    /// [`ExecuteError`] when this machine cannot run it, or the claim is [`Finish::Cancelled`].
    pub fn verify(
        &self,
        model: &Model,
        request: &Request,
        seed: &Digest32,
        claimed: Claimed<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Verified, ExecuteError> {
        if claimed.finish == Finish::Cancelled {
            return Err(ExecuteError::Cancelled);
        }
        let task = Task { model, request, seed, claimed: Some(claimed.tokens) };
        let (walked, usage) = self.walk(task, observer)?;
        let right_token = match walked.end {
            End::Mismatch { right_token } => right_token,
            End::Failed(_) if claimed.finish == Finish::Failed && walked.answer == claimed.tokens => {
                return Ok(Verified::Failed(execution(walked, usage)));
            }
            // The claim goes on where nobody can, or names another end.
            End::Failed(_) => NO_TOKEN,
            End::Finished(finish) if finish == claimed.finish && walked.answer == claimed.tokens => {
                return Ok(Verified::Accepted(execution(walked, usage)));
            }
            End::Finished(_) => NO_TOKEN,
        };
        Ok(Verified::Rejected { position: usage.n_out, right_token, trace_root: walked.trace_root })
    }

    /// Whether this machine has the memory for a request as it states itself; to be asked before accepting it.
    ///
    /// # Errors
    /// [`ExecuteError::Memory`] when it has not.
    pub fn check_memory(&self, model: &Model, request: &Request) -> Result<(), ExecuteError> {
        self.positions(model, request, usize::try_from(request.n_in).unwrap_or(usize::MAX)).map(drop)
    }

    /// Positions of the longest sequence that can come about, if their cache fits.
    fn positions(&self, model: &Model, request: &Request, prompt: usize) -> Result<usize, ExecuteError> {
        let positions = sequence_max(model, request, prompt);
        let max = self.settings.cache_bytes_max;
        match Forward::cache_bytes(model.config(), positions) {
            Some(bytes) if bytes <= max => Ok(positions),
            _ => Err(ExecuteError::Memory { positions, max }),
        }
    }

    fn walk(&self, task: Task<'_>, observer: &mut dyn Observer) -> Result<(Walked, Usage), ExecuteError> {
        check_environment()?;
        let (model, request) = (task.model, task.request);
        let (prompt, n_in) = match prompt(model, request)? {
            Ok(prompt) => (prompt, request.n_in),
            Err((code, n_in)) => return Ok((failed_before_work(code), Usage { n_in, n_out: 0 })),
        };
        let positions = self.positions(model, request, prompt.len())?;
        let chunk = self.settings.prefill_chunk.get();
        let forward = Forward::new(&self.pool, model, positions, chunk);
        let walked = Walk::new(task, forward, prompt, chunk).run(observer)?;
        let n_out = u32::try_from(walked.answer.len()).unwrap_or(u32::MAX);
        Ok((walked, Usage { n_in, n_out }))
    }
}

fn execution(walked: Walked, usage: Usage) -> Execution {
    let (finish, failure) = match walked.end {
        End::Finished(finish) => (finish, None),
        End::Failed(failure) => (Finish::Failed, Some(failure)),
        End::Mismatch { .. } => unreachable!("only a claim can mismatch, and is not made an execution"),
    };
    Execution { tokens: walked.answer, finish, trace_root: walked.trace_root, usage, failure }
}

/// The prompt's tokens; or why everybody fails before any work, and how many tokens the prompt has.
fn prompt(model: &Model, request: &Request) -> Result<Result<Vec<u32>, (FailCode, u32)>, ExecuteError> {
    if sampler::check(&request.sampler, model.text().vocab_size()).is_err() {
        return Ok(Err((FailCode::Unsupported, 0)));
    }
    let prompt = match model.prompt(request) {
        Ok(prompt) if prompt.is_empty() => return Ok(Err((FailCode::Template, 0))),
        Ok(prompt) => prompt,
        Err(error) => {
            return error.fail_code().map(|code| Err((code, 0))).ok_or(ExecuteError::Prompt(error));
        }
    };
    if usize::try_from(request.n_in) != Ok(prompt.len()) || request.prompt_hash != prompt_hash(&prompt) {
        return Ok(Err((FailCode::Prompt, 0)));
    }
    if request.n_in >= model.config().context_length {
        return Ok(Err((FailCode::ContextOverflow, request.n_in)));
    }
    Ok(Ok(prompt))
}

/// Positions of the longest sequence that can come about.
fn sequence_max(model: &Model, request: &Request, prompt: usize) -> usize {
    let answer = usize::try_from(request.max_tokens).unwrap_or(usize::MAX);
    prompt.saturating_add(answer).min(model.config().context_size())
}

fn failed_before_work(code: FailCode) -> Walked {
    let end = End::Failed(Failure { code, position: 0 });
    Walked { end, answer: Vec::new(), trace_root: TraceBuilder::new().root() }
}
