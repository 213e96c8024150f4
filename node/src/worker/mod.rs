//! The seller's side: does what the ledger asks of this node's seats.
//!
//! At every finalized block the service reads the jobs in which it has seats, derives its duties from their state
//! alone, and hands them to one compute thread and one for everything else; what comes back is a signed step for
//! the pool, or something sealed for another party. Nothing has to be remembered: a restart derives the same
//! duties again, deterministic execution gives the same commitments, and what others have handed over lies sealed
//! in the mailbox.

mod commit;
mod desk;
mod handing;
mod pace;
mod ports;
mod service;
mod state;
mod work;

pub use commit::Committed;
pub use desk::Desk;
pub use pace::reference_blocks;
pub use ports::{
    Answer, BoardError, Compute, ComputeError, JobBoard, Judge, Mailbox, MailboxError, Outcome, Served, Step,
};
pub use service::{Config, Worker};
pub use state::{Duty, Task, duties, is_overdue, referee_duty};
pub use work::{Done, Errand, Identity, Referee, Shop, WorkError};
