//! Encodings that are hashed, signed, sealed, kept, or passed between processes and nodes: manifests, log entries,
//! statements, records, parcels, key files, frames, messages.

use assay_manifest::lineage::Edge;
use assay_manifest::log::LogEntry;
use assay_manifest::manifest::FileEntry;
use assay_manifest::merkle::{ConsistencyProof, InclusionProof};
use assay_manifest::{Digest32, Manifest, sha256};
use assay_node::keys::{KeyRef, LockedKey, Passphrase, WordCount, Words};
use assay_node::model_process::message::{Order, Report};
use assay_node::network::{
    BookResponse, EnvelopeRequest, EnvelopeResponse, Message as NetworkMessage, decode_message,
};
use assay_protocol::announcement::SignedAnnouncement;
use assay_protocol::certificate::{CommitCertificate, ValidatorSet};
use assay_protocol::commitment::Salt;
use assay_protocol::header::HeaderView;
use assay_protocol::job::SettlementRecord;
use assay_protocol::record::PublicRecord;
use assay_protocol::request::{Message, Prompt, REQUEST_VERSION, Request, Sampler};
use assay_protocol::seal::{Envelope, InputParcel, Parcel, SealingSecret};
use assay_protocol::signature::SeatStep;
use codec::{DecodeAll, Encode};

use crate::memory::in_proportion;

/// Reads the bytes and writes them again, where they are what it reads.
type Reader = fn(&[u8]) -> Option<Vec<u8>>;

/// What an input's first byte chooses from.
const READERS: [Reader; 21] = [
    |bytes| Manifest::from_bytes(bytes).ok().map(|manifest| manifest.to_bytes()),
    |bytes| Edge::from_statement(bytes).ok().map(|edge| edge.statement()),
    |bytes| LogEntry::from_bytes(bytes).ok().map(|entry| entry.to_bytes()),
    |bytes| Request::from_bytes(bytes).ok().map(|request| request.to_bytes()),
    |bytes| SettlementRecord::from_leaf(bytes).map(|record| record.to_leaf()),
    scale::<PublicRecord>,
    scale::<SeatStep>,
    scale::<CommitCertificate>,
    scale::<ValidatorSet>,
    scale::<InclusionProof>,
    scale::<ConsistencyProof>,
    header,
    scale::<Envelope>,
    scale::<Parcel>,
    key_file,
    scale::<Order>,
    scale::<Report>,
    message::<EnvelopeRequest>,
    message::<EnvelopeResponse>,
    message::<BookResponse>,
    message::<SignedAnnouncement>,
];

/// What can be made without a chain, and as many zeros for each of the others.
pub fn seeds() -> Vec<Vec<u8>> {
    let file = FileEntry {
        path: "a.bin".parse().expect("a path"),
        size: 3,
        sha256: sha256(b"abc"),
        blake3: Digest32::ZERO,
    };
    let manifest = Manifest::dataset(vec![file]).expect("a manifest");
    let request = Request {
        version: REQUEST_VERSION,
        prompt: Prompt::Chat(vec![Message { role: "user".into(), content: "hi".into() }]),
        now_s: 5,
        n_in: 100,
        prompt_hash: Digest32::ZERO,
        max_tokens: 50,
        stop: vec!["\n".into()],
        sampler: Sampler::greedy(),
        seed: Some(Digest32::ZERO),
        salt_hash: Digest32::ZERO,
    };
    let reply_key = SealingSecret::from_bytes([7; 32]).public();
    let parcel =
        Parcel::Input(InputParcel { salt: Salt::from_bytes([8; 32]), request: request.clone(), reply_key });
    let proof = InclusionProof::of(&[Digest32::ZERO; 5], 2).expect("a proof");
    let known = [
        (0, manifest.to_bytes()),
        (3, request.to_bytes()),
        (9, proof.encode()),
        (13, parcel.encode()),
        (14, key()),
    ];
    let known = known.into_iter().map(|(reader, bytes)| [&[reader][..], &bytes].concat());
    let zeros = (0..READERS.len() as u8).map(|reader| [&[reader][..], &[0; 600]].concat());
    known.chain(zeros).collect()
}

/// What a reader accepts has one encoding, so that a hash or a signature over it binds all of it.
///
/// # Panics
/// When that does not hold.
pub fn check(data: &[u8]) {
    let Some((chosen, bytes)) = data.split_first() else { return };
    let reader = READERS[usize::from(*chosen) % READERS.len()];
    if let Some(again) = in_proportion(bytes.len(), || reader(bytes)) {
        assert_eq!(again, bytes, "two encodings of one thing, by reader {chosen}");
    }
}

fn scale<T: DecodeAll + Encode>(mut bytes: &[u8]) -> Option<Vec<u8>> {
    T::decode_all(&mut bytes).ok().map(|value| value.encode())
}

fn message<M: NetworkMessage>(bytes: &[u8]) -> Option<Vec<u8>> {
    decode_message::<M>(bytes).ok().map(|message| message.encode())
}

/// A header is known by the hash of its bytes, so it need not be written again.
fn header(bytes: &[u8]) -> Option<Vec<u8>> {
    let header = HeaderView::decode(bytes).ok()?;
    let _ = (header.randomness(), header.log());
    Some(bytes.to_vec())
}

fn key_name() -> KeyRef {
    KeyRef::plain("fuzz").expect("a name")
}

/// The file of a key.
fn key() -> Vec<u8> {
    let words = Words::generate(WordCount::Twelve);
    let passphrase = Passphrase::new("fuzz").expect("a passphrase");
    let key = LockedKey::seal(key_name(), &words, &passphrase).expect("memory for the passphrase");
    key.text().expect("it has a JSON form")
}

/// A key's file is text, which may be spaced in many ways; what is read of it is written and read again.
fn key_file(bytes: &[u8]) -> Option<Vec<u8>> {
    let read = |text: &[u8]| LockedKey::parse(key_name(), "fuzz.json".as_ref(), text);
    let text = read(bytes).ok()?.text().expect("it has a JSON form");
    assert_eq!(read(&text).expect("our own file").text().expect("it has a JSON form"), text);
    Some(bytes.to_vec())
}
