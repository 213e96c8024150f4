//! Finding a settlement and proving it.

use std::sync::Arc;

use assay_manifest::{Digest32, JobId};
use assay_protocol::draw::{Candidate, DrawFacts};
use assay_protocol::header::HeaderView;
use assay_protocol::job::SettlementRecord;
use assay_protocol::party::Role;
use assay_protocol::receipt::{DrawEvidence, Evidence, LedgerReceipt, Receipt};
use assay_runtime::{Hash, RuntimeEvent};
use codec::Encode;
use pallet_assay_jobs::Event;
use tokio::sync::Mutex;

use super::ports::{IndexError, SettlementIndex};
use crate::ledger::{LedgerError, LedgerHandle};

/// Entries of the log that are looked at in one read.
const ENTRIES_AT_ONCE: usize = 256;

/// Most bytes, in SCALE, of the blocks in a receipt after which others decided. As JSON they are up to 2.4 times as
/// large (decision 0034), and with the rest of the largest receipt stay below the 8 MiB that are read of a file.
const HAND_OVERS_BYTES_MAX: usize = 2_500_000;

/// No receipt could be made.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The ledger could not be read.
    #[error("reading the ledger for a receipt: {0}")]
    Ledger(#[from] LedgerError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Something that the ledger keeps for ever is not there.
    #[error("putting a receipt together: {0}")]
    Incomplete(String),
}

/// A settlement and its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The entry's index.
    pub log_index: u64,
    /// What it says.
    pub record: SettlementRecord,
}

/// Makes receipts of settled jobs.
pub struct Receipts {
    pub(super) ledger: LedgerHandle,
    index: Arc<dyn SettlementIndex>,
    /// Held while the index is brought up to date.
    catching_up: Mutex<()>,
}

impl Receipts {
    /// Receipts of the jobs in `ledger`.
    pub fn new(ledger: LedgerHandle, index: Arc<dyn SettlementIndex>) -> Self {
        Self { ledger, index, catching_up: Mutex::new(()) }
    }

    /// The settlement of a job, if it has come to its end.
    ///
    /// # Errors
    /// [`ReceiptError`] when the ledger or the index fails.
    pub async fn settlement(&self, job: &JobId) -> Result<Option<Settled>, ReceiptError> {
        self.catch_up().await?;
        let Some(log_index) = self.index.find(job)? else { return Ok(None) };
        let entries = self.ledger.log_entries(log_index, 1).await?;
        let record = entries.first().and_then(|leaf| SettlementRecord::from_leaf(leaf));
        let record = record.filter(|record| record.job == *job);
        let record = record.ok_or_else(|| incomplete(format!("log entry {log_index} is another")))?;
        Ok(Some(Settled { log_index, record }))
    }

    /// The public receipt of a job, if it has come to its end.
    ///
    /// # Errors
    /// [`ReceiptError`] when the ledger or the index fails.
    pub async fn receipt(&self, job: &JobId) -> Result<Option<Receipt>, ReceiptError> {
        let Some(Settled { log_index, record }) = self.settlement(job).await? else { return Ok(None) };
        let (block, checkpoint, log_size) = self.checkpoint(log_index).await?;
        let inclusion = self.ledger.log_inclusion(log_index, log_size).await?;
        let (job, round) = (record.job, record.round);
        let executor_draw = self.draw((job, round, Role::Executor), record.executor_draw).await?;
        let verifier_draw = self.draw((job, round, Role::Verifier), record.verifier_draw).await?;
        let at_large_draw = self.draw((job, round, Role::AtLarge), record.at_large_draw).await?;
        let recheck = (job, record.value_round(), Role::Verifier);
        let recheck_draw = self.draw(recheck, record.recheck_draw).await?;
        let until = checkpoint.certificate.height.get();
        let hand_overs = self.ledger.hand_overs(until, HAND_OVERS_BYTES_MAX).await?;
        let provenance = self.provenance(&record, block, log_size).await?;
        Ok(Some(Receipt::Ledger(Box::new(LedgerReceipt {
            settlement: record,
            inclusion,
            checkpoint,
            hand_overs,
            executor_draw,
            verifier_draw,
            at_large_draw,
            recheck_draw,
            provenance,
            opened: None,
        }))))
    }

    /// The head whose log covers an entry, its evidence, and its log's size. The head follows the log within a moment.
    async fn checkpoint(&self, log_index: u64) -> Result<(Hash, Evidence, u64), ReceiptError> {
        let mut heads = self.ledger.heads();
        loop {
            let head = heads.borrow_and_update().hash();
            let checkpoint = self.evidence(head).await?;
            let header = HeaderView::decode(&checkpoint.header).map_err(incomplete)?;
            let (log_size, _) = header.log().map_err(incomplete)?;
            if log_index < log_size {
                return Ok((head, checkpoint, log_size));
            }
            heads.changed().await.map_err(|_| LedgerError::Stopped)?;
        }
    }

    /// Files every settlement that the log holds by now.
    async fn catch_up(&self) -> Result<(), ReceiptError> {
        let _one_at_a_time = self.catching_up.lock().await;
        loop {
            let from = self.index.next()?;
            let entries = self.ledger.log_entries(from, ENTRIES_AT_ONCE).await?;
            if entries.is_empty() {
                return Ok(());
            }
            let settlements: Vec<_> = (from..)
                .zip(&entries)
                .filter_map(|(at, leaf)| SettlementRecord::from_leaf(leaf).map(|record| (record.job, at)))
                .collect();
            self.index.extend(&settlements, from.saturating_add(entries.len() as u64))?;
        }
    }

    async fn draw(
        &self,
        draw: (JobId, u8, Role),
        facts: Option<DrawFacts>,
    ) -> Result<Option<DrawEvidence>, ReceiptError> {
        let Some(facts) = facts else { return Ok(None) };
        let height = facts.height.get();
        let block = self.ledger.hash_of(height).await?;
        let block = block.ok_or_else(|| incomplete(format!("block {height} is unknown")))?;
        let candidates = self.candidates(block, draw).await?;
        Ok(Some(DrawEvidence { seed: self.evidence(block).await?, candidates }))
    }

    async fn candidates(&self, block: Hash, draw: (JobId, u8, Role)) -> Result<Vec<Candidate>, ReceiptError> {
        let drawn = |event: RuntimeEvent| match event {
            RuntimeEvent::Jobs(Event::Drawn { job, round, role, candidates })
                if (job, round, role) == draw =>
            {
                Some(candidates)
            }
            _ => None,
        };
        let events = self.ledger.events(block).await?;
        let found = events.into_iter().find_map(|record| drawn(record.event));
        let mut candidates =
            found.ok_or_else(|| incomplete(format!("block {block} does not hold the draw")))?;
        candidates.sort();
        Ok(candidates)
    }

    async fn evidence(&self, block: Hash) -> Result<Evidence, ReceiptError> {
        let header = self.ledger.block(block).await?.map(|block| block.header);
        let header = header.ok_or_else(|| incomplete(format!("block {block} is unknown")))?;
        let certificate = self.ledger.certificate(block).await?;
        let certificate =
            certificate.ok_or_else(|| incomplete(format!("block {block} has no certificate")))?;
        Ok(Evidence { header: header.encode(), certificate })
    }

    /// The chain's first block, by which receipts are bound to it.
    pub fn genesis(&self) -> Digest32 {
        Digest32::from_bytes(self.ledger.genesis().0)
    }
}

fn incomplete(cause: impl std::fmt::Display) -> ReceiptError {
    ReceiptError::Incomplete(cause.to_string())
}
