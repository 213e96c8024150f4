//! Envelopes: packages on their way outside the ledger.

use assay_manifest::{Digest32, JobId, TaggedHash};
use codec::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::delivery::{Delivery, SealError};
use super::keys::{EncryptionKey, Entropy};
use super::parcel::{Parcel, Purpose};
use super::sizes::is_package_size;
use crate::party::AccountBytes;
use crate::signature::{Signature, WorkKey};

/// A package with its address, signed by its sender: a requester with the key of its account, a seat with its
/// work key.
#[derive(Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    /// The job.
    pub job: JobId,
    /// What the package is for.
    pub purpose: Purpose,
    /// Who sealed it.
    #[serde(with = "crate::hex_bytes")]
    pub sender: AccountBytes,
    /// For whom.
    #[serde(with = "crate::hex_bytes")]
    pub recipient: AccountBytes,
    /// The recipient's seat; where it has none, the sender's.
    pub seat: u8,
    /// The recipient's key, so that it knows which secret opens the package.
    pub key: EncryptionKey,
    /// What was sealed.
    #[serde(with = "crate::hex_bytes::list")]
    pub package: Vec<u8>,
    /// The sender's, over [`Envelope::digest`].
    pub signature: Signature,
}

impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Envelope({} {:?} for seat {}, {} bytes)",
            self.job,
            self.purpose,
            self.seat,
            self.package.len()
        )
    }
}

/// An envelope that nobody should keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// No package has this size.
    #[error("reading an envelope: no package has {0} bytes")]
    Size(usize),
    /// Somebody else signed it, or it was changed.
    #[error("reading an envelope: the signature is not its sender's")]
    Signature,
}

impl Envelope {
    /// Seals a parcel and has the envelope signed by `sign`.
    ///
    /// # Errors
    /// [`SealError`] when the parcel is too large, or nothing can be sealed to the key.
    pub fn seal(
        delivery: &Delivery<'_>,
        parcel: &Parcel,
        key: &EncryptionKey,
        entropy: Entropy,
        sign: impl FnOnce(&Digest32) -> Signature,
    ) -> Result<Self, SealError> {
        let mut envelope = Self {
            job: delivery.job,
            purpose: parcel.purpose(),
            sender: delivery.sender,
            recipient: delivery.recipient,
            seat: delivery.seat,
            key: *key,
            package: delivery.seal(parcel, key, entropy)?,
            signature: Signature([0; 64]),
        };
        envelope.signature = sign(&envelope.digest(&delivery.genesis));
        Ok(envelope)
    }

    /// What the sender signs. Requesters and seats sign under different tags, since their keys differ.
    pub fn digest(&self, genesis: &Digest32) -> Digest32 {
        let tag = match self.purpose {
            Purpose::Input => "assay/envelope/requester/1",
            Purpose::Work | Purpose::Answer => "assay/envelope/seat/1",
        };
        TaggedHash::new(tag)
            .digest(genesis)
            .fixed(self.job.as_bytes())
            .u8(self.purpose.byte())
            .fixed(&self.sender)
            .fixed(&self.recipient)
            .u8(self.seat)
            .digest(&self.key)
            .digest(&package_hash(&self.package))
            .finish()
    }

    /// Checks size and signature.
    ///
    /// # Errors
    /// [`EnvelopeError`] naming what is wrong.
    pub fn check(&self, genesis: &Digest32, signer: &WorkKey) -> Result<(), EnvelopeError> {
        if !is_package_size(self.package.len()) {
            return Err(EnvelopeError::Size(self.package.len()));
        }
        let signed = self.signature.verifies(signer, &self.digest(genesis));
        signed.then_some(()).ok_or(EnvelopeError::Signature)
    }
}

/// The hash by which a package is named where it does not stand itself.
pub fn package_hash(package: &[u8]) -> Digest32 {
    TaggedHash::new("assay/package/1").var(package).finish()
}
