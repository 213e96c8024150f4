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
/// Bytes of one answer with announcements: whatever is in the book, an answer with it is none that is too large.
pub const ANNOUNCEMENTS_BYTES_MAX: usize = ANNOUNCEMENTS_MAX * ANNOUNCEMENT_BYTES_MAX;
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

/// A message with its bounds.
pub trait Message: Encode + Decode + std::fmt::Debug + Send + 'static {
    /// Bytes of it.
    const BYTES_MAX: usize;
    /// Entries of its list, where it has one.
    const ENTRIES_MAX: usize;
    /// How many entries its list has.
    fn entries(&self) -> usize;
}

impl Message for EnvelopeRequest {
    const BYTES_MAX: usize = ENVELOPES_BYTES_MAX;
    const ENTRIES_MAX: usize = ENVELOPES_MAX;

    fn entries(&self) -> usize {
        match self {
            Self::Put(envelopes) => envelopes.len(),
            Self::Get { .. } => 0,
        }
    }
}

impl Message for EnvelopeResponse {
    const BYTES_MAX: usize = ENVELOPES_BYTES_MAX;
    const ENTRIES_MAX: usize = ENVELOPES_MAX;

    fn entries(&self) -> usize {
        match self {
            Self::Put(receipts) => receipts.len(),
            Self::Got(envelopes) => envelopes.len(),
        }
    }
}

impl Message for BookRequest {
    const BYTES_MAX: usize = QUESTION_BYTES_MAX;
    const ENTRIES_MAX: usize = 0;

    fn entries(&self) -> usize {
        0
    }
}

impl Message for BookResponse {
    const BYTES_MAX: usize = ANNOUNCEMENTS_BYTES_MAX;
    const ENTRIES_MAX: usize = ANNOUNCEMENTS_MAX;

    fn entries(&self) -> usize {
        self.0.len()
    }
}

impl Message for SignedAnnouncement {
    const BYTES_MAX: usize = ANNOUNCEMENT_BYTES_MAX;
    const ENTRIES_MAX: usize = 0;

    fn entries(&self) -> usize {
        0
    }
}

/// Reads a message.
///
/// # Errors
/// [`Fault::Oversized`] or [`Fault::Malformed`]: what it is to send these bytes.
pub fn decode_message<M: Message>(bytes: &[u8]) -> Result<M, Fault> {
    if bytes.len() > M::BYTES_MAX {
        return Err(Fault::Oversized);
    }
    let message = M::decode_all_with_depth_limit(DEPTH_MAX, &mut &*bytes).map_err(|_| Fault::Malformed)?;
    if message.entries() > M::ENTRIES_MAX { Err(Fault::Oversized) } else { Ok(message) }
}

/// A kind of question with its answer.
pub trait Exchange: Clone + Send + Sized + 'static {
    /// The question.
    type Request: Message;
    /// The answer.
    type Response: Message;
    /// The end of the protocol's name.
    const WORD: &'static str;
}

/// Envelopes on their way.
#[derive(Clone, Copy, Debug)]
pub struct Envelopes;

impl Exchange for Envelopes {
    type Request = EnvelopeRequest;
    type Response = EnvelopeResponse;
    const WORD: &'static str = "envelopes";
}

/// Announcements for a newcomer.
#[derive(Clone, Copy, Debug)]
pub struct Book;

impl Exchange for Book {
    type Request = BookRequest;
    type Response = BookResponse;
    const WORD: &'static str = "book";
}

#[cfg(test)]
mod tests {
    use assay_manifest::Digest32;
    use assay_protocol::signature::Signature;
    use assay_protocol::units::Height;
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
        let read = decode_message::<EnvelopeRequest>;
        assert!(read(&put(4)).is_ok());
        assert_eq!(read(&put(5)), Err(Fault::Oversized));
        let many = EnvelopeRequest::Put(vec![envelope(1); ENVELOPES_MAX + 1]).encode();
        assert_eq!(read(&many), Err(Fault::Oversized));
        let receipts = EnvelopeResponse::Put(vec![Receipt::Kept; ENVELOPES_MAX + 1]).encode();
        assert_eq!(decode_message::<EnvelopeResponse>(&receipts), Err(Fault::Oversized));
    }

    #[test]
    fn whatever_the_pool_takes_can_be_gossiped() {
        assert_eq!(TRANSACTION_BYTES_MAX, crate::mempool::Config::default().transaction_bytes_max);
    }

    #[test]
    fn a_book_of_the_largest_announcements_fits_into_an_answer() {
        use assay_protocol::announcement::{
            ADDRESS_BYTES_MAX, ADDRESSES_MAX, Announcement, Announcer, Capacity, PEER_BYTES_MAX,
        };

        let address = vec![9; ADDRESS_BYTES_MAX as usize].try_into().unwrap();
        let announcement = Announcement {
            genesis: Digest32::ZERO,
            announcer: Announcer::Provider([1; 32]),
            peer: vec![9; PEER_BYTES_MAX as usize].try_into().unwrap(),
            addresses: vec![address; ADDRESSES_MAX as usize].try_into().unwrap(),
            capacity: Capacity::default(),
            height: Height::new(u32::MAX),
        };
        let signed = SignedAnnouncement { announcement, signature: Signature([9; 64]) };
        assert_eq!(decode_message(&signed.encode()), Ok(signed.clone()));
        let book = BookResponse(vec![signed; ANNOUNCEMENTS_MAX]);
        assert_eq!(decode_message(&book.encode()), Ok(book));
    }

    #[test]
    fn a_message_with_something_behind_it_is_none() {
        let request = EnvelopeRequest::Put(vec![envelope(256)]);
        assert_eq!(decode_message(&request.encode()), Ok(request.clone()));
        let longer = [request.encode(), vec![0]].concat();
        assert_eq!(decode_message::<EnvelopeRequest>(&longer), Err(Fault::Malformed));
        assert_eq!(decode_message::<BookRequest>(&[0]), Err(Fault::Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = decode_message::<EnvelopeRequest>(&bytes);
            let _ = decode_message::<EnvelopeResponse>(&bytes);
            let _ = decode_message::<BookResponse>(&bytes);
            let _ = decode_message::<SignedAnnouncement>(&bytes);
        }
    }
}
