//! Shared by the tests of every store: the contract of [`Kv`](super::Kv), a store that fails when told to, and one
//! that remembers what was written.

mod conformance;
mod failing;
mod recording;

pub use conformance::{Violation, conformance};
pub use failing::FailingKv;
pub use recording::RecordingKv;
