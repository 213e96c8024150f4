//! Stake, offers and keys of the sellers of compute.
