//! The trained demo model over answers that it generated itself.

use assay_engine::Model;
use assay_manifest::Digest32;
use assay_protocol::request::{Message, Prompt, REQUEST_VERSION, Request, Sampler, prompt_hash};

use crate::graph::Oracle;
use crate::measure::{DIVERGENCE_MAX, Distance};
use crate::{engine, load};

const DEMO: &[u8] = include_bytes!("../../../trainer/model/demo-q8_0.gguf");

/// Share of the answers' tokens that must be the oracle's likeliest too.
const AGREEMENT_MIN: f64 = 0.99;

#[test]
fn the_demo_model_agrees_over_its_own_answers() {
    let (engine, model, oracle) = (engine(), load(DEMO), Oracle::new(DEMO, None).unwrap());
    let vocab = model.config().vocab_size;
    let mut distance = Distance::default();
    for question in questions() {
        let request = request(&model, question);
        let answer = engine.execute(&model, &request, &Digest32::ZERO, &mut ()).unwrap().tokens;
        let prompt = model.prompt(&request).unwrap();
        // The last position of the prompt gives the answer's first token.
        let (first, count) = (prompt.len() - 1, answer.len());
        let tokens = [prompt, answer].concat();
        let ours = engine.logits(&model, &tokens).unwrap();
        let oracle = oracle.logits(&tokens).unwrap().narrow(0, first, count).unwrap();
        distance.add(&oracle, &ours[first * vocab..(first + count) * vocab]).unwrap();
    }
    let (positions, agreement) = (distance.positions(), distance.agreement());
    println!("{:.2e} nats, {agreement:.4} of {positions} positions agree", distance.divergence());
    assert!(positions > 1_000, "the model wrote {positions} tokens only");
    assert!(agreement >= AGREEMENT_MIN, "{agreement:.4} of {positions} positions agree");
    assert!(distance.divergence() < DIVERGENCE_MAX, "{:.2e} nats", distance.divergence());
}

/// Of every kind that the model was trained on.
fn questions() -> impl Iterator<Item = String> {
    (11..71).flat_map(|n| {
        [
            format!("What is {n} + {}?", 82 - n),
            format!("Count from {n} to {}.", n + 3),
            format!("This is Sara Hill. This is Tom Gold. There is one box number {n}. Who is Tom?"),
        ]
    })
}

fn request(model: &Model, question: String) -> Request {
    let mut request = Request {
        version: REQUEST_VERSION,
        prompt: Prompt::Chat(vec![Message { role: "user".to_owned(), content: question }]),
        now_s: 0,
        n_in: 0,
        prompt_hash: Digest32::ZERO,
        max_tokens: 32,
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
