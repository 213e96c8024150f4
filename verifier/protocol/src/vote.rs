//! What validators sign while they agree on a block, and the proof that one of them contradicted itself.

use assay_manifest::{Digest32, TaggedHash};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};

use crate::certificate::{CommitCertificate, verify_ed25519};
use crate::party::AccountBytes;
use crate::signature::Signature;
use crate::units::Height;

/// The two votes of a round.
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
#[serde(rename_all = "camelCase")]
pub enum VoteKind {
    /// The proposal was seen and is acceptable.
    Prevote,
    /// More than two thirds prevoted for it; commit certificates consist of these.
    Precommit,
}

/// A validator's vote, without its signature.
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
pub struct Vote {
    /// Which of the round's votes.
    pub kind: VoteKind,
    /// Height that is decided.
    pub height: Height,
    /// Round of that height.
    pub round: u32,
    /// Hash of the block's header; none is a vote for no block in this round.
    pub value: Option<Digest32>,
}

impl Vote {
    /// What the validator signs, bound to the chain. That of a precommit for a block is what certificates hold.
    pub fn sign_bytes(&self, genesis: &Digest32) -> Digest32 {
        let Self { kind, height, round, value } = self;
        let tag = match (kind, value) {
            (VoteKind::Precommit, Some(value)) => {
                return CommitCertificate::sign_bytes(genesis, *height, *round, value);
            }
            (VoteKind::Precommit, None) => "assay/precommit-nil/1",
            (VoteKind::Prevote, Some(_)) => "assay/prevote/1",
            (VoteKind::Prevote, None) => "assay/prevote-nil/1",
        };
        let hash = TaggedHash::new(tag).digest(genesis).u64(height.get().into()).u32(*round);
        value.iter().fold(hash, TaggedHash::digest).finish()
    }
}

/// What a consensus key signs to stand for an account, so that nobody stakes on another's key.
pub fn key_claim(genesis: &Digest32, account: &AccountBytes) -> Digest32 {
    TaggedHash::new("assay/validator-key/1").digest(genesis).fixed(account).finish()
}

/// Whether `signature` is `key`'s under [`key_claim`].
pub fn verify_key_claim(
    genesis: &Digest32,
    account: &AccountBytes,
    key: &Digest32,
    signature: &Signature,
) -> bool {
    verify_ed25519(key, &key_claim(genesis, account), signature)
}

/// Proof that a validator voted for two things in one round. Nobody who follows the protocol does.
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
pub struct Equivocation {
    /// Its ed25519 key.
    pub validator: Digest32,
    /// Which of the round's votes.
    pub kind: VoteKind,
    /// Height of both votes.
    pub height: Height,
    /// Round of both votes.
    pub round: u32,
    /// What it voted for, and its signature: twice.
    pub votes: [(Option<Digest32>, Signature); 2],
}

/// A proof of equivocation proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EquivocationError {
    /// Both votes are for the same.
    #[error("checking the equivocation: both votes are for the same")]
    Same,
    /// A signature is not the validator's.
    #[error("checking the equivocation: a signature is not the validator's")]
    BadSignature,
}

impl Equivocation {
    /// Checks that both votes are the validator's, and that they differ.
    ///
    /// # Errors
    /// [`EquivocationError`] naming what does not hold.
    pub fn verify(&self, genesis: &Digest32) -> Result<(), EquivocationError> {
        let Self { validator, kind, height, round, votes: [first, second] } = *self;
        if first.0 == second.0 {
            return Err(EquivocationError::Same);
        }
        let signed = |(value, signature): (Option<Digest32>, Signature)| {
            let message = Vote { kind, height, round, value }.sign_bytes(genesis);
            verify_ed25519(&validator, &message, &signature)
        };
        if signed(first) && signed(second) { Ok(()) } else { Err(EquivocationError::BadSignature) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};

    const GENESIS: Digest32 = Digest32::ZERO;

    fn vote(kind: VoteKind, value: Option<u8>) -> Vote {
        Vote { kind, height: Height::new(7), round: 2, value: value.map(|n| Digest32::from_bytes([n; 32])) }
    }

    fn equivocation(key: &SigningKey, kind: VoteKind, values: [Option<u8>; 2]) -> Equivocation {
        let votes = values.map(|value| {
            let vote = vote(kind, value);
            (vote.value, Signature(key.sign(vote.sign_bytes(&GENESIS).as_bytes()).to_bytes()))
        });
        let validator = Digest32::from_bytes(key.verifying_key().to_bytes());
        Equivocation { validator, kind, height: Height::new(7), round: 2, votes }
    }

    #[test]
    fn no_two_votes_are_signed_alike() {
        let mut messages = Vec::new();
        for kind in [VoteKind::Prevote, VoteKind::Precommit] {
            for value in [None, Some(0), Some(1)] {
                let vote = vote(kind, value);
                messages.push(vote.sign_bytes(&GENESIS));
                messages.push(vote.sign_bytes(&Digest32::from_bytes([9; 32])));
                messages.push(Vote { round: 3, ..vote }.sign_bytes(&GENESIS));
                messages.push(Vote { height: Height::new(8), ..vote }.sign_bytes(&GENESIS));
            }
        }
        let count = messages.len();
        messages.sort();
        messages.dedup();
        assert_eq!(messages.len(), count);
    }

    #[test]
    fn a_precommit_is_what_certificates_hold() {
        let vote = vote(VoteKind::Precommit, Some(5));
        let expected = CommitCertificate::sign_bytes(&GENESIS, vote.height, vote.round, &vote.value.unwrap());
        assert_eq!(vote.sign_bytes(&GENESIS), expected);
    }

    #[test]
    fn two_votes_of_one_round_convict_and_nothing_else_does() {
        let key = SigningKey::from_bytes(&[1; 32]);
        for kind in [VoteKind::Prevote, VoteKind::Precommit] {
            let proof = equivocation(&key, kind, [Some(1), Some(2)]);
            assert_eq!(proof.verify(&GENESIS), Ok(()));
            assert_eq!(equivocation(&key, kind, [None, Some(2)]).verify(&GENESIS), Ok(()));
            let same = equivocation(&key, kind, [Some(1), Some(1)]);
            assert_eq!(same.verify(&GENESIS), Err(EquivocationError::Same));
            let other = |altered: Equivocation| altered.verify(&GENESIS);
            let bad = Err(EquivocationError::BadSignature);
            assert_eq!(proof.verify(&Digest32::from_bytes([1; 32])), bad, "another chain");
            assert_eq!(other(Equivocation { round: 3, ..proof }), bad);
            assert_eq!(other(Equivocation { height: Height::new(8), ..proof }), bad);
            let innocent = Digest32::from_bytes(SigningKey::from_bytes(&[2; 32]).verifying_key().to_bytes());
            assert_eq!(other(Equivocation { validator: innocent, ..proof }), bad);
        }
        let prevotes = equivocation(&key, VoteKind::Prevote, [Some(1), Some(2)]);
        let turned = Equivocation { kind: VoteKind::Precommit, ..prevotes };
        assert_eq!(turned.verify(&GENESIS), Err(EquivocationError::BadSignature));
    }
}
