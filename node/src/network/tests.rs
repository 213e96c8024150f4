//! Swarms of one process that meet on loopback.

mod hostile;
mod meeting;
mod post;
mod sybils;
mod town;
