//! sr25519 signatures of job steps, checked without the ledger.

use assay_manifest::{Digest32, JobId, TaggedHash};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

use crate::commitment::Claim;
use crate::job::Party;
use crate::party::AccountBytes;

/// The public bytes of an sr25519 work key.
pub type WorkKey = [u8; 32];

/// The context under which every sr25519 key of the ecosystem signs.
const SR25519_CONTEXT: &[u8] = b"substrate";

/// An sr25519 signature.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Serialize,
    Deserialize,
)]
#[serde(transparent)]
pub struct Signature(#[serde(with = "crate::hex_bytes")] pub [u8; 64]);

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl Signature {
    /// Whether `key` signed `message`.
    pub fn verifies(&self, key: &WorkKey, message: &Digest32) -> bool {
        let key = schnorrkel::PublicKey::from_bytes(key);
        let signature = schnorrkel::Signature::from_bytes(&self.0);
        match (key, signature) {
            (Ok(key), Ok(signature)) => {
                key.verify_simple(SR25519_CONTEXT, message.as_bytes(), &signature).is_ok()
            }
            _ => false,
        }
    }
}

/// What a provider's work key signs to replace its encryption key; the former key makes it valid once.
pub fn rotation_digest(
    genesis: &Digest32,
    provider: &AccountBytes,
    former: &Digest32,
    next: &Digest32,
) -> Digest32 {
    TaggedHash::new("assay/rotate/1")
        .fixed(genesis.as_bytes())
        .fixed(provider)
        .fixed(former.as_bytes())
        .fixed(next.as_bytes())
        .finish()
}

/// A step that a seat signs with its work key.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum SeatStep {
    /// The executor holds the input and will answer.
    #[codec(index = 0)]
    Accept,
    /// The seat will not work on this job.
    #[codec(index = 1)]
    Decline,
    /// The seat's commitment; with a claim exactly if it is the executor's.
    #[codec(index = 2)]
    Commit {
        /// [`crate::commitment::SeatId::commit`] of its value.
        commitment: Digest32,
        /// The same of its value one round later.
        recheck: Digest32,
        /// What the executor publishes.
        claim: Option<Claim>,
    },
    /// The seat admits that its value was wrong.
    #[codec(index = 3)]
    Concede,
    /// The seat lacks its data (clause J12).
    #[codec(index = 4)]
    Need {
        /// A fresh X25519 key, to which the data is to be sealed.
        key: Digest32,
    },
    /// The executor's package for a party that lacks its data.
    #[codec(index = 5)]
    Post {
        /// For whom.
        party: Party,
        /// SHA-256 of the package.
        package_hash: Digest32,
    },
    /// The package that was posted for this seat is not what it should be (clause J13).
    #[codec(index = 6)]
    Complain {
        /// The secret of the key to which it was sealed.
        secret: Digest32,
    },
}

impl SeatStep {
    /// What the work key signs: the step, its seat and the chain, so that it is valid nowhere else.
    pub fn digest(&self, genesis: &Digest32, job: &JobId, round: u8, seat: u8) -> Digest32 {
        TaggedHash::new("assay/step/1")
            .fixed(genesis.as_bytes())
            .fixed(job.as_bytes())
            .u8(round)
            .u8(seat)
            .var(&self.encode())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_signature_is_valid_for_its_seat_only() {
        let pair = schnorrkel::MiniSecretKey::from_bytes(&[7; 32])
            .unwrap()
            .expand_to_keypair(schnorrkel::ExpansionMode::Ed25519);
        let (genesis, job) = (Digest32::from_bytes([1; 32]), JobId::from_bytes([2; 32]));
        let digest = SeatStep::Accept.digest(&genesis, &job, 1, 0);
        let signature = Signature(pair.sign_simple(SR25519_CONTEXT, digest.as_bytes()).to_bytes());
        let key = pair.public.to_bytes();
        assert!(signature.verifies(&key, &digest));
        for other in [
            SeatStep::Decline.digest(&genesis, &job, 1, 0),
            SeatStep::Accept.digest(&job.digest(), &job, 1, 0),
            SeatStep::Accept.digest(&genesis, &job, 2, 0),
            SeatStep::Accept.digest(&genesis, &job, 1, 1),
        ] {
            assert!(!signature.verifies(&key, &other));
        }
        assert!(!signature.verifies(&[0xff; 32], &digest));
    }
}
