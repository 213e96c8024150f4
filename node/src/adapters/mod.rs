//! Implementations of the ports; none of them holds a rule of its own.

mod journal;
mod redb;

pub use journal::Journal;
pub use redb::RedbKv;
