//! Memory for weights and caches: zeroed, aligned to cache lines, on huge pages where the system has them.
//!
//! With pages of 4 KiB a walk through a gigabyte of weights misses the TLB every few lines; huge pages gave 7
//! to 26 % of decoding. On Linux large buffers are mapped and the kernel is asked for them (`MADV_HUGEPAGE`);
//! elsewhere, and for small ones, the allocator serves. What is smaller than a huge page or ends within one gets none
//! of its own there, so the matrices of a model share mappings: see [`Arena`].

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

/// The size of a huge page on x86-64 and most of 64-bit Arm; buffers from this size on are mapped.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// What an arena maps at once. What is not used of it takes no memory: nobody has written to it.
const CHUNK_BYTES: usize = 64 << 20;

/// Where pieces of an arena begin: at cache lines, which is more than any type asks for.
const PIECE_ALIGN: usize = 64;

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
/// Zero bytes must be a value of the type, the type must own nothing, and have no padding.
pub(crate) unsafe trait Zeroed: Copy {}

/// Memory for what is kept and dropped together, as the matrices of a model: pieces of large mappings, so that
/// nearly all of it lies on huge pages. A mapping goes back to the system with the last buffer in it; pieces that are
/// dropped before are not used again.
#[derive(Debug, Default)]
pub struct Arena {
    /// The mapping that has most room left.
    chunk: Mutex<Option<Chunk>>,
}

#[derive(Debug)]
struct Chunk {
    region: Arc<Region>,
    /// Where the next piece may begin.
    used: usize,
}

impl Arena {
    /// `len` zero values.
    ///
    /// # Errors
    /// When the system has no memory for them.
    pub(crate) fn zeroed<T: Zeroed>(&self, len: usize) -> Result<Buffer<T>, MemoryError> {
        const { assert!(align_of::<T>() <= PIECE_ALIGN) };
        let layout = layout_of::<T>(len)?;
        if layout.size() == 0 {
            return Ok(Buffer::EMPTY);
        }
        let mut current = self.chunk.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(piece) = current.as_mut().and_then(|chunk| chunk.take(layout.size())) {
            return Ok(piece.buffer(len));
        }
        let mut chunk = Chunk::with_room(layout.size())?;
        let piece = chunk.take(layout.size()).ok_or(MemoryError { size_bytes: layout.size() })?;
        if current.as_ref().is_none_or(|current| current.room() < chunk.room()) {
            *current = Some(chunk);
        }
        Ok(piece.buffer(len))
    }
}

impl Chunk {
    /// A mapping whose used part begins and ends at huge pages.
    fn with_room(size_bytes: usize) -> Result<Self, MemoryError> {
        let failed = MemoryError { size_bytes };
        let room = size_bytes.max(CHUNK_BYTES).checked_next_multiple_of(HUGE_PAGE_BYTES).ok_or(failed)?;
        let layout =
            Layout::from_size_align(room.saturating_add(HUGE_PAGE_BYTES), PIECE_ALIGN).map_err(|_| failed)?;
        let region = Region::zeroed(layout)?;
        let used = region.first.align_offset(HUGE_PAGE_BYTES);
        Ok(Self { region: Arc::new(region), used })
    }

    fn room(&self) -> usize {
        self.region.layout.size() - self.used
    }

    /// The next piece, if there is room for it.
    fn take(&mut self, size_bytes: usize) -> Option<Piece> {
        let end = self.used.checked_add(size_bytes).filter(|end| *end <= self.region.layout.size())?;
        // SAFETY: it lies within the region.
        let first = unsafe { self.region.first.add(self.used) };
        self.used = end.next_multiple_of(PIECE_ALIGN).min(self.region.layout.size());
        Some(Piece { first, region: Arc::clone(&self.region) })
    }
}

/// A part of a region that belongs to nobody else.
struct Piece {
    first: NonNull<u8>,
    region: Arc<Region>,
}

impl Piece {
    fn buffer<T>(self, len: usize) -> Buffer<T> {
        Buffer { first: self.first.cast(), len, _region: Some(self.region) }
    }
}

/// A slice of fixed length that owns its memory.
pub(crate) struct Buffer<T> {
    first: NonNull<T>,
    len: usize,
    /// Keeps what the values lie in; none where they take no bytes.
    _region: Option<Arc<Region>>,
}

// SAFETY: a buffer owns its values, as a `Vec` does.
unsafe impl<T: Send> Send for Buffer<T> {}
// SAFETY: shared, it gives out shared references only.
unsafe impl<T: Sync> Sync for Buffer<T> {}

impl<T> Buffer<T> {
    const EMPTY: Self = Self { first: NonNull::dangling(), len: 0, _region: None };
}

impl<T: Zeroed> Buffer<T> {
    /// `len` zero values in memory of their own.
    ///
    /// # Errors
    /// When the system has no memory for them.
    pub fn zeroed(len: usize) -> Result<Self, MemoryError> {
        let layout = layout_of::<T>(len)?;
        if layout.size() == 0 {
            return Ok(Self::EMPTY);
        }
        let region = Region::zeroed(layout)?;
        Ok(Piece { first: region.first, region: Arc::new(region) }.buffer(len))
    }

    /// The memory that the values take.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: initialised values without padding, borrowed as long as the buffer is.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr().cast(), self.len * size_of::<T>()) }
    }
}

fn layout_of<T>(len: usize) -> Result<Layout, MemoryError> {
    Layout::array::<T>(len).map_err(|_| MemoryError { size_bytes: len.saturating_mul(size_of::<T>()) })
}

/// Memory from the system, all zero at first.
#[derive(Debug)]
struct Region {
    first: NonNull<u8>,
    /// Not of size 0.
    layout: Layout,
}

// SAFETY: it owns its memory, and reads and writes none of it.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Of a layout that has a size.
    fn zeroed(layout: Layout) -> Result<Self, MemoryError> {
        let first = match layout.size() {
            // SAFETY: the layout has a size.
            ..HUGE_PAGE_BYTES => NonNull::new(unsafe { alloc_zeroed(layout) }),
            _ => map(layout),
        };
        Ok(Self { first: first.ok_or(MemoryError { size_bytes: layout.size() })?, layout })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        match self.layout.size() {
            // SAFETY: from `alloc_zeroed` with this layout, as its size says.
            ..HUGE_PAGE_BYTES => unsafe { dealloc(self.first.as_ptr(), self.layout) },
            _ => unmap(self.first, self.layout),
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
        let arena = Arena::default();
        for len in [0, 1, 1_000, HUGE_PAGE_BYTES / 2, HUGE_PAGE_BYTES / 2 + 1, 3 << 20] {
            for mut buffer in [Buffer::<u16>::zeroed(len).unwrap(), arena.zeroed(len).unwrap()] {
                assert!(buffer.len() == len && buffer.iter().all(|value| *value == 0));
                if let Some(last) = buffer.last_mut() {
                    *last = 7;
                    assert_eq!(buffer[len - 1], 7);
                }
            }
        }
    }

    #[test]
    fn pieces_of_an_arena_are_apart_and_outlive_it() {
        let arena = Arena::default();
        let sizes = [1, 65, 4096, 2 * CHUNK_BYTES, 3, 2 * CHUNK_BYTES + 1, 100];
        let mut buffers: Vec<Buffer<u8>> = sizes.iter().map(|size| arena.zeroed(*size).unwrap()).collect();
        drop(arena);
        for (index, buffer) in buffers.iter_mut().enumerate() {
            assert!(buffer.as_ptr().addr().is_multiple_of(PIECE_ALIGN));
            buffer.fill(index as u8 + 1);
        }
        for (index, size) in sizes.iter().enumerate() {
            assert!(
                buffers[index].len() == *size && buffers[index].iter().all(|byte| *byte == index as u8 + 1)
            );
        }
        // Small ones share a mapping, before and after others that each have one to themselves.
        let at = |index: usize| buffers[index].as_ptr().addr();
        assert_eq!([1, 2, 4, 6].map(|index| at(index) - at(0)), [64, 64 + 128, 192 + 4096, 192 + 4096 + 64]);
    }

    #[test]
    fn what_no_system_has_is_refused() {
        assert!(Buffer::<u16>::zeroed(usize::MAX).is_err());
        assert!(Buffer::<u8>::zeroed(isize::MAX as usize - 4096).is_err());
        assert!(Arena::default().zeroed::<u16>(usize::MAX).is_err());
        assert!(Arena::default().zeroed::<u8>(isize::MAX as usize).is_err());
    }
}
