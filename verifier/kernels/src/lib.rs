//! Numeric kernels of the exact class `assay-num-1`: equal by bits on every CPU and thread count.
//!
//! [`mod@reference`] defines every result with scalar code; `docs/NUMERICS.md` says the same in words. What runs
//! is `lanes`: one source over sixteen lanes, compiled once per instruction set and chosen at run time by
//! [`Cpu`], a token that proves support. A lane is a row (or a key, or a dimension), so no width of vector
//! changes an order of additions. This is the only crate with `unsafe` code.

#![deny(clippy::undocumented_unsafe_blocks)]

pub mod reference;
pub mod float;
pub mod weight;
mod memory;
pub mod quantise;
pub mod cpu;
pub mod pool;
pub mod activation;
mod planes;
pub mod matrix;
mod rows;
pub mod cache;
mod lanes;
#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "aarch64")]
mod aarch64;
mod matmul;
pub mod stream;

pub use activation::Activations;
pub use cache::{CacheShape, Head, PAGE_POSITIONS, Page, QUERIES_MAX};
pub use cpu::Cpu;
pub use matmul::{Product, matmul};
pub use matrix::{Matrix, PackError, ReadError};
pub use memory::{Arena, MemoryError};
pub use pool::Pool;
pub use weight::WeightType;
