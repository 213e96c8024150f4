//! Perfect subtrees of a growing tree: what a store keeps so that a proof takes O(log n) of its hashes.

use super::{InclusionProof, ProofError, node_hash};
use crate::hash::Digest32;

/// Names a perfect subtree. Once its last leaf is there, its root never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subtree {
    /// It has 2^`level` leaves; of level 0 is a leaf itself.
    pub level: u8,
    /// Place among those of its level, from the left.
    pub index: u64,
}

impl Subtree {
    /// The first of its leaves, and the first after them.
    const fn leaves(self) -> (u64, u64) {
        (self.index << self.level, self.index.saturating_add(1) << self.level)
    }

    /// The subtree of `level` that begins with the leaf `first`, a multiple of 2^`level`.
    const fn beginning_with(first: u64, level: u32) -> Self {
        // A level of at most 63 fits.
        Self { level: level as u8, index: first >> level }
    }
}

/// Subtrees that the leaf at `index` completes, smallest first, with their roots. `root_of` gives the roots of
/// those that were complete before.
///
/// # Errors
/// What `root_of` answers.
pub fn completed_by<E>(
    index: u64,
    leaf: Digest32,
    mut root_of: impl FnMut(Subtree) -> Result<Digest32, E>,
) -> Result<Vec<(Subtree, Digest32)>, E> {
    let mut completed = Vec::new();
    let mut right = leaf;
    for level in 0..index.trailing_ones() {
        let own = index >> level;
        let left = root_of(Subtree { level: level as u8, index: own.saturating_sub(1) })?;
        right = node_hash(&left, &right);
        completed.push((Subtree { level: level as u8 + 1, index: own >> 1 }, right));
    }
    Ok(completed)
}

impl InclusionProof {
    /// Proves the leaf at `index` of the tree over the first `size` leaves, from the roots of subtrees that are
    /// complete in it: at most two for each level.
    ///
    /// # Errors
    /// When there is no such leaf; what `root_of` answers.
    pub fn from_subtrees<E: From<ProofError>>(
        index: u64,
        size: u64,
        mut root_of: impl FnMut(Subtree) -> Result<Digest32, E>,
    ) -> Result<Self, E> {
        if index >= size {
            return Err(ProofError::OutOfRange.into());
        }
        let mut path = Vec::new();
        let (mut first, mut end) = (0u64, size);
        // The last leaf of a tree of two or more lies right of its largest perfect subtree that is not all.
        while let Some(level) = (end - first - 1).checked_ilog2() {
            let left = Subtree::beginning_with(first, level);
            let (_, middle) = left.leaves();
            if index < middle {
                path.push(root_between(middle, end, &mut root_of)?);
                end = middle;
            } else {
                path.push(root_of(left)?);
                first = middle;
            }
        }
        path.reverse();
        Ok(Self { index, size, path })
    }
}

/// Root over the leaves from `first` to before `end`, where a tree splits at `first`: perfect subtrees from the
/// largest to the smallest, folded from the right.
fn root_between<E>(
    first: u64,
    end: u64,
    root_of: &mut impl FnMut(Subtree) -> Result<Digest32, E>,
) -> Result<Digest32, E> {
    let level = (end - first).ilog2();
    let largest = Subtree::beginning_with(first, level);
    let (_, next) = largest.leaves();
    let root = root_of(largest)?;
    if next == end {
        return Ok(root);
    }
    Ok(node_hash(&root, &root_between(next, end, root_of)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{leaf_hash, root};
    use std::collections::BTreeMap;

    /// Grows a tree and keeps its subtrees.
    fn subtrees(leaves: &[Digest32]) -> BTreeMap<Subtree, Digest32> {
        let mut known = BTreeMap::new();
        for (index, leaf) in (0u64..).zip(leaves) {
            known.insert(Subtree { level: 0, index }, *leaf);
            let completed = completed_by(index, *leaf, |subtree| known.get(&subtree).copied().ok_or(subtree));
            known.extend(completed.unwrap());
        }
        known
    }

    fn leaves(count: u64) -> Vec<Digest32> {
        (0..count).map(|n| leaf_hash(&n.to_le_bytes())).collect()
    }

    #[test]
    fn proofs_from_subtrees_equal_proofs_from_all_leaves() {
        let all = leaves(70);
        let known = subtrees(&all);
        for size in 1..=all.len() {
            for index in 0..size as u64 {
                let mut asked = 0;
                let proof = InclusionProof::from_subtrees(index, size as u64, |subtree| {
                    asked += 1;
                    known.get(&subtree).copied().ok_or(ProofError::OutOfRange)
                });
                assert_eq!(proof, InclusionProof::of(&all[..size], index), "leaf {index} of {size}");
                proof.unwrap().verify(&all[index as usize], &root(&all[..size])).unwrap();
                assert!(asked <= 2 * (size.ilog2() as usize + 1), "{asked} subtrees for a tree of {size}");
            }
        }
    }

    #[test]
    fn every_subtree_is_the_tree_over_its_leaves() {
        let all = leaves(40);
        let known = subtrees(&all);
        assert_eq!(known.len(), 40 + 20 + 10 + 5 + 2 + 1);
        for (subtree, hash) in known {
            let (first, end) = subtree.leaves();
            assert_eq!(hash, root(&all[first as usize..end as usize]));
        }
    }

    #[test]
    fn there_is_no_proof_of_a_leaf_outside() {
        let proof = InclusionProof::from_subtrees(3, 3, |_| Ok::<_, ProofError>(Digest32::ZERO));
        assert_eq!(proof, Err(ProofError::OutOfRange));
        let empty = InclusionProof::from_subtrees(0, 0, |_| Ok::<_, ProofError>(Digest32::ZERO));
        assert_eq!(empty, Err(ProofError::OutOfRange));
    }
}
