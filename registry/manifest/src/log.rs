//! The transparency log's entries: what is appended, in frozen bytes.

/// Appends entries to the one log of the ledger; pallets declare that they need it.
pub trait LogAppend {
    /// Appends an entry's canonical bytes and returns its index.
    fn append(leaf: &[u8]) -> u64;
}
