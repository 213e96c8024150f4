//! Whole model files, loaded as a provider loads them.

use assay_engine::synthetic::Synthetic;
use assay_engine::{LoadOptions, Model};
use assay_kernels::WeightType;
use assay_protocol::request::Prompt;

use crate::memory::in_proportion;

/// A model of each type of weights and of each architecture, with one layer.
pub fn seeds() -> Vec<Vec<u8>> {
    let small = |synthetic: Synthetic| Synthetic { context_length: 64, layers: 1, ..synthetic };
    let types = WeightType::ALL.into_iter().map(Synthetic::of);
    let variants = Synthetic::variants().into_iter().map(|(_, variant)| variant);
    types.chain(variants).map(|synthetic| small(synthetic).gguf().expect("a small model")).collect()
}

/// A file is refused with a message, or it is a model of which a prompt can be made.
///
/// # Panics
/// When that does not hold.
pub fn check(data: &[u8]) {
    let options = LoadOptions { tensor_bytes_max: data.len() as u64 };
    // The tokenizer's library keeps tables of its own; it is judged by time and by the limit of the process.
    let file = data.to_vec();
    match Model::load(&file, &options, &mut |_, _| ()) {
        Err(error) => {
            let message = error.to_string();
            assert!(!message.is_empty() && message.len() < 4096, "a message of {} bytes", message.len());
        }
        Ok(model) => {
            let prompt = Prompt::Text("the end".into());
            let tokens = in_proportion(data.len(), || model.text().render(&prompt, 0));
            for token in tokens.unwrap_or_default() {
                assert!((token as usize) < model.config().vocab_size, "token {token} does not exist");
            }
        }
    }
}

pub use crate::gguf::mutate;
