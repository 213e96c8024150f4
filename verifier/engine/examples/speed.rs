//! Prints how fast a model is read, answers and is verified:
//! `cargo run --release -p assay-engine --example speed -- [MODEL.gguf] [PROMPT_TOKENS] [ANSWER_TOKENS] [THREADS] [CHUNK]`.
//!
//! Without a file it runs a synthetic model of about a million parameters.

use std::error::Error;
use std::num::NonZeroUsize;
use std::time::Instant;

use assay_engine::synthetic::Synthetic;
use assay_engine::{Claimed, Engine, LoadOptions, Model, Settings, Verified};
use assay_manifest::Digest32;
use assay_protocol::request::{Prompt, REQUEST_VERSION, Request, Sampler, prompt_hash};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = match arguments.next().filter(|path| path != "-") {
        Some(path) => std::fs::read(path)?,
        None => million().gguf()?,
    };
    let mut number = |default: &str| arguments.next().unwrap_or(default.to_owned()).parse::<usize>();
    let (prompt_tokens, answer_tokens, threads) = (number("64")?, number("128")?, number("1")?);
    let prefill_chunk = NonZeroUsize::new(number("128")?).ok_or("at least one position")?;

    let start = Instant::now();
    let model = Model::load(&file, &LoadOptions::default(), &mut |_, _| ())?;
    println!("load     {:8.1} ms for {} bytes", start.elapsed().as_secs_f64() * 1e3, file.len());
    let threads = NonZeroUsize::new(threads).ok_or("at least one thread")?;
    // What was read before is read again.
    let settings = Settings { threads, prefill_chunk, prefix_bytes_max: 0, ..Settings::for_this_machine() };
    let engine = Engine::new(settings)?;

    let request = request(&model, prompt_tokens, answer_tokens)?;
    let start = Instant::now();
    let first = engine.execute(&model, &Request { max_tokens: 1, ..request.clone() }, &SEED, &mut ())?;
    let prefill = start.elapsed().as_secs_f64();
    println!("prefill  {:8.1} tokens/s ({} tokens)", f64::from(first.usage.n_in) / prefill, request.n_in);

    let start = Instant::now();
    let execution = engine.execute(&model, &request, &SEED, &mut ())?;
    let executed = start.elapsed().as_secs_f64();
    let decode = (executed - prefill) / (f64::from(execution.usage.n_out) - 1.0);
    println!(
        "decode   {:8.1} tokens/s ({} tokens, {:?})",
        decode.recip(),
        execution.usage.n_out,
        execution.finish
    );

    let start = Instant::now();
    let claimed = Claimed { tokens: &execution.tokens, finish: execution.finish };
    let verified = engine.verify(&model, &request, &SEED, claimed, &mut ())?;
    println!("verify   {:8.2} of the time to execute", start.elapsed().as_secs_f64() / executed);
    match verified {
        Verified::Accepted(again) if again == execution => Ok(()),
        other => Err(format!("the answer was not verified: {other:?}").into()),
    }
}

const SEED: Digest32 = Digest32::from_bytes([7; 32]);

/// About a million parameters, in the shape of the smallest useful models.
fn million() -> Synthetic {
    Synthetic {
        hidden: 128,
        layers: 4,
        heads: 4,
        kv_heads: 4,
        feed_forward: 384,
        context_length: 4_096,
        ..Synthetic::default()
    }
}

fn request(model: &Model, prompt_tokens: usize, answer_tokens: usize) -> Result<Request, Box<dyn Error>> {
    let mut request = Request {
        version: REQUEST_VERSION,
        prompt: Prompt::Text("a ".repeat(prompt_tokens / 2)),
        now_s: 0,
        n_in: 0,
        prompt_hash: Digest32::ZERO,
        max_tokens: u32::try_from(answer_tokens)?,
        stop: Vec::new(),
        sampler: Sampler::greedy(),
        seed: None,
        salt_hash: Digest32::ZERO,
    };
    let prompt = model.prompt(&request)?;
    request.n_in = u32::try_from(prompt.len())?;
    request.prompt_hash = prompt_hash(&prompt);
    Ok(request)
}
