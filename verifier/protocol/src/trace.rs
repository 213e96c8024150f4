//! The trace of an execution: a Merkle root over the states of every layer at every position.
//!
//! It is a pure function of model, definitions, request and tokens, so two honest parties always get the
//! same root, and nobody gets it without doing the work.

use assay_manifest::{Digest32, merkle};

/// What an execution leaves behind at one position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionState {
    /// Index in the sequence, prompt included.
    pub position: u32,
    /// The token at this position.
    pub token: u32,
    /// [`layers_root`] of the position; none for the last token, which has no forward pass (clause J19).
    pub layers_root: Option<Digest32>,
    /// BLAKE3 of the little-endian f32 logits, where the output head ran: the last prompt position and
    /// every generated one that has a successor.
    pub logits_hash: Option<Digest32>,
}

impl PositionState {
    /// The 72 bytes of the position's leaf: index, token, root over the layers, logits hash.
    pub fn leaf_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(72);
        bytes.extend_from_slice(&self.position.to_le_bytes());
        bytes.extend_from_slice(&self.token.to_le_bytes());
        bytes.extend_from_slice(self.layers_root.unwrap_or(Digest32::ZERO).as_bytes());
        bytes.extend_from_slice(self.logits_hash.unwrap_or(Digest32::ZERO).as_bytes());
        bytes
    }
}

/// The RFC 9162 root over the BLAKE3 hashes of the little-endian f32 residual after each layer.
pub fn layers_root(layer_hashes: &[Digest32]) -> Digest32 {
    let leaves: Vec<_> = layer_hashes.iter().map(|hash| merkle::leaf_hash(hash.as_bytes())).collect();
    merkle::root(&leaves)
}

/// Collects positions in order and yields the trace root.
#[derive(Clone, Debug, Default)]
pub struct TraceBuilder {
    leaves: Vec<Digest32>,
}

impl TraceBuilder {
    /// An empty trace.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the next position.
    pub fn push(&mut self, state: &PositionState) {
        self.leaves.push(merkle::leaf_hash(&state.leaf_bytes()));
    }

    /// Positions so far.
    pub fn len(&self) -> usize {
        self.leaves.len()
    }

    /// Whether no position was pushed.
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// The RFC 9162 root over the positions pushed so far.
    pub fn root(&self) -> Digest32 {
        merkle::root(&self.leaves)
    }

    /// The root over the first `positions`, as a rejection at that point commits to.
    pub fn root_up_to(&self, positions: usize) -> Digest32 {
        merkle::root(self.leaves.get(..positions).unwrap_or(&self.leaves))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(position: u32) -> PositionState {
        PositionState {
            position,
            token: 7,
            layers_root: Some(layers_root(&[Digest32::from_bytes([1; 32]), Digest32::from_bytes([2; 32])])),
            logits_hash: None,
        }
    }

    #[test]
    fn every_part_of_a_position_changes_the_root() {
        let root = |s: PositionState| {
            let mut trace = TraceBuilder::new();
            trace.push(&s);
            trace.root()
        };
        let base = root(state(0));
        assert_ne!(base, root(state(1)));
        assert_ne!(base, root(PositionState { token: 8, ..state(0) }));
        assert_ne!(base, root(PositionState { layers_root: None, ..state(0) }));
        assert_ne!(
            base,
            root(PositionState { logits_hash: Some(Digest32::from_bytes([3; 32])), ..state(0) })
        );
    }

    #[test]
    fn a_prefix_root_equals_the_root_of_the_prefix() {
        let mut trace = TraceBuilder::new();
        trace.push(&state(0));
        let first = trace.root();
        trace.push(&state(1));
        assert_eq!(trace.root_up_to(1), first);
        assert_ne!(trace.root(), first);
    }
}
