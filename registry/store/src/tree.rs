//! The tree of a blob's hashes: what each covers, where its pair stands, and in which order a range meets them.
//!
//! The hash of one group is made of its bytes, and that of more groups of a *pair*: the hashes of their two halves, of
//! which the left one has the largest power of two of groups that is less than all (BLAKE3, section 2.1).
//!
//! In post-order a pair stands behind all pairs of its halves, so those below one hash are neighbours. In pre-order, in
//! which a range is sent, it stands before them, and each group behind the pairs that verify it.

use crate::ranges::GROUP_BYTES;
use assay_manifest::Digest32;
use blake3::Hasher;
use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use std::ops::Range;

/// Bytes of two hashes.
pub(crate) const PAIR_BYTES: u64 = 64;

/// The hashes of two halves.
pub(crate) type Pair = [u8; PAIR_BYTES as usize];

/// Some groups of a blob, and the hash that they must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subtree {
    groups: Range<u64>,
    hash: ChainingValue,
    rank: Rank,
    size_bytes: u64,
}

/// Which rule ends a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rank {
    /// It is the blob's name.
    Root,
    /// It is half of a pair.
    Inner,
}

impl Subtree {
    /// All of a blob of `size_bytes`, which is not empty.
    pub(crate) fn root(blake3: &Digest32, size_bytes: u64) -> Self {
        let groups = 0..size_bytes.div_ceil(GROUP_BYTES);
        Self { groups, hash: *blake3.as_bytes(), rank: Rank::Root, size_bytes }
    }

    /// How many groups.
    pub(crate) const fn groups(&self) -> u64 {
        self.groups.end - self.groups.start
    }

    /// Whether it is one, which has no pair.
    pub(crate) const fn is_group(&self) -> bool {
        self.groups() == 1
    }

    /// Its bytes of the blob.
    pub(crate) fn bytes(&self) -> Range<u64> {
        self.groups.start * GROUP_BYTES..self.size_bytes.min(self.groups.end * GROUP_BYTES)
    }

    /// Bytes that it has for itself in an encoded range: those of a group, or else its pair.
    pub(crate) fn encoded_bytes(&self) -> usize {
        let Range { start, end } = self.bytes();
        let bytes = if self.is_group() { end - start } else { PAIR_BYTES };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Whether `bytes`, of which there are as many as [`Self::bytes`] says, have its hash.
    pub(crate) fn is_made_of(&self, bytes: &[u8]) -> bool {
        let mut hasher = Hasher::new();
        match self.rank {
            Rank::Root => *hasher.update(bytes).finalize().as_bytes() == self.hash,
            Rank::Inner => {
                hasher.set_input_offset(self.bytes().start);
                hasher.update(bytes).finalize_non_root() == self.hash
            }
        }
    }

    /// Its halves by a pair, if they make its hash.
    pub(crate) fn split(&self, pair: &Pair) -> Option<[Self; 2]> {
        let halves = self.halves(pair);
        let [left, right] = [&halves[0].hash, &halves[1].hash];
        let hash = match self.rank {
            Rank::Root => *merge_subtrees_root(left, right, Mode::Hash).as_bytes(),
            Rank::Inner => merge_subtrees_non_root(left, right, Mode::Hash),
        };
        (hash == self.hash).then_some(halves)
    }

    /// What its halves are by a pair, whether that is its own or not.
    fn halves(&self, pair: &Pair) -> [Self; 2] {
        let (Range { start, end }, middle) = (self.groups.clone(), self.middle());
        let (hashes, _) = pair.as_chunks();
        let half = |groups, at: usize| {
            let hash = hashes.get(at).copied().unwrap_or_default();
            Self { groups, hash, rank: Rank::Inner, size_bytes: self.size_bytes }
        };
        [half(start..middle, 0), half(middle..end, 1)]
    }

    /// Where its halves meet, in bytes of the blob.
    pub(crate) const fn middle_byte(&self) -> u64 {
        self.middle() * GROUP_BYTES
    }

    const fn middle(&self) -> u64 {
        self.groups.start + self.groups().div_ceil(2).next_power_of_two()
    }

    /// Where all its pairs stand among those of the blob in post-order, in bytes; its own is the last.
    pub(crate) const fn pairs(&self) -> Range<u64> {
        let start = self.groups.start;
        // To the left of it are complete subtrees, one for each power of two in `start`, with a pair less than groups.
        let before = start - start.count_ones() as u64;
        before * PAIR_BYTES..(before + self.groups() - 1) * PAIR_BYTES
    }

    /// Where its own pair stands, in bytes. A group has none.
    pub(crate) const fn pair_at(&self) -> u64 {
        self.pairs().end.saturating_sub(PAIR_BYTES)
    }

    const fn meets(&self, groups: &Range<u64>) -> bool {
        self.groups.start < groups.end && groups.start < self.groups.end
    }
}

/// A way through a tree in pre-order, along all that a range meets.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    groups: Range<u64>,
    /// What is still to come, the next one last.
    ahead: Vec<Subtree>,
}

impl Walk {
    /// Through `range` of a blob's bytes, which begins and ends with groups.
    pub(crate) fn new(root: Subtree, range: &Range<u64>) -> Self {
        let groups = range.start / GROUP_BYTES..range.end.div_ceil(GROUP_BYTES);
        Self { groups, ahead: vec![root] }
    }

    /// Goes on with the halves of what came last.
    pub(crate) fn enter(&mut self, halves: [Subtree; 2]) {
        let met = halves.into_iter().rev().filter(|half| half.meets(&self.groups));
        self.ahead.extend(met);
    }

    /// Bytes in which so many groups come, or all there are, with the pairs before and between them; `next` is ahead of all.
    pub(crate) fn encoded_bytes(mut self, next: Option<Subtree>, groups: usize) -> usize {
        self.ahead.extend(next);
        let (mut bytes, mut left) = (0, groups);
        while left > 0
            && let Some(subtree) = self.next()
        {
            bytes += subtree.encoded_bytes();
            if subtree.is_group() {
                left -= 1;
            } else {
                // Where things stand depends on no hash.
                self.enter(subtree.halves(&[0; PAIR_BYTES as usize]));
            }
        }
        bytes
    }

    /// Goes no further.
    pub(crate) fn end(&mut self) {
        self.ahead.clear();
    }
}

impl Iterator for Walk {
    type Item = Subtree;

    /// A group, or a subtree of which [`Walk::enter`] is to be told the halves.
    fn next(&mut self) -> Option<Subtree> {
        self.ahead.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranges::GROUP;
    use bao_tree::io::round_up_to_chunks;
    use bao_tree::io::sync::truncate_ranges;
    use bao_tree::iter::BaoChunk;
    use bao_tree::{BaoTree, ByteRanges};
    use proptest::prelude::*;

    /// A blob of so many groups, the last of which is not whole.
    fn sample(groups: u64) -> (Digest32, Vec<u8>) {
        let mut bytes = vec![0; (groups * GROUP_BYTES) as usize - 77];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        (Digest32::from_bytes(blake3::hash(&bytes).into()), bytes)
    }

    /// A pair that makes the hash of a subtree, of the bytes of its halves.
    fn pair(of: &Subtree, blob: &[u8]) -> Pair {
        let middle = of.middle_byte();
        let halves = [of.bytes().start..middle, middle..of.bytes().end].map(|range| {
            let mut hasher = Hasher::new();
            hasher.set_input_offset(range.start);
            hasher.update(&blob[range.start as usize..range.end as usize]).finalize_non_root()
        });
        halves.concat().try_into().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_range_meets_what_it_meets_in_bao_tree(groups in 1..150u64, ends in any::<[u64; 2]>()) {
            let (blake3, blob) = sample(groups);
            let size = blob.len() as u64;
            let [first, last] = ends.map(|end| end % groups);
            let range = first.min(last) * GROUP_BYTES..size.min((first.max(last) + 1) * GROUP_BYTES);
            let tree = BaoTree::new(size, GROUP);
            let chunks = round_up_to_chunks(&ByteRanges::from(range.clone()));
            let mut walk = Walk::new(Subtree::root(&blake3, size), &range);
            for expected in tree.ranges_pre_order_chunks_iter_ref(truncate_ranges(&chunks, size), 0) {
                let found = walk.next().unwrap();
                let bytes = found.bytes();
                prop_assert!(found.is_made_of(&blob[bytes.start as usize..bytes.end as usize]));
                match expected {
                    BaoChunk::Parent { node, .. } => {
                        prop_assert_eq!(found.pair_at() / PAIR_BYTES, tree.post_order_offset(node).unwrap().value());
                        prop_assert_eq!(found.middle_byte(), node.mid().to_bytes());
                        let mut pair = pair(&found, &blob);
                        walk.enter(found.split(&pair).unwrap());
                        pair[0] ^= 1;
                        prop_assert_eq!(found.split(&pair), None);
                    }
                    BaoChunk::Leaf { start_chunk, size, .. } => {
                        let start = start_chunk.to_bytes();
                        prop_assert!(found.is_group());
                        prop_assert_eq!(bytes, start..start + size as u64);
                    }
                }
            }
            prop_assert_eq!(walk.next(), None);
        }
    }
}
