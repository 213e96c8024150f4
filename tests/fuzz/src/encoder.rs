//! Encoders of sentences, loaded and run: GGUF files, and the files of transformers one after the other.

use assay_engine::LoadOptions;
use assay_engine::embedding::{Encoder, TooLong, Transformers};
use assay_engine::synthetic::SyntheticBert;
use assay_kernels::WeightType;

use crate::model::pool;

/// Bytes before the files of transformers: the lengths of the first three.
const LENGTHS: usize = 12;

/// An encoder of some types of weights in each layout.
pub fn seeds() -> Vec<Vec<u8>> {
    let types = [WeightType::F32, WeightType::F16, WeightType::Q8_0, WeightType::Q4_0];
    let small = |weight_type| SyntheticBert { positions: 16, layers: 1, ..SyntheticBert::of(weight_type) };
    let gguf = types.into_iter().map(|weight_type| small(weight_type).gguf().expect("a small encoder"));
    let files = small(WeightType::F32).transformers().expect("a small encoder");
    let parts = [files.config.as_bytes(), files.tokenizer.as_bytes(), files.pooling.as_bytes()];
    let lengths = parts.iter().flat_map(|part| (part.len() as u32).to_le_bytes());
    let transformers = lengths.chain(parts.concat()).chain(files.weights.iter().copied()).collect();
    gguf.chain([transformers]).collect()
}

/// An encoder is refused with a message, or it encodes.
///
/// # Panics
/// When that does not hold.
pub fn check(data: &[u8]) {
    let options = LoadOptions { tensor_bytes_max: data.len() as u64 };
    let loaded = if data.starts_with(b"GGUF") {
        Encoder::load(&data.to_vec(), &options, &mut |_, _| ())
    } else {
        let Some([config, tokenizer, pooling, weights]) = parts(data) else { return };
        let weights = weights.to_vec();
        let files = Transformers { config, tokenizer, pooling: Some(pooling), weights: &weights };
        Encoder::from_transformers(&files, &options, &mut |_, _| ())
    };
    match loaded {
        Err(error) => {
            let message = error.to_string();
            assert!(!message.is_empty() && message.len() < 4096, "a message of {} bytes", message.len());
        }
        Ok(encoder) => {
            for embedding in encoder.encode(pool(), &["the end", ""], TooLong::Truncate).iter().flatten() {
                assert!(embedding.values.iter().all(|value| value.is_finite()), "{embedding:?}");
            }
        }
    }
}

/// Three files with their lengths before them, and the rest.
fn parts(data: &[u8]) -> Option<[&[u8]; 4]> {
    let (lengths, files) = data.split_at_checked(LENGTHS)?;
    let [first, second, third] = [0, 4, 8].map(|at| {
        let length = u32::from_le_bytes([lengths[at], lengths[at + 1], lengths[at + 2], lengths[at + 3]]);
        length as usize
    });
    let (config, files) = files.split_at_checked(first)?;
    let (tokenizer, files) = files.split_at_checked(second)?;
    let (pooling, weights) = files.split_at_checked(third)?;
    Some([config, tokenizer, pooling, weights])
}

pub use crate::gguf::mutate;
