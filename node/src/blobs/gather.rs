//! Which holders are asked at a time, until all of a download is here.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use assay_manifest::ArtifactId;
use libp2p::PeerId;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::download::Download;
use super::error::FetchError;
use super::fetch::{Fetcher, PROGRESS_PACE, Watch};
use super::ports::Swarm;
use super::worker::{self, Dismissed, Place};

/// Bytes that all holders together must bring in the time that a fetch is given for them.
const PROGRESS_BYTES_MIN: u64 = 1 << 20;

/// The holders of one fetch.
pub struct Gathering<'a, S: Swarm> {
    fetcher: &'a Fetcher<S>,
    artifact: ArtifactId,
    download: Arc<Download>,
    /// Not asked now.
    waiting: VecDeque<PeerId>,
    /// Ever seen.
    known: HashSet<PeerId>,
    workers: JoinSet<(PeerId, Dismissed)>,
    places: HashMap<PeerId, Taken>,
    /// When the slowest holder left its place last, or all could stay.
    replaced_at: Instant,
    progress: Mark,
}

/// A place that a holder has.
struct Taken {
    place: Arc<Place>,
    leave: watch::Sender<bool>,
    mark: Mark,
}

/// How much had been brought at a time.
#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    bytes: u64,
}

impl<'a, S: Swarm> Gathering<'a, S> {
    /// From these holders.
    pub fn new(
        fetcher: &'a Fetcher<S>,
        artifact: ArtifactId,
        download: Arc<Download>,
        holders: VecDeque<PeerId>,
    ) -> Self {
        let (now, bytes) = (Instant::now(), download.progress(0).done_bytes);
        Self {
            fetcher,
            artifact,
            download,
            known: holders.iter().copied().collect(),
            waiting: holders,
            workers: JoinSet::new(),
            places: HashMap::new(),
            replaced_at: now,
            progress: Mark { at: now, bytes },
        }
    }

    /// Has holders bring what is missing until all is there.
    ///
    /// # Errors
    /// When all holders are gone or were given up, they bring next to nothing, or what comes cannot be kept.
    pub async fn run(&mut self, watch: Watch<'_>) -> Result<(), FetchError> {
        let artifact = self.artifact;
        let mut pace = interval(PROGRESS_PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.fill();
            watch(self.download.progress(self.workers.len()));
            if let Some(source) = self.download.failed() {
                return Err(FetchError::Store { artifact, source });
            }
            if self.download.is_done() {
                return Ok(());
            }
            if self.workers.is_empty() {
                self.look_for_others().await?;
                continue;
            }
            tokio::select! {
                Some(ended) = self.workers.join_next() => self.dismissed(ended)?,
                _ = pace.tick() => {
                    self.download.nudge();
                    self.check_progress()?;
                    self.replace_slowest();
                }
            }
        }
    }

    /// Gives free places to those who wait.
    fn fill(&mut self) {
        while self.workers.len() < self.download.config.holders_max.max(1)
            && let Some(holder) = self.waiting.pop_front()
        {
            let (place, (leave, told)) = (Arc::<Place>::default(), watch::channel(false));
            let (swarm, download) = (Arc::clone(&self.fetcher.swarm), Arc::clone(&self.download));
            let working = worker::run(swarm, holder, download, (Arc::clone(&place), told));
            self.workers.spawn(async move { (holder, working.await) });
            let mark = Mark { at: Instant::now(), bytes: 0 };
            self.places.insert(holder, Taken { place, leave, mark });
        }
    }

    /// Others may have come since.
    async fn look_for_others(&mut self) -> Result<(), FetchError> {
        self.waiting = self.fetcher.holders(self.artifact).await;
        self.waiting.retain(|holder| self.known.insert(*holder));
        match self.download.missing() {
            Some(missing) if self.waiting.is_empty() => {
                Err(FetchError::HoldersGone { artifact: self.artifact, missing })
            }
            _ => Ok(()),
        }
    }

    fn dismissed(&mut self, ended: Result<(PeerId, Dismissed), JoinError>) -> Result<(), FetchError> {
        let artifact = self.artifact;
        let (holder, dismissed) = ended.map_err(|_| FetchError::Panicked(artifact))?;
        self.places.remove(&holder);
        match dismissed {
            Dismissed::Done | Dismissed::GivenUp => Ok(()),
            Dismissed::Replaced => {
                self.waiting.push_back(holder);
                Ok(())
            }
            Dismissed::Local(source) => Err(FetchError::Store { artifact, source }),
            Dismissed::Panicked => Err(FetchError::Panicked(artifact)),
        }
    }

    fn check_progress(&mut self) -> Result<(), FetchError> {
        if self.progress.at.elapsed() < self.download.config.progress_timeout {
            return Ok(());
        }
        let bytes = self.download.progress(0).done_bytes;
        let is_enough = bytes.saturating_sub(self.progress.bytes) >= PROGRESS_BYTES_MIN;
        self.progress = Mark { at: Instant::now(), bytes };
        match self.download.missing() {
            Some(missing) if !is_enough => Err(FetchError::TooSlow { artifact: self.artifact, missing }),
            _ => Ok(()),
        }
    }

    /// While others wait, tells the holder that brought least of late to leave its place.
    fn replace_slowest(&mut self) {
        let after = self.download.config.replace_after;
        if self.replaced_at.elapsed() < after {
            return;
        }
        self.replaced_at = Instant::now();
        let slowest = self
            .places
            .values_mut()
            .filter_map(|taken| Some((taken.brought_since(after)?, taken)))
            .min_by_key(|(bytes, _)| *bytes);
        if let Some((_, taken)) = slowest
            && !self.waiting.is_empty()
        {
            taken.leave.send_replace(true);
        }
    }
}

impl Taken {
    /// What was brought since this was asked last; of who has only just begun nothing is said.
    fn brought_since(&mut self, after: Duration) -> Option<u64> {
        let now = Mark { at: Instant::now(), bytes: self.place.brought_bytes() };
        // Asked a little more often than it began is as good.
        if now.at.duration_since(self.mark.at) < after / 2 {
            return None;
        }
        let since = now.bytes - self.mark.bytes;
        self.mark = now;
        Some(since)
    }
}
