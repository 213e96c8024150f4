//! Transactions: what enters the pool here is told to others, and what others say is handed to the pool.

mod early;
mod own;
mod service;

pub use service::Transactions;
