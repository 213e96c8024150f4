//! The seller's side: does what the ledger asks of this node's seats.
//!
//! At every finalized block the service reads the open jobs, derives its duties from their state alone,
//! and hands them to one compute thread; what comes back is a signed step for the pool. Nothing has to be
//! remembered: a restart derives the same duties again, and deterministic execution gives the same
//! commitments.

mod commit;
mod ports;
mod service;
mod state;
mod work;

pub use ports::{
    Answer, BoardError, Compute, ComputeError, Delivery, DeliveryError, Envelope, Finished, Handed, JobBoard,
    Outcome, Served, Step,
};
pub use service::{Config, Worker};
pub use work::{Identity, Referee, Shop, WorkError};
