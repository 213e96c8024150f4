//! Executes requests and verifies claimed answers.

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use assay_kernels::float::{FloatEnvironmentError, check_environment};
use assay_kernels::pool::PoolError;
use assay_kernels::{Cpu, MemoryError, Pool};
use assay_manifest::Digest32;
use assay_protocol::commitment::{FailCode, Finish};
use assay_protocol::record::Class;
use assay_protocol::request::Request;
use assay_protocol::trace::TraceBuilder;

use crate::batch::{Event, Feed, Job, Runner};
use crate::constrained::{Constrained, Given};
use crate::constraint::Constraint;
use crate::forward::{Forward, HEAD_ROWS, Part, Scratch};
use crate::model::Model;
use crate::observer::Observer;
use crate::prompt::{Refused, checked, sequence_max};
use crate::text::RenderError;
use crate::walk::{End, Task, Walk, Walked};

/// The right token of a rejection where the right answer has none: it ended before.
pub const NO_TOKEN: u32 = u32::MAX;

/// How this machine works; no setting changes a result.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Threads that share the work.
    pub threads: NonZeroUsize,
    /// Positions that are computed at once where more than one is known.
    pub prefill_chunk: NonZeroUsize,
    /// Sequences that are computed at once; further ones wait.
    pub sequences_max: NonZeroUsize,
    /// Most bytes of keys and values of all sequences at once.
    pub cache_bytes_max: usize,
    /// Most bytes of keys and values that are kept of sequences that have ended, for those that begin alike; 0
    /// keeps none.
    pub prefix_bytes_max: usize,
}

impl Settings {
    /// Positions computed at once by default: enough to use each weight often while it is in the cache.
    pub const PREFILL_CHUNK: NonZeroUsize = NonZeroUsize::new(128).unwrap();

    /// Sequences computed at once by default.
    pub const SEQUENCES_MAX: NonZeroUsize = NonZeroUsize::new(16).unwrap();

    /// Bytes kept of ended sequences by default.
    pub const PREFIX_BYTES_MAX: usize = 256 << 20;

    /// One thread a core, and no limit of memory.
    pub fn for_this_machine() -> Self {
        Self {
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            prefill_chunk: Self::PREFILL_CHUNK,
            sequences_max: Self::SEQUENCES_MAX,
            cache_bytes_max: usize::MAX,
            prefix_bytes_max: Self::PREFIX_BYTES_MAX,
        }
    }
}

/// Jobs that wait for the runner; who submits another waits as well.
const QUEUE_MAX: usize = 64;

/// Threads and settings; runs many requests at once, each answered as if it were alone.
#[derive(Debug)]
pub struct Engine {
    pool: Arc<Pool>,
    settings: Settings,
    /// None only while the engine is being dropped.
    jobs: Option<mpsc::SyncSender<Job>>,
    runner: Option<JoinHandle<()>>,
}

/// An engine could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernels' threads.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The thread that runs the sequences.
    #[error("starting the engine's thread: {0}")]
    Thread(#[from] std::io::Error),
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
    /// How it was computed, and so what it can be compared with.
    pub class: Class,
    /// The answer; ends with the end-of-generation token if that ended it.
    pub tokens: Vec<u32>,
    /// Why it ended; [`Finish::Failed`] exactly if there is a failure.
    pub finish: Finish,
    /// Root over all positions. Of a failed execution, over those before the first that has no finite state;
    /// of one that failed before any work, of the empty tree. In the tolerance class 32 zero bytes (clause J9):
    /// nobody else could find the same states, so none are traced.
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
    /// The system has no memory, though the settings allow it.
    #[error("executing a request: {0}")]
    OutOfMemory(MemoryError),
    /// The library that computes this class failed.
    #[error("executing a request: the library that computes it: {0}")]
    Library(Box<dyn Error + Send + Sync>),
    /// The engine's thread failed; a mistake in this program.
    #[error("executing a request: the engine failed and lost it; its log says more")]
    Lost,
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
    /// [`StartError`] when the system gives no thread, or one with settings that would change results.
    pub fn new(settings: Settings) -> Result<Self, StartError> {
        Self::with_cpu(settings, Cpu::detect())
    }

    /// An engine that runs the kernels of one instruction set, for tests and benchmarks.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn with_cpu(settings: Settings, cpu: Cpu) -> Result<Self, StartError> {
        let pool = Arc::new(Pool::new(settings.threads, cpu)?);
        let (jobs, inbox) = mpsc::sync_channel(QUEUE_MAX);
        let runner = Runner::new(Arc::clone(&pool), settings, inbox);
        let runner = std::thread::Builder::new().name("engine".to_owned()).spawn(|| runner.run())?;
        Ok(Self { pool, settings, jobs: Some(jobs), runner: Some(runner) })
    }

    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Executes a request.
    ///
    /// # Errors
    /// [`ExecuteError`] when this machine cannot run it; a failure that everybody finds is an [`Execution`].
    pub fn execute(
        &self,
        model: &Arc<Model>,
        request: &Request,
        seed: &Digest32,
        observer: &mut dyn Observer,
    ) -> Result<Execution, ExecuteError> {
        Constrained::new(self, None).execute(model, request, seed, observer)
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
        model: &Arc<Model>,
        request: &Request,
        seed: &Digest32,
        claimed: Claimed<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Verified, ExecuteError> {
        Constrained::new(self, None).verify(model, request, seed, claimed, observer)
    }

    /// The same engine, but answers keep to a constraint, which begins in this state.
    pub fn constrained(&self, start: Arc<dyn Constraint>) -> Constrained<'_> {
        Constrained::new(self, Some(start))
    }

    /// The logits of every position of a sequence, `[positions, vocab]`, as an execution that came to these
    /// tokens would find them.
    ///
    /// # Errors
    /// [`ExecuteError`] when this machine has no memory for it.
    ///
    /// # Panics
    /// When a token is not in the vocabulary.
    pub fn logits(&self, model: &Model, tokens: &[u32]) -> Result<Vec<f32>, ExecuteError> {
        check_environment()?;
        let (mut pages, mut logits, mut first) = (Vec::new(), Vec::new(), 0);
        let mut scratch = Scratch::new(self.settings.prefill_chunk.get(), model.config());
        for tokens in tokens.chunks(self.settings.prefill_chunk.get()) {
            let mut forward = Forward::new(&self.pool, model, &mut scratch);
            let part = Part { pages: &mut pages, first, tokens };
            forward.run(&mut [part]).map_err(ExecuteError::OutOfMemory)?;
            let rows: Vec<usize> = (0..tokens.len()).collect();
            rows.chunks(HEAD_ROWS).for_each(|rows| logits.extend_from_slice(forward.logits(rows)));
            first += tokens.len();
        }
        Ok(logits)
    }

    /// Whether this machine has the memory for a request as it states itself; to be asked before accepting it.
    ///
    /// # Errors
    /// [`ExecuteError::Memory`] when it has not.
    pub fn check_memory(&self, model: &Model, request: &Request) -> Result<(), ExecuteError> {
        let prompt = usize::try_from(request.n_in).unwrap_or(usize::MAX);
        self.cache_bytes(model, sequence_max(model.config().context_length, request, prompt)).map(drop)
    }

    /// Bytes of the cache for as many positions, if they are within the limit.
    fn cache_bytes(&self, model: &Model, positions: usize) -> Result<usize, ExecuteError> {
        let max = self.settings.cache_bytes_max;
        match model.config().cache_shape().size_bytes(positions) {
            Some(bytes) if bytes <= max => Ok(bytes),
            _ => Err(ExecuteError::Memory { positions, max }),
        }
    }

    /// Walks along the sequence of a request.
    pub(crate) fn walk(
        &self,
        model: &Arc<Model>,
        request: &Request,
        seed: &Digest32,
        given: Given<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(Walked, Usage), ExecuteError> {
        check_environment()?;
        let context_length = model.config().context_length;
        let prompt = match checked(model.text(), context_length, request)? {
            Ok(prompt) => prompt,
            Err(Refused { code, n_in }) => {
                return Ok((failed_before_work(code), Usage { n_in, n_out: 0 }));
            }
        };
        let n_in = request.n_in;
        let positions_max = sequence_max(context_length, request, prompt.len());
        let cache_bytes = self.cache_bytes(model, positions_max)?;
        let walk = Walk::new(Task {
            model: Arc::clone(model),
            request: request.clone(),
            seed: *seed,
            prompt,
            claimed: given.claimed.map(<[u32]>::to_vec),
            constraint: given.start,
            positions_max,
            logprobs: observer.wants_logprobs(),
        });
        let (feed, sender) = Feed::new();
        let jobs = self.jobs.as_ref().ok_or(ExecuteError::Lost)?;
        jobs.send(Job { walk, sender, cache_bytes }).map_err(|_| ExecuteError::Lost)?;
        let walked = follow(&feed, observer)?;
        let n_out = u32::try_from(walked.answer.len()).unwrap_or(u32::MAX);
        Ok((walked, Usage { n_in, n_out }))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Without its sender the runner ends: nobody waits for a job any more.
        self.jobs = None;
        if let Some(runner) = self.runner.take() {
            // It catches the panics of its passes, and has none of its own.
            let _ = runner.join();
        }
    }
}

/// Tells the observer of a job until it ends, or the observer ends it.
fn follow(feed: &Feed, observer: &mut dyn Observer) -> Result<Walked, ExecuteError> {
    loop {
        let flow = match feed.next() {
            Event::Positions(done, total) => observer.positions(done, total),
            Event::Token(token) => {
                token.logprobs.iter().for_each(|logprobs| observer.logprobs(logprobs));
                observer.token(token.id)
            }
            Event::End(end) => return end,
        };
        if flow.is_break() {
            return Err(ExecuteError::Stopped);
        }
    }
}

fn failed_before_work(code: FailCode) -> Walked {
    let end = End::Failed(Failure { code, position: 0 });
    Walked { end, answer: Vec::new(), trace_root: TraceBuilder::new().root() }
}
