//! How fast this machine reads weights: the measure for decoding, which reads every one of them for each token.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::cpu::dispatched;
use crate::lanes::isa::Isa;
use crate::matrix::Matrix;
use crate::pool::Pool;

/// What a thread reads in one piece.
const PIECE_BYTES: usize = 1 << 20;

/// A cache line.
type Line = [u8; 64];

/// How many lines ahead memory is asked for, as where single rows are multiplied: without it the processor's own
/// prefetching stops at the ends of pages, and decoding would be held against less than the machine can.
const AHEAD: usize = 96;

/// Reads all memory of matrices once, on all threads of a pool, and does nothing else: how many bytes that was, and
/// the time. It is the memory that their products read, as what other memory gives can be half or twice as much.
pub fn read(pool: &Pool, matrices: &[&Matrix]) -> (usize, Duration) {
    let memory = matrices.iter().flat_map(|matrix| matrix.memory());
    let pieces: Vec<&[u8]> = memory.flat_map(|bytes| bytes.chunks(PIECE_BYTES)).collect();
    let began = Instant::now();
    let sum = AtomicU64::new(0);
    pool.for_each_range(pieces.len(), PIECE_BYTES, |range| {
        for piece in &pieces[range] {
            let mut found = 0;
            pool.cpu().gather(piece, &mut found);
            sum.fetch_xor(found, Ordering::Relaxed);
        }
    });
    // Every byte takes part in a result, so that none can be left out.
    black_box(sum.into_inner());
    let time = began.elapsed();
    (pieces.iter().map(|piece| piece.len()).sum(), time)
}

dispatched! {
    /// Joins every bit of some memory into one number.
    fn gather(bytes: &[u8], out: &mut u64) = join;
}

#[inline(always)]
fn join<I: Isa>(isa: I, bytes: &[u8], out: &mut u64) {
    let (lines, rest) = bytes.as_chunks::<{ size_of::<Line>() }>();
    let mut joined = [0; 8];
    for line in lines {
        isa.prefetch(std::ptr::from_ref::<Line>(line).wrapping_add(AHEAD).cast());
        for (joined, word) in joined.iter_mut().zip(line.as_chunks().0) {
            *joined ^= u64::from_le_bytes(*word);
        }
    }
    let rest = rest.iter().fold(0, |sum, byte| sum ^ u64::from(*byte));
    *out = joined.iter().fold(rest, |sum, word| sum ^ word);
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::{Cpu, WeightType};

    #[test]
    fn every_byte_is_read_whatever_the_instruction_set() {
        let words: Vec<u8> = (8..800u64).flat_map(u64::to_le_bytes).collect();
        let expected = (8..800).fold(0, |sum, word| sum ^ word);
        for cpu in Cpu::available() {
            let gathered = |bytes: &[u8]| {
                let mut found = 0;
                cpu.gather(bytes, &mut found);
                found
            };
            assert_eq!(gathered(&words), expected, "{}", cpu.name());
            assert_eq!(gathered(&[&words[..], &[1, 2, 4]].concat()), expected ^ 7, "{}", cpu.name());
        }
    }

    #[test]
    fn all_memory_of_matrices_of_every_type_is_read() {
        let pool = Pool::new(NonZeroUsize::new(2).unwrap(), Cpu::detect()).unwrap();
        // Whole tiles; the first ones take several pieces.
        for (rows, cols) in [(4096, 1024), (16, 256)] {
            for weight_type in WeightType::ALL {
                let bytes = vec![0; weight_type.row_bytes(cols).unwrap() * rows];
                let matrix = Matrix::pack(&pool, weight_type, rows, cols, &bytes).unwrap();
                let unpacked = matches!(weight_type, WeightType::Q3_K | WeightType::Q4_K | WeightType::Q5_K);
                let packed = bytes.len() + if unpacked { rows * cols / 256 * 4 } else { 0 };
                let (read, time) = read(&pool, &[&matrix, &matrix]);
                assert!(read == 2 * packed && time > Duration::ZERO, "{weight_type:?}: {read} of {packed}");
            }
        }
    }
}
