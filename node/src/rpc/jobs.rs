//! `job_v1_*`: asking, following and reading jobs.

use std::sync::Arc;

use assay_manifest::{Digest32, JobId};
use assay_protocol::commitment::{Claim, Salt, input_commit};
use assay_protocol::fees::Quote;
use assay_protocol::job::{Job, OpenedValue, Phase, Seat, SettlementRecord};
use assay_protocol::record::PublicRecord;
use assay_protocol::request::{Request, limits::REQUEST_BYTES_MAX};
use assay_runtime::AccountId;
use jsonrpsee::core::RegisterMethodError;
use serde::Serialize;

use super::blocking::Blocking;
use super::error::{Code, End, Group, RpcError};
use super::feed::{Registry, reject};
use super::params::Args;
use super::ports::{Ask, JobOutput, Jobs, Models, PortError, Prepared, Receipts};
use super::watch;
use crate::ledger::LedgerHandle;
use crate::worker::Envelope;

/// Jobs of a list when nobody says how many.
const LIST_DEFAULT: usize = 100;
/// The most of them.
const LIST_MAX: usize = 1_000;

/// What the methods work with.
pub struct Context<M, J, R> {
    pub ledger: LedgerHandle,
    pub models: Arc<M>,
    pub jobs: Arc<J>,
    pub receipts: Arc<R>,
    pub blocking: Blocking,
}

pub fn register<M: Models, J: Jobs, R: Receipts>(
    methods: &mut Registry<Context<M, J, R>>,
) -> Result<(), RegisterMethodError> {
    register_asking(methods)?;
    methods
        .method("job_v1_get", |context, args| async move { context.get(job_id(args)?).await })?
        .method("job_v1_list", |context, args| async move { list(&context.ledger, args).await })?
        .method("job_v1_output", |context, mut args| async move {
            let (job, salt) = (args.required("job")?, args.required("salt")?);
            args.finish()?;
            context.output(job, salt).await
        })?
        .subscription(
            ["job_v1_watch", "job_v1_watchEvent", "job_v1_unwatch"],
            |context, args, pending| async move {
                match job_id(args) {
                    Ok(job) => watch::follow(&context.ledger, &*context.receipts, job, pending)
                        .await
                        .unwrap_or_else(End::as_event),
                    Err(error) => reject(pending, error).await,
                }
            },
        )?;
    Ok(())
}

fn register_asking<M: Models, J: Jobs, R: Receipts>(
    methods: &mut Registry<Context<M, J, R>>,
) -> Result<(), RegisterMethodError> {
    methods
        .method("job_v1_prepare", |context, args| async move { context.prepare(args.only("ask")?).await })?
        .method("job_v1_quote", |context, args| async move {
            let record: PublicRecord = args.only("record")?;
            let quote: Option<Quote> = context.ledger.query(None, "JobsApi_quote", record).await?;
            quote.ok_or_else(|| RpcError::new(Code::JobRefused, "prices and counts leave their range"))
        })?
        .method("job_v1_deliver", |context, mut args| async move {
            let (job, salt) = (args.required("job")?, args.required("salt")?);
            let request: Request = args.required("request")?;
            args.finish()?;
            context.deliver(job, Envelope { salt, request }).await
        })?;
    Ok(())
}

fn job_id(mut args: Args) -> Result<JobId, RpcError> {
    let job = args.required("job")?;
    args.finish()?;
    Ok(job)
}

/// A job that is not closed.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct JobView {
    id: JobId,
    requester: AccountId,
    nonce: u64,
    request: PublicRecord,
    quote: Quote,
    round: u8,
    phase: Phase,
    seats: Vec<Seat>,
    claim: Option<Claim>,
    values: Vec<OpenedValue>,
}

impl From<Job> for JobView {
    fn from(job: Job) -> Self {
        Self {
            id: job.id,
            requester: job.requester.into(),
            nonce: job.nonce,
            request: job.record,
            quote: job.quote,
            round: job.round,
            phase: job.phase,
            seats: job.seats.into_inner(),
            claim: job.claim,
            values: job.values.into_inner(),
        }
    }
}

/// A job with its settlement, as far as they exist.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    job: Option<JobView>,
    settlement: Option<SettlementRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_index: Option<u64>,
}

#[derive(Clone, Serialize)]
struct Delivered {}

impl<M: Models, J: Jobs, R: Receipts> Context<M, J, R> {
    async fn on_jobs<T: Send + 'static>(
        &self,
        call: impl FnOnce(&J) -> Result<T, PortError> + Send + 'static,
    ) -> Result<T, RpcError> {
        let jobs = Arc::clone(&self.jobs);
        self.blocking.run(Group::Job, move || call(&jobs)).await
    }

    async fn prepare(&self, ask: Ask) -> Result<Prepared, RpcError> {
        let models = Arc::clone(&self.models);
        self.blocking.run(Group::Job, move || models.prepare(&ask)).await
    }

    /// Keeps an input that opens what the ledger has, or will have, of the job.
    async fn deliver(&self, job: JobId, envelope: Envelope) -> Result<Delivered, RpcError> {
        let refused = |cause: String| RpcError::new(Code::JobRefused, cause);
        envelope.request.check().map_err(|error| refused(error.to_string()))?;
        let bytes = envelope.request.to_bytes();
        if bytes.len() > REQUEST_BYTES_MAX {
            return Err(refused(format!(
                "the request has {} bytes: at most {REQUEST_BYTES_MAX}",
                bytes.len()
            )));
        }
        if envelope.request.salt_hash != envelope.salt.hash() {
            return Err(refused("the request names another salt".into()));
        }
        let known: Option<Job> = self.ledger.query(None, "JobsApi_job", job).await?;
        let commitment = input_commit(&envelope.salt, &bytes);
        if known.is_some_and(|known| known.record.input_commit != commitment) {
            return Err(refused(format!("job {job} commits to another input")));
        }
        self.on_jobs(move |jobs| jobs.deliver(&job, &envelope)).await?;
        Ok(Delivered {})
    }

    async fn get(&self, id: JobId) -> Result<Found, RpcError> {
        let job: Option<Job> = self.ledger.query(None, "JobsApi_job", id).await?;
        let settled = match &job {
            Some(job) if !job.phase.is_paid() => None,
            _ => self.receipts.settlement(id).await.map_err(|error| Group::Receipt.error(error))?,
        };
        if job.is_none() && settled.is_none() {
            return Err(RpcError::new(Code::JobNotFound, format!("the ledger has no job {id}")));
        }
        let log_index = settled.as_ref().map(|settled| settled.log_index);
        let settlement = settled.map(|settled| settled.record);
        Ok(Found { job: job.map(Into::into), settlement, log_index })
    }

    /// The answer of a job that has ended, for whoever holds its salt. The seats hold it too, and before they
    /// have committed none may learn the executor's trace root.
    async fn output(&self, job: JobId, salt: Salt) -> Result<JobOutput, RpcError> {
        let open: Option<Job> = self.ledger.query(None, "JobsApi_job", job).await?;
        if open.is_some_and(|open| !open.phase.is_paid()) {
            return Err(RpcError::new(Code::JobRefused, format!("job {job} has not ended")));
        }
        let nothing = || RpcError::new(Code::JobNotFound, format!("job {job} has no output here"));
        let input = self.on_jobs(move |jobs| jobs.input(&job)).await?.ok_or_else(nothing)?;
        // Hashes are compared, so that the time that it takes tells nothing of the salt.
        if input.salt.hash() != salt.hash() {
            return Err(RpcError::new(Code::JobRefused, format!("job {job} has another salt")));
        }
        self.on_jobs(move |jobs| jobs.output(&job)).await?.ok_or_else(nothing)
    }
}

/// A job in one line.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    id: JobId,
    requester: AccountId,
    model_id: Digest32,
    n_in: u32,
    n_max: u32,
    round: u8,
    phase: Phase,
}

async fn list(ledger: &LedgerHandle, mut args: Args) -> Result<Vec<Summary>, RpcError> {
    let requester: Option<AccountId> = args.optional("requester")?;
    let limit = args.optional("limit")?.unwrap_or(LIST_DEFAULT).min(LIST_MAX);
    args.finish()?;
    let open: Vec<Job> = ledger.query(None, "JobsApi_open_jobs", ()).await?;
    let asked = |job: &Job| requester.as_ref().is_none_or(|who| *who == AccountId::from(job.requester));
    let summary = |job: Job| Summary {
        id: job.id,
        requester: job.requester.into(),
        model_id: job.record.model_id.digest(),
        n_in: job.record.n_in.get(),
        n_max: job.record.n_max.get(),
        round: job.round,
        phase: job.phase,
    };
    Ok(open.into_iter().filter(asked).take(limit).map(summary).collect())
}
