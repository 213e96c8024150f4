//! Implementations of the ports; none of them holds a rule of its own.

mod board;
mod journal;
mod pool;
mod redb;

pub use board::Board;
pub use journal::Journal;
pub use pool::PoolSource;
pub use redb::RedbKv;
