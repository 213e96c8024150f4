//! The worker's loop and its two threads.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use assay_manifest::JobId;
use assay_protocol::job::{Job, NeedState, Party};
use assay_protocol::params::Params;
use assay_protocol::signature::SeatStep;
use assay_protocol::units::Tokens;
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::pace::{Pace, reference_blocks};
use super::ports::{BoardError, JobBoard, Judge, Step};
use super::state::{Duty, Task, duties, is_overdue, referee_duty};
use super::work::{Done, Errand, LATE_BLOCKS, Shop, WorkError};
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

/// A duty on its way to a thread.
struct Assignment {
    key: DutyKey,
    errand: Errand,
}

/// What came of it.
struct Performed {
    lane: Lane,
    key: DutyKey,
    /// What the reference machine needs for what was computed, and when it was begun.
    reference_blocks: Option<u32>,
    begun_at: u32,
    result: Result<Done, WorkError>,
}

/// Which thread performs a duty: what takes a moment must not wait behind an execution of minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// Accepting, handing on, and opening a value that is remembered.
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
    /// It was computed and signed; while it is a duty, the step is submitted again from this height on.
    Signed { step: Box<Step>, again_at: u32 },
    /// It lacks something: it is tried again at the next block, or when something was handed over here.
    Waiting { since: u32 },
}

/// The service; [`Worker::run`] returns when its board ends or it is told to stop.
pub struct Worker<B> {
    config: Config,
    board: B,
    shop: Arc<Shop>,
    height: u32,
    /// The duties of the last block, the most urgent first. A thread that becomes free takes from here, so
    /// nothing waits that the ledger no longer asks for.
    agenda: Vec<Errand>,
    judges: Vec<Judge>,
    params: Params,
    pace: Pace,
    taken: HashMap<DutyKey, Taken>,
    /// The threads, each with nothing or one duty at hand.
    threads: Vec<(Lane, mpsc::Sender<Assignment>)>,
    busy: Vec<Lane>,
}

impl<B: JobBoard> Worker<B> {
    /// A worker for the seats and the referee of `shop`.
    pub fn new(config: Config, board: B, shop: Shop) -> Self {
        Self {
            config,
            board,
            shop: Arc::new(shop),
            height: 0,
            agenda: Vec::new(),
            judges: Vec::new(),
            params: Params::MAIN,
            pace: Pace::default(),
            taken: HashMap::new(),
            threads: Vec::new(),
            busy: Vec::new(),
        }
    }

    /// Works until `stop` turns true.
    ///
    /// # Errors
    /// [`BoardError`] when the ledger is gone, or a thread cannot be started or has died.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), BoardError> {
        let mut heights = self.board.heights();
        self.params = self.board.params().await?;
        let mut results = self.start_threads()?;
        loop {
            tokio::select! {
                () = told_to_stop(&mut stop) => return Ok(()),
                changed = heights.changed() => {
                    if changed.is_err() {
                        // The end of whoever tells the heights is what ends the node, with its own cause.
                        told_to_stop(&mut stop).await;
                        return Ok(());
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
            let (shop, params, finished) = (Arc::clone(&self.shop), self.params.clone(), finished.clone());
            std::thread::Builder::new()
                .name(format!("worker-{lane:?}").to_lowercase())
                .spawn(move || perform_all(&shop, &params, lane, queue, &finished))
                .map_err(|error| failed("starting a worker's thread", error))?;
            self.threads.push((lane, sender));
        }
        Ok(results)
    }

    async fn read_duties(&mut self) {
        if let Err(error) = self.try_read_duties().await {
            warn!(%error, "reading the jobs at hand");
        }
    }

    async fn try_read_duties(&mut self) -> Result<(), BoardError> {
        let accounts = self.shop.accounts();
        let judge = self.shop.judge();
        let jobs = match judge {
            Some(_) => self.board.at_hand_and_contested(&accounts).await?,
            None => self.board.at_hand(&accounts).await?,
        };
        let mut unjudged = Vec::new();
        if jobs.iter().any(Job::is_contested) {
            self.judges = self.board.judges().await?;
            if let Some(own) = judge {
                unjudged = self.board.unjudged(&own).await?;
            }
        }
        let open: HashSet<_> = jobs.iter().map(|job| job.id).collect();
        self.taken.retain(|(job, ..), _| open.contains(job));
        self.agenda.clear();
        for job in jobs {
            if is_overdue(&job, self.height) {
                let poked = self.board.submit(Step::Poke { job: job.id }).await;
                debug!(job = %job.id, ?poked, "poked an overdue job");
            }
            for duty in self.duties_of(&job, &unjudged) {
                let errand = self.errand(job.clone(), duty).await?;
                self.agenda.push(errand);
            }
        }
        self.agenda.sort_by_key(|errand| errand.job.due());
        self.submit_again().await;
        Ok(())
    }

    /// What was computed once is not computed again because a full pool refused it, or a block had no room.
    async fn submit_again(&mut self) {
        let mut late = Vec::new();
        for errand in &self.agenda {
            let key = key(&errand.job, &errand.duty);
            if let Some(Taken::Signed { step, again_at }) = self.taken.get(&key)
                && *again_at <= self.height
            {
                late.push((key, step.clone()));
            }
        }
        for (key, step) in late {
            let again_at = self.submit(&key, Step::clone(&step)).await;
            self.taken.insert(key, Taken::Signed { step, again_at });
        }
    }

    /// Submits a step; answers from when on it may be submitted again, if the ledger still asks for it.
    async fn submit(&self, (job, _, _, task): &DutyKey, step: Step) -> u32 {
        let blocks = match self.board.submit(step).await {
            Ok(()) => {
                debug!(%job, ?task, "step submitted");
                self.config.retry_blocks
            }
            Err(BoardError::Stale) => {
                debug!(%job, ?task, "step was not needed");
                self.config.retry_blocks
            }
            Err(error) => {
                warn!(%job, ?task, %error, "submitting a step");
                1
            }
        };
        self.height.saturating_add(blocks)
    }

    fn duties_of(&self, job: &Job, unjudged: &[JobId]) -> Vec<Duty> {
        let mut all = duties(job, &self.shop.accounts(), &self.judges);
        if unjudged.contains(&job.id) {
            all.extend(referee_duty(job));
        }
        all
    }

    async fn errand(&self, job: Job, duty: Duty) -> Result<Errand, BoardError> {
        let party = duty.seat.as_ref().map(|seat| Party::Seat(seat.index));
        let is_posted = |party: &Party| {
            job.need(*party).is_some_and(|need| matches!(need.state, NeedState::Posted { .. }))
        };
        let posted = match party.filter(|_| duty.task.can_decline()).filter(is_posted) {
            Some(party) => self.board.package(&job.id, party).await?,
            None => None,
        };
        let needs_blocks = match duty.task {
            Task::Fetch => {
                self.pace.blocks(reference_blocks(&job, duty.task, job.record.n_max, &self.params))
            }
            _ => 0,
        };
        Ok(Errand { job, duty, height: self.height, posted, needs_blocks, fits_agenda: true })
    }

    /// Gives every free thread the most urgent duty that is its own.
    fn assign(&mut self) {
        for (lane, thread) in &self.threads {
            if self.busy.contains(lane) {
                continue;
            }
            let own = |errand: &&Errand| self.lane(errand) == *lane && self.is_open(errand);
            let Some(mut errand) = self.agenda.iter().find(own).cloned() else { continue };
            errand.fits_agenda = self.fits_agenda(&errand);
            let key = key(&errand.job, &errand.duty);
            // A free thread has room for one; a dead one shows when its results are awaited.
            if thread.try_send(Assignment { key, errand }).is_ok() {
                self.taken.insert(key, Taken::Working);
                self.busy.push(*lane);
            }
        }
    }

    fn lane(&self, errand: &Errand) -> Lane {
        match (errand.duty.task, &errand.duty.seat) {
            (Task::Execute | Task::Verify | Task::Referee, _) => Lane::Compute,
            (Task::Reveal, Some(seat)) if !self.shop.remembers(&errand.job, seat) => Lane::Compute,
            _ => Lane::Quick,
        }
    }

    fn is_open(&self, errand: &Errand) -> bool {
        match self.taken.get(&key(&errand.job, &errand.duty)) {
            None => true,
            Some(Taken::Working | Taken::Signed { .. }) => false,
            Some(Taken::Done { again_at }) => *again_at <= self.height,
            Some(Taken::Waiting { since }) => *since < self.height,
        }
    }

    /// Whether a job would be executed in its window, after everything that this machine has taken on; and whether
    /// a verifier has begun, or still can.
    fn fits_agenda(&self, errand: &Errand) -> bool {
        let Errand { job, duty, .. } = errand;
        match (duty.task, &duty.seat) {
            (Task::Accept, _) => self.has_time_for(errand),
            (Task::Fetch, Some(seat)) => {
                let verify = key(job, &Duty { task: Task::Verify, seat: Some(seat.clone()) });
                let begun = matches!(
                    self.taken.get(&verify),
                    Some(Taken::Working | Taken::Done { .. } | Taken::Signed { .. })
                );
                begun || self.height.saturating_add(LATE_BLOCKS) < seat.deadline.get()
            }
            _ => true,
        }
    }

    /// A machine without other work takes on what comes: that is also how it learns how fast it is.
    fn has_time_for(&self, errand: &Errand) -> bool {
        let Errand { job, duty, .. } = errand;
        let is_ahead = |other: &&Errand| {
            let is_itself = (other.job.id, &other.duty) == (job.id, duty);
            let taken = self.taken.get(&key(&other.job, &other.duty));
            // A job that was accepted is to be executed, also before the ledger says so.
            let accepted = other.duty.task == Task::Accept && matches!(taken, Some(Taken::Done { .. }));
            !is_itself && (accepted || other.duty.task.computes())
        };
        let blocks = |errand: &Errand| {
            let (job, task) = (&errand.job, errand.duty.task);
            self.pace.blocks(reference_blocks(job, task, job.record.n_max, &self.params))
        };
        let ahead = self.agenda.iter().filter(is_ahead).map(blocks).fold(0, u32::saturating_add);
        let needed = ahead.saturating_add(blocks(errand)).saturating_add(LATE_BLOCKS);
        let window = self.params.execute_window(job.record.n_in, job.record.n_max);
        ahead == 0 || window.is_ok_and(|window| needed <= window)
    }

    async fn hand_in(&mut self, performed: Performed) {
        let Performed { lane, key, reference_blocks, begun_at, result } = performed;
        self.busy.retain(|busy| *busy != lane);
        let (job, task) = (key.0, key.3);
        if let Some(reference_blocks) = reference_blocks {
            self.pace.note(reference_blocks, self.height.saturating_sub(begun_at));
        }
        let again_at = self.height.saturating_add(self.config.retry_blocks);
        let taken = match result {
            Ok(Done::Waiting) => Taken::Waiting { since: begun_at },
            Ok(Done::Handed) => {
                self.look_again(&job);
                Taken::Done { again_at }
            }
            Ok(Done::Step(step)) => {
                let again_at = self.submit(&key, step.clone()).await;
                match task.computes() {
                    true => Taken::Signed { step: Box::new(step), again_at },
                    false => Taken::Done { again_at },
                }
            }
            Err(error) => {
                warn!(%job, ?task, %error, "performing a duty");
                Taken::Done { again_at }
            }
        };
        self.taken.insert(key, taken);
    }

    /// What was handed over here may be what other seats of this node have waited for.
    fn look_again(&mut self, job: &JobId) {
        self.taken.retain(|(of, ..), taken| of != job || !matches!(taken, Taken::Waiting { .. }));
    }
}

fn key(job: &Job, duty: &Duty) -> DutyKey {
    (job.id, job.round, duty.seat.as_ref().map(|seat| seat.index), duty.task)
}

/// Performs duties one after the other until nobody can send any.
fn perform_all(
    shop: &Shop,
    params: &Params,
    lane: Lane,
    mut queue: mpsc::Receiver<Assignment>,
    finished: &mpsc::Sender<Performed>,
) {
    while let Some(Assignment { key, errand }) = queue.blocking_recv() {
        // A stranger's prompt must not take the node down, whatever it finds in a model or its template.
        let performed = catch_unwind(AssertUnwindSafe(|| shop.perform(&errand)));
        let result = performed.unwrap_or(Err(WorkError::Panicked));
        let result = result.or_else(|error| shop.give_up(&errand, error));
        let reference_blocks = computed_blocks(&errand, &result, params);
        let begun_at = errand.height;
        if finished.blocking_send(Performed { lane, key, reference_blocks, begun_at, result }).is_err() {
            return;
        }
    }
}

/// What the reference machine needs for a value that was computed, by the tokens that there were: a request may allow
/// a thousand times as many.
fn computed_blocks(errand: &Errand, result: &Result<Done, WorkError>, params: &Params) -> Option<u32> {
    let Ok(Done::Step(Step::Seat { step: SeatStep::Commit { claim, .. }, .. })) = result else { return None };
    let n_out = claim.or(errand.job.claim)?.n_out;
    Some(reference_blocks(&errand.job, errand.duty.task, Tokens::new(n_out), params))
}

fn failed(what: &'static str, cause: impl std::fmt::Display) -> BoardError {
    BoardError::Failed { what, cause: cause.to_string() }
}

#[cfg(test)]
mod tests;
