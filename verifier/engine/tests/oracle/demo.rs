//! The trained demo model over text that it generated itself.

use assay_engine::Model;
use assay_manifest::Digest32;
use assay_protocol::request::{F32, Prompt, REQUEST_VERSION, Request, Sampler, prompt_hash};

use crate::graph::Oracle;
use crate::measure::{DIVERGENCE_MAX, Distance};
use crate::{engine, load};

const DEMO: &[u8] = include_bytes!("../../../trainer/model/demo-q8_0.gguf");

/// Beginnings in the manner of the corpus; what follows is the model's.
const BEGINNINGS: [&str; 8] = [
    "What is 67 + 27?",
    "Count from 31 to",
    "How many things are in this list: key,",
    "This is Sara Hill. This is Tom",
    "Once there was a",
    "The boat",
    "Say this again: lamp,",
    "One day",
];

/// Share of positions at which the likeliest token must be the same.
const AGREEMENT_MIN: f64 = 0.99;

#[test]
fn the_demo_model_agrees_over_its_own_text() {
    let (engine, model, oracle) = (engine(), load(DEMO), Oracle::new(DEMO, None).unwrap());
    let mut distance = Distance::default();
    for (index, beginning) in BEGINNINGS.into_iter().enumerate() {
        let request = continuation(&model, beginning);
        let seed = Digest32::from_bytes([index as u8; 32]);
        let execution = engine.execute(&model, &request, &seed, &mut ()).unwrap();
        let tokens = [model.prompt(&request).unwrap(), execution.tokens].concat();
        let ours = engine.logits(&model, &tokens).unwrap();
        distance.add(&oracle.logits(&tokens).unwrap(), &ours).unwrap();
    }
    let (positions, agreement) = (distance.positions(), distance.agreement());
    println!("{:.2e} nats, {agreement:.4} of {positions} positions agree", distance.divergence());
    assert!(positions > 500, "the model wrote {positions} tokens only");
    assert!(agreement >= AGREEMENT_MIN, "{agreement:.4} of {positions} positions agree");
    assert!(distance.divergence() < DIVERGENCE_MAX);
}

/// Up to 200 sampled tokens; the end tokens are never sampled, so that there is much to compare.
fn continuation(model: &Model, text: &str) -> Request {
    let mut ends = model.text().eos_tokens().to_vec();
    ends.sort_unstable();
    let sampler = Sampler {
        temperature: F32::new(0.7),
        logit_bias: ends.into_iter().map(|token| (token, F32::new(-100.0))).collect(),
        ..Sampler::greedy()
    };
    let mut request = Request {
        version: REQUEST_VERSION,
        prompt: Prompt::Text(text.to_owned()),
        now_s: 0,
        n_in: 0,
        prompt_hash: Digest32::ZERO,
        max_tokens: 200,
        stop: Vec::new(),
        sampler,
        seed: None,
        salt_hash: Digest32::ZERO,
    };
    let prompt = model.prompt(&request).unwrap();
    request.n_in = prompt.len().try_into().unwrap();
    request.prompt_hash = prompt_hash(&prompt);
    request
}
