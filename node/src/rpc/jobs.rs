//! `job_v1_*`: asking, following and reading jobs.

use std::sync::Arc;

use assay_manifest::{ArtifactId, Digest32, JobId, ModelId, SpecId};
use assay_protocol::commitment::Claim;
use assay_protocol::fees::Quote;
use assay_protocol::job::{Job, Need, OpenedValue, Phase, Seat, SeatOutcome, SettlementRecord, Verdict};
use assay_protocol::params::TOKENS_MAX;
use assay_protocol::record::PublicRecord;
use assay_protocol::request::Request;
use assay_protocol::seal::{Envelope, Purpose};
use assay_runtime::queries::PAGE_MAX;
use assay_runtime::{AccountId, Runtime};
use codec::{Decode, Encode};
use jsonrpsee::core::RegisterMethodError;
use pallet_assay_validators::ValidatorInfo;
use serde::Serialize;

use super::blocking::Blocking;
use super::error::{Code, End, Group, RpcError};
use super::feed::{Registry, reject};
use super::params::Args;
use super::ports::{Ask, Executed, Jobs, Models, PortError, Prepared, Receipts};
use super::watch;
use crate::ledger::LedgerHandle;
use crate::serving::Wants;

/// Jobs of a page when nobody says how many.
const LIST_DEFAULT: u32 = 100;

/// Methods that take the node's time without being paid.
pub const UNSAFE: [&str; 1] = ["job_v1_execute"];

/// What the methods work with.
pub struct Context<M, J, R> {
    pub ledger: LedgerHandle,
    pub models: Arc<M>,
    /// Brings models that are asked for and not loaded; nothing where strangers ask.
    pub wants: Option<Wants>,
    pub jobs: Arc<J>,
    pub receipts: Arc<R>,
    pub blocking: Blocking,
    /// What is executed for the owner.
    pub own: Blocking,
}

pub fn register<M: Models, J: Jobs, R: Receipts>(
    methods: &mut Registry<Context<M, J, R>>,
) -> Result<(), RegisterMethodError> {
    register_asking(methods)?;
    methods
        .method("job_v1_get", |context, args| async move { context.get(job_id(args)?).await })?
        .method("job_v1_list", |context, args| async move { list(&context.ledger, args).await })?
        .method("job_v1_output", |context, args| async move { context.output(job_id(args)?).await })?
        .method("job_v1_decode", |context, mut args| async move {
            let (model, tokens) = (args.required("model")?, args.required("tokens")?);
            args.finish()?;
            context.decode(model, tokens).await
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

/// What only the node's owner may have it do.
pub fn register_unsafe<M: Models, J: Jobs, R: Receipts>(
    methods: &mut Registry<Context<M, J, R>>,
) -> Result<(), RegisterMethodError> {
    let [execute] = UNSAFE;
    methods.method(execute, |context, mut args| async move {
        let (model, request) = (args.required("model")?, args.required("request")?);
        args.finish()?;
        context.execute(model, request).await
    })?;
    Ok(())
}

fn register_asking<M: Models, J: Jobs, R: Receipts>(
    methods: &mut Registry<Context<M, J, R>>,
) -> Result<(), RegisterMethodError> {
    methods
        .method("job_v1_prepare", |context, args| async move { context.prepare(args.only("ask")?).await })?
        .method("job_v1_spec", |context, mut args| async move {
            let model = args.required("model")?;
            args.finish()?;
            context.spec(model).await
        })?
        .method("job_v1_quote", |context, args| async move {
            let record: PublicRecord = args.only("record")?;
            let quote: Option<Quote> = context.ledger.query(None, "JobsApi_quote", record).await?;
            quote.ok_or_else(|| RpcError::new(Code::JobRefused, "prices and counts leave their range"))
        })?
        .method(
            "job_v1_deliver",
            |context, args| async move { context.deliver(args.only("envelope")?).await },
        )?;
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
    needs: Vec<Need>,
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
            needs: job.needs.into_inner(),
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

/// The definitions by which this node executes a model.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    model_id: ModelId,
    spec_id: SpecId,
}

#[derive(Clone, Serialize)]
struct Delivered {}

#[derive(Clone, Serialize)]
struct Decoded {
    text: String,
}

impl<M: Models, J: Jobs, R: Receipts> Context<M, J, R> {
    async fn on_jobs<T: Send + 'static>(
        &self,
        call: impl FnOnce(&J) -> Result<T, PortError> + Send + 'static,
    ) -> Result<T, RpcError> {
        let jobs = Arc::clone(&self.jobs);
        self.blocking.run(Group::Job, move || call(&jobs)).await
    }

    async fn prepare(&self, ask: Ask) -> Result<Prepared, RpcError> {
        if let Some(wants) = &self.wants {
            self.bring(wants, ask.model).await?;
        }
        let models = Arc::clone(&self.models);
        self.blocking.run(Group::Job, move || models.prepare(&ask)).await
    }

    /// Executes a request for the owner of this node, at once or not at all.
    async fn execute(&self, model: ModelId, request: Request) -> Result<Executed, RpcError> {
        request.check().map_err(|error| RpcError::new(Code::JobRefused, error.to_string()))?;
        let models = Arc::clone(&self.models);
        self.own.run(Group::Job, move || models.answer(&model, &request)).await
    }

    /// Has a model kept that is asked for, and brought if it is not here and the ledger knows it.
    async fn bring(&self, wants: &Wants, model: ModelId) -> Result<(), RpcError> {
        let known: Option<ArtifactId> = self.ledger.query(None, "ArtifactsApi_model", model).await?;
        if known.is_none() {
            return Ok(());
        }
        wants.want(model);
        if self.models.serving().iter().any(|loaded| loaded.model_id == model) {
            return Ok(());
        }
        let cause = format!("asking the model {model}: it is not loaded here yet; it is being brought");
        Err(RpcError::new(Code::ArtifactUnavailable, cause))
    }

    async fn spec(&self, model_id: ModelId) -> Result<Spec, RpcError> {
        let models = Arc::clone(&self.models);
        let found = self.blocking.run(Group::Job, move || match models.spec_of(&model_id) {
            Err(PortError::NotFound(cause)) => Ok(Err(cause)),
            other => other.map(Ok),
        });
        match found.await? {
            Ok(spec_id) => Ok(Spec { model_id, spec_id }),
            Err(cause) => {
                if let Some(wants) = &self.wants {
                    self.bring(wants, model_id).await?;
                }
                Err(RpcError::new(Code::JobRefused, cause))
            }
        }
    }

    /// Keeps an input that the requester of an open job has sealed to the executor that waits for it. So nobody can
    /// fill the node: there is one envelope a seat, and seats are paid for.
    async fn deliver(&self, envelope: Envelope) -> Result<Delivered, RpcError> {
        let refused = |cause: String| RpcError::new(Code::JobRefused, cause);
        let id = envelope.job;
        let job: Option<Job> = self.ledger.query(None, "JobsApi_job", id).await?;
        let job = job.ok_or_else(|| unknown(id))?;
        if envelope.purpose == Purpose::Work && job.is_contested() && job.contests(&envelope.sender) {
            return self.deliver_to_judge(envelope, &job).await;
        }
        if envelope.purpose != Purpose::Input || envelope.sender != job.requester {
            return Err(refused(format!("delivering an input: it is not from the requester of job {id}")));
        }
        let seat = job.executor().filter(|seat| seat.outcome == SeatOutcome::Pending);
        let addressed = |seat: &&Seat| {
            (seat.index, seat.provider, seat.encryption_key)
                == (envelope.seat, envelope.recipient, envelope.key)
        };
        seat.filter(addressed).ok_or_else(|| {
            refused(format!("delivering an input: it is not for the executor that job {id} waits for"))
        })?;
        envelope.check(&job.genesis, &job.requester).map_err(|error| refused(error.to_string()))?;
        self.on_jobs(move |jobs| jobs.deliver(&envelope)).await?;
        Ok(Delivered {})
    }

    /// What a party of a contested job has for a validator.
    async fn deliver_to_judge(&self, envelope: Envelope, job: &Job) -> Result<Delivered, RpcError> {
        let refused = |cause: String| RpcError::new(Code::JobRefused, cause);
        let key = pallet_assay_validators::Validators::<Runtime>::hashed_key().to_vec();
        let validators =
            self.ledger.storage(None, key).await?.unwrap_or_else(|| Vec::<ValidatorInfo>::new().encode());
        let unreadable =
            |error: codec::Error| RpcError::new(Code::NodeFailed, format!("the validators: {error}"));
        let validators = Vec::<ValidatorInfo>::decode(&mut validators.as_slice()).map_err(unreadable)?;
        let is_judge = |info: &ValidatorInfo| {
            (*info.key.as_bytes(), info.encryption_key) == (envelope.recipient, envelope.key)
        };
        if !validators.iter().any(is_judge) {
            return Err(refused("delivering work to be judged: it is not for a validator".into()));
        }
        envelope.check(&job.genesis, &envelope.sender).map_err(|error| refused(error.to_string()))?;
        self.on_jobs(move |jobs| jobs.deliver(&envelope)).await?;
        Ok(Delivered {})
    }

    async fn get(&self, id: JobId) -> Result<Found, RpcError> {
        let job: Option<Job> = self.ledger.query(None, "JobsApi_job", id).await?;
        let settled = match &job {
            Some(job) if !job.phase.is_paid() => None,
            _ => self.receipts.settlement(id).await.map_err(|error| Group::Receipt.error(error))?,
        };
        if job.is_none() && settled.is_none() {
            return Err(unknown(id));
        }
        let log_index = settled.as_ref().map(|settled| settled.log_index);
        let settlement = settled.map(|settled| settled.record);
        Ok(Found { job: job.map(Into::into), settlement, log_index })
    }

    /// The sealed answers of a job that was settled. Before the seats have committed nobody may learn the executor's
    /// trace root, not even through the requester; and nobody has paid the answer of a job that came to nothing.
    async fn output(&self, job: JobId) -> Result<Vec<Envelope>, RpcError> {
        let Found { job: open, settlement, .. } = self.get(job).await?;
        if open.is_some() && settlement.is_none() {
            return Err(RpcError::new(Code::JobRefused, format!("job {job} has not ended")));
        }
        if settlement.is_none_or(|record| record.verdict == Verdict::Inconclusive) {
            return Err(RpcError::new(Code::JobNotFound, format!("job {job} has ended without an answer")));
        }
        let answers = self.on_jobs(move |jobs| jobs.answers(&job)).await?;
        if answers.is_empty() {
            return Err(RpcError::new(Code::JobNotFound, format!("job {job} has no answer here")));
        }
        Ok(answers)
    }

    async fn decode(&self, model: ModelId, tokens: Vec<u32>) -> Result<Decoded, RpcError> {
        if tokens.len() > TOKENS_MAX as usize {
            let cause = format!("decoding an answer: no job has more than {TOKENS_MAX} tokens");
            return Err(RpcError::new(Code::JobRefused, cause));
        }
        if let Some(wants) = &self.wants {
            self.bring(wants, model).await?;
        }
        let text = self.on_jobs(move |jobs| jobs.decode(&model, &tokens)).await?;
        Ok(Decoded { text })
    }
}

fn unknown(job: JobId) -> RpcError {
    RpcError::new(Code::JobNotFound, format!("the ledger has no job {job}"))
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

#[derive(Clone, Serialize)]
struct Page {
    items: Vec<Summary>,
    cursor: Option<JobId>,
}

async fn list(ledger: &LedgerHandle, mut args: Args) -> Result<Page, RpcError> {
    let after: Option<JobId> = args.optional("cursor")?;
    let limit = args.optional("limit")?.unwrap_or(LIST_DEFAULT).min(PAGE_MAX);
    let requester: Option<AccountId> = args.optional("requester")?;
    args.finish()?;
    let open: Vec<Job> = ledger.query(None, "JobsApi_list", (after, limit)).await?;
    let full = u32::try_from(open.len()).is_ok_and(|count| count == limit);
    let cursor = open.last().filter(|_| full).map(|job| job.id);
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
    Ok(Page { items: open.into_iter().filter(asked).map(summary).collect(), cursor })
}
