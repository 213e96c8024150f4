//! The ledger as the network's services see it.

use std::collections::BTreeSet;
use std::sync::Arc;

use assay_manifest::{Digest32, JobId};
use assay_protocol::announcement::{Announcer, Capacity};
use assay_protocol::certificate::ValidatorSet;
use assay_protocol::job::Job;
use assay_protocol::party::AccountBytes;
use assay_protocol::signature::WorkKey;
use assay_runtime::AccountId;
use assay_runtime::queries::ProviderEntry;
use codec::{DecodeAll, Encode};
use tokio::sync::watch;

use super::Models;
use crate::ledger::LedgerHandle;
use crate::network::{Directory, JobLedger, LedgerFailure, Multiaddr, Registry};
use crate::rpc::Models as _;

/// Reads jobs, providers and validators.
#[derive(Clone)]
pub struct Market {
    /// What is read.
    pub ledger: LedgerHandle,
    /// What is loaded here.
    pub models: Arc<Models>,
    /// The finalized height, told after the pool has heard of the block.
    pub heights: watch::Receiver<u32>,
}

impl Market {
    async fn ask<T: DecodeAll>(
        &self,
        what: &'static str,
        function: &'static str,
        args: impl Encode,
    ) -> Result<T, LedgerFailure> {
        let answer = self.ledger.query(None, function, args).await;
        answer.map_err(|error| LedgerFailure { what, cause: error.to_string() })
    }

    async fn provider(&self, account: AccountBytes) -> Result<Option<ProviderEntry>, LedgerFailure> {
        self.ask("reading a provider", "ProvidersApi_provider", AccountId::from(account)).await
    }
}

impl Registry for Market {
    fn genesis(&self) -> Digest32 {
        Digest32::from_bytes(self.ledger.genesis().0)
    }

    fn heights(&self) -> watch::Receiver<u32> {
        self.heights.clone()
    }

    async fn signing_key(&self, announcer: Announcer) -> Result<Option<WorkKey>, LedgerFailure> {
        match announcer {
            Announcer::Provider(account) => {
                let provider = self.provider(account).await?.map(|(_, provider, ..)| provider);
                Ok(provider.filter(|provider| provider.stake > 0).map(|provider| provider.work_key))
            }
            Announcer::Validator(key) => {
                Ok(JobLedger::validators(self).await?.contains(key.as_bytes()).then_some(*key.as_bytes()))
            }
        }
    }

    async fn capacity(&self, announcer: Announcer) -> Result<Capacity, LedgerFailure> {
        let Announcer::Provider(account) = announcer else { return Ok(Capacity::default()) };
        let entry = self.provider(account).await?;
        let free_slots = entry.map_or(0, |(_, provider, offer, _)| {
            offer.map_or(0, |offer| offer.capacity.saturating_sub(provider.working))
        });
        let account = AccountId::from(account);
        let serving = self.models.serving();
        let own = serving.iter().filter(|served| served.identities.contains(&account)).count();
        Ok(Capacity { free_slots, models: u32::try_from(own).unwrap_or(u32::MAX) })
    }
}

impl Directory for Market {
    async fn validator_addresses(&self) -> Result<Vec<Multiaddr>, LedgerFailure> {
        let announced: Vec<Vec<u8>> =
            self.ask("reading where validators are", "LedgerApi_validator_addresses", ()).await?;
        // The ledger takes whatever bytes a validator announces.
        Ok(announced.into_iter().filter_map(|bytes| Multiaddr::try_from(bytes).ok()).collect())
    }
}

impl JobLedger for Market {
    fn genesis(&self) -> Digest32 {
        Registry::genesis(self)
    }

    fn heights(&self) -> watch::Receiver<u32> {
        self.heights.clone()
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, LedgerFailure> {
        self.ask("reading a job", "JobsApi_job", id).await
    }

    async fn at_hand(&self, accounts: Vec<AccountBytes>) -> Result<Vec<Job>, LedgerFailure> {
        let accounts: Vec<AccountId> = accounts.into_iter().map(AccountId::from).collect();
        self.ask("reading the jobs at hand", "JobsApi_at_hand", (accounts, false)).await
    }

    async fn contested(&self) -> Result<Vec<Job>, LedgerFailure> {
        let nobody = Vec::<AccountId>::new();
        let jobs: Vec<Job> = self.ask("reading contested jobs", "JobsApi_at_hand", (nobody, true)).await?;
        Ok(jobs.into_iter().filter(Job::is_contested).collect())
    }

    async fn validators(&self) -> Result<BTreeSet<AccountBytes>, LedgerFailure> {
        let set: ValidatorSet = self.ask("reading the validators", "LedgerApi_validators", ()).await?;
        Ok(set.validators().iter().map(|validator| *validator.key.as_bytes()).collect())
    }
}
