//! Forgetting: inputs and answers are kept while their job is open, and no longer.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use assay_manifest::JobId;
use assay_protocol::job::Job;
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::adapters::{Journal, Kept};
use crate::ledger::LedgerHandle;
use crate::supervisor::told_to_stop;

/// Blocks between two looks at the journal.
const LOOK_EVERY_BLOCKS: u32 = 32;
/// Blocks for which an input is kept whose job is not on the ledger: its request is valid for fewer.
const KEEP_INPUT_BLOCKS: u32 = 96;
/// Blocks for which an answer is kept whose job has left the ledger: time for a requester to fetch it.
const KEEP_ANSWER_BLOCKS: u32 = 600;

/// Which jobs have been missing from the ledger since when.
#[derive(Debug, Default)]
struct Missing(HashMap<JobId, u32>);

impl Missing {
    /// Notes what is kept and what is open at `height`; returns what is to be forgotten.
    fn update(&mut self, height: u32, kept: &BTreeMap<JobId, Kept>, open: &BTreeSet<JobId>) -> Vec<JobId> {
        self.0.retain(|job, _| kept.contains_key(job) && !open.contains(job));
        let mut expired = Vec::new();
        for (job, kept) in kept.iter().filter(|(job, _)| !open.contains(job)) {
            let since = *self.0.entry(*job).or_insert(height);
            let keep = match kept {
                Kept::Input => KEEP_INPUT_BLOCKS,
                Kept::Answer => KEEP_ANSWER_BLOCKS,
            };
            if height.saturating_sub(since) >= keep {
                expired.push(*job);
            }
        }
        expired
    }
}

/// Keeps the journal small until `stop` turns true.
///
/// # Errors
/// When the ledger has stopped.
pub async fn run(
    ledger: LedgerHandle,
    journal: Journal,
    mut stop: watch::Receiver<bool>,
) -> Result<(), watch::error::RecvError> {
    let mut heads = ledger.heads();
    let mut missing = Missing::default();
    let mut next = 0;
    loop {
        tokio::select! {
            changed = heads.changed() => changed?,
            () = told_to_stop(&mut stop) => return Ok(()),
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
        let [input, answer, back] = [1, 2, 3].map(|byte| JobId::from_bytes([byte; 32]));
        let mut missing = Missing::default();
        let kept = BTreeMap::from([(input, Kept::Input), (answer, Kept::Answer), (back, Kept::Input)]);
        let none = BTreeSet::new();
        assert!(missing.update(10, &kept, &none).is_empty());
        assert!(missing.update(20, &kept, &BTreeSet::from([back])).is_empty());
        assert_eq!(missing.update(10 + KEEP_INPUT_BLOCKS, &kept, &none), vec![input]);
        let left = BTreeMap::from([(answer, Kept::Answer)]);
        assert_eq!(missing.update(10 + KEEP_ANSWER_BLOCKS, &left, &none), vec![answer]);
    }
}
