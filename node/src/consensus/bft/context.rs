//! The types that Malachite is told of: heights, votes, proposals and the validator set.
//!
//! A value is the hash of a block's header; the block itself travels in parts ([`super::parts`]).

use std::fmt;

use assay_manifest::Digest32;
use assay_protocol::certificate;
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use malachite_core_types as core_types;
use malachite_core_types::{LinearTimeouts, NilOrVal, Round, SignedExtension, VoteType};

use super::parts::Part;

/// A block height.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct Height(pub u64);

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u32> for Height {
    fn from(number: u32) -> Self {
        Self(number.into())
    }
}

impl Height {
    /// As the ledger counts; past its last height, that one, which no block follows.
    pub fn number(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl core_types::Height for Height {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);

    fn increment_by(&self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }

    fn as_u64(&self) -> u64 {
        self.0
    }
}

macro_rules! fixed_bytes {
    ($($(#[$meta:meta])* $name:ident($len:literal);)+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "0x{}", hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )+};
}

fixed_bytes! {
    /// A validator's ed25519 public key, which is its address as well.
    ValidatorKey(32);
    /// The hash of a block's header.
    BlockHash(32);
    /// An ed25519 signature.
    VoteSignature(64);
}

impl From<Digest32> for ValidatorKey {
    fn from(key: Digest32) -> Self {
        Self(*key.as_bytes())
    }
}

impl From<BlockHash> for Digest32 {
    fn from(hash: BlockHash) -> Self {
        Self::from_bytes(hash.0)
    }
}

impl core_types::Address for ValidatorKey {}

impl core_types::Value for BlockHash {
    type Id = Self;

    fn id(&self) -> Self {
        *self
    }
}

/// A proposal: the value that a proposer asks to vote on.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Proposal {
    /// The height.
    pub height: Height,
    /// The round.
    pub round: Round,
    /// What is proposed.
    pub value: BlockHash,
    /// The earlier round in which two thirds voted for it, if there is one.
    pub pol_round: Round,
    /// Who proposes.
    pub proposer: ValidatorKey,
}

impl core_types::Proposal<Chain> for Proposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &BlockHash {
        &self.value
    }

    fn take_value(self) -> BlockHash {
        self.value
    }

    fn pol_round(&self) -> Round {
        self.pol_round
    }

    fn validator_address(&self) -> &ValidatorKey {
        &self.proposer
    }
}

/// A vote. None carries an extension.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Vote {
    /// Of which of a round's two votes it is.
    pub kind: VoteType,
    /// The height.
    pub height: Height,
    /// The round.
    pub round: Round,
    /// What is voted for.
    pub value: NilOrVal<BlockHash>,
    /// Who votes.
    pub voter: ValidatorKey,
}

impl core_types::Vote<Chain> for Vote {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<BlockHash> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<BlockHash> {
        self.value
    }

    fn vote_type(&self) -> VoteType {
        self.kind
    }

    fn validator_address(&self) -> &ValidatorKey {
        &self.voter
    }

    fn extension(&self) -> Option<&SignedExtension<Chain>> {
        None
    }

    fn take_extension(&mut self) -> Option<SignedExtension<Chain>> {
        None
    }

    fn extend(self, _extension: SignedExtension<Chain>) -> Self {
        self
    }
}

/// A validator of a height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator {
    key: ValidatorKey,
    power: u64,
}

impl core_types::Validator<Chain> for Validator {
    fn address(&self) -> &ValidatorKey {
        &self.key
    }

    fn public_key(&self) -> &ValidatorKey {
        &self.key
    }

    fn voting_power(&self) -> u64 {
        self.power
    }
}

/// The validators of a height, by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validators(Vec<Validator>);

impl From<&certificate::ValidatorSet> for Validators {
    fn from(set: &certificate::ValidatorSet) -> Self {
        let validator = |of: &certificate::Validator| Validator { key: of.key.into(), power: of.power };
        Self(set.validators().iter().map(validator).collect())
    }
}

impl core_types::ValidatorSet<Chain> for Validators {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn total_voting_power(&self) -> u64 {
        self.0.iter().fold(0, |sum, validator| sum.saturating_add(validator.power))
    }

    fn get_by_address(&self, key: &ValidatorKey) -> Option<&Validator> {
        self.0.iter().find(|validator| validator.key == *key)
    }

    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.0.get(index)
    }
}

impl Validators {
    /// The proposer of a round: in proportion to power, and not the same one twice in a row unless it has more than
    /// a third of all.
    ///
    /// Multiples of the golden ratio are spread evenly over the votes (a Kronecker sequence), so that every node
    /// finds the proposer of any round without those before it.
    pub fn proposer(&self, height: Height, round: Round) -> &Validator {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let turn = height.0.wrapping_add(u64::from(round.as_u32().unwrap_or(0)));
        let total: u128 = self.0.iter().map(|validator| u128::from(validator.power)).sum();
        let mut votes = (u128::from(turn.wrapping_mul(GOLDEN)) * total) >> 64;
        let of_votes = self.0.iter().find(|validator| match votes.checked_sub(validator.power.into()) {
            Some(left) => {
                votes = left;
                false
            }
            None => true,
        });
        // A set is never empty, and its votes never all nought; see the runtime's invariants.
        of_votes.unwrap_or(&self.0[0])
    }
}

/// Signatures are ed25519.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ed25519;

/// Bytes of another length than a key or signature has.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{0} bytes are none")]
pub struct WrongLength(usize);

impl core_types::SigningScheme for Ed25519 {
    type DecodingError = WrongLength;
    type Signature = VoteSignature;
    type PublicKey = ValidatorKey;
    /// Stays with the signer.
    type PrivateKey = ();

    fn decode_signature(bytes: &[u8]) -> Result<VoteSignature, WrongLength> {
        bytes.try_into().map(VoteSignature).map_err(|_| WrongLength(bytes.len()))
    }

    fn encode_signature(signature: &VoteSignature) -> Vec<u8> {
        signature.0.to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<ValidatorKey, WrongLength> {
        bytes.try_into().map(ValidatorKey).map_err(|_| WrongLength(bytes.len()))
    }

    fn encode_public_key(key: &ValidatorKey) -> Vec<u8> {
        key.0.to_vec()
    }
}

/// What Malachite decides on: this chain's blocks.
#[derive(Clone, Debug)]
pub struct Chain;

impl core_types::Context for Chain {
    type Address = ValidatorKey;
    type Height = Height;
    type ProposalPart = Part;
    type Proposal = Proposal;
    type Validator = Validator;
    type ValidatorSet = Validators;
    type Timeouts = LinearTimeouts;
    type Value = BlockHash;
    type Vote = Vote;
    type Extension = Bytes;
    type SigningScheme = Ed25519;

    fn select_proposer<'a>(&self, validators: &'a Validators, height: Height, round: Round) -> &'a Validator {
        validators.proposer(height, round)
    }

    fn new_proposal(
        &self,
        height: Height,
        round: Round,
        value: BlockHash,
        pol_round: Round,
        proposer: ValidatorKey,
    ) -> Proposal {
        Proposal { height, round, value, pol_round, proposer }
    }

    fn new_prevote(
        &self,
        height: Height,
        round: Round,
        value: NilOrVal<BlockHash>,
        voter: ValidatorKey,
    ) -> Vote {
        Vote { kind: VoteType::Prevote, height, round, value, voter }
    }

    fn new_precommit(
        &self,
        height: Height,
        round: Round,
        value: NilOrVal<BlockHash>,
        voter: ValidatorKey,
    ) -> Vote {
        Vote { kind: VoteType::Precommit, height, round, value, voter }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core_types::Validator as _;

    fn set(powers: &[u64]) -> Validators {
        let validator = |(index, power): (usize, &u64)| Validator {
            key: ValidatorKey([u8::try_from(index).unwrap(); 32]),
            power: *power,
        };
        Validators(powers.iter().enumerate().map(validator).collect())
    }

    #[test]
    fn turns_to_propose_are_in_proportion_to_power() {
        for powers in [&[1, 1, 1, 1][..], &[10, 20, 30, 40], &[5], &[1, 1_000_000]] {
            let (set, total) = (set(powers), powers.iter().sum::<u64>());
            let mut turns = vec![0u64; powers.len()];
            for height in 1..=10_000 {
                turns[usize::from(set.proposer(Height(height), Round::new(0)).address().0[0])] += 1;
            }
            for (power, turns) in powers.iter().zip(turns) {
                let expected = power * 10_000 / total;
                assert!(turns.abs_diff(expected) <= 5, "{turns} turns of {expected} with {powers:?}");
            }
        }
    }

    #[test]
    fn a_round_that_fails_is_anothers_turn() {
        let set = set(&[1, 1, 1, 1]);
        for height in 0..1_000 {
            for round in 0..10 {
                let proposer = |round| set.proposer(Height(height), Round::new(round)).address();
                assert_ne!(proposer(round), proposer(round + 1), "height {height}, round {round}");
            }
        }
    }
}
