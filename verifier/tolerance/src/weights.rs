//! candle's models, and what is done when they fail.

use std::any::Any;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

use candle_core::{Device, Tensor};
use candle_transformers::models::{quantized_glm4, quantized_phi};

/// Weights with the keys and values of one sequence. A clone shares the weights.
#[derive(Clone)]
pub(crate) enum Weights {
    Phi2(quantized_phi::ModelWeights),
    Glm4(quantized_glm4::ModelWeights),
}

/// What candle says, or that it panicked.
pub(crate) type LibraryError = Box<dyn Error + Send + Sync>;

/// candle has no kernels that panic on what was checked, as far as is known; should it all the same, this call fails
/// and the process goes on. Whatever the call was changing must be thrown away then.
pub(crate) fn guarded<T>(call: impl FnOnce() -> candle_core::Result<T>) -> Result<T, LibraryError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(LibraryError::from),
        Err(panic) => Err(format!("it panicked: {}", message(panic.as_ref())).into()),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

impl Weights {
    /// The logits after these tokens, `[vocab]`; the first of them stands at position `first`, and those before it
    /// have been passed already.
    pub fn forward(&mut self, tokens: &[u32], first: usize) -> Result<Vec<f32>, LibraryError> {
        guarded(|| {
            let tokens = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
            let logits = match self {
                Self::Phi2(weights) => weights.forward(&tokens, first)?,
                Self::Glm4(weights) => weights.forward(&tokens, first)?,
            };
            logits.flatten_all()?.to_vec1()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_and_an_error_of_the_library_are_errors() {
        let said = |result: Result<(), LibraryError>| result.unwrap_err().to_string();
        assert_eq!(said(guarded(|| panic!("no kernel"))), "it panicked: no kernel");
        assert_eq!(said(guarded(|| panic!("{} kernels", 0))), "it panicked: 0 kernels");
        assert!(said(guarded(|| candle_core::bail!("no kernel"))).starts_with("no kernel"));
        assert!(guarded(|| Ok(())).is_ok());
    }
}
