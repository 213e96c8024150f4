//! RFC 9162 Merkle trees over SHA-256: roots, a growing tree's frontier, inclusion and consistency proofs.
//!
//! Everything takes and gives *leaf hashes*; [`leaf_hash`] makes one from an entry's bytes.

mod frontier;
mod nodes;
mod proof;

#[cfg(test)]
mod tests;

pub use frontier::Frontier;
pub use nodes::{Subtree, completed_by};
pub use proof::{ConsistencyProof, InclusionProof, ProofError};

use crate::hash::{Digest32, sha256};
use sha2::{Digest as _, Sha256};

/// Hash of an entry: `SHA-256(0x00 ‖ entry)` (RFC 9162, 2.1.1).
pub fn leaf_hash(entry: &[u8]) -> Digest32 {
    Digest32::from_bytes(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
}

/// Hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)` (RFC 9162, 2.1.1).
pub fn node_hash(left: &Digest32, right: &Digest32) -> Digest32 {
    let hash = Sha256::new().chain_update([1]).chain_update(left.as_bytes()).chain_update(right.as_bytes());
    Digest32::from_bytes(hash.finalize().into())
}

/// Root of the tree over these leaf hashes; of no leaves, SHA-256 of nothing.
pub fn root(leaves: &[Digest32]) -> Digest32 {
    let mut frontier = Frontier::new();
    for leaf in leaves {
        frontier.append(*leaf);
    }
    frontier.root()
}

/// Root of the tree without leaves.
fn empty_root() -> Digest32 {
    sha256(b"")
}
