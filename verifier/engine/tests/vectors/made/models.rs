//! Whole executions of the synthetic models.

use std::num::NonZeroUsize;
use std::sync::Arc;

use assay_engine::request::{F32, Prompt, REQUEST_VERSION, Request, Sampler, prompt_hash};
use assay_engine::spec::definitions_of;
use assay_engine::synthetic::Synthetic;
use assay_engine::{Engine, Inspected, Inspection, LoadOptions, Model, Settings};
use assay_kernels::{Cpu, WeightType};
use assay_manifest::Digest32;
use assay_manifest::formats::gguf::Gguf;

use super::form::{Case, File};
use super::hashes::spec_id;
use super::sampling::settings_of;

const SEED: Digest32 = Digest32::from_bytes([42; 32]);
const ANSWER_MAX: u32 = 8;

/// Longer than a chunk of 64 positions and than every window.
const TEXT: &str = "the and in the and in \n thin and the inn than hand and then the band in the land \
    within the hand that then began in and than the end";

/// Names and files: one of each type of weights, and one of each architecture and way of rotating.
pub fn models() -> Vec<(String, Vec<u8>)> {
    let types = WeightType::ALL.map(|weight_type| (weight_type.name(), Synthetic::of(weight_type)));
    let models = types.into_iter().chain(Synthetic::variants());
    models.map(|(name, model)| (format!("{name}.gguf"), model.gguf().expect("a model file"))).collect()
}

pub fn executions(cpu: Cpu) -> File {
    let size = |size| NonZeroUsize::new(size).expect("not zero");
    let settings = Settings { threads: size(2), prefill_chunk: size(64), ..Settings::for_this_machine() };
    let engine = Engine::with_cpu(settings, cpu).expect("an engine");
    let cases: Vec<Case> = models().iter().map(|(name, file)| model(&engine, name, file)).collect();
    File::new("models", &["decoder"], &cases)
}

fn model(engine: &Engine, name: &str, file: &[u8]) -> Case {
    let model = Model::load(&file, &LoadOptions::default(), &mut |_, _| ()).expect("a model");
    let header = Gguf::parse(file, file.len() as u64).expect("a header");
    let names: Vec<String> =
        definitions_of(&header).expect("a model of the exact class").into_iter().collect();
    let spec = spec_id(&names);
    assert_eq!(spec, model.spec_id().digest(), "{name}");
    let sampled = Sampler { temperature: F32::new(0.8), top_k: 40, ..Sampler::greedy() };
    let runs = [("greedy", Sampler::greedy()), ("sampled", sampled)]
        .map(|(name, sampler)| run(engine, &model, name, sampler));
    let case = Case::new(name).int("size", file.len()).digest("blake3", &hash_of(file));
    case.texts("definitions", &names).digest("spec_id", &spec).cases("runs", &runs)
}

fn run(engine: &Engine, model: &Arc<Model>, name: &str, sampler: Sampler) -> Case {
    let mut request = Request {
        version: REQUEST_VERSION,
        prompt: Prompt::Text(TEXT.to_owned()),
        now_s: 0,
        n_in: 0,
        prompt_hash: Digest32::ZERO,
        max_tokens: ANSWER_MAX,
        stop: Vec::new(),
        sampler,
        seed: None,
        salt_hash: Digest32::ZERO,
    };
    let prompt = model.prompt(&request).expect("a prompt");
    request.n_in = u32::try_from(prompt.len()).expect("few tokens");
    request.prompt_hash = prompt_hash(&prompt);
    let execution = engine.execute(model, &request, &SEED, &mut ()).expect("an execution");
    let look = Inspection { request: &request, seed: &SEED, tokens: &execution.tokens };
    // The first position, the last of the prompt and the first of the answer.
    let last = prompt.len() - 1;
    let mut looked = engine.inspect(model, look, 0..1).expect("states");
    looked.extend(engine.inspect(model, look, last..last + 2).expect("states"));
    // The trace has no logits of the first.
    let first = engine.logits(model, &prompt[..1]).expect("logits");
    looked[0].state.logits_hash = Some(hash_of(&le_bytes(&first)));
    let positions: Vec<Case> = looked.iter().map(position).collect();
    let case = settings_of(Case::new(name).text("text", TEXT).ints("prompt", &prompt), &request.sampler);
    let case = case.digest("prompt_hash", &request.prompt_hash).digest("seed", &SEED);
    let case = case.int("max_tokens", ANSWER_MAX as usize).cases("positions", &positions);
    case.ints("tokens", &execution.tokens).digest("trace_root", &execution.trace_root)
}

fn position(found: &Inspected) -> Case {
    let case = Case::new("position").int("position", found.state.position as usize);
    let case = case.int("token", found.state.token as usize).digests("layers", &found.layer_hashes);
    case.digest("logits", &found.state.logits_hash.unwrap_or(Digest32::ZERO))
}

fn le_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn hash_of(bytes: &[u8]) -> Digest32 {
    Digest32::from_bytes(*blake3::hash(bytes).as_bytes())
}
