//! `job_v1_watch`: what happens to a job, block by block, until it has settled.

use assay_manifest::{Digest32, JobId};
use assay_protocol::job::{Job, Party, Phase, Verdict};
use assay_protocol::party::Role;
use assay_runtime::{AccountId, BlockNumber, RuntimeEvent};
use codec::{Decode, Encode};
use jsonrpsee::core::server::SubscriptionCloseResponse;
use jsonrpsee::{PendingSubscriptionSink, SubscriptionSink};
use pallet_assay_jobs::Event as LedgerEvent;
use serde::{Deserialize, Serialize};

use super::error::{Code, End, Group, RpcError};
use super::feed::{Blocks, accept, reject, send};
use super::ports::Receipts;
use crate::ledger::{FinalizedBlock, LedgerHandle};

/// One thing that happened to a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum JobEvent {
    /// It moved to another phase, or this is where it stands at the beginning.
    Phase {
        /// Block.
        height: u32,
        /// Round.
        round: u8,
        /// Where it stands.
        phase: Phase,
    },
    /// Seats were drawn.
    Drawn {
        /// Block.
        height: u32,
        /// For which seats.
        role: Role,
        /// Among how many.
        candidates: usize,
    },
    /// A seat committed.
    Committed {
        /// Block.
        height: u32,
        /// Its number.
        seat: u8,
        /// Its account.
        account: Option<AccountId>,
    },
    /// A value was opened.
    Revealed {
        /// Block.
        height: u32,
        /// Round.
        round: u8,
        /// The value.
        value: Digest32,
    },
    /// A party asks on the ledger for data that it lacks.
    Needed {
        /// Block.
        height: u32,
        /// Who.
        party: Party,
    },
    /// A package for it is on the ledger.
    Posted {
        /// Block.
        height: u32,
        /// For whom.
        party: Party,
        /// Its size.
        bytes: u32,
    },
    /// A package of which its recipient complained was opened.
    Complained {
        /// Block.
        height: u32,
        /// Who complained.
        party: Party,
        /// Whether the package is what it should be.
        good: bool,
    },
    /// It has come to its end.
    Settled {
        /// Block.
        height: u32,
        /// How.
        verdict: Verdict,
        /// Its record in the log.
        log_index: u64,
    },
    /// An automatic step failed on the ledger.
    Stuck {
        /// Block.
        height: u32,
    },
    /// The node gave up telling.
    Stop {
        /// Why.
        reason: String,
    },
}

/// Where the job stood when the watch began.
struct Start {
    height: BlockNumber,
    job: Option<Job>,
}

/// Follows a job until it has settled.
pub async fn follow<R: Receipts>(
    ledger: &LedgerHandle,
    receipts: &R,
    job: JobId,
    pending: PendingSubscriptionSink,
) -> Result<SubscriptionCloseResponse, End> {
    let mut blocks = Blocks::follow(ledger);
    let (start, settled) = match begin(ledger, receipts, job).await {
        Ok(start) => start,
        Err(error) => return Ok(reject(pending, error).await),
    };
    blocks.seen(start.height);
    let sink = accept(pending).await?;
    if let Some(Job { round, phase, .. }) = start.job {
        send(&sink, &JobEvent::Phase { height: start.height, round, phase }).await?;
    }
    if let Some(settled) = settled {
        send(&sink, &settled).await?;
        return Err(End::Finished);
    }
    loop {
        let block = blocks.next(&sink).await?;
        tell(ledger, job, &block, &sink).await?;
    }
}

/// Where the job stands now, and how it ended if it has.
async fn begin<R: Receipts>(
    ledger: &LedgerHandle,
    receipts: &R,
    id: JobId,
) -> Result<(Start, Option<JobEvent>), RpcError> {
    let read = ledger.read(move |reader| {
        let lease = reader.at(None)?;
        Ok((lease.header().number, lease.call("JobsApi_job", &id.encode())?))
    });
    let (height, answer) = read.await?;
    let job = Option::<Job>::decode(&mut answer.as_slice());
    let job = job.map_err(|error| RpcError::new(Code::NodeFailed, error))?;
    if job.as_ref().is_some_and(|job| !job.phase.is_paid()) {
        return Ok((Start { height, job }, None));
    }
    let settled = receipts.settlement(id).await.map_err(|error| Group::Receipt.error(error))?;
    let Some(settled) = settled else {
        return Err(RpcError::new(Code::JobNotFound, format!("the ledger has no job {id}")));
    };
    let (height_settled, verdict) = (settled.record.settled_at.get(), settled.record.verdict);
    let end = JobEvent::Settled { height: height_settled, verdict, log_index: settled.log_index };
    Ok((Start { height, job }, Some(end)))
}

/// Tells what a block did to the job.
async fn tell(
    ledger: &LedgerHandle,
    id: JobId,
    block: &FinalizedBlock,
    sink: &SubscriptionSink,
) -> Result<(), End> {
    let height = block.header.number;
    for record in &block.events {
        let RuntimeEvent::Jobs(event) = &record.event else { continue };
        let event = match event {
            LedgerEvent::Advanced { job, round, phase } if *job == id => {
                JobEvent::Phase { height, round: *round, phase: *phase }
            }
            LedgerEvent::Drawn { job, role, candidates, .. } if *job == id => {
                JobEvent::Drawn { height, role: *role, candidates: candidates.len() }
            }
            LedgerEvent::Committed { job, seat, .. } if *job == id => {
                JobEvent::Committed { height, seat: *seat, account: holder(ledger, id, *seat, block).await }
            }
            LedgerEvent::Revealed { job, round, value, .. } if *job == id => {
                JobEvent::Revealed { height, round: *round, value: *value }
            }
            LedgerEvent::Needed { job, party, .. } if *job == id => {
                JobEvent::Needed { height, party: *party }
            }
            LedgerEvent::Posted { job, party, bytes } if *job == id => {
                JobEvent::Posted { height, party: *party, bytes: *bytes }
            }
            LedgerEvent::Complained { job, party, good } if *job == id => {
                JobEvent::Complained { height, party: *party, good: *good }
            }
            LedgerEvent::Stuck { job } if *job == id => JobEvent::Stuck { height },
            LedgerEvent::Settled { job, verdict, log_index } if *job == id => {
                send(sink, &JobEvent::Settled { height, verdict: *verdict, log_index: *log_index }).await?;
                return Err(End::Finished);
            }
            _ => continue,
        };
        send(sink, &event).await?;
    }
    Ok(())
}

/// The account of a seat, unless the job has left the state since or the node is too busy to look.
async fn holder(ledger: &LedgerHandle, job: JobId, seat: u8, block: &FinalizedBlock) -> Option<AccountId> {
    let found: Option<Job> = ledger.query(Some(block.hash), "JobsApi_job", job).await.ok()?;
    let seats = found?.seats;
    let seat = seats.into_iter().find(|candidate| candidate.index == seat)?;
    Some(seat.provider.into())
}
