//! Runs GGUF models that the exact engine does not know, through candle: the engine of the tolerance class.
//!
//! A [`CandleGenerator`] reads a file as strictly as the exact engine does, and answers requests by the same rules:
//! tokenizer, template, sampler and the end of an answer are those of `assay-engine`. Only the numbers are
//! candle's: they depend on the machine, so that an execution has no trace and nobody can verify it.

#![forbid(unsafe_code)]

mod architecture;
mod shape;
mod tensors;
mod reader;
mod weights;
mod generator;

pub use generator::{CandleGenerator, Settings};
