//! What node and model process say to each other.
//!
//! The node begins with [`Order::Start`]. The process answers with [`Report::Hello`] once it is confined, and with
//! [`Report::Ready`] or [`Report::Unusable`] after it has read the model; until then it says now and again that it
//! is alive. From then on every [`Order::Call`] is answered once, in any order, also one that was cancelled.

use assay_engine::Settings;
use assay_manifest::{Digest32, ModelId, SpecId};
use assay_protocol::request::{Prompt, Request, Sampler};
use codec::{Decode, Encode};
use zeroize::Zeroize;

use super::sandbox::Confinement;
use crate::worker::{Answer, Outcome};

/// The first version of these messages.
pub const VERSION: u16 = 1;

/// From the node.
#[expect(clippy::large_enum_variant, reason = "one at a time, encoded or taken apart at once")]
#[derive(Encode, Decode)]
pub enum Order {
    /// The first message: what to be.
    Start(Start),
    /// Something to compute.
    Call {
        /// Names the call in its answer.
        id: u64,
        /// What.
        call: Call,
    },
    /// Nobody waits for a call any more.
    Cancel {
        /// The call.
        id: u64,
    },
}

/// What a model process is to be.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Start {
    /// [`VERSION`].
    pub version: u16,
    /// Threads that share the work.
    pub threads: u32,
    /// Positions that are computed at once.
    pub prefill_chunk: u32,
    /// Sequences that are computed at once.
    pub sequences_max: u32,
    /// Most bytes of keys and values.
    pub cache_bytes_max: u64,
    /// Most bytes of keys and values of sequences that have ended.
    pub prefix_bytes_max: u64,
    /// The manifest of the model, in its canonical bytes.
    pub manifest: Vec<u8>,
}

impl Start {
    /// A process that runs a model with these settings.
    pub fn new(settings: &Settings, manifest: Vec<u8>) -> Self {
        let count = |n: std::num::NonZeroUsize| u32::try_from(n.get()).unwrap_or(u32::MAX);
        Self {
            version: VERSION,
            threads: count(settings.threads),
            prefill_chunk: count(settings.prefill_chunk),
            sequences_max: count(settings.sequences_max),
            cache_bytes_max: settings.cache_bytes_max as u64,
            prefix_bytes_max: settings.prefix_bytes_max as u64,
            manifest,
        }
    }

    /// The engine's settings.
    pub fn settings(&self) -> Settings {
        let count = |n: u32| usize::try_from(n).ok().and_then(std::num::NonZeroUsize::new);
        let one = std::num::NonZeroUsize::MIN;
        Settings {
            threads: count(self.threads).unwrap_or(one),
            prefill_chunk: count(self.prefill_chunk).unwrap_or(one),
            sequences_max: count(self.sequences_max).unwrap_or(one),
            cache_bytes_max: usize::try_from(self.cache_bytes_max).unwrap_or(usize::MAX),
            prefix_bytes_max: usize::try_from(self.prefix_bytes_max).unwrap_or(usize::MAX),
        }
    }
}

/// Something to compute. It leaves no copy in memory.
#[derive(Encode, Decode)]
pub enum Call {
    /// Render and count a prompt.
    Count(Question),
    /// Whether a request's prompt is what it states.
    Fits(Request),
    /// Execute a request.
    Execute {
        /// The request.
        request: Request,
        /// Its seed.
        seed: Digest32,
    },
    /// Re-execute a claimed answer.
    Verify {
        /// The request.
        request: Request,
        /// Its seed.
        seed: Digest32,
        /// The claim.
        claimed: Answer,
    },
    /// Tokens as text.
    Decode(Vec<u32>),
}

impl Drop for Call {
    fn drop(&mut self) {
        match self {
            Self::Count(question) => wipe(&mut question.prompt),
            Self::Fits(request) | Self::Execute { request, .. } | Self::Verify { request, .. } => {
                request.zeroize();
            }
            Self::Decode(tokens) => tokens.zeroize(),
        }
    }
}

fn wipe(prompt: &mut Prompt) {
    match prompt {
        Prompt::Chat(messages) => messages.iter_mut().for_each(|message| {
            message.role.zeroize();
            message.content.zeroize();
        }),
        Prompt::Text(text) => text.zeroize(),
    }
}

/// A prompt that is no request yet.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Question {
    /// What to continue.
    pub prompt: Prompt,
    /// Seconds since 1970 that a template sees as the present.
    pub now_s: u64,
    /// How tokens are chosen.
    pub sampler: Sampler,
    /// The most tokens to generate.
    pub max_tokens: u32,
}

/// What a model makes of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Counted {
    /// Tokens of the rendered prompt.
    pub n_in: u32,
    /// [`assay_protocol::request::prompt_hash`] of them.
    pub prompt_hash: Digest32,
    /// Tokens that the model can attend to.
    pub context_length: u32,
}

/// From the model process.
#[derive(Debug, Encode, Decode)]
pub enum Report {
    /// It is there, and confined as it says.
    Hello {
        /// [`VERSION`].
        version: u16,
        /// How it is confined.
        confinement: Confinement,
    },
    /// It reads the model.
    Loading,
    /// It has read the model.
    Ready(Loaded),
    /// The file cannot be run; what is wrong, in words.
    Unusable(String),
    /// A call has ended.
    Answer {
        /// The call.
        id: u64,
        /// What came of it; the error in words.
        result: Result<Reply, String>,
    },
}

/// A model as its process has read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Loaded {
    /// The exact model, computed anew from the file.
    pub model_id: ModelId,
    /// The definitions that its executions follow.
    pub spec_id: SpecId,
}

/// What came of a call.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    /// Of [`Call::Count`].
    Counted(Counted),
    /// Of [`Call::Fits`].
    Fits(bool),
    /// Of [`Call::Execute`] and [`Call::Verify`].
    Outcome(Outcome),
    /// Of [`Call::Decode`].
    Text(String),
}
