//! Models, generators and requests for tests.

use std::num::NonZeroUsize;

use assay_engine::synthetic::{Synthetic, Tensor};
use assay_engine::{Execution, Generator, LoadError, LoadOptions};
use assay_manifest::Digest32;
use assay_manifest::formats::gguf::{self, Metadata};
use assay_protocol::request::{Prompt, REQUEST_VERSION, Request, Sampler, prompt_hash};
use assay_tolerance::{CandleGenerator, Settings};

pub const SEED: Digest32 = Digest32::from_bytes([42; 32]);

pub fn load(file: &[u8]) -> Result<CandleGenerator, LoadError> {
    load_with(file, Settings::default())
}

pub fn load_with(file: &[u8], settings: Settings) -> Result<CandleGenerator, LoadError> {
    CandleGenerator::load(&file.to_vec(), &LoadOptions::default(), settings, &mut |_, _| ())
}

pub fn generator(synthetic: &Synthetic) -> CandleGenerator {
    load(&synthetic.gguf().unwrap()).unwrap()
}

pub fn in_chunks(synthetic: &Synthetic, prefill_chunk: usize) -> CandleGenerator {
    let prefill_chunk = NonZeroUsize::new(prefill_chunk).unwrap();
    load_with(&synthetic.gguf().unwrap(), Settings { prefill_chunk, ..Settings::default() }).unwrap()
}

/// The model of this name.
pub fn variant(name: &str) -> Synthetic {
    let variants = Synthetic::tolerance_variants();
    variants.into_iter().find(|(variant, _)| *variant == name).unwrap().1
}

/// A model file with something changed.
pub fn changed(synthetic: &Synthetic, change: impl FnOnce(&mut Metadata, &mut Vec<Tensor>)) -> Vec<u8> {
    let (mut metadata, mut tensors) = (synthetic.metadata(), synthetic.tensors());
    change(&mut metadata, &mut tensors);
    let tensors: Vec<_> = tensors.iter().map(Tensor::data).collect();
    let mut file = Vec::new();
    gguf::write(&mut file, &metadata, &tensors).unwrap();
    file
}

/// A request for a continuation of `text`, with the right prompt hash.
pub fn request(generator: &dyn Generator, text: &str, max_tokens: u32) -> Request {
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
    let prompt = generator.prompt(&request).unwrap();
    request.n_in = prompt.len().try_into().unwrap();
    request.prompt_hash = prompt_hash(&prompt);
    request
}

pub fn execute(generator: &dyn Generator, request: &Request) -> Execution {
    generator.execute(request, &SEED, &mut ()).unwrap()
}

/// The tensors of a phi2 model with queries, keys and values apart, as converters write them now.
pub fn split(tensors: &[Tensor]) -> Vec<Tensor> {
    let apart = |tensor: &Tensor| {
        let Some((layer, kind)) = tensor.name.split_once(".attn_qkv.") else { return vec![tensor.clone()] };
        let mut dims = tensor.dims.clone();
        let rows = dims.last_mut().unwrap();
        *rows /= 3;
        let parts = tensor.data.chunks_exact(tensor.data.len() / 3).zip(["q", "k", "v"]);
        let part = |(data, part): (&[u8], &str)| {
            let name = format!("{}.attn_{part}.{kind}", layer.replace(".attn_qkv", ""));
            Tensor { name, dtype: tensor.dtype, dims: dims.clone(), data: data.to_vec() }
        };
        parts.map(part).collect()
    };
    tensors.iter().flat_map(apart).collect()
}
