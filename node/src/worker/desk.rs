//! Opening what was delivered: in the mailbox, or posted on the ledger.

use std::sync::Arc;

use assay_protocol::commitment::Claim;
use assay_protocol::job::{Job, Party, Seat};
use assay_protocol::party::AccountBytes;
use assay_protocol::seal::{
    AnswerParcel, Content, Delivery, Envelope, InputParcel, Parcel, Purpose, SealingSecret, WorkParcel,
};
use assay_protocol::signature::WorkKey;
use tracing::debug;

use super::ports::{Mailbox, MailboxError};
use crate::sealing::KeyRing;

/// Where sealed data comes in, and the keys that open it.
#[derive(Clone)]
pub struct Desk {
    /// What lies there.
    pub mailbox: Arc<dyn Mailbox>,
    /// What opens it.
    pub ring: Arc<KeyRing>,
}

/// What a party finds of the data that it is owed.
pub enum Found<T> {
    /// It was delivered.
    Delivered(T),
    /// It is on the ledger, from where it will vanish.
    Posted(T),
    /// Nothing that opens.
    Missing,
    /// What was posted on the ledger is not what it should be, as this secret shows.
    Bad(SealingSecret),
}

/// An address in the mailbox: who may have sent what to whom.
struct Address<'a> {
    job: &'a Job,
    recipient: AccountBytes,
    /// Where the recipient has one; else the sender's counts.
    seat: Option<u8>,
    content: Content<'a>,
}

impl Desk {
    /// The input of an executor's seat.
    ///
    /// # Errors
    /// [`MailboxError`] when the mailbox fails.
    pub fn input(
        &self,
        job: &Job,
        seat: &Seat,
        posted: Option<&[u8]>,
    ) -> Result<Found<InputParcel>, MailboxError> {
        let address = Address::of_seat(job, seat, Content::Input(&job.record));
        let parcel = self.look(&address, posted.map(|package| (package, job.requester)))?;
        Ok(parcel.map(|parcel| match parcel {
            Parcel::Input(input) => Some(input),
            Parcel::Work(_) | Parcel::Answer(_) => None,
        }))
    }

    /// The work of a seat: what a verifier was handed, or what an executor has kept of its own.
    ///
    /// # Errors
    /// [`MailboxError`] when the mailbox fails.
    pub fn work(
        &self,
        job: &Job,
        seat: &Seat,
        posted: Option<&[u8]>,
    ) -> Result<Found<WorkParcel>, MailboxError> {
        let Some(claim) = &job.claim else { return Ok(Found::Missing) };
        let address = Address::of_seat(job, seat, Content::Work(&job.record, claim));
        let sender = job.answerer().map(|executor| executor.provider);
        let found = self.look(&address, posted.zip(sender))?;
        Ok(found.map(work))
    }

    /// The work of a disputed job, as some seat has sealed it to this validator.
    ///
    /// # Errors
    /// [`MailboxError`] when the mailbox fails.
    pub fn disputed(&self, job: &Job, judge: AccountBytes) -> Result<Option<WorkParcel>, MailboxError> {
        let Some(claim) = &job.claim else { return Ok(None) };
        let content = Content::Work(&job.record, claim);
        let address = Address { job, recipient: judge, seat: None, content };
        Ok(self.open_any(&address)?.and_then(work))
    }

    /// What an executor has kept of its answer.
    ///
    /// # Errors
    /// [`MailboxError`] when the mailbox fails.
    pub fn own_answer(
        &self,
        job: &Job,
        seat: &Seat,
        claim: &Claim,
    ) -> Result<Option<AnswerParcel>, MailboxError> {
        let address = Address::of_seat(job, seat, Content::Answer(claim));
        Ok(self.open_any(&address)?.and_then(|parcel| match parcel {
            Parcel::Answer(answer) => Some(answer),
            Parcel::Input(_) | Parcel::Work(_) => None,
        }))
    }

    /// Whether something from this sender already lies there for the recipient.
    ///
    /// # Errors
    /// [`MailboxError`] when the mailbox fails.
    pub fn is_handed(&self, delivery: &Delivery<'_>) -> Result<bool, MailboxError> {
        let there = self.mailbox.received(&delivery.job, Purpose::Work, &delivery.recipient)?;
        Ok(there.iter().any(|there| (there.sender, there.seat) == (delivery.sender, delivery.seat)))
    }

    /// The mailbox first; then what was posted by `sender` for the seat, and kept there from now on.
    fn look(
        &self,
        address: &Address<'_>,
        posted: Option<(&[u8], AccountBytes)>,
    ) -> Result<Found<Parcel>, MailboxError> {
        if let Some(parcel) = self.open_any(address)? {
            return Ok(Found::Delivered(parcel));
        }
        let Some(((package, sender), seat)) = posted.zip(address.seat) else { return Ok(Found::Missing) };
        let asked = address.job.need(Party::Seat(seat)).and_then(|need| self.ring.secret(&need.key));
        let Some(secret) = asked else { return Ok(Found::Missing) };
        Ok(match address.delivery(sender, seat).open(package, &secret) {
            Ok(parcel) => Found::Posted(parcel),
            Err(error) => {
                debug!(job = %address.job.id, seat, %error, "a posted package is bad");
                Found::Bad(secret)
            }
        })
    }

    /// The first envelope for this address that is signed and opens to what it should.
    fn open_any(&self, address: &Address<'_>) -> Result<Option<Parcel>, MailboxError> {
        let purpose = address.content.purpose();
        let envelopes = self.mailbox.received(&address.job.id, purpose, &address.recipient)?;
        Ok(envelopes.iter().find_map(|envelope| {
            let opened = self.open(address, envelope);
            if opened.is_none() {
                debug!(job = %address.job.id, ?envelope, "an envelope does not open");
            }
            opened
        }))
    }

    fn open(&self, address: &Address<'_>, envelope: &Envelope) -> Option<Parcel> {
        let signer = address.signer(envelope)?;
        envelope.check(&address.job.genesis, &signer).ok()?;
        let secret = self.ring.secret(&envelope.key)?;
        address.delivery(envelope.sender, envelope.seat).open(&envelope.package, &secret).ok()
    }
}

impl<'a> Address<'a> {
    fn of_seat(job: &'a Job, seat: &Seat, content: Content<'a>) -> Self {
        Self { job, recipient: seat.provider, seat: Some(seat.index), content }
    }

    fn delivery(&self, sender: AccountBytes, seat: u8) -> Delivery<'a> {
        let Self { job, recipient, content, .. } = *self;
        Delivery { genesis: job.genesis, job: job.id, sender, recipient, seat, content }
    }

    /// The key that must have signed: a seat's; for an input the requester's; for what a validator judges also the
    /// requester's or the challenger's, since seats that agreed on a lie hand it nothing.
    fn signer(&self, envelope: &Envelope) -> Option<WorkKey> {
        if self.seat.is_some_and(|seat| seat != envelope.seat) {
            return None;
        }
        let is_judged = envelope.purpose == Purpose::Work && self.seat.is_none();
        let is_party = match envelope.purpose {
            Purpose::Input => envelope.sender == self.job.requester,
            _ => is_judged && self.job.contests(&envelope.sender),
        };
        if is_party {
            return Some(envelope.sender);
        }
        self.job.seats.iter().find(|seat| seat.provider == envelope.sender).map(|seat| seat.work_key)
    }
}

impl Found<Parcel> {
    fn map<T>(self, pick: impl FnOnce(Parcel) -> Option<T>) -> Found<T> {
        match self {
            Self::Delivered(parcel) => pick(parcel).map_or(Found::Missing, Found::Delivered),
            Self::Posted(parcel) => pick(parcel).map_or(Found::Missing, Found::Posted),
            Self::Missing => Found::Missing,
            Self::Bad(secret) => Found::Bad(secret),
        }
    }
}

fn work(parcel: Parcel) -> Option<WorkParcel> {
    match parcel {
        Parcel::Work(work) => Some(work),
        Parcel::Input(_) | Parcel::Answer(_) => None,
    }
}
