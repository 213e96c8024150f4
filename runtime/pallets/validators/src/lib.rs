//! The validator set, its randomness beacon and its hand-over hash.
