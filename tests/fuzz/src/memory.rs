//! How much memory an input takes.

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What a parser may allocate for each byte of its input, at its peak. A list of empty texts takes 8 bytes of
/// a file and 24 of memory a text; while it grows its old half is there too.
const PER_BYTE: usize = 64;
/// What it may allocate besides.
const BESIDES: usize = 256 * 1024;

/// Runs `work` on an input of `len` bytes.
///
/// # Panics
/// When it allocates out of proportion.
pub fn in_proportion<T>(len: usize, work: impl FnOnce() -> T) -> T {
    beside(len, 0, work)
}

/// The same for a parser that takes so many bytes before it has read any.
///
/// # Panics
/// When it allocates more.
pub fn beside<T>(len: usize, at_once: usize, work: impl FnOnce() -> T) -> T {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = work();
    let taken = ALLOCATOR.peak_usage().saturating_sub(before);
    let allowed = BESIDES + at_once + PER_BYTE * len;
    assert!(taken <= allowed, "{len} bytes of input took {taken} of memory, more than {allowed}");
    result
}
