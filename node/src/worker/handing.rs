//! Sealing what others are owed.

use assay_protocol::commitment::Claim;
use assay_protocol::job::{Job, Seat};
use assay_protocol::party::AccountBytes;
use assay_protocol::seal::{
    AnswerParcel, Content, Delivery, EncryptionKey, Envelope, InputParcel, Parcel, SealError, WorkParcel,
};
use assay_protocol::signature::Signature;
use sp_core::{Pair, sr25519};

use super::ports::Answer;
use crate::sealing::fresh_entropy;

/// A seat that seals and signs.
pub struct Sender<'a> {
    pub job: &'a Job,
    pub seat: &'a Seat,
    pub work_key: &'a sr25519::Pair,
}

/// Whom a parcel is for.
#[derive(Clone, Copy)]
pub struct Recipient {
    pub account: AccountBytes,
    /// Its seat; for those who have none, the sender's.
    pub seat: u8,
    pub key: EncryptionKey,
}

impl Recipient {
    pub fn seat(seat: &Seat) -> Self {
        Self { account: seat.provider, seat: seat.index, key: seat.encryption_key }
    }
}

impl<'a> Sender<'a> {
    /// A delivery from this seat.
    pub fn delivery<'c>(&self, to: &Recipient, content: Content<'c>) -> Delivery<'c> {
        let Self { job, seat, .. } = self;
        let (sender, recipient) = (seat.provider, to.account);
        Delivery { genesis: job.genesis, job: job.id, sender, recipient, seat: to.seat, content }
    }

    /// The same, sealed and signed.
    ///
    /// # Errors
    /// [`SealError`] when the parcel is too large, or the key is bad.
    pub fn envelope(
        &self,
        to: &Recipient,
        content: Content<'_>,
        parcel: &Parcel,
    ) -> Result<Envelope, SealError> {
        let sign = |digest: &_| self.sign(digest);
        Envelope::seal(&self.delivery(to, content), parcel, &to.key, fresh_entropy(), sign)
    }

    fn sign(&self, digest: &assay_manifest::Digest32) -> Signature {
        Signature(self.work_key.sign(digest.as_bytes()).0)
    }

    /// What an executor puts down before it commits: the answer for the requester, and for itself what others will
    /// ask it for.
    ///
    /// # Errors
    /// [`SealError`] when a parcel is too large, or the requester's key is bad.
    pub fn result(
        &self,
        input: &InputParcel,
        answer: &Answer,
        trace_root: assay_manifest::Digest32,
    ) -> Result<Vec<Envelope>, SealError> {
        let claim = Claim::of(&input.salt, &answer.tokens, answer.finish);
        let own = Recipient::seat(self.seat);
        let requester =
            Recipient { account: self.job.requester, seat: self.seat.index, key: input.reply_key };
        let work = Parcel::Work(WorkParcel::of(input, &answer.tokens, answer.finish));
        let reply = Parcel::Answer(AnswerParcel::of(&input.salt, &answer.tokens, answer.finish, trace_root));
        let mut envelopes = vec![
            self.envelope(&own, Content::Work(&self.job.record, &claim), &work)?,
            self.envelope(&own, Content::Answer(&claim), &reply)?,
        ];
        match self.envelope(&requester, Content::Answer(&claim), &reply) {
            Ok(envelope) => envelopes.push(envelope),
            // A requester that names a key of small order gets no answer; that is nobody's fault but its own.
            Err(SealError::BadKey) => {}
            Err(error) => return Err(error),
        }
        Ok(envelopes)
    }
}
