//! Trains the demo model from a seed.
