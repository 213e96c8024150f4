//! The bytes of Malachite's messages, on the network and in its write-ahead log: Borsh, where it has that.

use std::io;

use borsh::{BorshDeserialize, BorshSerialize, from_slice, to_vec};
use bytes::Bytes;
use malachite_codec::{Codec, HasEncodedLen};
use malachite_core_consensus::{LivenessMsg, ProposedValue, SignedConsensusMsg};
use malachite_core_types::{
    CommitCertificate, ExtendedCommitCertificate, PolkaCertificate, ValidatorProof, VoteExtensions,
};
use malachite_engine::util::streaming::StreamMessage;
use malachite_sync::{RawDecidedValue, Request, Response, Status, ValueResponse};

use super::context::{Chain, Height, VoteSignature};
use super::parts::Part;

/// The codec.
#[derive(Clone, Copy, Debug)]
pub struct Wire;

macro_rules! borsh {
    ($($message:ty),+ $(,)?) => {$(
        impl Codec<$message> for Wire {
            type Error = io::Error;

            fn decode(&self, bytes: Bytes) -> io::Result<$message> {
                from_slice(&bytes)
            }

            fn encode(&self, message: &$message) -> io::Result<Bytes> {
                to_vec(message).map(Bytes::from)
            }
        }
    )+};
}

borsh! {
    Part,
    SignedConsensusMsg<Chain>,
    LivenessMsg<Chain>,
    StreamMessage<Part>,
    ProposedValue<Chain>,
    PolkaCertificate<Chain>,
    Status<Chain>,
    Request<Chain>,
}

/// A [`ValidatorProof`].
#[derive(BorshSerialize, BorshDeserialize)]
struct Proof {
    public_key: Vec<u8>,
    peer_id: Vec<u8>,
    signature: VoteSignature,
}

impl Codec<ValidatorProof<Chain>> for Wire {
    type Error = io::Error;

    fn decode(&self, bytes: Bytes) -> io::Result<ValidatorProof<Chain>> {
        let Proof { public_key, peer_id, signature } = from_slice(&bytes)?;
        Ok(ValidatorProof::new(public_key, peer_id, signature))
    }

    fn encode(&self, proof: &ValidatorProof<Chain>) -> io::Result<Bytes> {
        let proof = Proof {
            public_key: proof.public_key.clone(),
            peer_id: proof.peer_id.clone(),
            signature: proof.signature,
        };
        to_vec(&proof).map(Bytes::from)
    }
}

/// A [`RawDecidedValue`], without extensions, as votes have none.
#[derive(BorshSerialize, BorshDeserialize)]
struct Decided {
    block: Vec<u8>,
    certificate: CommitCertificate<Chain>,
}

/// A [`ValueResponse`].
#[derive(BorshSerialize, BorshDeserialize)]
struct DecidedFrom {
    start: Height,
    values: Vec<Decided>,
}

/// A certificate in the form in which it is passed on.
pub fn extended(certificate: CommitCertificate<Chain>) -> ExtendedCommitCertificate<Chain> {
    ExtendedCommitCertificate::from_commit_certificate_and_extensions(certificate, VoteExtensions::default())
}

impl Codec<Response<Chain>> for Wire {
    type Error = io::Error;

    fn decode(&self, bytes: Bytes) -> io::Result<Response<Chain>> {
        let DecidedFrom { start, values } = from_slice(&bytes)?;
        let values = values
            .into_iter()
            .map(|decided| RawDecidedValue::new(decided.block.into(), extended(decided.certificate)));
        Ok(Response::ValueResponse(ValueResponse::new(start, values.collect())))
    }

    fn encode(&self, response: &Response<Chain>) -> io::Result<Bytes> {
        let Response::ValueResponse(response) = response;
        let values = response.values.iter().map(|value| Decided {
            block: value.value_bytes.to_vec(),
            certificate: value.certificate.trim_vote_extensions(),
        });
        to_vec(&DecidedFrom { start: response.start_height, values: values.collect() }).map(Bytes::from)
    }
}

impl HasEncodedLen<Response<Chain>> for Wire {
    fn encoded_len(&self, response: &Response<Chain>) -> io::Result<usize> {
        self.encode(response).map(|bytes| bytes.len())
    }
}

/// Reads one of the kinds of messages and writes it again; nothing if the bytes are none. So all that peers send can be
/// tried from outside, where no type of the engine is known.
pub fn reencoded(kind: u8, bytes: &[u8]) -> Option<Vec<u8>> {
    fn again<M>(bytes: &[u8]) -> Option<Vec<u8>>
    where
        Wire: Codec<M>,
    {
        let message: M = Wire.decode(Bytes::copy_from_slice(bytes)).ok()?;
        Wire.encode(&message).ok().map(|bytes| bytes.to_vec())
    }
    type Reader = fn(&[u8]) -> Option<Vec<u8>>;
    const READERS: [Reader; 10] = [
        again::<Part>,
        again::<SignedConsensusMsg<Chain>>,
        again::<LivenessMsg<Chain>>,
        again::<StreamMessage<Part>>,
        again::<ProposedValue<Chain>>,
        again::<PolkaCertificate<Chain>>,
        again::<Status<Chain>>,
        again::<Request<Chain>>,
        again::<ValidatorProof<Chain>>,
        again::<Response<Chain>>,
    ];
    READERS.get(usize::from(kind)).and_then(|reader| reader(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Written in a form that is read as the same again.
    fn is_stable(kind: u8, bytes: &[u8]) -> bool {
        reencoded(kind, bytes).is_none_or(|again| reencoded(kind, &again).as_ref() == Some(&again))
    }

    #[test]
    fn zeros_of_some_length_are_a_message_of_most_kinds_and_none_is_read_as_another() {
        let mut read = 0;
        for kind in 0..10 {
            let zeros = (0..400).map(|length| vec![0; length]);
            let accepted = zeros.filter(|bytes| reencoded(kind, bytes).is_some()).count();
            read += usize::from(accepted > 0);
            assert!((0..400).all(|length| is_stable(kind, &vec![0; length])), "kind {kind}");
        }
        assert!(read >= 5, "{read} kinds");
        assert_eq!(reencoded(10, &[0; 9]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(kind in 0u8..10, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(is_stable(kind, &bytes));
        }
    }
}
