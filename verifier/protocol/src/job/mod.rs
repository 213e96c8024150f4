//! A job's life: its state, what may happen to it, and what follows.
//!
//! [`Job::apply`] is the whole state machine. The ledger feeds it inputs and carries out the effects; it
//! decides nothing itself.

mod delivery;
mod effect;
mod input;
mod machine;
mod payout;
mod recheck;
mod seating;
mod settlement;
mod state;
mod values;
#[cfg(test)]
pub(crate) mod tests;

pub use effect::{Effect, Payee, Payment, Transition};
pub use input::{Contender, Input, Package, Refusal};
pub use machine::{Books, Context, verdict_digest};
pub use settlement::{Payments, SeatRecord, SettlementRecord, Verdict};
pub use state::{
    Challenge, Job, Need, NeedState, OpenedValue, Party, Phase, Recheck, Seat, SeatOutcome, SignedCommitment,
    Standby, Standing,
};
