//! Fused operations with a backward pass written by hand, single-threaded: shards run beside one another.
//!
//! candle's own `rms_norm`, `rope` and `softmax_last_dim` have no backward pass, and the stock operations
//! that do take a third of the speed.

mod arithmetic;
mod rms_norm;
mod swiglu;
mod attention;
mod cross_entropy;

#[cfg(test)]
mod tests;

pub use attention::{Attention, RopeTable};
pub use cross_entropy::{CrossEntropy, row_losses};
pub use rms_norm::RmsNorm;
pub use swiglu::SwiGlu;

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor};

/// Elements of an operand.
fn elements<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => candle_core::bail!("a fused operation needs a contiguous operand"),
    }
}

/// Calls `f` with the elements of a tensor.
fn with_elements<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(f(elements(storage, layout)?)),
        _ => candle_core::bail!("a fused operation runs on the CPU only"),
    }
}
