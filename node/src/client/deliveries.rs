//! Handing an input to whoever is drawn to execute it, and opening the answer.

use assay_manifest::{Digest32, JobId};
use assay_protocol::commitment::{Claim, Finish};
use assay_protocol::job::{Job, NeedState, Party, Phase, Seat, SeatOutcome, SettlementRecord, Verdict};
use assay_protocol::seal::{
    AnswerParcel, Content, Delivery, Entropy, Envelope, InputParcel, Parcel, SealError, WorkParcel,
};
use assay_protocol::signature::Signature;
use assay_runtime::{Runtime, RuntimeCall};
use jsonrpsee::rpc_params;
use pallet_assay_validators::ValidatorInfo;
use serde::{Deserialize, Serialize};
use sp_core::Pair;

use super::chain::{Client, ClientError};
use super::orders::Order;
use super::submit::SubmitError;
use crate::keys::Key;
use crate::rpc::JobEvent;
use crate::sealing::fresh_entropy;

/// The code with which a node refuses an input for which nobody waits any more.
const NOBODY_WAITS: i32 = 22_002;

/// The code with which a node says that it has no answer of a job; it may be fetching one from the executor's node.
const NO_ANSWER: i32 = 22_001;
/// Blocks for which such an answer is waited for.
const FETCHING_BLOCKS_MAX: u32 = 15;

/// An answer as its executor sealed it to its requester.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobOutput {
    /// The generated tokens.
    pub tokens: Vec<u32>,
    /// The same as text.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// The trace root behind the committed value.
    pub trace_root: Digest32,
    /// The right token of a rejection; 0 otherwise.
    pub right_token: u32,
}

/// How far an order's input has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputState {
    /// An executor is to be drawn, or has not accepted yet.
    Awaited,
    /// An executor has it.
    Accepted,
    /// The job has ended without one.
    Ended,
}

/// The executors of one order to whom its input was handed.
#[derive(Default)]
pub struct Handed {
    sealed_for: Vec<u8>,
    posted_for: Vec<u8>,
}

impl Order {
    /// What this order's job did, for a validator to judge, sealed to its key and signed by the requester.
    fn brief(
        &self,
        key: &Key,
        genesis: Digest32,
        judge: &ValidatorInfo,
        (claim, answer): (&Claim, &JobOutput),
    ) -> Result<Envelope, SealError> {
        let delivery = Delivery {
            genesis,
            job: self.job,
            sender: self.requester.clone().into(),
            recipient: *judge.key.as_bytes(),
            seat: 0,
            content: Content::Work(&self.record, claim),
        };
        let work = Parcel::Work(WorkParcel::of(&self.input(), &answer.tokens, answer.finish));
        let sign = |digest: &Digest32| Signature(key.pair.sign(digest.as_bytes()).0);
        Envelope::seal(&delivery, &work, &judge.encryption_key, fresh_entropy(), sign)
    }

    /// The input as this seat of the job gets it, sealed to `key`.
    fn delivery<'a>(&'a self, genesis: Digest32, seat: &Seat) -> Delivery<'a> {
        Delivery {
            genesis,
            job: self.job,
            sender: self.requester.clone().into(),
            recipient: seat.provider,
            seat: seat.index,
            content: Content::Input(&self.record),
        }
    }

    fn parcel(&self) -> Parcel {
        Parcel::Input(self.input())
    }

    fn input(&self) -> InputParcel {
        let (salt, request) = (self.salt.clone(), self.request.clone());
        InputParcel { salt, request, reply_key: self.reply_secret.public() }
    }

    /// Opens the answer among those that seats have sealed, if it is the one that was settled.
    fn open_answer(
        &self,
        genesis: Digest32,
        record: &SettlementRecord,
        answers: &[Envelope],
    ) -> Option<AnswerParcel> {
        let claim = record.claim.as_ref()?;
        answers.iter().find_map(|envelope| {
            let sender = record.seats.iter().find(|seat| seat.provider == envelope.sender)?;
            envelope.check(&genesis, &sender.work_key).ok()?;
            let delivery = Delivery {
                genesis,
                job: self.job,
                sender: envelope.sender,
                recipient: self.requester.clone().into(),
                seat: envelope.seat,
                content: Content::Answer(claim),
            };
            match delivery.open(&envelope.package, &self.reply_secret) {
                Ok(Parcel::Answer(answer)) => Some(answer),
                Ok(Parcel::Input(_) | Parcel::Work(_)) | Err(_) => None,
            }
        })
    }
}

impl Client {
    /// Hands the input to every executor that is drawn, until one has accepted.
    ///
    /// # Errors
    /// [`SubmitError`] when the connection breaks, or the job ends without an executor.
    pub async fn hand_over(&self, key: &Key, order: &Order) -> Result<(), SubmitError> {
        let mut events = self.job_events(&order.job).await?;
        let mut handed = Handed::default();
        loop {
            match self.hand_to_executor(key, order, &mut handed).await? {
                InputState::Accepted => return Ok(()),
                InputState::Ended => return Err(SubmitError::NobodyAccepted(order.job)),
                InputState::Awaited => drop(events.next().await?),
            }
        }
    }

    /// Calls `tell` with everything that happens to an order's job until it has come to its end; whoever is drawn
    /// to execute it gets the input.
    ///
    /// # Errors
    /// [`SubmitError`] when the job is unknown, or the connection breaks.
    pub async fn follow_order(
        &self,
        key: &Key,
        order: &Order,
        mut tell: impl FnMut(&JobEvent),
    ) -> Result<Verdict, SubmitError> {
        let mut events = self.job_events(&order.job).await?;
        let mut handed = Handed::default();
        loop {
            let event = events.next().await?;
            tell(&event);
            if let JobEvent::Settled { verdict, .. } = event {
                return Ok(verdict);
            }
            if awaits_input(&event) {
                self.hand_to_executor(key, order, &mut handed).await?;
            }
        }
    }

    /// Hands the input to the executor that waits for it, if one does: through the node, and on the ledger if it has
    /// asked there.
    ///
    /// # Errors
    /// [`SubmitError`] when the connection breaks, or the ledger refuses.
    pub async fn hand_to_executor(
        &self,
        key: &Key,
        order: &Order,
        handed: &mut Handed,
    ) -> Result<InputState, SubmitError> {
        let job: Option<Job> = self.runtime("JobsApi_job", order.job).await?;
        let Some(job) = job else {
            let ended = self.job(&order.job).await?.settlement;
            let was_executed = ended.is_some_and(|record| record.claim.is_some());
            return Ok(if was_executed { InputState::Accepted } else { InputState::Ended });
        };
        match job.phase {
            Phase::Requested { .. } => return Ok(InputState::Awaited),
            Phase::Assigned { .. } => {}
            Phase::Inconclusive | Phase::Expired if job.claim.is_none() => return Ok(InputState::Ended),
            _ => return Ok(InputState::Accepted),
        }
        let Some(seat) = job.executor().filter(|seat| seat.outcome == SeatOutcome::Pending) else {
            return Ok(InputState::Awaited);
        };
        if !handed.sealed_for.contains(&seat.index) {
            self.deliver(key, order, seat).await?;
            handed.sealed_for.push(seat.index);
        }
        let need = job.need(Party::Seat(seat.index));
        let asked = need.filter(|need| matches!(need.state, NeedState::Open { .. }));
        if let Some(need) = asked.filter(|_| !handed.posted_for.contains(&seat.index)) {
            let delivery = order.delivery(self.genesis_digest(), seat);
            let package = delivery.seal(&order.parcel(), &need.key, fresh_entropy())?;
            self.post_input(key, order.job, seat.index, package).await?;
            handed.posted_for.push(seat.index);
        }
        Ok(InputState::Awaited)
    }

    /// Hands every validator what an order's job did, so that it can judge although no seat tells it.
    ///
    /// # Errors
    /// [`SubmitError`] when the job is not contested, or the answer is not here.
    pub async fn brief_judges(&self, key: &Key, order: &Order) -> Result<(), SubmitError> {
        let Some(record) = self.job(&order.job).await?.settlement else { return Ok(()) };
        let Some(claim) = record.claim else { return Ok(()) };
        let answer = self.answer(order, &record).await?;
        let storage = pallet_assay_validators::Validators::<Runtime>::hashed_key();
        let judges: Option<Vec<ValidatorInfo>> = self.storage(&storage, None).await?;
        for judge in judges.unwrap_or_default() {
            let envelope = order.brief(key, self.genesis_digest(), &judge, (&claim, &answer))?;
            self.request::<serde_json::Value>("job_v1_deliver", rpc_params![envelope]).await?;
        }
        Ok(())
    }

    async fn deliver(&self, key: &Key, order: &Order, seat: &Seat) -> Result<(), SubmitError> {
        let delivery = order.delivery(self.genesis_digest(), seat);
        let entropy: Entropy = fresh_entropy();
        let sign = |digest: &Digest32| Signature(key.pair.sign(digest.as_bytes()).0);
        let envelope = Envelope::seal(&delivery, &order.parcel(), &seat.encryption_key, entropy, sign)?;
        match self.request::<serde_json::Value>("job_v1_deliver", rpc_params![envelope]).await {
            // It has gone on, or was replaced, since the job was read.
            Err(ClientError::Refused { code: NOBODY_WAITS, .. }) => Ok(()),
            answer => Ok(answer.map(drop)?),
        }
    }

    async fn post_input(&self, key: &Key, job: JobId, seat: u8, package: Vec<u8>) -> Result<(), SubmitError> {
        let bytes = package.len();
        let package = package.try_into().map_err(|_| SealError::TooLarge(bytes))?;
        let call = pallet_assay_jobs::Call::post_input { job, seat, package };
        match self.submit(key, "posting an input", RuntimeCall::Jobs(call)).await {
            // The seat has gone on, or was replaced, since the job was read.
            Err(SubmitError::Failed { .. }) if !self.is_asked(&job, seat).await? => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Whether a seat waits for its data on the ledger.
    async fn is_asked(&self, job: &JobId, seat: u8) -> Result<bool, ClientError> {
        let job: Option<Job> = self.runtime("JobsApi_job", *job).await?;
        let need = job.as_ref().and_then(|job| job.need(Party::Seat(seat)));
        Ok(need.is_some_and(|need| matches!(need.state, NeedState::Open { .. })))
    }

    /// The answer to an order whose job has ended so.
    ///
    /// # Errors
    /// [`ClientError`] when there is none here that opens to what was claimed.
    pub async fn answer(&self, order: &Order, record: &SettlementRecord) -> Result<JobOutput, ClientError> {
        const METHOD: &str = "job_v1_output";
        let fetching = (NO_ANSWER, FETCHING_BLOCKS_MAX);
        let answers: Vec<Envelope> = self.request_until(METHOD, rpc_params![order.job], fetching).await?;
        let opened = order.open_answer(self.genesis_digest(), record, &answers);
        let answer = opened.ok_or_else(|| ClientError::Foreign {
            method: METHOD.into(),
            cause: "no answer there is sealed to this order and opens to what was claimed".into(),
        })?;
        self.decoded(order, &answer).await
    }

    /// An answer with its text, which a node with the model makes of the tokens.
    pub(super) async fn decoded(
        &self,
        order: &Order,
        answer: &AnswerParcel,
    ) -> Result<JobOutput, ClientError> {
        #[derive(Deserialize)]
        struct Decoded {
            text: String,
        }
        let params = rpc_params![order.record.model_id, &answer.tokens];
        let Decoded { text } = self.request_of_model("job_v1_decode", params).await?;
        Ok(JobOutput {
            tokens: answer.tokens.clone(),
            text,
            finish: answer.finish,
            trace_root: answer.trace_root,
            right_token: 0,
        })
    }
}

/// Whether an event may mean that an executor waits.
pub const fn awaits_input(event: &JobEvent) -> bool {
    matches!(event, JobEvent::Needed { .. } | JobEvent::Phase { phase: Phase::Assigned { .. }, .. })
}
