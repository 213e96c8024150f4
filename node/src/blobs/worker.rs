//! What is asked of one holder, stream after stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use assay_store::StoreError;
use libp2p::PeerId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::download::{Download, Next};
use super::error::Fault;
use super::plan::Flight;
use super::ports::Swarm;
use super::session::{self, Brought, Ended};
use crate::supervisor::told_to_stop;

/// Why nothing more is asked of a holder.
#[derive(Debug)]
pub enum Dismissed {
    /// All has arrived, or the holder has nothing of the rest.
    Done,
    /// It failed, or was slow or busy, too often, or did what no sound peer does.
    GivenUp,
    /// It had to leave its place to another.
    Replaced,
    /// This node could not keep what came.
    Local(StoreError),
    /// A thread panicked.
    Panicked,
}

/// What a holder does with its place.
#[derive(Debug, Default)]
pub struct Place(AtomicU64);

impl Place {
    /// Bytes that came and were verified.
    pub fn brought_bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes that so many bytes more came.
    pub fn brought(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A place, and when it is to be left.
pub type Lent = (Arc<Place>, watch::Receiver<bool>);

/// Fetches from a holder for as long as there is something for it, it behaves, and it may keep its place.
pub async fn run<S: Swarm>(
    swarm: Arc<S>,
    holder: PeerId,
    download: Arc<Download>,
    mut lent: Lent,
) -> Dismissed {
    let mut failed = 0;
    loop {
        let next = tokio::select! {
            next = download.next(holder) => next,
            () = told_to_stop(&mut lent.1) => return Dismissed::Replaced,
        };
        let first = match next {
            Next::Piece(flight) => flight,
            Next::Nothing => return Dismissed::Done,
        };
        let (ended, brought) = one_stream(&*swarm, holder, first, &download, &mut lent).await;
        if brought == Brought::Pieces {
            failed = 0;
        }
        match ended {
            Ended::Idle | Ended::TakenOver => continue,
            Ended::Lacks(blob) => {
                download.lacks(holder, blob);
                continue;
            }
            Ended::Local(error) => return Dismissed::Local(error),
            Ended::Panicked => return Dismissed::Panicked,
            Ended::Replaced => return Dismissed::Replaced,
            Ended::Refused => return Dismissed::GivenUp,
            Ended::Fault(fault) => {
                debug!(%holder, ?fault, "a holder is at fault");
                swarm.report(holder, fault);
                if fault != Fault::Stalled {
                    return Dismissed::GivenUp;
                }
            }
            Ended::Busy | Ended::Failed(_) => debug!(%holder, cause = ended.cause(), "a stream has ended"),
        }
        failed += 1;
        if failed >= download.config.tries_max {
            return Dismissed::GivenUp;
        }
        tokio::select! {
            () = sleep_until(Instant::now() + pause(download.config.retry_after, failed)) => {}
            () = told_to_stop(&mut lent.1) => return Dismissed::Replaced,
        }
    }
}

async fn one_stream<S: Swarm>(
    swarm: &S,
    holder: PeerId,
    first: Flight,
    download: &Arc<Download>,
    lent: &mut Lent,
) -> (Ended, Brought) {
    let opened = tokio::select! {
        opened = timeout(download.config.open_timeout, swarm.open(holder)) => Some(opened),
        () = told_to_stop(&mut lent.1) => None,
    };
    let ended = match opened {
        Some(Ok(Ok(stream))) => return session::run(stream, holder, first, download, lent).await,
        Some(Ok(Err(error))) => Ended::Failed(error.to_string()),
        Some(Err(_)) => Ended::Failed("opening a stream: it took too long".into()),
        None => Ended::Replaced,
    };
    download.give_back(&first);
    (ended, Brought::Nothing)
}

/// Doubled with every failure in a row.
fn pause(first: Duration, failed: u32) -> Duration {
    first.saturating_mul(1 << failed.saturating_sub(1).min(6))
}
