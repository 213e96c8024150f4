//! The worker's loop and its compute thread.

use std::collections::HashMap;
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
    /// Duties waiting for the compute thread; when full, a duty waits for the next block.
    pub queue_max: usize,
    /// Blocks after which a duty that changed nothing is performed again.
    pub retry_blocks: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { queue_max: 64, retry_blocks: 4 }
    }
}

type DutyKey = (JobId, u8, Option<u8>, Task);
/// A duty on its way to the compute thread.
type Assignment = (DutyKey, Job, Duty);
/// What came of it.
type Performed = (DutyKey, Result<Option<Step>, WorkError>);

/// The service; [`Worker::run`] returns when its board ends or it is told to stop.
pub struct Worker<B> {
    config: Config,
    board: B,
    shop: Arc<Shop>,
    /// Height at which a duty was last taken up.
    taken: HashMap<DutyKey, u32>,
}

impl<B: JobBoard> Worker<B> {
    /// A worker for the seats and the referee of `shop`.
    pub fn new(config: Config, board: B, shop: Shop) -> Self {
        Self { config, board, shop: Arc::new(shop), taken: HashMap::new() }
    }

    /// Works until `stop` turns true.
    ///
    /// # Errors
    /// [`BoardError`] when the ledger is gone, or the compute thread cannot be started or has died.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), BoardError> {
        let mut heights = self.board.heights();
        let (work, mut results) = self.start_thread()?;
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
                    let height = *heights.borrow_and_update();
                    self.take_up(height, &work).await;
                }
                done = results.recv() => {
                    let done = done.ok_or_else(|| failed("computing", "the compute thread has stopped"))?;
                    self.hand_in(done).await;
                }
            }
        }
    }

    /// Inference runs on a thread of its own, one duty after the other: one model, one work queue.
    fn start_thread(&self) -> Result<(mpsc::Sender<Assignment>, mpsc::Receiver<Performed>), BoardError> {
        let (work, mut queue) = mpsc::channel::<Assignment>(self.config.queue_max);
        let (finished, results) = mpsc::channel(self.config.queue_max);
        let shop = Arc::clone(&self.shop);
        std::thread::Builder::new()
            .name("compute".into())
            .spawn(move || {
                while let Some((key, job, duty)) = queue.blocking_recv() {
                    let result = shop.perform(&job, &duty);
                    if finished.blocking_send((key, result)).is_err() {
                        return;
                    }
                }
            })
            .map_err(|error| failed("starting the compute thread", error))?;
        Ok((work, results))
    }

    async fn take_up(&mut self, height: u32, work: &mpsc::Sender<Assignment>) {
        let jobs = match self.board.open_jobs().await {
            Ok(jobs) => jobs,
            Err(error) => return warn!(%error, "reading the open jobs"),
        };
        self.taken.retain(|(job, ..), _| jobs.iter().any(|open| open.id == *job));
        for job in jobs {
            if is_overdue(&job, height) {
                let poked = self.board.submit(Step::Poke { job: job.id }).await;
                debug!(job = %job.id, ?poked, "poked an overdue job");
            }
            for duty in self.duties_of(&job) {
                self.queue(height, work, &job, duty);
            }
        }
    }

    fn duties_of(&self, job: &Job) -> Vec<Duty> {
        let mut all = duties(job, &self.shop.accounts());
        if self.shop.referees() {
            all.extend(referee_duty(job));
        }
        all
    }

    fn queue(&mut self, height: u32, work: &mpsc::Sender<Assignment>, job: &Job, duty: Duty) {
        let key = (job.id, job.round, duty.seat.as_ref().map(|seat| seat.index), duty.task);
        let recent = |taken: &u32| height < taken.saturating_add(self.config.retry_blocks);
        if self.taken.get(&key).is_some_and(recent) {
            return;
        }
        if work.try_send((key, job.clone(), duty)).is_ok() {
            self.taken.insert(key, height);
        }
    }

    async fn hand_in(&mut self, (key, result): Performed) {
        match result {
            Ok(Some(step)) => match self.board.submit(step).await {
                Ok(()) => debug!(job = %key.0, task = ?key.3, "step submitted"),
                Err(BoardError::Stale) => debug!(job = %key.0, task = ?key.3, "step was not needed"),
                Err(error) => warn!(job = %key.0, task = ?key.3, %error, "submitting a step"),
            },
            // Something has not been delivered yet: try at the next block.
            Ok(None) => {
                self.taken.remove(&key);
            }
            Err(error) => warn!(job = %key.0, task = ?key.3, %error, "performing a duty"),
        }
    }
}

fn failed(what: &'static str, cause: impl std::fmt::Display) -> BoardError {
    BoardError::Failed { what, cause: cause.to_string() }
}
