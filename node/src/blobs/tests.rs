//! Nodes that serve and fetch, in one process.

mod fetching;
mod loopback;
mod serving;
pub(super) mod world;
