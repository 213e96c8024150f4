//! Recomputes lineage edges: what a child artifact must be, given its parent.
//!
//! [`gguf_from_transformers`] is the pinned recipe from the layout of Hugging Face's transformers to a GGUF
//! file, a function of bytes alone; [`recompute`] applies it to an edge's parent and compares the result
//! with the edge's child, byte for byte.

#![forbid(unsafe_code)]

mod error;
mod source;
mod config;
mod vocabulary;
mod tensors;
mod convert;
mod recompute;

pub use convert::{GgufType, gguf_from_transformers};
pub use error::LineageError;
pub use recompute::{Difference, Verdict, recompute};
pub use source::TransformersSource;
