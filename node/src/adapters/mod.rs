//! Implementations of the ports; none of them holds a rule of its own.

mod artifacts;
mod board;
mod candidates;
mod jobs;
mod journal;
mod ledger;
mod market;
mod model_file;
mod models;
mod peers;
mod pool;
mod receipts;
mod redb;
mod sled;
mod swarm;

pub use board::{Board, step_call};
pub use candidates::CandidateFile;
pub use jobs::Orders;
pub use journal::{Journal, JournalError};
pub use ledger::open_ledger;
pub use market::Market;
pub use models::{Models, Workplace};
pub use peers::Peers;
pub use pool::PoolSource;
pub use redb::RedbKv;
pub use sled::SledKv;
pub use swarm::Swarm;
