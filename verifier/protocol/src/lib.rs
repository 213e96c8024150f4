//! The job protocol as one pure state machine: phases, commitments, draw, settlement and receipts.
//!
//! The ledger, the worker, a light client and the tests run these same functions; the clauses that the
//! code cites (`J1`, `J2`, …) are those of `docs/PROTOCOL.md`. Nothing here reads a clock, a file or a
//! random source, and nothing panics.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod units;
pub mod party;
pub mod params;
pub mod request;
pub mod record;
pub mod commitment;
pub mod trace;
pub mod signature;
pub mod seal;
pub mod draw;
pub mod fees;
pub mod job;
pub mod certificate;
pub mod last_commit;
pub mod vote;
pub mod announcement;
pub mod header;
pub mod receipt;
mod hex_bytes;
#[cfg(test)]
mod frozen;
