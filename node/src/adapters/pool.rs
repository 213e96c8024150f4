//! The pool's sides: it asks the ledger, consensus takes from it, and the network tells others of it.

use assay_protocol::vote::Equivocation;
use assay_runtime::executor::{ChainError, decode_extrinsic};
use assay_runtime::{Hash, RuntimeCall, UncheckedExtrinsic, general};
use codec::Encode;
use sp_runtime::transaction_validity::InvalidTransaction;
use tokio::sync::{broadcast, watch};
use tracing::warn;

use crate::consensus::TransactionSource;
use crate::ledger::LedgerHandle;
use crate::mempool::{CheckError, LedgerCheck, MempoolHandle, PoolError, Refused, Transaction, Verdict};
use crate::network::TransactionPool;

/// Bytes of transactions that a block is offered: all that its length limit lets paid calls and steps have.
const OFFERED_BYTES_MAX: usize = 2 * 1024 * 1024;

impl LedgerCheck for LedgerHandle {
    async fn check(&self, transactions: Vec<Transaction>) -> Vec<Result<Verdict, CheckError>> {
        let count = transactions.len();
        let checked = self.read(move |reader| {
            let lease = reader.at(None)?;
            let height = lease.header().number;
            let answers = lease.validate_all(transactions.iter().map(Transaction::bytes));
            let verdict = |validity| Verdict { height, validity };
            Ok(answers.into_iter().map(|answer| answer.map(verdict).map_err(refusal)).collect())
        });
        checked.await.unwrap_or_else(|error| vec![Err(CheckError::Failed(error.to_string())); count])
    }
}

fn refusal(error: ChainError) -> CheckError {
    match error {
        ChainError::BadExtrinsic(cause) => CheckError::Malformed(cause),
        other => CheckError::Failed(other.to_string()),
    }
}

impl TransactionPool for MempoolHandle {
    async fn submit(&self, bytes: Vec<u8>) -> Result<Hash, Refused> {
        self.submit_of_peer(bytes).await
    }

    fn heights(&self) -> watch::Receiver<u32> {
        Self::heights(self)
    }

    fn own(&self) -> broadcast::Receiver<Transaction> {
        Self::own(self)
    }

    async fn held(&self, hashes: Vec<Hash>) -> Result<Vec<Transaction>, PoolError> {
        Self::held(self, hashes).await
    }

    async fn pending(&self) -> Result<Vec<Transaction>, PoolError> {
        Self::pending(self).await
    }
}

/// The pool as consensus takes from it. Calls are decoded on the ledger's threads, which have the stack.
#[derive(Clone)]
pub struct PoolSource {
    /// What is taken from.
    pub pool: MempoolHandle,
    /// Whose threads decode.
    pub ledger: LedgerHandle,
}

impl TransactionSource for PoolSource {
    async fn ready(&self) -> Vec<UncheckedExtrinsic> {
        let transactions = match self.pool.ready(OFFERED_BYTES_MAX).await {
            Ok(transactions) if transactions.is_empty() => return Vec::new(),
            Ok(transactions) => transactions,
            Err(error) => {
                warn!(%error, "taking transactions for a block");
                return Vec::new();
            }
        };
        let decoded = self.ledger.read(move |_| {
            transactions.iter().map(|transaction| decode_extrinsic(transaction.bytes())).collect()
        });
        decoded.await.unwrap_or_else(|error| {
            warn!(%error, "decoding transactions for a block");
            Vec::new()
        })
    }

    async fn rejected(&self, hashes: Vec<Hash>) {
        if let Err(error) = self.pool.rejected(hashes).await {
            warn!(%error, "telling the pool what a block refused");
        }
    }

    async fn convict(&self, proof: Equivocation) {
        let call = pallet_assay_validators::Call::convict { proof };
        match self.pool.submit(general(RuntimeCall::Validators(call)).encode()).await {
            // Others saw it too, and may have been sooner.
            Ok(_) | Err(PoolError::Known | PoolError::Taken | PoolError::Banned) => {}
            Err(PoolError::Invalid(InvalidTransaction::Stale)) => {}
            Err(error) => warn!(%error, validator = %proof.validator, "submitting a proof of two votes"),
        }
    }
}
