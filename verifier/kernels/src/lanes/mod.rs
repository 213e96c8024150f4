//! The source of the kernels that run: sixteen lanes, no order of additions that depends on a width.
//!
//! Every function is `#[inline(always)]`, so that it is compiled for the instruction set of the function
//! that calls it (see [`dispatched`](crate::cpu::dispatched)). Rust neither contracts nor reorders floats, so all compilations
//! give the same bits. Only the integer dot of a block differs by set, and that one is exact.

#![expect(
    clippy::needless_range_loop,
    reason = "an index keeps arrays of vectors in registers, and loops in step"
)]

pub(crate) mod attention;
pub(crate) mod isa;
pub(crate) mod rows;
pub(crate) mod tiles;
