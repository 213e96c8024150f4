//! The right edge of a growing tree: enough to append and to give the root, in O(log n) space.

use super::{empty_root, node_hash};
use crate::hash::Digest32;
use codec::{Decode, DecodeWithMemTracking, Encode, Error, Input, MaxEncodedLen};
use scale_info::TypeInfo;

/// Roots of the perfect subtrees that a tree of `size` leaves consists of, largest first.
///
/// Invariant: one peak for each set bit of `size`, and `size` < 2^63, so there are at most 63 peaks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, DecodeWithMemTracking, TypeInfo)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest32>,
}

const PEAKS_MAX: usize = 63;
const SIZE_MAX: u64 = (1 << PEAKS_MAX) - 1;

impl Frontier {
    /// The tree without leaves.
    pub const fn new() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// Number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf hash and returns its index.
    pub fn append(&mut self, leaf: Digest32) -> u64 {
        let index = self.size;
        let mut peak = leaf;
        // Each trailing one of the size is a perfect subtree that the new leaf completes to a larger one.
        for _ in 0..index.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                peak = node_hash(&left, &peak);
            }
        }
        self.peaks.push(peak);
        // Saturation is out of reach: it would take 2^63 appends.
        self.size = index.saturating_add(1);
        index
    }

    /// Root of the tree (RFC 9162, 2.1.1).
    pub fn root(&self) -> Digest32 {
        let mut peaks = self.peaks.iter().rev().copied();
        match peaks.next() {
            Some(last) => peaks.fold(last, |right, left| node_hash(&left, &right)),
            None => empty_root(),
        }
    }
}

impl Decode for Frontier {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let size = u64::decode(input)?;
        let peaks = Vec::<Digest32>::decode(input)?;
        if size > SIZE_MAX || u32::try_from(peaks.len()) != Ok(size.count_ones()) {
            return Err("frontier without one peak for each set bit of its size".into());
        }
        Ok(Self { size, peaks })
    }
}

impl MaxEncodedLen for Frontier {
    fn max_encoded_len() -> usize {
        // The compact length of at most 63 items takes one byte.
        8 + 1 + PEAKS_MAX * 32
    }
}
