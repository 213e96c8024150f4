//! Commit certificates: the validators' signatures under a block, in the shape that Tendermint gives them.

use assay_manifest::{Digest32, TaggedHash};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

use crate::signature::Signature;
use crate::units::Height;

/// One validator: its ed25519 consensus key and its voting power.
#[derive(
    Clone,
    Copy,
    Debug,
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
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Validator {
    /// ed25519 public key.
    pub key: Digest32,
    /// Votes.
    pub power: u64,
}

/// The validators of a height.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ValidatorSet {
    validators: Vec<Validator>,
}

impl ValidatorSet {
    /// The set in canonical order, by key.
    pub fn new(mut validators: Vec<Validator>) -> Self {
        validators.sort_by_key(|validator| validator.key);
        Self { validators }
    }

    /// The validators.
    pub fn validators(&self) -> &[Validator] {
        &self.validators
    }

    /// The hash that a header's hand-over item carries.
    pub fn hash(&self) -> Digest32 {
        let count = u32::try_from(self.validators.len()).unwrap_or(u32::MAX);
        self.validators
            .iter()
            .fold(TaggedHash::new("assay/validators/1").u32(count), |hash, validator| {
                hash.digest(&validator.key).u64(validator.power)
            })
            .finish()
    }

    /// Whether `signatures` over `message` come from more than two thirds of all power.
    ///
    /// # Errors
    /// [`CertificateError`] naming the first signature that does not count, or that they are too few.
    pub fn approve(
        &self,
        message: &Digest32,
        signatures: &[ValidatorSignature],
    ) -> Result<(), CertificateError> {
        let signers = self.signers(message, signatures)?;
        self.decide(&signers)
    }

    /// Who signed `message`: each of `signatures` is by another validator.
    ///
    /// # Errors
    /// [`CertificateError`] naming the first signature that does not count.
    pub fn signers(
        &self,
        message: &Digest32,
        signatures: &[ValidatorSignature],
    ) -> Result<Vec<Digest32>, CertificateError> {
        let mut signers = Vec::new();
        for ValidatorSignature { validator, signature } in signatures {
            if !self.has(validator) {
                return Err(CertificateError::UnknownValidator(*validator));
            }
            if signers.contains(validator) {
                return Err(CertificateError::Repeated(*validator));
            }
            if !verify_ed25519(validator, message, signature) {
                return Err(CertificateError::BadSignature(*validator));
            }
            signers.push(*validator);
        }
        Ok(signers)
    }

    /// Whether a validator of the set has this key.
    pub fn has(&self, key: &Digest32) -> bool {
        self.validators.iter().any(|validator| validator.key == *key)
    }

    /// Whether the validators with these keys have more than two thirds of all power.
    ///
    /// # Errors
    /// [`CertificateError::TooFewVotes`] with what they have.
    pub fn decide(&self, keys: &[Digest32]) -> Result<(), CertificateError> {
        let (mut power, mut total) = (0u128, 0u128);
        for validator in &self.validators {
            let votes = u128::from(validator.power);
            total = total.saturating_add(votes);
            if keys.contains(&validator.key) {
                power = power.saturating_add(votes);
            }
        }
        if total > 0 && power.saturating_mul(3) > total.saturating_mul(2) {
            return Ok(());
        }
        Err(CertificateError::TooFewVotes { power, total })
    }
}

/// A validator's signature.
#[derive(
    Clone,
    Copy,
    Debug,
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
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValidatorSignature {
    /// ed25519 public key.
    pub validator: Digest32,
    /// ed25519 signature.
    pub signature: Signature,
}

/// Proof that more than two thirds of the validators committed to a block.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommitCertificate {
    /// Height of the block.
    pub height: Height,
    /// Consensus round in which it was decided.
    pub round: u32,
    /// Hash of the block's header.
    pub value: Digest32,
    /// The signatures.
    pub signatures: Vec<ValidatorSignature>,
}

/// A certificate does not prove what it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is for another block.
    #[error("checking the certificate: it is for another block")]
    OtherBlock,
    /// A signer is not in the validator set.
    #[error("checking the certificate: {0} is not a validator")]
    UnknownValidator(Digest32),
    /// A validator appears twice.
    #[error("checking the certificate: {0} signed twice")]
    Repeated(Digest32),
    /// A signature is wrong.
    #[error("checking the certificate: the signature of {0} is wrong")]
    BadSignature(Digest32),
    /// It has another number of places than there are validators.
    #[error(
        "checking the certificate: it has places for {places} validators, of whom there are {validators}"
    )]
    OtherPlaces {
        /// Places in it.
        places: usize,
        /// Validators of the height.
        validators: usize,
    },
    /// The signers hold too little power.
    #[error("checking the certificate: {power} of {total} votes are not more than two thirds")]
    TooFewVotes {
        /// Power of the signers.
        power: u128,
        /// Power of all.
        total: u128,
    },
}

impl CommitCertificate {
    /// What each validator signs: its precommit for this value, bound to the chain.
    pub fn sign_bytes(genesis: &Digest32, height: Height, round: u32, value: &Digest32) -> Digest32 {
        TaggedHash::new("assay/precommit/1")
            .digest(genesis)
            .u64(height.get().into())
            .u32(round)
            .digest(value)
            .finish()
    }

    /// Checks that the certificate commits `value` at `height`.
    ///
    /// # Errors
    /// [`CertificateError`] naming what does not hold.
    pub fn verify(
        &self,
        genesis: &Digest32,
        set: &ValidatorSet,
        block: (Height, &Digest32),
    ) -> Result<(), CertificateError> {
        if (self.height, &self.value) != block {
            return Err(CertificateError::OtherBlock);
        }
        let message = Self::sign_bytes(genesis, self.height, self.round, &self.value);
        set.approve(&message, &self.signatures)
    }
}

/// Whether a signature of an ed25519 key over `message` is right; strict, so that nobody else can alter it.
pub(crate) fn verify_ed25519(key: &Digest32, message: &Digest32, signature: &Signature) -> bool {
    let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(key.as_bytes()) else { return false };
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    key.verify_strict(message.as_bytes(), &signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};

    fn key(n: u8) -> SigningKey {
        SigningKey::from_bytes(&[n; 32])
    }

    fn public(n: u8) -> Digest32 {
        Digest32::from_bytes(key(n).verifying_key().to_bytes())
    }

    fn set() -> ValidatorSet {
        ValidatorSet::new((1..=4).map(|n| Validator { key: public(n), power: 1 }).collect())
    }

    fn certificate(signers: &[u8]) -> CommitCertificate {
        let (height, value) = (Height::new(7), Digest32::from_bytes([5; 32]));
        let message = CommitCertificate::sign_bytes(&Digest32::ZERO, height, 0, &value);
        let sign = |n: &u8| ValidatorSignature {
            validator: public(*n),
            signature: Signature(key(*n).sign(message.as_bytes()).to_bytes()),
        };
        CommitCertificate { height, round: 0, value, signatures: signers.iter().map(sign).collect() }
    }

    fn verify(certificate: &CommitCertificate) -> Result<(), CertificateError> {
        let value = Digest32::from_bytes([5; 32]);
        certificate.verify(&Digest32::ZERO, &set(), (Height::new(7), &value))
    }

    #[test]
    fn more_than_two_thirds_are_needed() {
        assert_eq!(verify(&certificate(&[1, 2, 3])), Ok(()));
        assert!(matches!(verify(&certificate(&[1, 2])), Err(CertificateError::TooFewVotes { .. })));
    }

    #[test]
    fn repeated_unknown_and_wrong_signatures_are_refused() {
        assert_eq!(verify(&certificate(&[1, 1, 1])), Err(CertificateError::Repeated(public(1))));
        assert_eq!(verify(&certificate(&[1, 2, 9])), Err(CertificateError::UnknownValidator(public(9))));
        let mut wrong = certificate(&[1, 2, 3]);
        wrong.round = 1;
        assert_eq!(verify(&wrong), Err(CertificateError::BadSignature(public(1))));
        let mut other = certificate(&[1, 2, 3]);
        other.height = Height::new(8);
        assert_eq!(verify(&other), Err(CertificateError::OtherBlock));
    }

    #[test]
    fn an_empty_set_approves_nothing() {
        let empty = ValidatorSet::new(vec![]);
        assert!(empty.approve(&Digest32::ZERO, &[]).is_err());
    }
}
