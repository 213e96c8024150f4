//! The trace of an execution: a Merkle root over the states of every layer at every position.
//!
//! It is a pure function of model, definitions, request and tokens, so two honest parties always get the
//! same root, and nobody gets it without doing the work.

use assay_manifest::merkle::{InclusionProof, ProofError};
use assay_manifest::{Digest32, merkle};
use serde::{Deserialize, Serialize};

/// What an execution leaves behind at one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
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
    merkle::root(&layer_leaves(layer_hashes))
}

fn layer_leaves(layer_hashes: &[Digest32]) -> Vec<Digest32> {
    layer_hashes.iter().map(|hash| merkle::leaf_hash(hash.as_bytes())).collect()
}

/// One position of a trace, with the proof that it is there; anybody can check it against the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenedPosition {
    /// The position.
    pub state: PositionState,
    /// Its place among the positions of the sequence.
    pub proof: InclusionProof,
}

impl OpenedPosition {
    /// Checks that the position is where it says in the trace with this root.
    ///
    /// # Errors
    /// When the proof does not show it.
    pub fn verify(&self, trace_root: &Digest32) -> Result<(), ProofError> {
        if self.proof.index != u64::from(self.state.position) {
            return Err(ProofError::OutOfRange);
        }
        self.proof.verify(&merkle::leaf_hash(&self.state.leaf_bytes()), trace_root)
    }
}

/// The residual's hash after one layer of a position, with the proof that it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenedLayer {
    /// BLAKE3 of the little-endian f32 residual after the layer.
    pub hash: Digest32,
    /// Its place among the layers of the position.
    pub proof: InclusionProof,
}

impl OpenedLayer {
    /// Opens a layer of a position, counted from 0.
    ///
    /// # Errors
    /// When there is no such layer.
    pub fn of(layer_hashes: &[Digest32], layer: u32) -> Result<Self, ProofError> {
        let index = usize::try_from(layer).map_err(|_| ProofError::OutOfRange)?;
        let hash = *layer_hashes.get(index).ok_or(ProofError::OutOfRange)?;
        let proof = InclusionProof::of(&layer_leaves(layer_hashes), u64::from(layer))?;
        Ok(Self { hash, proof })
    }

    /// Checks that the layer is one of this position.
    ///
    /// # Errors
    /// When the proof does not show it.
    pub fn verify(&self, state: &PositionState) -> Result<(), ProofError> {
        let root = state.layers_root.ok_or(ProofError::OutOfRange)?;
        self.proof.verify(&merkle::leaf_hash(self.hash.as_bytes()), &root)
    }
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

    /// Opens a position that was pushed.
    ///
    /// # Errors
    /// When there is no such position.
    pub fn open(&self, state: PositionState) -> Result<OpenedPosition, ProofError> {
        let proof = InclusionProof::of(&self.leaves, u64::from(state.position))?;
        Ok(OpenedPosition { state, proof })
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
    fn a_position_opens_against_its_root_and_nothing_else_does() {
        let mut trace = TraceBuilder::new();
        (0..11).for_each(|position| trace.push(&state(position)));
        for position in 0..11 {
            let opened = trace.open(state(position)).unwrap();
            opened.verify(&trace.root()).unwrap();
            let text = serde_json::to_string(&opened).unwrap();
            assert!(text.len() < 1024, "{} bytes", text.len());
            assert_eq!(serde_json::from_str::<OpenedPosition>(&text).unwrap(), opened);
            let other =
                OpenedPosition { state: PositionState { token: 8, ..opened.state }, ..opened.clone() };
            assert_eq!(other.verify(&trace.root()), Err(ProofError::RootMismatch));
            let moved = PositionState { position: (position + 1) % 11, ..opened.state };
            let moved = OpenedPosition { state: moved, ..opened.clone() };
            assert_eq!(moved.verify(&trace.root()), Err(ProofError::OutOfRange));
        }
        assert_eq!(trace.open(state(11)), Err(ProofError::OutOfRange));
    }

    #[test]
    fn a_layer_opens_against_its_position_and_nothing_else_does() {
        let hashes: Vec<_> = (0..5).map(|byte| Digest32::from_bytes([byte; 32])).collect();
        let position = PositionState { layers_root: Some(layers_root(&hashes)), ..state(0) };
        for layer in 0..5 {
            let opened = OpenedLayer::of(&hashes, layer).unwrap();
            opened.verify(&position).unwrap();
            assert_eq!(opened.verify(&state(0)), Err(ProofError::RootMismatch));
            let last = PositionState { layers_root: None, ..position };
            assert_eq!(opened.verify(&last), Err(ProofError::OutOfRange));
        }
        assert_eq!(OpenedLayer::of(&hashes, 5), Err(ProofError::OutOfRange));
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
