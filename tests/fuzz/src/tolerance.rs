//! Whole files of models of the tolerance class: what is accepted, candle runs without a panic.

use assay_engine::synthetic::Synthetic;
use assay_engine::{ExecuteError, Generator, LoadError, LoadOptions};
use assay_protocol::request::Prompt;
use assay_tolerance::{CandleGenerator, Settings};

/// A model of each architecture, with one layer.
pub fn seeds() -> Vec<Vec<u8>> {
    let variants = Synthetic::tolerance_variants().into_iter();
    let small = variants.map(|(_, variant)| Synthetic { context_length: 64, layers: 1, ..variant });
    small.map(|synthetic| synthetic.gguf().expect("a small model")).collect()
}

/// A file is refused with a message before candle sees it, or it is a model that answers.
///
/// # Panics
/// When that does not hold.
pub fn check(data: &[u8]) {
    let options = LoadOptions { tensor_bytes_max: data.len() as u64 };
    let file = data.to_vec();
    let generator = match CandleGenerator::load(&file, &options, Settings::default(), &mut |_, _| ()) {
        Err(LoadError::Library(cause)) => panic!("candle refused what was accepted: {cause}"),
        Err(error) => {
            let message = error.to_string();
            assert!(!message.is_empty() && message.len() < 4096, "a message of {} bytes", message.len());
            return;
        }
        Ok(generator) => generator,
    };
    let tokens = generator.text().render(&Prompt::Text("the end".into()), 0).unwrap_or_default();
    let room = usize::try_from(generator.context_length()).unwrap_or(usize::MAX);
    match generator.logits(&tokens[..tokens.len().min(room)]) {
        Ok(logits) if tokens.is_empty() => assert!(logits.is_empty()),
        Ok(logits) => assert_eq!(logits.len(), generator.text().vocab_size() as usize),
        Err(ExecuteError::Library(cause)) => panic!("candle failed at what was accepted: {cause}"),
        Err(error) => panic!("memory for a small model: {error}"),
    }
}

pub use crate::gguf::mutate;
