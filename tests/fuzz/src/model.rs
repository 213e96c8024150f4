//! Whole model files, loaded and run as a provider does.

use std::num::NonZeroUsize;
use std::sync::OnceLock;

use assay_engine::synthetic::Synthetic;
use assay_engine::{Engine, LoadOptions, Model, Settings};
use assay_kernels::{Cpu, Pool, WeightType};
use assay_protocol::request::Prompt;

use crate::memory::in_proportion;

/// A model of each type of weights and of each architecture, with one layer.
pub fn seeds() -> Vec<Vec<u8>> {
    let small = |synthetic: Synthetic| Synthetic { context_length: 64, layers: 1, ..synthetic };
    let types = WeightType::ALL.into_iter().map(Synthetic::of);
    let variants = Synthetic::variants().into_iter().map(|(_, variant)| variant);
    types.chain(variants).map(|synthetic| small(synthetic).gguf().expect("a small model")).collect()
}

/// One engine for all inputs: it runs on this thread.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let settings = || Settings {
        threads: NonZeroUsize::MIN,
        prefill_chunk: NonZeroUsize::new(4).expect("not nought"),
        ..Settings::for_this_machine()
    };
    ENGINE.get_or_init(|| Engine::new(settings()).expect("an engine"))
}

/// The kernels of one thread.
pub(crate) fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| Pool::new(NonZeroUsize::MIN, Cpu::detect()).expect("a pool"))
}

/// A file is refused with a message, or it is a model that a prompt can be made for and that answers.
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
            let tokens = tokens.unwrap_or_default();
            for token in &tokens {
                assert!((*token as usize) < model.config().vocab_size, "token {token} does not exist");
            }
            let logits = engine().logits(&model, &tokens).expect("memory for a small model");
            assert_eq!(logits.len(), tokens.len() * model.config().vocab_size);
        }
    }
}

pub use crate::gguf::mutate;
