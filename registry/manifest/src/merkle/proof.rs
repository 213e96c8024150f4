//! Inclusion and consistency proofs (RFC 9162, 2.1.3 and 2.1.4).

use super::{node_hash, root};
use crate::hash::Digest32;
use codec::{Decode, DecodeWithMemTracking, Encode};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

/// Why a proof was refused, or could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The index is not in the tree, or the old tree is larger than the new one.
    #[error("proof is about leaves outside of its tree")]
    OutOfRange,
    /// The path is too short or too long for its sizes.
    #[error("proof path has the wrong length for its tree")]
    PathLength,
    /// The path leads to another root.
    #[error("proof path leads to another root")]
    RootMismatch,
}

/// Shows that a leaf stands at `index` of the tree with `size` leaves.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InclusionProof {
    /// Position of the leaf, from 0.
    pub index: u64,
    /// Leaves of the tree.
    pub size: u64,
    /// Sibling hashes from the leaf up.
    pub path: Vec<Digest32>,
}

impl InclusionProof {
    /// Proves the leaf at `index` of the tree over `leaves`.
    ///
    /// # Errors
    /// When there is no such leaf.
    pub fn of(leaves: &[Digest32], index: u64) -> Result<Self, ProofError> {
        let size = leaves.len() as u64;
        let mut path = Vec::new();
        let mut subtree = leaves;
        let mut at = usize::try_from(index).map_err(|_| ProofError::OutOfRange)?;
        if at >= leaves.len() {
            return Err(ProofError::OutOfRange);
        }
        while let Some((left, right)) = split(subtree) {
            if at < left.len() {
                path.push(root(right));
                subtree = left;
            } else {
                path.push(root(left));
                at -= left.len();
                subtree = right;
            }
        }
        path.reverse();
        Ok(Self { index, size, path })
    }

    /// Checks that `leaf` is at the proof's index of the tree with this root (RFC 9162, 2.1.3.2).
    ///
    /// # Errors
    /// When the proof does not show it.
    pub fn verify(&self, leaf: &Digest32, root: &Digest32) -> Result<(), ProofError> {
        if self.index >= self.size {
            return Err(ProofError::OutOfRange);
        }
        let (mut node, mut last) = (self.index, self.size - 1);
        let mut hash = *leaf;
        for sibling in &self.path {
            if last == 0 {
                return Err(ProofError::PathLength);
            }
            if node & 1 == 1 || node == last {
                hash = node_hash(sibling, &hash);
                skip_left_edge(&mut node, &mut last);
            } else {
                hash = node_hash(&hash, sibling);
            }
            node >>= 1;
            last >>= 1;
        }
        conclude(last, hash == *root)
    }
}

/// Shows that the tree with `new_size` leaves begins with the tree of `old_size`.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConsistencyProof {
    /// Leaves of the old tree, at least one.
    pub old_size: u64,
    /// Leaves of the new tree.
    pub new_size: u64,
    /// Subtree roots as RFC 9162 orders them; empty when the sizes are equal.
    pub path: Vec<Digest32>,
}

impl ConsistencyProof {
    /// Proves that the tree over `leaves` begins with its first `old_size` leaves.
    ///
    /// # Errors
    /// When `old_size` is 0 or larger than the tree.
    pub fn of(leaves: &[Digest32], old_size: u64) -> Result<Self, ProofError> {
        let new_size = leaves.len() as u64;
        let mut old = usize::try_from(old_size).map_err(|_| ProofError::OutOfRange)?;
        if old == 0 || old > leaves.len() {
            return Err(ProofError::OutOfRange);
        }
        let mut path = Vec::new();
        let mut subtree = leaves;
        // The verifier knows the old root itself, unless the descent has left the tree's left edge.
        let mut on_left_edge = true;
        while old < subtree.len() {
            let Some((left, right)) = split(subtree) else { break };
            if old <= left.len() {
                path.push(root(right));
                subtree = left;
            } else {
                path.push(root(left));
                old -= left.len();
                subtree = right;
                on_left_edge = false;
            }
        }
        if !on_left_edge {
            path.push(root(subtree));
        }
        path.reverse();
        Ok(Self { old_size, new_size, path })
    }

    /// Checks that the tree with `new_root` is an extension of that with `old_root` (RFC 9162, 2.1.4.2).
    ///
    /// # Errors
    /// When the proof does not show it.
    pub fn verify(&self, old_root: &Digest32, new_root: &Digest32) -> Result<(), ProofError> {
        if self.old_size == 0 || self.old_size > self.new_size {
            return Err(ProofError::OutOfRange);
        }
        if self.old_size == self.new_size {
            return conclude(self.path.len() as u64, old_root == new_root);
        }
        // An old tree that is perfect is a node of the new one, and its root starts the path.
        let implied = self.old_size.is_power_of_two().then_some(old_root);
        let mut path = implied.into_iter().chain(&self.path);
        let (mut node, mut last) = (self.old_size - 1, self.new_size - 1);
        let levels = node.trailing_ones();
        node >>= levels;
        last >>= levels;
        let first = *path.next().ok_or(ProofError::PathLength)?;
        let (mut old_hash, mut new_hash) = (first, first);
        for sibling in path {
            if last == 0 {
                return Err(ProofError::PathLength);
            }
            if node & 1 == 1 || node == last {
                old_hash = node_hash(sibling, &old_hash);
                new_hash = node_hash(sibling, &new_hash);
                skip_left_edge(&mut node, &mut last);
            } else {
                new_hash = node_hash(&new_hash, sibling);
            }
            node >>= 1;
            last >>= 1;
        }
        conclude(last, old_hash == *old_root && new_hash == *new_root)
    }
}

/// The two subtrees of a tree, the left one the largest perfect tree that is not all; none for a leaf.
fn split(leaves: &[Digest32]) -> Option<(&[Digest32], &[Digest32])> {
    let last = leaves.len().checked_sub(1).filter(|last| *last > 0)?;
    leaves.split_at_checked(1 << last.ilog2())
}

/// A node at the right end without a left sibling on its level stands for its parent, up to where it has one.
fn skip_left_edge(node: &mut u64, last: &mut u64) {
    while *node & 1 == 0 && *node != 0 {
        *node >>= 1;
        *last >>= 1;
    }
}

fn conclude(levels_left: u64, roots_match: bool) -> Result<(), ProofError> {
    match (levels_left, roots_match) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::RootMismatch),
        _ => Err(ProofError::PathLength),
    }
}
