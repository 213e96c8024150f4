//! What a party owes a job right now: a pure reading of the job's state.
//!
//! Nothing is remembered between blocks. After a restart the same reading gives the same duties, and
//! because execution is deterministic, redoing one gives the same commitment.

use assay_protocol::job::{Job, Phase, Seat, SeatOutcome};
use assay_protocol::party::{AccountBytes, Role};

/// One thing to do for one seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Check the input and accept, or decline.
    Accept,
    /// Execute and commit.
    Execute,
    /// Re-execute the claimed answer and commit.
    Verify,
    /// Open the seat's value for everybody.
    Reveal,
    /// Re-execute as the referee and decide.
    Referee,
}

impl Task {
    /// Whether the ledger lets the seat decline instead.
    pub const fn can_decline(self) -> bool {
        matches!(self, Self::Accept | Self::Verify)
    }
}

/// A task of a seat; the referee's has no seat of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duty {
    /// What to do.
    pub task: Task,
    /// For whom.
    pub seat: Option<Seat>,
}

/// Duties of `accounts` in `job`.
pub fn duties(job: &Job, accounts: &[AccountBytes]) -> Vec<Duty> {
    job.round_seats()
        .filter(|seat| accounts.contains(&seat.provider))
        .filter_map(|seat| seat_task(job, seat).map(|task| Duty { task, seat: Some(seat.clone()) }))
        .collect()
}

/// The referee's duty, if the job waits for one.
pub fn referee_duty(job: &Job) -> Option<Duty> {
    job.is_contested().then_some(Duty { task: Task::Referee, seat: None })
}

/// Whether the ledger should have acted on the job by `height` and did not: its queue was full.
pub fn is_overdue(job: &Job, height: u32) -> bool {
    job.due().is_some_and(|due| due.get() <= height)
}

fn seat_task(job: &Job, seat: &Seat) -> Option<Task> {
    match (job.phase, seat.role, seat.outcome) {
        (Phase::Assigned { .. }, Role::Executor, SeatOutcome::Pending) => Some(Task::Accept),
        (Phase::Accepted { .. }, Role::Executor, SeatOutcome::Accepted) => Some(Task::Execute),
        (Phase::Verifying | Phase::Rechecking { .. }, Role::Verifier, SeatOutcome::Pending) => {
            Some(Task::Verify)
        }
        (
            Phase::Revealing { .. } | Phase::Disputed { .. } | Phase::RecheckRevealing { .. },
            _,
            SeatOutcome::Committed,
        ) if seat.value.is_none() => Some(Task::Reveal),
        _ => None,
    }
}
