//! Messages between nodes, and their decoders: pure, bounded, and total over all bytes.

use assay_manifest::JobId;
use assay_protocol::announcement::SignedAnnouncement;
use assay_protocol::party::AccountBytes;
use assay_protocol::seal::{Envelope, PACKAGE_BYTES_MAX, Purpose};
use codec::{Decode, DecodeLimit, Encode};

use super::fault::Fault;

/// Levels of nesting of a message. Ours have four.
const DEPTH_MAX: u32 = 8;
/// Bytes of an envelope besides its package.
const ENVELOPE_HEAD_BYTES_MAX: usize = 256;
/// Envelopes of one message: as many seats as a job may have, and room beside them.
pub const ENVELOPES_MAX: usize = 16;
/// Bytes of one message that holds envelopes: four of the largest size, which few have. So much may be read of every
/// stream of every peer at the same time.
pub const ENVELOPES_BYTES_MAX: usize =
    4 * (PACKAGE_BYTES_MAX + ENVELOPE_HEAD_BYTES_MAX) + MESSAGE_HEAD_BYTES_MAX;
/// Bytes of such a message besides its envelopes.
pub const MESSAGE_HEAD_BYTES_MAX: usize = 64;
/// Bytes of a gossiped transaction: what the pool takes at the most.
pub const TRANSACTION_BYTES_MAX: usize = 512 * 1024;
/// Bytes of an announcement with as many addresses as it may have, each of the greatest length.
pub const ANNOUNCEMENT_BYTES_MAX: usize = 4 * 1024;
/// Announcements in one answer.
pub const ANNOUNCEMENTS_MAX: usize = 256;
/// Bytes of one answer with announcements.
pub const ANNOUNCEMENTS_BYTES_MAX: usize = 512 * 1024;
/// Bytes of a question about announcements.
pub const QUESTION_BYTES_MAX: usize = 64;

/// What is asked about envelopes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum EnvelopeRequest {
    /// Keep these for their recipients.
    #[codec(index = 0)]
    Put(Vec<Envelope>),
    /// Hand over what lies there for a recipient. Whoever asks: nobody but the recipient can read it.
    #[codec(index = 1)]
    Get {
        /// The job.
        job: JobId,
        /// What for.
        purpose: Purpose,
        /// For whom.
        recipient: AccountBytes,
    },
}

/// What became of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Receipt {
    /// It is durable there.
    #[codec(index = 0)]
    Kept,
    /// It is not kept.
    #[codec(index = 1)]
    Refused(Refusal),
}

/// Why an envelope is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Refusal {
    /// The job is not on the ledger, as far as this node has it: later, perhaps.
    #[codec(index = 0)]
    UnknownJob,
    /// Neither the recipient nor the job is at home here.
    #[codec(index = 1)]
    NotHere,
    /// The sender has no part in the job, or not this one.
    #[codec(index = 2)]
    NotAParty,
    /// The signature is not the sender's, or the package has no size that packages have.
    #[codec(index = 3)]
    Forged,
    /// As much lies there for the job as may.
    #[codec(index = 4)]
    Full,
    /// This node failed.
    #[codec(index = 5)]
    Failed,
}

/// The answer to an [`EnvelopeRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum EnvelopeResponse {
    /// What became of each, in their order.
    #[codec(index = 0)]
    Put(Vec<Receipt>),
    /// What lies there.
    #[codec(index = 1)]
    Got(Vec<Envelope>),
}

/// Asks for the announcements that a node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BookRequest;

/// The announcements that a node knows.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BookResponse(pub Vec<SignedAnnouncement>);

/// A kind of question with its answer, and how large both may be.
pub trait Exchange: Clone + Send + 'static {
    /// The question.
    type Request: Encode + std::fmt::Debug + Send + 'static;
    /// The answer.
    type Response: Encode + std::fmt::Debug + Send + 'static;
    /// The end of the protocol's name.
    const WORD: &'static str;
    /// Bytes of the question.
    const REQUEST_BYTES_MAX: usize;
    /// Bytes of the answer.
    const RESPONSE_BYTES_MAX: usize;
    /// Reads a question.
    ///
    /// # Errors
    /// The fault that it is to send these bytes.
    fn decode_request(bytes: &[u8]) -> Result<Self::Request, Fault>;
    /// Reads an answer.
    ///
    /// # Errors
    /// The fault that it is to send these bytes.
    fn decode_response(bytes: &[u8]) -> Result<Self::Response, Fault>;
}

/// Envelopes on their way.
#[derive(Clone, Copy, Debug)]
pub struct Envelopes;

impl Exchange for Envelopes {
    type Request = EnvelopeRequest;
    type Response = EnvelopeResponse;
    const WORD: &'static str = "envelopes";
    const REQUEST_BYTES_MAX: usize = ENVELOPES_BYTES_MAX;
    const RESPONSE_BYTES_MAX: usize = ENVELOPES_BYTES_MAX;

    fn decode_request(bytes: &[u8]) -> Result<EnvelopeRequest, Fault> {
        decode_envelope_request(bytes)
    }

    fn decode_response(bytes: &[u8]) -> Result<EnvelopeResponse, Fault> {
        decode_envelope_response(bytes)
    }
}

/// Announcements for a newcomer.
#[derive(Clone, Copy, Debug)]
pub struct Book;

impl Exchange for Book {
    type Request = BookRequest;
    type Response = BookResponse;
    const WORD: &'static str = "book";
    const REQUEST_BYTES_MAX: usize = QUESTION_BYTES_MAX;
    const RESPONSE_BYTES_MAX: usize = ANNOUNCEMENTS_BYTES_MAX;

    fn decode_request(bytes: &[u8]) -> Result<BookRequest, Fault> {
        decode_within(bytes, QUESTION_BYTES_MAX)
    }

    fn decode_response(bytes: &[u8]) -> Result<BookResponse, Fault> {
        decode_book_response(bytes)
    }
}

/// Reads a question about envelopes.
///
/// # Errors
/// [`Fault::Oversized`] or [`Fault::Malformed`].
pub fn decode_envelope_request(bytes: &[u8]) -> Result<EnvelopeRequest, Fault> {
    let request = decode_within(bytes, ENVELOPES_BYTES_MAX)?;
    match &request {
        EnvelopeRequest::Put(envelopes) if envelopes.len() > ENVELOPES_MAX => Err(Fault::Oversized),
        _ => Ok(request),
    }
}

/// Reads an answer about envelopes.
///
/// # Errors
/// [`Fault::Oversized`] or [`Fault::Malformed`].
pub fn decode_envelope_response(bytes: &[u8]) -> Result<EnvelopeResponse, Fault> {
    let response = decode_within(bytes, ENVELOPES_BYTES_MAX)?;
    let entries = match &response {
        EnvelopeResponse::Put(receipts) => receipts.len(),
        EnvelopeResponse::Got(envelopes) => envelopes.len(),
    };
    if entries > ENVELOPES_MAX { Err(Fault::Oversized) } else { Ok(response) }
}

/// Reads the announcements that a node knows.
///
/// # Errors
/// [`Fault::Oversized`] or [`Fault::Malformed`].
pub fn decode_book_response(bytes: &[u8]) -> Result<BookResponse, Fault> {
    let response: BookResponse = decode_within(bytes, ANNOUNCEMENTS_BYTES_MAX)?;
    if response.0.len() > ANNOUNCEMENTS_MAX { Err(Fault::Oversized) } else { Ok(response) }
}

/// Reads a gossiped announcement.
///
/// # Errors
/// [`Fault::Oversized`] or [`Fault::Malformed`].
pub fn decode_announcement(bytes: &[u8]) -> Result<SignedAnnouncement, Fault> {
    decode_within(bytes, ANNOUNCEMENT_BYTES_MAX)
}

fn decode_within<T: Decode>(bytes: &[u8], bytes_max: usize) -> Result<T, Fault> {
    if bytes.len() > bytes_max {
        return Err(Fault::Oversized);
    }
    T::decode_all_with_depth_limit(DEPTH_MAX, &mut &*bytes).map_err(|_| Fault::Malformed)
}

#[cfg(test)]
mod tests {
    use assay_manifest::Digest32;
    use assay_protocol::signature::Signature;
    use proptest::prelude::*;

    use super::*;

    pub fn envelope(bytes: usize) -> Envelope {
        Envelope {
            job: JobId::from_bytes([1; 32]),
            purpose: Purpose::Work,
            sender: [2; 32],
            recipient: [3; 32],
            seat: 1,
            key: Digest32::ZERO,
            package: vec![9; bytes],
            signature: Signature([0; 64]),
        }
    }

    #[test]
    fn the_largest_message_fits_and_one_more_envelope_does_not() {
        let put = |count| EnvelopeRequest::Put(vec![envelope(PACKAGE_BYTES_MAX); count]).encode();
        assert!(decode_envelope_request(&put(4)).is_ok());
        assert_eq!(decode_envelope_request(&put(5)), Err(Fault::Oversized));
        let many = EnvelopeRequest::Put(vec![envelope(1); ENVELOPES_MAX + 1]).encode();
        assert_eq!(decode_envelope_request(&many), Err(Fault::Oversized));
        let receipts = EnvelopeResponse::Put(vec![Receipt::Kept; ENVELOPES_MAX + 1]).encode();
        assert_eq!(decode_envelope_response(&receipts), Err(Fault::Oversized));
    }

    #[test]
    fn a_message_with_something_behind_it_is_none() {
        let request = EnvelopeRequest::Put(vec![envelope(256)]);
        assert_eq!(decode_envelope_request(&request.encode()), Ok(request.clone()));
        let longer = [request.encode(), vec![0]].concat();
        assert_eq!(decode_envelope_request(&longer), Err(Fault::Malformed));
        assert_eq!(Book::decode_request(&[0]), Err(Fault::Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = decode_envelope_request(&bytes);
            let _ = decode_envelope_response(&bytes);
            let _ = decode_book_response(&bytes);
            let _ = decode_announcement(&bytes);
        }
    }
}
