//! Ranges of a blob's bytes, in the groups that one hash covers.

use crate::error::StoreError;
use assay_manifest::Digest32;
use bao_tree::{BaoTree, BlockSize};
use std::ops::Range;

/// Bytes under one stored hash. The hashes of a blob are 64 bytes a group, which is 0.4 % of it; a range is verified
/// in steps of this.
pub const GROUP_BYTES: u64 = 16 << 10;
/// 16 chunks of 1 KiB.
pub(crate) const GROUP: BlockSize = BlockSize::from_chunk_log(4);
const _: () = assert!(GROUP_BYTES == 1024 << 4);
/// Groups that are worked on together: many against the cost of a call to the system, and few enough to stay in a
/// processor's own cache from one end to the other.
pub(crate) const CHUNK_GROUPS: usize = 8;

/// Longest blob, in bytes; above what file systems hold, and low enough that no sum of offsets overflows.
pub const BLOB_BYTES_MAX: u64 = 1 << 50;

/// The shape of a blob's hashes.
pub(crate) fn tree_of(blob: &Digest32, size: u64) -> Result<BaoTree, StoreError> {
    if size > BLOB_BYTES_MAX {
        return Err(StoreError::TooLarge { blob: *blob, size });
    }
    Ok(BaoTree::new(size, GROUP))
}

/// Refuses a range that does not begin and end with groups of a blob.
pub(crate) fn check_range(blob: &Digest32, size: u64, range: &Range<u64>) -> Result<(), StoreError> {
    if !is_range_of_groups(size, range) {
        return Err(StoreError::BadRange { blob: *blob, start: range.start, end: range.end, size });
    }
    Ok(())
}

/// Whether a range is one of a blob of `size` bytes, not empty, and begins and ends with groups.
pub const fn is_range_of_groups(size: u64, range: &Range<u64>) -> bool {
    range.start < range.end
        && range.end <= size
        && range.start.is_multiple_of(GROUP_BYTES)
        && (range.end.is_multiple_of(GROUP_BYTES) || range.end == size)
}
