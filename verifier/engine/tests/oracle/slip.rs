//! Mistakes that an implementation could make; the oracle makes one on demand, to show that it would be seen.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slip {
    /// Rotates the pairs of the other convention.
    RopePairing,
    /// Rotates by the frequencies of base 10,000.
    RopeBase,
    /// Leaves the frequencies as they were before they were stretched.
    RopeScaling,
    /// Takes the other tensor of factors, or none where there is one.
    RopeFactors,
    /// Leaves queries and keys as long as they were.
    RopeMagnitude,
    /// Rotates in windowed layers as in the others.
    LocalBase,
    /// Takes the embedding as it stands in the file.
    EmbeddingScale,
    /// Leaves out the norms of queries and keys.
    QkNorm,
    /// Leaves out the norms of what attention and feed-forward return.
    PostNorm,
    /// Takes SiLU for GELU, or GELU for SiLU.
    Activation,
    /// Sees everything in every layer.
    Window,
    /// Sees one position more than the window holds.
    WindowEdge,
    /// Begins a period of layers with the one that sees everything.
    LayerPattern,
    /// Leaves out the biases of queries, keys and values.
    Bias,
    /// Does not divide the scores by the root of the head's size.
    AttentionScale,
    /// Deals the key-value heads out in turn.
    HeadGroups,
    /// Takes the second half of the fused matrix for the gate.
    GateOrder,
    /// Weighs the chosen experts by their share among all.
    ExpertShares,
    /// Uses one expert less.
    ExpertCount,
}
