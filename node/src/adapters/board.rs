//! The ledger and the pool as the worker sees them.

use assay_protocol::job::Job;
use assay_runtime::{RuntimeCall, general};
use codec::Encode;
use pallet_assay_jobs::Call;
use sp_runtime::transaction_validity::InvalidTransaction;
use tokio::sync::watch;

use crate::ledger::LedgerHandle;
use crate::mempool::{MempoolHandle, PoolError};
use crate::worker::{BoardError, JobBoard, Step};

/// Reads jobs from the ledger and puts steps into the pool.
pub struct Board {
    /// What is read.
    pub ledger: LedgerHandle,
    /// What steps go into.
    pub pool: MempoolHandle,
    /// The finalized height, told after the pool has heard of the block.
    pub heights: watch::Receiver<u32>,
}

impl JobBoard for Board {
    fn heights(&self) -> watch::Receiver<u32> {
        self.heights.clone()
    }

    async fn open_jobs(&self) -> Result<Vec<Job>, BoardError> {
        const WHAT: &str = "reading the open jobs";
        self.ledger.query(None, "JobsApi_open_jobs", ()).await.map_err(failed(WHAT))
    }

    async fn submit(&self, step: Step) -> Result<(), BoardError> {
        let call = call(step).map_err(failed("making a step"))?;
        let extrinsic = general(RuntimeCall::Jobs(call)).encode();
        match self.pool.submit(extrinsic).await {
            Ok(_) => Ok(()),
            Err(PoolError::Known | PoolError::Taken | PoolError::Banned) => Err(BoardError::Stale),
            Err(PoolError::Invalid(InvalidTransaction::Stale | InvalidTransaction::Future)) => {
                Err(BoardError::Stale)
            }
            Err(error) => Err(failed("submitting a step")(error)),
        }
    }
}

fn call(step: Step) -> Result<Call<assay_runtime::Runtime>, &'static str> {
    Ok(match step {
        Step::Seat { job, round, seat, step, signature } => Call::step { job, round, seat, step, signature },
        Step::Reveal { job, opening } => Call::reveal { job, opening },
        Step::Poke { job } => Call::poke { job },
        Step::Verdict { job, opening, signature } => {
            let signatures = vec![signature].try_into().map_err(|_| "a verdict holds one signature")?;
            Call::verdict { job, opening, signatures }
        }
    })
}

fn failed<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> BoardError {
    move |error| BoardError::Failed { what, cause: error.to_string() }
}
