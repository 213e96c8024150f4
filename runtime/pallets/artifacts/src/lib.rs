//! Registers models and datasets, and the lineage edges between them.
