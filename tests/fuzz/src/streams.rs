//! What is read off a stream by its length: questions and answers of the network, requests for artifacts, frames
//! between a node and its models' processes.

use std::io::{Cursor, Read};

use assay_manifest::{Digest32, JobId};
use assay_node::blobs::wire::{self as blobs, Answer, Request};
use assay_node::model_process::message::{Order, Report};
use assay_node::model_process::wire::{FRAME_BYTES_MAX, receive, send};
use assay_node::network::{
    BookRequest, BookResponse, EnvelopeRequest, EnvelopeResponse, Message, Receipt, read_message,
};
use assay_protocol::seal::Purpose;
use codec::{DecodeAll, Encode};
use futures::executor::block_on;
use futures::io::Cursor as AsyncCursor;

use crate::memory::in_proportion;

/// Reads what stands first on a stream and writes it again, where it is what it reads.
type Reader = fn(&[u8]) -> Option<Vec<u8>>;

/// What an input's first byte chooses from.
const READERS: [Reader; 8] = [
    message::<EnvelopeRequest>,
    message::<EnvelopeResponse>,
    message::<BookRequest>,
    message::<BookResponse>,
    request,
    |mut bytes| Answer::read(&mut bytes).ok().map(|answer| answer.message()),
    frame::<Order>,
    frame::<Report>,
];

/// One message of each kind that is made without a chain, and as many zeros for each.
pub fn seeds() -> Vec<Vec<u8>> {
    let (job, recipient) = (JobId::from_bytes([1; 32]), [2; 32]);
    let framed = |content: Vec<u8>| [&(content.len() as u32).to_le_bytes()[..], &content].concat();
    let known = [
        (0, framed(EnvelopeRequest::Get { job, purpose: Purpose::Work, recipient }.encode())),
        (1, framed(EnvelopeResponse::Put(vec![Receipt::Kept; 3]).encode())),
        (2, framed(BookRequest.encode())),
        (3, framed(BookResponse(Vec::new()).encode())),
        (4, Request::range(Digest32::ZERO, &(0..1 << 20)).message()),
        (5, Answer::Manifest { size_bytes: 1_000 }.message()),
    ];
    let known = known.into_iter().map(|(reader, bytes)| [&[reader][..], &bytes].concat());
    let zeros = (0..READERS.len() as u8).map(|reader| [&[reader, 200, 0, 0, 0][..], &[0; 200]].concat());
    known.chain(zeros).collect()
}

/// What is read is as it is written, and nothing behind it is touched. What a length promises takes no memory until it
/// comes; the frames of a model's process, which its node has started, may take a frame's.
///
/// # Panics
/// When that does not hold.
pub fn check(data: &[u8]) {
    let Some((chosen, bytes)) = data.split_first() else { return };
    let chosen = usize::from(*chosen) % READERS.len();
    let promised = if chosen < 6 { 0 } else { FRAME_BYTES_MAX };
    if let Some(again) = in_proportion(bytes.len() + promised, || READERS[chosen](bytes)) {
        assert!(bytes.starts_with(&again), "two encodings of one thing, by reader {chosen}");
    }
}

fn message<M: Message>(bytes: &[u8]) -> Option<Vec<u8>> {
    let message = block_on(read_message::<M>(&mut AsyncCursor::new(bytes))).ok()?.ok()?.encode();
    Some([&(message.len() as u32).to_le_bytes()[..], &message].concat())
}

fn request(bytes: &[u8]) -> Option<Vec<u8>> {
    let content = block_on(blobs::read_message(&mut AsyncCursor::new(bytes))).ok()??;
    Request::parse(&content).ok().map(|request| request.message())
}

fn frame<M: DecodeAll + Encode>(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut from = Cursor::new(bytes).take(bytes.len() as u64);
    let message: M = receive(&mut from).ok()?;
    let mut again = Vec::new();
    send(&mut again, &message).expect("as long as what was read");
    Some(again)
}
