//! A job's life: its state, what may happen to it, and what follows.
//!
//! [`Job::apply`] is the whole state machine. The ledger feeds it inputs and carries out the effects; it
//! decides nothing itself.

mod effect;
mod input;
mod machine;
mod settlement;
mod state;
#[cfg(test)]
pub(crate) mod tests;

pub use effect::{Effect, Payee, Payment, Transition};
pub use input::{Contender, Input, Refusal};
pub use machine::{Context, verdict_digest};
pub use settlement::{Payments, SeatRecord, SettlementRecord, Verdict};
pub use state::{ClaimState, Job, OpenedValue, Phase, Seat, SeatOutcome, SignedCommitment, Standby};
