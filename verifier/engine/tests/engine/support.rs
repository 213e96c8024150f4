//! Models, engines and requests for tests.

use std::num::NonZeroUsize;
use std::sync::Arc;

use assay_engine::synthetic::Synthetic;
use assay_engine::{Claimed, Engine, Execution, LoadOptions, Model, Settings, Verified};
use assay_manifest::Digest32;
use assay_protocol::commitment::Finish;
use assay_protocol::request::{F32, Prompt, REQUEST_VERSION, Request, Sampler, prompt_hash};

pub const SEED: Digest32 = Digest32::from_bytes([42; 32]);

pub fn model(synthetic: &Synthetic) -> Arc<Model> {
    load(&synthetic.gguf().unwrap())
}

pub fn load(file: &[u8]) -> Arc<Model> {
    Model::load(&file, &LoadOptions::default(), &mut |_, _| ()).unwrap()
}

pub fn engine(threads: usize, prefill_chunk: usize) -> Engine {
    let size = |size| NonZeroUsize::new(size).unwrap();
    let (threads, prefill_chunk) = (size(threads), size(prefill_chunk));
    Engine::new(Settings { threads, prefill_chunk, ..Settings::for_this_machine() }).unwrap()
}

/// A request for a continuation of `text`, with the right prompt hash.
pub fn request(model: &Model, text: &str, max_tokens: u32) -> Request {
    let mut request = Request {
        version: REQUEST_VERSION,
        prompt: Prompt::Text(text.to_owned()),
        now_s: 0,
        n_in: 0,
        prompt_hash: Digest32::ZERO,
        max_tokens,
        stop: Vec::new(),
        sampler: Sampler::greedy(),
        seed: None,
        salt_hash: Digest32::ZERO,
    };
    let prompt = model.prompt(&request).unwrap();
    request.n_in = prompt.len().try_into().unwrap();
    request.prompt_hash = prompt_hash(&prompt);
    request
}

pub fn sampled() -> Sampler {
    Sampler { temperature: F32::new(0.8), top_k: 40, ..Sampler::greedy() }
}

pub fn execute(engine: &Engine, model: &Arc<Model>, request: &Request) -> Execution {
    engine.execute(model, request, &SEED, &mut ()).unwrap()
}

pub fn verify(
    engine: &Engine,
    model: &Arc<Model>,
    request: &Request,
    tokens: &[u32],
    finish: Finish,
) -> Verified {
    engine.verify(model, request, &SEED, Claimed { tokens, finish }, &mut ()).unwrap()
}

/// A long prompt: longer than a chunk of 64 positions.
pub const LONG: &str = "the and in the and in \n thin and the inn than hand and then the band in the land \
    within the hand that then began in and than the end";
