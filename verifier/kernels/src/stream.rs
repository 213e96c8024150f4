//! How fast this machine reads memory: the measure for decoding, which reads every weight for each token.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::cpu::dispatched;
use crate::lanes::isa::Isa;
use crate::memory::{Buffer, MemoryError, Zeroed};
use crate::pool::Pool;

/// A cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line([u64; 8]);

// SAFETY: integers, for which zero bytes are zero.
unsafe impl Zeroed for Line {}

/// Lines that are written at once: 1 MiB.
const PIECE_LINES: usize = (1 << 20) / size_of::<Line>();

/// How many lines ahead memory is asked for, as where single rows are multiplied: without it the processor's own
/// prefetching stops at the ends of pages, and decoding would be held against less than the machine can.
const AHEAD: usize = 96;

/// Memory to be read: much more than the caches hold tells the speed of memory.
#[derive(Debug)]
pub struct Stream {
    lines: Buffer<Line>,
}

impl Stream {
    /// Takes the memory, and writes it: a page that nobody has written is the system's one page of zeros, and stays
    /// in the cache.
    ///
    /// # Errors
    /// When the system has no memory for as many bytes.
    pub fn new(pool: &Pool, size_bytes: usize) -> Result<Self, MemoryError> {
        let mut lines = Buffer::<Line>::zeroed(size_bytes.div_ceil(size_of::<Line>()))?;
        let mut pieces: Vec<&mut [Line]> = lines.chunks_mut(PIECE_LINES).collect();
        pool.for_each(&mut pieces, PIECE_LINES, |index, piece| piece.fill(Line([index as u64 + 1; 8])));
        Ok(Self { lines })
    }

    /// Bytes that a pass reads.
    pub fn size_bytes(&self) -> usize {
        size_of_val(&*self.lines)
    }

    /// The time in which all threads of a pool together read it once. Every byte takes part in a result, so that
    /// none can be left out.
    pub fn pass(&self, pool: &Pool) -> Duration {
        let began = Instant::now();
        let sum = AtomicU64::new(0);
        pool.for_each_range(self.lines.len(), size_of::<Line>(), |range| {
            let mut found = 0;
            pool.cpu().gather(&self.lines[range], &mut found);
            sum.fetch_xor(found, Ordering::Relaxed);
        });
        black_box(sum.into_inner());
        began.elapsed()
    }
}

dispatched! {
    /// Joins every bit of the lines into one number.
    fn gather(lines: &[Line], out: &mut u64) = join;
}

#[inline(always)]
fn join<I: Isa>(isa: I, lines: &[Line], out: &mut u64) {
    let mut joined = [0; 8];
    for line in lines {
        isa.prefetch(std::ptr::from_ref(line).wrapping_add(AHEAD).cast());
        for (joined, word) in joined.iter_mut().zip(line.0) {
            *joined ^= word;
        }
    }
    *out = joined.iter().fold(0, |sum, word| sum ^ word);
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::Cpu;

    #[test]
    fn every_line_is_read_whatever_the_instruction_set() {
        let lines: Vec<Line> = (1..100).map(|i| Line(std::array::from_fn(|k| i * 8 + k as u64))).collect();
        let expected = (8..800).fold(0, |sum, word| sum ^ word);
        for cpu in Cpu::available() {
            let mut found = 0;
            cpu.gather(&lines, &mut found);
            assert_eq!(found, expected, "{}", cpu.name());
        }
    }

    #[test]
    fn reading_takes_time_and_impossible_sizes_are_refused() {
        let pool = Pool::new(NonZeroUsize::new(2).unwrap(), Cpu::detect()).unwrap();
        let stream = Stream::new(&pool, (8 << 20) - 1).unwrap();
        assert_eq!(stream.size_bytes(), 8 << 20);
        assert!(stream.pass(&pool) > Duration::ZERO);
        assert!(Stream::new(&pool, isize::MAX as usize - 4096).is_err());
    }
}
