//! What a thing is: ids, Merkle trees, manifests, lineage edges and log proofs.
