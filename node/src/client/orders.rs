//! Buying: what a requester fixes and keeps of a job, what it hands over, and what it gets.

use assay_manifest::{Digest32, JobId};
use assay_protocol::commitment::{Salt, SaltPurpose, ValueKind, input_commit, trace_blind_from};
use assay_protocol::fees::Quote;
use assay_protocol::job::{SettlementRecord, Verdict};
use assay_protocol::receipt::{Disclosure, OpenedInput, OpenedOutput, OpenedTrace, Receipt};
use assay_protocol::record::{Class, PROTOCOL_VERSION, Policy, Prices, PublicRecord};
use assay_protocol::request::{REQUEST_VERSION, Request};
use assay_protocol::seal::SealingSecret;
use assay_protocol::units::{Height, Tokens};
use assay_runtime::{AccountId, RuntimeCall};
use jsonrpsee::core::client::{Subscription, SubscriptionClientT};
use jsonrpsee::rpc_params;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::chain::{Client, ClientError, explain};
use super::deliveries::JobOutput;
use super::heights::Heights;
use super::submit::{Included, SubmitError};
use crate::keys::Key;
use crate::rpc::{Ask, JobEvent, Prepared};

/// Blocks for which a request counts: it is refused afterwards instead of surprising its sender.
const VALID_BLOCKS: u32 = 64;

/// What somebody wants to buy.
#[derive(Clone, Debug)]
pub struct Wish {
    /// What is asked.
    pub ask: Ask,
    /// Fixes the sampler's choices; absent, they follow from salt and job.
    pub seed: Option<Digest32>,
    /// How much redundancy.
    pub policy: Policy,
    /// What is paid at most.
    pub prices: Prices,
    /// The executor, instead of a drawn one.
    pub direct_executor: Option<AccountId>,
}

/// A job as its requester keeps it. Whoever holds it can read and disclose everything about the job; it leaves no
/// copy in memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Order {
    /// The job.
    pub job: JobId,
    /// Who pays.
    pub requester: AccountId,
    /// The number among its jobs.
    pub nonce: u64,
    /// What the ledger holds.
    pub record: PublicRecord,
    /// What opens everything.
    pub salt: Salt,
    /// What is asked.
    pub request: Request,
    /// Opens the answer, which is sealed to its public half.
    #[serde(with = "reply_secret")]
    pub reply_secret: SealingSecret,
}

impl Drop for Order {
    fn drop(&mut self) {
        self.request.zeroize();
    }
}

/// An order's secret in its file.
mod reply_secret {
    use assay_manifest::Digest32;
    use assay_protocol::seal::SealingSecret;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(secret: &SealingSecret, serializer: S) -> Result<S::Ok, S::Error> {
        Digest32::from_bytes(*secret.as_bytes()).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SealingSecret, D::Error> {
        Ok(SealingSecret::from_bytes(*Digest32::deserialize(deserializer)?.as_bytes()))
    }
}

/// The request that a node's model makes of what is asked.
pub(super) fn request_of(
    ask: Ask,
    prepared: &Prepared,
    seed: Option<Digest32>,
    salt_hash: Digest32,
) -> Request {
    let Ask { prompt, now_s, sampler, stop, max_tokens, .. } = ask;
    let (version, n_in, prompt_hash) = (REQUEST_VERSION, prepared.n_in, prepared.prompt_hash);
    Request { version, prompt, now_s, n_in, prompt_hash, max_tokens, stop, sampler, seed, salt_hash }
}

/// What happens to a job, as it happens.
pub struct JobEvents {
    events: Subscription<JobEvent>,
    heights: Heights,
}

impl JobEvents {
    const METHOD: &str = "job_v1_watch";

    /// The next thing; after [`JobEvent::Settled`] there is none.
    ///
    /// # Errors
    /// [`ClientError`] when the connection breaks, the node stops telling, or no block comes for a minute.
    pub async fn next(&mut self) -> Result<JobEvent, ClientError> {
        let method = Self::METHOD.to_owned();
        match self.heights.until(self.events.next()).await? {
            Some(Ok(JobEvent::Stop { reason })) => Err(ClientError::Transport { method, cause: reason }),
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(ClientError::Foreign { method, cause: error.to_string() }),
            None => Err(ClientError::Transport { method, cause: "the node closed the subscription".into() }),
        }
    }
}

/// How a job ended, as the log has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobState {
    /// The job while it is on the ledger, in the node's words.
    pub job: Option<serde_json::Value>,
    /// Its record, once it has ended.
    pub settlement: Option<SettlementRecord>,
    /// Where the record stands in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_index: Option<u64>,
}

impl Order {
    /// Binds a wish to its requester, with a fresh salt.
    fn draft(
        wish: Wish,
        prepared: Prepared,
        (requester, nonce): (AccountId, u64),
        chain: (Digest32, u32),
    ) -> Self {
        let (genesis, height) = chain;
        let salt = Salt::from_bytes(rand::random());
        let request = request_of(wish.ask, &prepared, wish.seed, salt.hash());
        let record = PublicRecord {
            version: PROTOCOL_VERSION,
            class: Class::Exact,
            model_id: prepared.model_id,
            spec_id: prepared.spec_id,
            input_commit: input_commit(&salt, &request.to_bytes()),
            n_in: Tokens::new(prepared.n_in),
            n_max: Tokens::new(request.max_tokens),
            policy: wish.policy,
            prices: wish.prices,
            valid_until: Height::new(height.saturating_add(VALID_BLOCKS)),
            max_eyes: 0,
            direct_executor: wish.direct_executor.map(Into::into),
            parent: None,
            verified_range: None,
        };
        let job = record.job_id(&genesis, requester.as_ref(), nonce);
        let reply_secret = SealingSecret::from_bytes(rand::random());
        Self { job, requester, nonce, record, salt, request, reply_secret }
    }

    /// The receipt with everything disclosed that the settled value allows.
    pub fn open(&self, mut receipt: Receipt, output: &JobOutput) -> Receipt {
        if let Receipt::Ledger(ledger) = &mut receipt {
            let round = ledger.settlement.round;
            let trace = OpenedTrace {
                salt: self.salt.derive(SaltPurpose::Trace { round }),
                trace_root: output.trace_root,
                right_token: output.right_token,
            };
            let blind = trace_blind_from(&trace.salt, &trace.trace_root, trace.right_token);
            // Where the executor was found wrong, its trace root is not the settled one.
            let settled = ledger.settlement.opening.filter(|opening| opening.blind == blind);
            ledger.opened = Some(Disclosure {
                salt: settled.map(|_| self.salt.clone()),
                input: Some(OpenedInput {
                    salt: self.salt.derive(SaltPurpose::Input),
                    request: self.request.clone(),
                }),
                output: Some(OpenedOutput {
                    salt: self.salt.derive(SaltPurpose::Output),
                    tokens: output.tokens.clone(),
                }),
                trace: settled.map(|_| trace),
            });
        }
        receipt
    }
}

/// Whether an answer may be taken for right: somebody beside its executor stands by it (clause J5).
pub fn is_right(record: &SettlementRecord) -> bool {
    let confirmed = match record.verdict {
        Verdict::Verified | Verdict::VerifiedThin | Verdict::RetroVerified | Verdict::Refereed => true,
        Verdict::SelfSigned | Verdict::Committed | Verdict::Inconclusive => false,
    };
    confirmed && record.opening.is_some_and(|opening| opening.kind == ValueKind::Ok)
}

impl Client {
    /// Has the node's model count the prompt, and binds the wish to `key`'s account and next job number.
    ///
    /// # Errors
    /// [`ClientError`] when the model is not loaded there, or cannot do what is asked.
    pub async fn draft(&self, requester: AccountId, wish: Wish) -> Result<Order, ClientError> {
        let prepared: Prepared = self.request_of_model("job_v1_prepare", rpc_params![&wish.ask]).await?;
        let nonce: u64 = self.runtime("JobsApi_next_nonce", &requester).await?;
        let height = self.height().await?;
        Ok(Order::draft(wish, prepared, (requester, nonce), (self.genesis_digest(), height)))
    }

    /// What an order costs at most.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses.
    pub async fn quote(&self, order: &Order) -> Result<Quote, ClientError> {
        self.request("job_v1_quote", rpc_params![&order.record]).await
    }

    /// Requests the job, whose escrow is held from `key`'s account, and hands the input over; returns when an
    /// executor has accepted.
    ///
    /// # Errors
    /// [`SubmitError`] when the node or the ledger refuses, or nobody accepts.
    pub async fn place(&self, key: &Key, order: &Order) -> Result<Included, SubmitError> {
        let included = self.request_job(key, order).await?;
        self.hand_over(key, order).await?;
        Ok(included)
    }

    /// Requests the job alone. Its input has to be handed over with [`Self::hand_over`].
    ///
    /// # Errors
    /// [`SubmitError`] when the node or the ledger refuses.
    pub async fn request_job(&self, key: &Key, order: &Order) -> Result<Included, SubmitError> {
        let (nonce, record) = (order.nonce, order.record.clone());
        let call = RuntimeCall::Jobs(pallet_assay_jobs::Call::request { nonce, record });
        self.submit(key, "requesting a job", call).await
    }

    /// Everything that happens to a job from now on; where it stands comes first.
    ///
    /// # Errors
    /// [`ClientError`] when the job is unknown.
    pub async fn job_events(&self, job: &JobId) -> Result<JobEvents, ClientError> {
        let method = JobEvents::METHOD;
        let events = self.rpc.subscribe(method, rpc_params![job], "job_v1_unwatch").await;
        let events = events.map_err(|error| explain(method, error))?;
        Ok(JobEvents { events, heights: self.heights().await? })
    }

    /// Calls `tell` with everything that happens to a job until it has come to its end.
    ///
    /// # Errors
    /// [`ClientError`] when the job is unknown or the connection breaks.
    pub async fn follow(&self, job: &JobId, mut tell: impl FnMut(&JobEvent)) -> Result<Verdict, ClientError> {
        let mut events = self.job_events(job).await?;
        loop {
            let event = events.next().await?;
            tell(&event);
            if let JobEvent::Settled { verdict, .. } = event {
                return Ok(verdict);
            }
        }
    }

    /// Where a job stands.
    ///
    /// # Errors
    /// [`ClientError`] when it is unknown.
    pub async fn job(&self, job: &JobId) -> Result<JobState, ClientError> {
        self.request("job_v1_get", rpc_params![job]).await
    }

    /// The public receipt of a job that has ended.
    ///
    /// # Errors
    /// [`ClientError`] when there is none.
    pub async fn receipt(&self, job: &JobId) -> Result<Receipt, ClientError> {
        self.request("receipt_v1_get", rpc_params![job]).await
    }
}
