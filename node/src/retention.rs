//! Forgetting: sealed inputs and answers are kept while their job is open, and little longer.

use std::collections::{BTreeSet, HashMap};

use assay_manifest::JobId;
use assay_protocol::job::Job;
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::adapters::Journal;
use crate::ledger::LedgerHandle;
use crate::supervisor::told_to_stop;

/// Blocks between two looks at the journal.
const LOOK_EVERY_BLOCKS: u32 = 32;
/// Blocks for which envelopes are kept whose job has left the ledger: time for a requester to fetch its answer.
const KEEP_BLOCKS: u32 = 600;

/// Which jobs have been missing from the ledger since when.
#[derive(Debug, Default)]
struct Missing(HashMap<JobId, u32>);

impl Missing {
    /// Notes what is kept and what is open at `height`; returns what is to be forgotten.
    fn update(&mut self, height: u32, kept: &BTreeSet<JobId>, open: &BTreeSet<JobId>) -> Vec<JobId> {
        self.0.retain(|job, _| kept.contains(job) && !open.contains(job));
        let mut expired = Vec::new();
        for job in kept.difference(open) {
            let since = *self.0.entry(*job).or_insert(height);
            if height.saturating_sub(since) >= KEEP_BLOCKS {
                expired.push(*job);
            }
        }
        expired
    }
}

/// Keeps the journal small until `stop` turns true.
pub async fn run(ledger: LedgerHandle, journal: Journal, mut stop: watch::Receiver<bool>) {
    let mut heads = ledger.heads();
    let mut missing = Missing::default();
    let mut next = 0;
    loop {
        tokio::select! {
            // The end of the ledger is what ends the node, with its own cause.
            changed = heads.changed() => if changed.is_err() {
                return told_to_stop(&mut stop).await;
            },
            () = told_to_stop(&mut stop) => return,
        }
        let height = heads.borrow_and_update().number;
        if height < next {
            continue;
        }
        next = height.saturating_add(LOOK_EVERY_BLOCKS);
        if let Err(cause) = look(&ledger, &journal, &mut missing, height).await {
            warn!(cause, "forgetting closed jobs");
        }
    }
}

async fn look(
    ledger: &LedgerHandle,
    journal: &Journal,
    missing: &mut Missing,
    height: u32,
) -> Result<(), String> {
    let open: Vec<Job> =
        ledger.query(None, "JobsApi_open_jobs", ()).await.map_err(|error| error.to_string())?;
    let open = open.into_iter().map(|job| job.id).collect();
    let kept = journal.jobs().map_err(|error| error.to_string())?;
    for job in missing.update(height, &kept, &open) {
        journal.forget(&job).map_err(|error| error.to_string())?;
        debug!(%job, "forgotten");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_long_enough_is_forgotten_and_what_comes_back_is_not() {
        let [gone, back] = [1, 2].map(|byte| JobId::from_bytes([byte; 32]));
        let mut missing = Missing::default();
        let (kept, none) = (BTreeSet::from([gone, back]), BTreeSet::new());
        assert!(missing.update(10, &kept, &none).is_empty());
        assert!(missing.update(20, &kept, &BTreeSet::from([back])).is_empty());
        assert!(missing.update(9 + KEEP_BLOCKS, &kept, &none).is_empty());
        assert_eq!(missing.update(10 + KEEP_BLOCKS, &kept, &none), vec![gone]);
    }
}
