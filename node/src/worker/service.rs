//! The worker's loop and its two threads.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use assay_manifest::JobId;
use assay_protocol::job::Job;
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::ports::{BoardError, JobBoard, Step};
use super::state::{Duty, Task, duties, is_overdue, referee_duty};
use super::work::{Shop, WorkError};
use crate::supervisor::told_to_stop;

/// How the worker behaves.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Blocks after which a duty that was performed, and is one still, is performed again.
    pub retry_blocks: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { retry_blocks: 4 }
    }
}

/// What a duty is told apart by: job, round, seat and task.
type DutyKey = (JobId, u8, Option<u8>, Task);

/// A duty on its way to a thread, with the height at which it was read.
struct Assignment {
    key: DutyKey,
    job: Job,
    duty: Duty,
    height: u32,
}

/// What came of it.
struct Performed {
    lane: Lane,
    key: DutyKey,
    result: Result<Option<Step>, WorkError>,
}

/// Which thread performs a duty: what takes a moment must not wait behind an execution of minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// Accepting, and opening a value that is remembered.
    Quick,
    /// Everything that runs a model: one model, one at a time.
    Compute,
}

const LANES: [Lane; 2] = [Lane::Quick, Lane::Compute];

/// A duty that was handed to a thread.
enum Taken {
    /// It is being performed.
    Working,
    /// It was performed; if it is a duty still, it is again from this height on.
    Done { again_at: u32 },
}

/// The service; [`Worker::run`] returns when its board ends or it is told to stop.
pub struct Worker<B> {
    config: Config,
    board: B,
    shop: Arc<Shop>,
    height: u32,
    /// The duties of the last block, the most urgent first. A thread that becomes free takes from here, so
    /// nothing waits that the ledger no longer asks for.
    agenda: Vec<(Job, Duty)>,
    taken: HashMap<DutyKey, Taken>,
    /// The threads, each with nothing or one duty at hand.
    threads: Vec<(Lane, mpsc::Sender<Assignment>)>,
    busy: Vec<Lane>,
}

impl<B: JobBoard> Worker<B> {
    /// A worker for the seats and the referee of `shop`.
    pub fn new(config: Config, board: B, shop: Shop) -> Self {
        let (shop, height) = (Arc::new(shop), 0);
        let (agenda, taken, threads, busy) = Default::default();
        Self { config, board, shop, height, agenda, taken, threads, busy }
    }

    /// Works until `stop` turns true.
    ///
    /// # Errors
    /// [`BoardError`] when the ledger is gone, or a thread cannot be started or has died.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), BoardError> {
        let mut heights = self.board.heights();
        let mut results = self.start_threads()?;
        loop {
            tokio::select! {
                () = told_to_stop(&mut stop) => return Ok(()),
                changed = heights.changed() => {
                    if changed.is_err() {
                        // When the node stops, whoever tells the heights may end first: that is no failure.
                        let stopping = *stop.borrow();
                        let gone = || failed("following the ledger", "it has stopped");
                        return stopping.then_some(()).ok_or_else(gone);
                    }
                    self.height = *heights.borrow_and_update();
                    self.read_duties().await;
                }
                performed = results.recv() => {
                    let gone = || failed("performing duties", "the threads have stopped");
                    self.hand_in(performed.ok_or_else(gone)?).await;
                }
            }
            self.assign();
        }
    }

    fn start_threads(&mut self) -> Result<mpsc::Receiver<Performed>, BoardError> {
        let (finished, results) = mpsc::channel(LANES.len());
        for lane in LANES {
            let (sender, queue) = mpsc::channel(1);
            let (shop, finished) = (Arc::clone(&self.shop), finished.clone());
            std::thread::Builder::new()
                .name(format!("worker-{lane:?}").to_lowercase())
                .spawn(move || perform_all(&shop, lane, queue, &finished))
                .map_err(|error| failed("starting a worker's thread", error))?;
            self.threads.push((lane, sender));
        }
        Ok(results)
    }

    async fn read_duties(&mut self) {
        let jobs = match self.board.open_jobs().await {
            Ok(jobs) => jobs,
            Err(error) => return warn!(%error, "reading the open jobs"),
        };
        let open: HashSet<_> = jobs.iter().map(|job| job.id).collect();
        self.taken.retain(|(job, ..), _| open.contains(job));
        self.agenda.clear();
        for job in jobs {
            if is_overdue(&job, self.height) {
                let poked = self.board.submit(Step::Poke { job: job.id }).await;
                debug!(job = %job.id, ?poked, "poked an overdue job");
            }
            let duties = self.duties_of(&job);
            self.agenda.extend(duties.into_iter().map(|duty| (job.clone(), duty)));
        }
        self.agenda.sort_by_key(|(job, _)| job.due());
    }

    fn duties_of(&self, job: &Job) -> Vec<Duty> {
        let mut all = duties(job, &self.shop.accounts());
        if self.shop.referees() {
            all.extend(referee_duty(job));
        }
        all
    }

    /// Gives every free thread the most urgent duty that is its own.
    fn assign(&mut self) {
        for (lane, thread) in &self.threads {
            if self.busy.contains(lane) {
                continue;
            }
            let own = |(job, duty): &&(Job, Duty)| self.lane(job, duty) == *lane && self.is_open(job, duty);
            let Some((job, duty)) = self.agenda.iter().find(own).cloned() else { continue };
            let key = key(&job, &duty);
            let assignment = Assignment { key, job, duty, height: self.height };
            // A free thread has room for one; a dead one shows when its results are awaited.
            if thread.try_send(assignment).is_ok() {
                self.taken.insert(key, Taken::Working);
                self.busy.push(*lane);
            }
        }
    }

    fn lane(&self, job: &Job, duty: &Duty) -> Lane {
        match (duty.task, &duty.seat) {
            (Task::Accept, _) => Lane::Quick,
            (Task::Reveal, Some(seat)) if self.shop.remembers(job, seat) => Lane::Quick,
            _ => Lane::Compute,
        }
    }

    fn is_open(&self, job: &Job, duty: &Duty) -> bool {
        match self.taken.get(&key(job, duty)) {
            None => true,
            Some(Taken::Working) => false,
            Some(Taken::Done { again_at }) => *again_at <= self.height,
        }
    }

    async fn hand_in(&mut self, Performed { lane, key, result }: Performed) {
        self.busy.retain(|busy| *busy != lane);
        let (job, task) = (key.0, key.3);
        let mut wait = self.config.retry_blocks;
        match result {
            Ok(Some(step)) => match self.board.submit(step).await {
                Ok(()) => debug!(%job, ?task, "step submitted"),
                Err(BoardError::Stale) => debug!(%job, ?task, "step was not needed"),
                Err(error) => warn!(%job, ?task, %error, "submitting a step"),
            },
            // Something has not been delivered yet: try at the next block.
            Ok(None) => wait = 1,
            Err(error) => warn!(%job, ?task, %error, "performing a duty"),
        }
        self.taken.insert(key, Taken::Done { again_at: self.height.saturating_add(wait) });
    }
}

fn key(job: &Job, duty: &Duty) -> DutyKey {
    (job.id, job.round, duty.seat.as_ref().map(|seat| seat.index), duty.task)
}

/// Performs duties one after the other until nobody can send any.
fn perform_all(
    shop: &Shop,
    lane: Lane,
    mut queue: mpsc::Receiver<Assignment>,
    finished: &mpsc::Sender<Performed>,
) {
    while let Some(Assignment { key, job, duty, height }) = queue.blocking_recv() {
        // A stranger's prompt must not take the node down, whatever it finds in a model or its template.
        let performed = catch_unwind(AssertUnwindSafe(|| shop.perform(&job, &duty, height)));
        let result = performed.unwrap_or(Err(WorkError::Panicked));
        let result = result.or_else(|error| shop.give_up(&job, &duty, error));
        if finished.blocking_send(Performed { lane, key, result }).is_err() {
            return;
        }
    }
}

fn failed(what: &'static str, cause: impl std::fmt::Display) -> BoardError {
    BoardError::Failed { what, cause: cause.to_string() }
}

#[cfg(test)]
mod tests;
