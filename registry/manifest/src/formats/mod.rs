//! Bounded parsers and canonical writers of model files' headers.
//!
//! A parser takes a reader and the file's length, reads the header only and leaves the reader at its end.
//! It allocates in proportion to what it has read, never to a count that the file claims.

pub mod dtype;
pub mod gguf;
pub mod safetensors;

pub use dtype::DType;

/// Largest header, in bytes: the safetensors reference reader's limit. The largest known GGUF headers
/// (vocabularies of 260,000 tokens with merges) stay under 20 MB.
pub const HEADER_BYTES_MAX: u64 = 100_000_000;

/// Most tensors of one file: the largest open mixture-of-experts models have about 100,000.
pub const TENSORS_MAX: usize = 1 << 18;

/// Longest tensor name, in bytes: ggml stops at 64, image-model builds of it at 160.
pub const TENSOR_NAME_BYTES_MAX: usize = 256;
