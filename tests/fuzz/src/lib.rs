//! Fuzz targets for everything that decodes foreign bytes, one module a format.
//!
//! A module has `seeds`, the inputs that fuzzing begins with, and `check`, which panics when an input breaks
//! a promise: of what a parser accepts, of what it allocates, of what two readers make of the same bytes.
//! Some have `mutate`, which changes an input without breaking the lengths and hashes that would stop it at
//! the first byte. The programs under `targets/` hand them to libFuzzer, which bounds time and memory.

#![forbid(unsafe_code)]

pub mod gguf;
pub mod safetensors;
pub mod model;
pub mod tolerance;
pub mod encoder;
pub mod tokenizer;
pub mod template;
pub mod encodings;
pub mod streams;
pub mod ranges;
pub mod consensus;
pub mod receipts;
pub mod extrinsics;
pub mod chain_spec;
pub mod rpc;
mod calls;
mod chain;
mod json;
mod memory;
mod random;
mod settled;

use std::path::Path;
use std::{env, fs};

/// Where a target writes its seeds before it begins; `run` sets it.
const SEEDS_VARIABLE: &str = "ASSAY_FUZZ_SEEDS";

/// The program of a target: `target!(gguf)`, or `target!(gguf, mutate)` for one with its own mutator.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        libfuzzer_sys::fuzz_target!(
            init: $crate::write_seeds($crate::$name::seeds),
            |data: &[u8]| $crate::$name::check(data)
        );
    };
    ($name:ident, mutate) => {
        $crate::target!($name);
        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            $crate::mutate_with($crate::$name::mutate, data, (size, max_size), seed)
        });
    };
}

/// Writes a target's seeds where the environment asks for them.
///
/// # Panics
/// When they cannot be written.
pub fn write_seeds(seeds: fn() -> Vec<Vec<u8>>) {
    let Some(directory) = env::var_os(SEEDS_VARIABLE) else { return };
    for (index, seed) in seeds().iter().enumerate() {
        let path = Path::new(&directory).join(format!("seed-{index:03}"));
        fs::write(&path, seed).unwrap_or_else(|error| panic!("writing the seed {}: {error}", path.display()));
    }
}

/// A mutator of one's own takes an input and a random number; none where the input is too broken for it.
pub type Mutator = fn(&[u8], u64) -> Option<Vec<u8>>;

/// Changes the first `sizes.0` bytes of `data` in one of two ways: with `mutate`, which knows the format, or
/// with libFuzzer's own mutators, which break it anywhere. Returns the new size, at most `sizes.1`.
pub fn mutate_with(mutate: Mutator, data: &mut [u8], sizes: (usize, usize), seed: u32) -> usize {
    let (size, max_size) = sizes;
    let bytes = data.get(..size).unwrap_or_default();
    let changed = if seed.is_multiple_of(4) { None } else { mutate(bytes, seed.into()) };
    match changed.filter(|changed| changed.len() <= max_size) {
        Some(changed) => {
            data[..changed.len()].copy_from_slice(&changed);
            changed.len()
        }
        None => libfuzzer_sys::fuzzer_mutate(data, size, max_size),
    }
}
