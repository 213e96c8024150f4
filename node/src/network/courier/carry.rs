//! Single deliveries: handing over, asking, and taking.

use std::collections::{BTreeMap, BTreeSet};

use assay_manifest::JobId;
use assay_protocol::job::Job;
use assay_protocol::party::AccountBytes;
use assay_protocol::seal::{Envelope, Purpose};
use codec::Encode;
use libp2p::PeerId;
use tracing::{debug, warn};

use super::outbox::Load;
use super::rules::{House, admit};
use super::service::Home;
use super::survey::{SurveyError, blocking};
use super::wants::Want;
use crate::network::fault::Fault;
use crate::network::inbox::{NetworkError, NetworkHandle};
use crate::network::ports::{JobLedger, PostOffice, Slip};
use crate::network::presence::Place;
use crate::network::wire::{
    ENVELOPES_BYTES_MAX, ENVELOPES_MAX, EnvelopeRequest, EnvelopeResponse, MESSAGE_HEAD_BYTES_MAX, Receipt,
    Refusal,
};
use crate::worker::MailboxError;

/// Bytes of the envelopes of one message.
const ENVELOPES_ROOM_BYTES: usize = ENVELOPES_BYTES_MAX - MESSAGE_HEAD_BYTES_MAX;

/// What deliveries work with.
#[derive(Clone)]
pub struct Carrier<L, P> {
    pub network: NetworkHandle,
    pub ledger: L,
    pub post: P,
    pub home: Home,
}

/// What became of what was handed over.
#[derive(Debug, Default)]
pub struct Handed {
    /// Taken, or of no use to anybody.
    pub done: Vec<Slip>,
    /// To be tried again.
    pub failed: Vec<Slip>,
}

impl<L: JobLedger, P: PostOffice> Carrier<L, P> {
    /// Hands a load over.
    pub async fn hand_over(&self, load: Load) -> Handed {
        let Load { place, slips } = load;
        match self.try_hand_over(place, &slips).await {
            Ok(handed) => handed,
            Err(error) => {
                debug!(%error, "handing envelopes over");
                Handed { done: Vec::new(), failed: slips }
            }
        }
    }

    async fn try_hand_over(&self, place: Place, slips: &[Slip]) -> Result<Handed, CarryError> {
        let wanted = slips.to_vec();
        let find =
            move |post: &P| wanted.iter().map(|slip| post.envelope(slip)).collect::<Result<Vec<_>, _>>();
        let found = blocking(&self.post, find).await?;
        let mut handed = Handed::default();
        let (mut sent, mut envelopes) = (Vec::new(), Vec::new());
        let mut room = ENVELOPES_ROOM_BYTES;
        for (slip, envelope) in slips.iter().zip(found) {
            match envelope {
                Some(envelope) => match room.checked_sub(envelope.encoded_size()) {
                    Some(rest) => {
                        room = rest;
                        sent.push(*slip);
                        envelopes.push(envelope);
                    }
                    // With the next message.
                    None => handed.failed.push(*slip),
                },
                // Forgotten, with its job.
                None => handed.done.push(*slip),
            }
        }
        if envelopes.is_empty() {
            return Ok(handed);
        }
        let peer = place.peer;
        let response =
            self.network.ask_envelopes(peer, place.addresses, EnvelopeRequest::Put(envelopes)).await?;
        let EnvelopeResponse::Put(receipts) = response else { return self.misfit(peer).await };
        if receipts.len() != sent.len() {
            return self.misfit(peer).await;
        }
        for (slip, receipt) in sent.into_iter().zip(receipts) {
            match receipt {
                Receipt::Kept => handed.done.push(slip),
                Receipt::Refused(Refusal::Forged) => {
                    warn!(%peer, ?slip, "an envelope of this node was taken for forged");
                    handed.done.push(slip);
                }
                Receipt::Refused(reason) => {
                    debug!(%peer, ?slip, ?reason, "an envelope was refused");
                    handed.failed.push(slip);
                }
            }
        }
        Ok(handed)
    }

    /// Asks a peer for what is lacked, and keeps it; whether it was there.
    pub async fn fetch(&self, want: Want, place: Place) -> bool {
        debug!(?want, peer = %place.peer, "asking for an envelope");
        self.try_fetch(want, place).await.unwrap_or_else(|error| {
            debug!(?want, %error, "asking for an envelope");
            false
        })
    }

    async fn try_fetch(&self, want: Want, place: Place) -> Result<bool, CarryError> {
        let Want { job, purpose, recipient } = want;
        let request = EnvelopeRequest::Get { job, purpose, recipient };
        let peer = place.peer;
        let response = self.network.ask_envelopes(peer, place.addresses, request).await?;
        let EnvelopeResponse::Got(envelopes) = response else { return self.misfit(peer).await };
        if envelopes
            .iter()
            .any(|envelope| (envelope.job, envelope.purpose, envelope.recipient) != (job, purpose, recipient))
        {
            return self.misfit(peer).await;
        }
        Ok(self.take(peer, envelopes, Some(want)).await?.contains(&Receipt::Kept))
    }

    async fn misfit<T>(&self, peer: PeerId) -> Result<T, CarryError> {
        self.network.report(peer, Fault::Malformed).await;
        Err(CarryError::Misfit)
    }

    /// Keeps those of a peer's envelopes that are for somebody here, and counts its faults.
    pub async fn take(
        &self,
        peer: PeerId,
        envelopes: Vec<Envelope>,
        asked_for: Option<Want>,
    ) -> Result<Vec<Receipt>, CarryError> {
        let mut jobs = self.jobs_of(&envelopes).await?;
        let is_contested = jobs.values().any(|(job, _)| job.is_contested());
        let validators = match is_contested {
            true => self.ledger.validators().await.map_err(SurveyError::from)?,
            false => BTreeSet::new(),
        };
        let hosted = self.home.everybody();
        let (mut kept, mut receipts) = (Vec::new(), Vec::new());
        for envelope in envelopes {
            let Some((job, held)) = jobs.get_mut(&envelope.job) else {
                receipts.push(Receipt::Refused(Refusal::UnknownJob));
                continue;
            };
            let house = House { hosted: &hosted, validators: &validators, held, asked_for };
            match admit(&envelope, job, &house) {
                Ok(()) => {
                    receipts.push(Receipt::Kept);
                    held.insert(Slip::of(&envelope));
                    kept.push(envelope);
                }
                Err(refusal) => receipts.push(Receipt::Refused(refusal)),
            }
        }
        if !kept.is_empty() {
            blocking(&self.post, move |post| keep(post, kept)).await?;
        }
        if receipts.contains(&Receipt::Refused(Refusal::Forged)) {
            self.network.report(peer, Fault::BadEnvelope).await;
        }
        Ok(receipts)
    }

    /// The jobs of these envelopes that are on the ledger, with what lies here of each.
    async fn jobs_of(
        &self,
        envelopes: &[Envelope],
    ) -> Result<BTreeMap<JobId, (Job, BTreeSet<Slip>)>, SurveyError> {
        let ids: BTreeSet<JobId> = envelopes.iter().map(|envelope| envelope.job).collect();
        let mut jobs = BTreeMap::new();
        for id in ids {
            if let Some(job) = self.ledger.job(id).await? {
                let held = blocking(&self.post, move |post| post.slips_of(&id)).await?;
                jobs.insert(id, (job, held.into_iter().collect()));
            }
        }
        Ok(jobs)
    }

    /// What lies here for a recipient, as much of it as one message holds. An answer is given while its job is settled: it
    /// holds the executor's trace root, which a seat that has not committed would have without the work, and of a job that
    /// came to nothing nobody has paid it.
    pub async fn give(
        &self,
        job: JobId,
        purpose: Purpose,
        recipient: AccountBytes,
    ) -> Result<Vec<Envelope>, CarryError> {
        if purpose == Purpose::Answer {
            let open = self.ledger.job(job).await.map_err(SurveyError::from)?;
            if !open.is_some_and(|open| open.phase.is_settled()) {
                return Ok(Vec::new());
            }
        }
        let mut envelopes =
            blocking(&self.post, move |post| post.received(&job, purpose, &recipient)).await?;
        // What an executor has sealed to itself is nobody else's affair.
        envelopes.retain(|envelope| envelope.sender != envelope.recipient);
        envelopes.truncate(ENVELOPES_MAX);
        let mut room = ENVELOPES_ROOM_BYTES;
        envelopes.retain(|envelope| match room.checked_sub(envelope.encoded_size()) {
            Some(rest) => {
                room = rest;
                true
            }
            None => false,
        });
        Ok(envelopes)
    }
}

/// Puts in what is not there already: what is handed over again, since its receipt was lost, costs no write.
fn keep<P: PostOffice>(post: &P, envelopes: Vec<Envelope>) -> Result<(), MailboxError> {
    let mut fresh = Vec::new();
    for envelope in envelopes {
        if post.envelope(&Slip::of(&envelope))?.as_ref() != Some(&envelope) {
            fresh.push(envelope);
        }
    }
    if fresh.is_empty() { Ok(()) } else { post.put(&fresh) }
}

/// A delivery failed.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// Journal or ledger.
    #[error(transparent)]
    Survey(#[from] SurveyError),
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The peer answered something else.
    #[error("carrying envelopes: the peer's answer is not one to the question")]
    Misfit,
}
