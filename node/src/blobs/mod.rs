//! Artifacts between peers: serving what this node has, and fetching what it needs.
//!
//! A fetch begins with an artifact's id and trusts nobody: the manifest must hash to the id, every range of a blob is
//! verified against the blob's hash before it is kept, and the store computes all ids anew before the artifact
//! enters. So any holder is as good as another, and ranges come from many at once. A holder whose bytes are wrong is
//! reported and asked nothing more; one that stalls, is busy or lacks a blob loses the ranges that it had to the others.
//!
//! On a stream of the protocol [`wire::protocol`] the one who opened it sends requests, a few ahead, and the other
//! answers them in their order: a short header, then the bytes. [`wire`] has both; each length is bounded before
//! anything of it is kept.
//!
//! Streams are hashed, and their bytes read from files and written, in the tasks that they belong to (module `disk`), 128 KiB at
//! a time. So memory follows from how many streams there are, and not from how long a blob is.

mod ports;
pub mod wire;
mod error;
mod config;
mod disk;
mod server;
mod plan;
mod download;
mod session;
mod worker;
mod gather;
mod fetch;

#[cfg(test)]
mod tests;

pub use config::{FetchConfig, ServeConfig, WhenFull};
pub use error::{Fault, FetchError, Missing, OpenError};
pub use fetch::{Fetch, Fetcher, NoNetwork, Progress, Stage, Want};
pub use ports::{Joined, Swarm};
pub use server::Server;
