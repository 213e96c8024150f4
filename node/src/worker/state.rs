//! What a party owes a job right now: a pure reading of the job's state.
//!
//! Nothing is remembered between blocks. After a restart the same reading gives the same duties, and
//! because execution is deterministic, redoing one gives the same commitment.

use assay_protocol::job::{Job, NeedState, Party, Phase, Seat, SeatOutcome};
use assay_protocol::party::{AccountBytes, Role};

use super::ports::Judge;

/// One thing to do for one seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Check the input and accept, or decline.
    Accept,
    /// Execute and commit.
    Execute,
    /// See that a verifier has what it needs; ask for it, or decline, before it is too late.
    Fetch,
    /// Re-execute the claimed answer and commit.
    Verify,
    /// Open the seat's value for everybody.
    Reveal,
    /// Seal the work to another seat of the job.
    Hand {
        /// Its index.
        seat: u8,
    },
    /// Seal the work to a validator that has to judge it.
    Brief {
        /// Which.
        judge: Judge,
    },
    /// Seal to a party that asked on the ledger, and post the package there.
    Post {
        /// For whom.
        party: Party,
    },
    /// Re-execute as the referee and decide.
    Referee,
}

impl Task {
    /// Whether the ledger lets the seat decline instead.
    pub const fn can_decline(self) -> bool {
        matches!(self, Self::Accept | Self::Fetch | Self::Verify)
    }

    /// Whether it runs the model.
    pub const fn computes(self) -> bool {
        matches!(self, Self::Execute | Self::Verify | Self::Referee)
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

/// Duties of `accounts` in `job`; `judges` are the validators, to whom disputed work is sealed.
pub fn duties(job: &Job, accounts: &[AccountBytes], judges: &[Judge]) -> Vec<Duty> {
    let own = |seat: &&Seat| accounts.contains(&seat.provider);
    let duty = |task, seat: &Seat| Duty { task, seat: Some(seat.clone()) };
    let mut all = Vec::new();
    for seat in job.round_seats().filter(own) {
        all.extend(seat_tasks(job, seat).iter().map(|task| duty(*task, seat)));
    }
    if let Some(executor) = job.answerer().filter(own) {
        all.extend(owed_by_executor(job).into_iter().map(|task| duty(task, executor)));
    }
    if job.is_contested() {
        for seat in job.seats.iter().filter(own).filter(|seat| holds_the_work(seat)) {
            all.extend(judges.iter().map(|judge| duty(Task::Brief { judge: *judge }, seat)));
        }
    }
    all
}

/// The referee's duty, if the job waits for one.
pub fn referee_duty(job: &Job) -> Option<Duty> {
    job.is_contested().then_some(Duty { task: Task::Referee, seat: None })
}

/// Whether the ledger should have acted on the job by `height` and did not: its queue was full.
pub fn is_overdue(job: &Job, height: u32) -> bool {
    job.due().is_some_and(|due| due.get() <= height)
}

fn seat_tasks(job: &Job, seat: &Seat) -> &'static [Task] {
    match (job.phase, seat.role, seat.outcome) {
        (Phase::Assigned { .. }, Role::Executor, SeatOutcome::Pending) => &[Task::Accept],
        (Phase::Accepted { .. }, Role::Executor, SeatOutcome::Accepted) => &[Task::Execute],
        (Phase::Verifying | Phase::Rechecking { .. }, role, SeatOutcome::Pending) if role.verifies() => {
            &[Task::Fetch, Task::Verify]
        }
        (
            Phase::Revealing { .. } | Phase::Disputed { .. } | Phase::RecheckRevealing { .. },
            _,
            SeatOutcome::Committed,
        ) if seat.value.is_none() => &[Task::Reveal],
        _ => &[],
    }
}

/// Whom the executor of the claimed answer owes data: verifiers at work, and whoever asked on the ledger.
fn owed_by_executor(job: &Job) -> Vec<Task> {
    let is_seated = matches!(job.phase, Phase::Verifying | Phase::Rechecking { .. });
    let works = |seat: &&Seat| seat.role.verifies() && seat.outcome == SeatOutcome::Pending;
    let verifiers = job.round_seats().filter(|_| is_seated).filter(works);
    let asked = job.needs.iter().filter(|need| matches!(need.state, NeedState::Open { .. }));
    let asked = asked.map(|need| need.party).filter(|party| answers_to(job, *party));
    verifiers
        .map(|seat| Task::Hand { seat: seat.index })
        .chain(asked.map(|party| Task::Post { party }))
        .collect()
}

/// The executor answers to everybody but itself, to whom the requester does.
fn answers_to(job: &Job, party: Party) -> bool {
    match party {
        Party::Requester => true,
        Party::Seat(index) => job.seats.iter().any(|seat| seat.index == index && seat.role.verifies()),
    }
}

/// A seat that has committed has read the answer; an executor has it from then on, too.
fn holds_the_work(seat: &Seat) -> bool {
    seat.commitment.is_some()
}
