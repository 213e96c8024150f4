//! The ledger and the pool as the worker and the key ring see them.

use std::collections::BTreeSet;

use assay_manifest::{Digest32, JobId};
use assay_protocol::job::{Job, Party};
use assay_protocol::params::Params;
use assay_protocol::party::AccountBytes;
use assay_protocol::seal::EncryptionKey;
use assay_protocol::signature::Signature;
use assay_runtime::queries::ProviderEntry;
use assay_runtime::{AccountId, Runtime, RuntimeCall, general};
use codec::{Decode, Encode};
use pallet_assay_jobs::Call;
use pallet_assay_validators::ValidatorInfo;
use sp_runtime::transaction_validity::InvalidTransaction;
use tokio::sync::watch;

use crate::ledger::LedgerHandle;
use crate::mempool::{MempoolHandle, PoolError};
use crate::sealing::{KeyLedger, Published};
use crate::worker::{BoardError, JobBoard, Judge, Step};

/// Reads jobs and keys from the ledger and puts steps into the pool.
#[derive(Clone)]
pub struct Board {
    /// What is read.
    pub ledger: LedgerHandle,
    /// What steps go into.
    pub pool: MempoolHandle,
    /// The finalized height, told after the pool has heard of the block.
    pub heights: watch::Receiver<u32>,
}

impl Board {
    async fn jobs(&self, accounts: &[AccountBytes], validator: bool) -> Result<Vec<Job>, BoardError> {
        let accounts: Vec<AccountId> = accounts.iter().map(|account| AccountId::from(*account)).collect();
        let answer = self.ledger.query(None, "JobsApi_at_hand", (accounts, validator)).await;
        answer.map_err(failed("reading the jobs at hand"))
    }

    async fn stored<T: Decode>(&self, what: &'static str, key: Vec<u8>) -> Result<Option<T>, BoardError> {
        let bytes = self.ledger.storage(None, key).await.map_err(failed(what))?;
        bytes.map(|bytes| T::decode(&mut bytes.as_slice())).transpose().map_err(failed(what))
    }

    async fn put(&self, call: RuntimeCall) -> Result<(), BoardError> {
        match self.pool.submit(general(call).encode()).await {
            Ok(_) => Ok(()),
            Err(PoolError::Known | PoolError::Taken | PoolError::Banned) => Err(BoardError::Stale),
            Err(PoolError::Invalid(InvalidTransaction::Stale | InvalidTransaction::Future)) => {
                Err(BoardError::Stale)
            }
            Err(error) => Err(failed("submitting a step")(error)),
        }
    }
}

impl JobBoard for Board {
    fn heights(&self) -> watch::Receiver<u32> {
        self.heights.clone()
    }

    async fn params(&self) -> Result<Params, BoardError> {
        let answer = self.ledger.query(None, "JobsApi_params", ()).await;
        answer.map_err(failed("reading the chain's parameters"))
    }

    async fn at_hand(&self, accounts: &[AccountBytes]) -> Result<Vec<Job>, BoardError> {
        self.jobs(accounts, false).await
    }

    async fn at_hand_and_contested(&self, accounts: &[AccountBytes]) -> Result<Vec<Job>, BoardError> {
        self.jobs(accounts, true).await
    }

    async fn unjudged(&self, validator: &Digest32) -> Result<Vec<JobId>, BoardError> {
        let answer = self.ledger.query(None, "JobsApi_unjudged", *validator).await;
        answer.map_err(failed("reading the disputes that wait for a verdict"))
    }

    async fn judges(&self) -> Result<Vec<Judge>, BoardError> {
        let key = pallet_assay_validators::Validators::<Runtime>::hashed_key().to_vec();
        let validators: Option<Vec<ValidatorInfo>> = self.stored("reading the validators", key).await?;
        let judge = |info: ValidatorInfo| Judge { key: info.key, encryption_key: info.encryption_key };
        Ok(validators.unwrap_or_default().into_iter().map(judge).collect())
    }

    async fn package(&self, job: &JobId, party: Party) -> Result<Option<Vec<u8>>, BoardError> {
        let key = pallet_assay_jobs::Packages::<Runtime>::hashed_key_for(job, party);
        self.stored("reading a posted package", key).await
    }

    async fn submit(&self, step: Step) -> Result<(), BoardError> {
        let call = step_call(step).map_err(failed("making a step"))?;
        self.put(RuntimeCall::Jobs(call)).await
    }
}

impl KeyLedger for Board {
    fn heights(&self) -> watch::Receiver<u32> {
        self.heights.clone()
    }

    fn genesis(&self) -> Digest32 {
        Digest32::from_bytes(self.ledger.genesis().0)
    }

    async fn window(&self) -> Result<u32, BoardError> {
        Ok(self.params().await?.rotation_window)
    }

    async fn published(&self, account: &AccountBytes) -> Result<Option<Published>, BoardError> {
        let found = self.ledger.query(None, "ProvidersApi_provider", AccountId::from(*account)).await;
        let found: Option<ProviderEntry> = found.map_err(failed("reading a provider"))?;
        Ok(found.map(|(_, provider, ..)| provider).filter(|provider| provider.stake > 0).map(|provider| {
            Published { account: *account, key: provider.encryption_key, since: provider.encryption_key_at }
        }))
    }

    async fn named(&self) -> Result<BTreeSet<EncryptionKey>, BoardError> {
        let jobs = self.ledger.query(None, "JobsApi_open_jobs", ()).await;
        let jobs: Vec<Job> = jobs.map_err(failed("reading the open jobs"))?;
        let mut named = BTreeSet::new();
        for job in jobs {
            named.extend(job.seats.iter().map(|seat| seat.encryption_key));
            named.extend(job.standby.iter().map(|standby| standby.encryption_key));
            named.extend(job.needs.iter().map(|need| need.key));
        }
        Ok(named)
    }

    async fn publish(
        &self,
        account: AccountBytes,
        key: EncryptionKey,
        signature: Signature,
    ) -> Result<(), BoardError> {
        let provider = account.into();
        let encryption_key = key;
        let call =
            pallet_assay_providers::Call::rotate_encryption_key { provider, encryption_key, signature };
        self.put(RuntimeCall::Providers(call)).await
    }
}

/// The call that carries a step to the ledger.
///
/// # Errors
/// When it holds more than a call can.
pub fn step_call(step: Step) -> Result<Call<Runtime>, &'static str> {
    Ok(match step {
        Step::Seat { job, round, seat, step, signature } => Call::step { job, round, seat, step, signature },
        Step::Post { job, party, package, signature } => {
            let package = package.try_into().map_err(|_| "a package has a largest size")?;
            Call::post { job, party, package, signature }
        }
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
