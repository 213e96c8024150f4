//! The assay node: the binary and its services.
