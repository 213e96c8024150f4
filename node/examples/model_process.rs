//! What it costs to run a model in a process of its own: the same requests here and there, by turns.
//!
//! `cargo build --release && cargo run --release -p assay-node --example model_process -- MODEL.gguf [TOKENS [ROUNDS]]`

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use assay_engine::{Engine, LoadOptions, Model, Settings};
use assay_manifest::{ArtifactKind, Digest32, Manifest};
use assay_node::model_process::{
    Call, Hosted, ModelProcess, Plan, ProcessConfig, Question, Reply, Start, Unconfined,
};
use assay_node::weight_file::WeightFile;
use assay_node::worker::Outcome;
use assay_protocol::request::{F32, Prompt, REQUEST_VERSION, Request, Sampler};
use assay_store::Store;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let model = arguments.first().ok_or("name a model file")?;
    let tokens = arguments.get(1).map_or(Ok(256), |tokens| tokens.parse())?;
    let rounds = arguments.get(2).map_or(Ok(9), |rounds| rounds.parse())?;
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path())?;
    let manifest = store.import(Path::new(model), ArtifactKind::Model, &mut |_| {})?;
    let settings = Settings { cache_bytes_max: 8 << 30, ..Settings::for_this_machine() };
    let (hosted, process) = (hosted(model, settings)?, process(model, settings, &manifest)?);
    let mut request = request(&hosted, tokens)?;
    // An answer of one token again and again does not end before its last.
    let first = hosted.answer(&execute(&Request { max_tokens: 1, ..request.clone() }), &mut ());
    let Ok(Reply::Outcome(Outcome::Answer { answer, .. })) = first else {
        return Err(format!("executing the request: {first:?}").into());
    };
    request.sampler.logit_bias = answer.tokens.iter().map(|token| (*token, F32::new(1e30))).collect();
    let (mut here, mut there) = (Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=rounds {
        // Each has the first turn as often as the other.
        for turn in 0..2 {
            let (time, times) = match (round + turn) % 2 {
                0 => (time(|| hosted.answer(&execute(&request), &mut ()))?, &mut here),
                _ => (time(|| process.call(execute(&request), None).map_err(|e| e.to_string()))?, &mut there),
            };
            if round > 0 {
                times.push(time);
            }
        }
    }
    let [here, there] = [here, there].map(per_second);
    println!("in this process     {here:9.2} tokens/s, the median of {rounds} rounds");
    println!("in one of its own   {there:9.2} tokens/s, {:+.2} %", (there / here - 1.0) * 100.0);
    Ok(())
}

fn hosted(model: &str, settings: Settings) -> Result<Hosted> {
    let file = WeightFile::new(File::open(model)?)?;
    let model = Model::load(&file, &LoadOptions::default(), &mut |_, _| ())?;
    Ok(Hosted::new(Arc::new(Engine::new(settings)?), model))
}

fn process(model: &str, settings: Settings, manifest: &Manifest) -> Result<ModelProcess> {
    let plan = Plan {
        config: ProcessConfig { program: binary()?, unconfined: Unconfined::Warned },
        model: manifest.model_id().ok_or("the file holds no model")?,
        file: File::open(model)?,
        start: Start::new(&settings, manifest.to_bytes()),
    };
    Ok(ModelProcess::load(plan)?)
}

/// The binary that lies beside the directory of the examples.
fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let binary = own.parent().and_then(Path::parent).ok_or("no directory")?.join("assay");
    if !binary.exists() {
        return Err(format!("build {} first", binary.display()).into());
    }
    Ok(binary)
}

fn request(hosted: &Hosted, max_tokens: u32) -> Result<Request> {
    let sampler = Sampler::greedy();
    let prompt = Prompt::Text("What is 40 + 30? ".repeat(4));
    let question = Question { prompt: prompt.clone(), now_s: 0, sampler: sampler.clone(), max_tokens };
    let counted = match hosted.answer(&Call::Count(question), &mut ()) {
        Ok(Reply::Counted(counted)) => counted,
        other => return Err(format!("counting the prompt: {other:?}").into()),
    };
    Ok(Request {
        version: REQUEST_VERSION,
        prompt,
        now_s: 0,
        n_in: counted.n_in,
        prompt_hash: counted.prompt_hash,
        max_tokens,
        stop: Vec::new(),
        sampler,
        seed: None,
        salt_hash: Digest32::ZERO,
    })
}

fn execute(request: &Request) -> Call {
    Call::Execute { request: request.clone(), seed: Digest32::from_bytes([7; 32]) }
}

/// Tokens that were generated, and in what time.
fn time(run: impl FnOnce() -> std::result::Result<Reply, String>) -> Result<(usize, Duration)> {
    let began = Instant::now();
    match run() {
        Ok(Reply::Outcome(Outcome::Answer { answer, .. })) => Ok((answer.tokens.len(), began.elapsed())),
        other => Err(format!("executing the request: {other:?}").into()),
    }
}

fn per_second(times: Vec<(usize, Duration)>) -> f64 {
    let mut rates: Vec<_> =
        times.into_iter().map(|(tokens, time)| tokens as f64 / time.as_secs_f64()).collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
