//! The definition: scalar code over plain slices, slow and obvious.
//!
//! Every order of operations, every rounding and every fused multiply-add (`mul_add`, one rounding) here is
//! part of the numerics id. Nothing here changes once vectors of it are published; a new operation gets a
//! new function and a new name in `docs/NUMERICS.md`.

mod activation;
mod attention;
pub(crate) mod blocks;
mod dot;
mod exp;
mod gelu;
mod norm;
mod pooling;
mod rope;
mod route;

pub use activation::quantise_block;
pub use attention::attention;
pub use blocks::{Block, HALF, read_blocks};
pub use dot::{ActivationBlock, dot, row_values};
pub use exp::{exp, geglu, gelu_tanh, silu, swiglu};
pub use gelu::{erf, gelu};
pub(crate) use norm::LENGTH_MIN;
pub use norm::{l2_norm, layer_norm, rms_norm};
pub use pooling::mean_rows;
pub use rope::{Pairing, Rope, Scaling, Yarn, rotate};
pub use route::route;

/// Elements of a quantised block.
pub const BLOCK: usize = 32;

/// Elements of a nested block of the K types.
pub const SUPER_BLOCK: usize = 256;

/// Elements of a segment: a dot product is the sum, in order, of the sums of its segments. Partial sums of
/// 256 terms keep the error of long rows down and bound how far an error reaches.
pub const SEGMENT: usize = 256;

/// Partial sums of a reduction over a whole row: element `i` belongs to sum `i mod 16`.
pub const LANES: usize = 16;

/// Adds sixteen partial sums as a tree: 16 → 8 → 4 → 2 → 1, lane `i` taking lane `i + half`.
#[inline(always)]
pub fn tree_sum(lanes: [f32; LANES]) -> f32 {
    let mut sums = lanes;
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
    }
    sums[0]
}
