//! The models of the market, run by the node's own code; results are kept, since execution is deterministic.

use std::collections::HashMap;
use std::fs;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use assay_engine::synthetic::Synthetic;
use assay_engine::{Engine, Settings};
use assay_manifest::{ArtifactKind, Digest32, ModelId};
use assay_node::adapters::Models;
use assay_node::rpc::{Ask, Models as _};
use assay_node::serving::Shelf;
use assay_node::worker::{Answer, Compute, ComputeError, Outcome, Served};
use assay_protocol::commitment::Salt;
use assay_protocol::request::{F32, Prompt, REQUEST_VERSION, Request, Sampler};
use assay_store::Store;
use codec::Encode;

use crate::random::bytes;

/// Requests that the market knows.
pub const PROMPTS: usize = 8;

/// Loaded models with the results of everything that was run before.
pub struct Lab {
    models: Models,
    /// What is sold.
    pub served: Served,
    /// Another model of the same shape: what a cheat might run instead.
    pub swapped: ModelId,
    prompts: Vec<Request>,
    known: Mutex<HashMap<Vec<u8>, Outcome>>,
}

impl Lab {
    pub fn new() -> Arc<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Store::open(&dir.path().join("models")).expect("a store"));
        let threads = NonZeroUsize::MIN;
        let engine = Engine::new(Settings { threads, ..Settings::for_this_machine() }).expect("an engine");
        let models = Models::new(engine, Arc::clone(&store));
        let ids = [1, 2].map(|seed| {
            let synthetic = Synthetic { seed, context_length: 64, ..Synthetic::default() };
            let path = dir.path().join(format!("{seed}.gguf"));
            fs::write(&path, synthetic.gguf().expect("a model")).expect("a model file");
            let manifest = store.import(&path, ArtifactKind::Model, &mut |_| ()).expect("an import");
            let id = manifest.model_id().expect("a model's id");
            let spec = models.spec(&id).expect("a model's definitions");
            models.load(&id, &spec, Vec::new()).expect("a loaded model");
            id
        });
        let served = models.served().into_iter().find(|served| served.model_id == ids[0]);
        let served = served.expect("the model is served");
        let prompts = (0..PROMPTS).map(|n| prompt(&models, &ids[0], n)).collect();
        Arc::new(Self { models, served, swapped: ids[1], prompts, known: Mutex::default() })
    }

    /// One of the requests, bound to a salt.
    pub fn request(&self, prompt: usize, salt: &Salt) -> Request {
        Request { salt_hash: salt.hash(), ..self.prompts[prompt % PROMPTS].clone() }
    }

    /// The same wish, rendered as a cheat's own template would.
    pub fn in_other_words(&self, request: &Request) -> Request {
        let text = format!("{:?}!", request.prompt);
        let plain = Request { sampler: Sampler::greedy(), max_tokens: 1, ..request.clone() };
        let ask = Ask { prompt: Prompt::Text(text), ..ask(&self.served.model_id, &plain) };
        let prepared = self.models.prepare(&ask).expect("a prompt that fits");
        let (n_in, prompt_hash) = (prepared.n_in, prepared.prompt_hash);
        Request { prompt: ask.prompt, n_in, prompt_hash, ..request.clone() }
    }

    fn once(
        &self,
        key: Vec<u8>,
        run: impl FnOnce() -> Result<Outcome, ComputeError>,
    ) -> Result<Outcome, ComputeError> {
        if let Some(known) = self.known.lock().expect("a lock").get(&key) {
            return Ok(known.clone());
        }
        let outcome = run()?;
        self.known.lock().expect("a lock").insert(key, outcome.clone());
        Ok(outcome)
    }
}

impl Compute for Lab {
    fn served(&self) -> Vec<Served> {
        vec![self.served]
    }

    fn is_given_up(&self, model: &ModelId) -> bool {
        self.models.is_given_up(model)
    }

    fn fits(&self, model: &ModelId, request: &Request) -> Result<bool, ComputeError> {
        self.models.fits(model, request)
    }

    fn execute(&self, model: &ModelId, request: &Request, seed: &Digest32) -> Result<Outcome, ComputeError> {
        self.once(key(model, request, seed), || self.models.execute(model, request, seed))
    }

    fn verify(
        &self,
        model: &ModelId,
        request: &Request,
        seed: &Digest32,
        claimed: &Answer,
    ) -> Result<Outcome, ComputeError> {
        let mut key = key(model, request, seed);
        (&claimed.tokens, claimed.finish).encode_to(&mut key);
        self.once(key, || self.models.verify(model, request, seed, claimed))
    }
}

/// All that a result depends on: the salt's hash, which every job has its own of, is not a part of it.
fn key(model: &ModelId, request: &Request, seed: &Digest32) -> Vec<u8> {
    (model, Request { salt_hash: Digest32::ZERO, ..request.clone() }, seed).encode()
}

fn ask(model: &ModelId, request: &Request) -> Ask {
    Ask {
        model: *model,
        prompt: request.prompt.clone(),
        now_s: request.now_s,
        sampler: request.sampler.clone(),
        stop: request.stop.clone(),
        max_tokens: request.max_tokens,
    }
}

/// Greedy and sampled, plain and chat, with and without a stop string; the last but one has no room for its
/// answer, the last asks for a token that does not exist: both fail for everybody.
fn prompt(models: &Models, model: &ModelId, number: usize) -> Request {
    let text = ["the hand", "in and then", "an inn than", "thin", "hand in", "and", "then", "the"][number];
    let mut request = Request {
        version: REQUEST_VERSION,
        prompt: Prompt::Text(text.repeat(2 + number % 3)),
        now_s: 0,
        n_in: 0,
        prompt_hash: Digest32::ZERO,
        max_tokens: 6 + number as u32,
        stop: if number == 3 { vec!["t".into()] } else { Vec::new() },
        sampler: Sampler { temperature: F32::new(0.9), top_k: 40, ..Sampler::greedy() },
        seed: Some(Digest32::from_bytes(bytes(0, "sampler", number as u64))),
        salt_hash: Digest32::ZERO,
    };
    let prepared = models.prepare(&ask(model, &request)).expect("a prompt that fits");
    (request.n_in, request.prompt_hash) = (prepared.n_in, prepared.prompt_hash);
    match number {
        6 => request.max_tokens = 64,
        7 => request.sampler.logit_bias = vec![(u32::MAX, F32::new(1.0))],
        _ => {}
    }
    request
}
