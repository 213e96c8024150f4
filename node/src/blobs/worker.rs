//! What is asked of one holder, stream after stream.

use std::sync::Arc;
use std::time::Duration;

use assay_store::StoreError;
use libp2p::PeerId;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::download::{Download, Next};
use super::error::Fault;
use super::plan::Flight;
use super::ports::Swarm;
use super::session::{self, Brought, Ended};

/// Why nothing more is asked of a holder.
#[derive(Debug)]
pub enum Dismissed {
    /// All has arrived, or the holder has nothing of the rest.
    Done,
    /// It failed, or was slow or busy, too often, or did what no sound peer does.
    GivenUp,
    /// This node could not keep what came.
    Local(StoreError),
    /// A thread panicked.
    Panicked,
}

/// Fetches from a holder for as long as there is something for it and it behaves.
pub async fn run<S: Swarm>(swarm: Arc<S>, holder: PeerId, download: Arc<Download>) -> Dismissed {
    let mut failed = 0;
    loop {
        let first = match download.next(holder).await {
            Next::Piece(flight) => flight,
            Next::Nothing => return Dismissed::Done,
        };
        let (ended, brought) = one_stream(&*swarm, holder, first, &download).await;
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
        sleep_until(Instant::now() + pause(download.config.retry_after, failed)).await;
    }
}

async fn one_stream<S: Swarm>(
    swarm: &S,
    holder: PeerId,
    first: Flight,
    download: &Arc<Download>,
) -> (Ended, Brought) {
    let cause = match timeout(download.config.open_timeout, swarm.open(holder)).await {
        Ok(Ok(stream)) => return session::run(stream, holder, first, download).await,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "opening a stream: it took too long".into(),
    };
    download.give_back(&first);
    (Ended::Failed(cause), Brought::Nothing)
}

/// Doubled with every failure in a row.
fn pause(first: Duration, failed: u32) -> Duration {
    first.saturating_mul(1 << failed.saturating_sub(1).min(6))
}
