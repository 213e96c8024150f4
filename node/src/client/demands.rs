//! Asking on the ledger for an answer that nobody hands over (clauses J12 and J13).

use assay_manifest::{Digest32, JobId, TaggedHash};
use assay_protocol::job::{Job, NeedState, Party, SettlementRecord};
use assay_protocol::params::Params;
use assay_protocol::seal::{Content, Delivery, Parcel, SealingSecret};
use assay_runtime::{Balance, Runtime, RuntimeCall};
use pallet_assay_jobs::{Call, Packages};

use super::chain::{Client, ClientError};
use super::deliveries::JobOutput;
use super::orders::Order;
use super::submit::{Included, SubmitError};
use crate::keys::Key;

/// What became of a demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demanded {
    /// The answer is on the ledger.
    Answered(JobOutput),
    /// Something else was there, of which the ledger was told.
    Complained,
    /// Nothing was posted in time.
    Withheld,
}

impl Order {
    /// A key for this demand alone, since a complaint shows its secret; it follows from the order, so that nothing
    /// more has to be kept.
    fn demand_secret(&self) -> SealingSecret {
        let hash = TaggedHash::new("assay/demand-key/1").fixed(self.reply_secret.as_bytes());
        SealingSecret::from_bytes(*hash.finish().as_bytes())
    }

    fn open_posted(&self, job: &Job, record: &SettlementRecord, package: &[u8]) -> Option<Parcel> {
        let (executor, claim) = (job.answerer()?, record.claim.as_ref()?);
        let delivery = Delivery {
            genesis: job.genesis,
            job: job.id,
            sender: executor.provider,
            recipient: job.requester,
            seat: executor.index,
            content: Content::Answer(claim),
        };
        delivery.open(package, &self.demand_secret()).ok()
    }
}

impl Client {
    /// What has to be deposited with a demand; the bytes that are posted are paid from it.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses.
    pub async fn demand_deposit(&self) -> Result<Balance, ClientError> {
        let params: Params = self.runtime("JobsApi_params", ()).await?;
        let foreign = |error: assay_protocol::units::OutOfRange| ClientError::Foreign {
            method: "JobsApi_params".into(),
            cause: error.to_string(),
        };
        Ok(params.need_deposit().map_err(foreign)?.get())
    }

    /// A job as the ledger keeps it.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses.
    pub async fn job_on_ledger(&self, job: &JobId) -> Result<Option<Job>, ClientError> {
        self.runtime("JobsApi_job", *job).await
    }

    /// Contests what was agreed about a job.
    ///
    /// # Errors
    /// [`SubmitError`] when the ledger refuses: the window is over, or the validators have decided already.
    pub async fn challenge(&self, key: &Key, job: JobId) -> Result<Included, SubmitError> {
        let call = Call::challenge { job };
        self.submit(key, "jobs.challenge", RuntimeCall::Jobs(call)).await
    }

    /// Asks on the ledger for the answer to an order, unless that was done.
    ///
    /// # Errors
    /// [`SubmitError`] when the ledger refuses: the window is over, or the answer was found wrong.
    pub async fn demand(&self, key: &Key, order: &Order) -> Result<(), SubmitError> {
        let job = self.job_on_ledger(&order.job).await?;
        if job.is_some_and(|job| job.need(Party::Requester).is_some()) {
            return Ok(());
        }
        let (job, public) = (order.job, order.demand_secret().public());
        let call = RuntimeCall::Jobs(Call::need_answer { job, key: public });
        self.submit(key, "asking for an answer", call).await.map(drop)
    }

    /// Waits for what the executor posts, and complains if it is not the answer.
    ///
    /// # Errors
    /// [`SubmitError`] when the connection breaks or the ledger refuses.
    pub async fn await_demanded(
        &self,
        key: &Key,
        order: &Order,
        record: &SettlementRecord,
    ) -> Result<Demanded, SubmitError> {
        let mut heights = self.heights().await?;
        loop {
            let job: Option<Job> = self.runtime("JobsApi_job", order.job).await?;
            let need = job.as_ref().and_then(|job| Some((job, job.need(Party::Requester)?.state)));
            match need {
                Some((_, NeedState::Open { .. })) => drop(heights.next().await?),
                Some((job, NeedState::Posted { .. })) => {
                    if let Some(package) = self.posted(job).await? {
                        return self.take_posted(key, order, record, (job, &package)).await;
                    }
                    // The claim has ended since the job was read.
                }
                Some((_, NeedState::Closed)) | None => return Ok(Demanded::Withheld),
            }
        }
    }

    async fn posted(&self, job: &Job) -> Result<Option<Vec<u8>>, ClientError> {
        self.storage(&Packages::<Runtime>::hashed_key_for(job.id, Party::Requester), None).await
    }

    async fn take_posted(
        &self,
        key: &Key,
        order: &Order,
        record: &SettlementRecord,
        (job, package): (&Job, &[u8]),
    ) -> Result<Demanded, SubmitError> {
        match order.open_posted(job, record, package) {
            Some(Parcel::Answer(answer)) => Ok(Demanded::Answered(self.decoded(order, &answer).await?)),
            _ => {
                let secret = Digest32::from_bytes(*order.demand_secret().as_bytes());
                let call = RuntimeCall::Jobs(Call::complain_of_answer { job: job.id, secret });
                self.submit(key, "complaining of an answer", call).await?;
                Ok(Demanded::Complained)
            }
        }
    }
}
