//! Every instruction set and every number of threads gives the bits of the scalar reference.

mod attention;
mod products;
mod random;
mod rows;

use std::num::NonZeroUsize;

use assay_kernels::{Cpu, Pool};

/// Equal bits; which NaN a result is, is not defined, as every NaN is refused.
#[track_caller]
fn assert_same(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
        assert!(same, "{what}: {index} is {found:e} ({:#x}), not {expected:e}", found.to_bits());
    }
}

/// One pool per instruction set of this CPU and number of threads.
fn pools() -> Vec<Pool> {
    let threads = [1, 3].map(|threads| NonZeroUsize::new(threads).unwrap());
    let pool = |cpu| threads.map(|threads| Pool::new(threads, cpu).unwrap());
    Cpu::available().into_iter().flat_map(pool).collect()
}
