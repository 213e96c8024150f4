//! Signatures of votes and proposals, over what `assay_protocol` says is signed.

use assay_manifest::{Digest32, TaggedHash};
use assay_protocol::signature;
use assay_protocol::units;
use assay_protocol::vote;
use async_trait::async_trait;
use bytes::Bytes;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use malachite_core_types::{
    NilOrVal, Round, SignedExtension, SignedMessage, SignedProposal, SignedVote, ValidatorProof,
    VoteExtensionScope, VoteType,
};
use malachite_signing::{Error, Signer, VerificationResult, Verifier};

use super::context::{BlockHash, Chain, Height, Proposal, ValidatorKey, Vote, VoteSignature};
use super::parts::Contents;

/// Verifies what validators of a chain sign.
#[derive(Clone, Copy, Debug)]
pub struct Signatures {
    /// The hash of its block 0.
    pub genesis: Digest32,
}

/// Signs as a validator of a chain.
#[derive(Clone)]
pub struct Signing {
    /// What is signed of this chain.
    pub signatures: Signatures,
    /// The validator's consensus key.
    pub key: SigningKey,
}

impl Signatures {
    fn vote(&self, vote: &Vote) -> Digest32 {
        vote_of(vote).sign_bytes(&self.genesis)
    }

    fn proposal(&self, proposal: &Proposal) -> Digest32 {
        let Proposal { height, round, value, pol_round, proposer: _ } = proposal;
        self.start("assay/proposal/1", *height, *round)
            .fixed(&value.0)
            // Below nought where no earlier round justifies the proposal.
            .fixed(&pol_round.as_i64().to_le_bytes())
            .finish()
    }

    /// What the proposer signs of the parts in which a block travels.
    pub fn parts(&self, height: Height, round: Round, value: &BlockHash, contents: &Contents) -> Digest32 {
        let start = self.start("assay/proposal-parts/1", height, round).fixed(&value.0);
        start.u32(contents.size_bytes).digest(&contents.digest()).finish()
    }

    fn start(&self, tag: &str, height: Height, round: Round) -> TaggedHash {
        TaggedHash::new(tag).digest(&self.genesis).u64(height.0).fixed(&round.as_i64().to_le_bytes())
    }
}

/// A vote as the protocol knows it.
pub fn vote_of(vote: &Vote) -> vote::Vote {
    vote::Vote {
        kind: match vote.kind {
            VoteType::Prevote => vote::VoteKind::Prevote,
            VoteType::Precommit => vote::VoteKind::Precommit,
        },
        height: units::Height::new(vote.height.number()),
        round: vote.round.as_u32().unwrap_or(u32::MAX),
        value: match &vote.value {
            NilOrVal::Nil => None,
            NilOrVal::Val(value) => Some((*value).into()),
        },
    }
}

/// The proof that two votes are.
pub fn equivocation(first: &SignedVote<Chain>, second: &SignedVote<Chain>) -> vote::Equivocation {
    let vote::Vote { kind, height, round, .. } = vote_of(&first.message);
    let votes = [first, second]
        .map(|signed| (vote_of(&signed.message).value, signature::Signature(signed.signature.0)));
    vote::Equivocation { validator: Digest32::from_bytes(first.message.voter.0), kind, height, round, votes }
}

/// Whether a signature is right; strict, so that nobody else can alter it.
pub fn verify(key: &ValidatorKey, message: &[u8], signature: &VoteSignature) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(&key.0) else { return false };
    key.verify_strict(message, &Signature::from_bytes(&signature.0)).is_ok()
}

fn verified(key: &ValidatorKey, message: &[u8], signature: &VoteSignature) -> VerificationResult {
    VerificationResult::from_bool(verify(key, message, signature))
}

/// Votes here have no extensions: whoever asks to sign or check one is wrong.
fn no_extensions() -> Error {
    Error::from_source(std::io::Error::other("votes of this chain have no extensions"))
}

#[async_trait]
impl Verifier<Chain> for Signatures {
    async fn verify_signed_vote(
        &self,
        vote: &Vote,
        signature: &VoteSignature,
        key: &ValidatorKey,
    ) -> Result<VerificationResult, Error> {
        Ok(verified(key, self.vote(vote).as_bytes(), signature))
    }

    async fn verify_signed_proposal(
        &self,
        proposal: &Proposal,
        signature: &VoteSignature,
        key: &ValidatorKey,
    ) -> Result<VerificationResult, Error> {
        Ok(verified(key, self.proposal(proposal).as_bytes(), signature))
    }

    async fn verify_signed_vote_extension(
        &self,
        _scope: &VoteExtensionScope<Chain>,
        _extension: &Bytes,
        _signature: &VoteSignature,
        _key: &ValidatorKey,
    ) -> Result<VerificationResult, Error> {
        Err(no_extensions())
    }

    async fn verify_validator_proof(
        &self,
        proof: &ValidatorProof<Chain>,
    ) -> Result<VerificationResult, Error> {
        let key = proof.decoded_public_key().map_err(Error::from_source)?;
        Ok(verified(&key, &proof.preimage(), &proof.signature))
    }
}

impl Signing {
    /// Signs anything; callers give it messages with a domain of their own.
    pub fn sign(&self, message: &[u8]) -> VoteSignature {
        VoteSignature(self.key.sign(message).to_bytes())
    }
}

#[async_trait]
impl Signer<Chain> for Signing {
    async fn sign_vote(&self, vote: Vote) -> Result<SignedVote<Chain>, Error> {
        let signature = self.sign(self.signatures.vote(&vote).as_bytes());
        Ok(SignedMessage::new(vote, signature))
    }

    async fn sign_proposal(&self, proposal: Proposal) -> Result<SignedProposal<Chain>, Error> {
        let signature = self.sign(self.signatures.proposal(&proposal).as_bytes());
        Ok(SignedMessage::new(proposal, signature))
    }

    async fn sign_vote_extension(
        &self,
        _scope: VoteExtensionScope<Chain>,
        _extension: Bytes,
    ) -> Result<SignedExtension<Chain>, Error> {
        Err(no_extensions())
    }

    async fn sign_validator_proof(
        &self,
        public_key: Vec<u8>,
        peer_id: Vec<u8>,
    ) -> Result<ValidatorProof<Chain>, Error> {
        let message = ValidatorProof::<Chain>::signing_bytes(&public_key, &peer_id);
        Ok(ValidatorProof::new(public_key, peer_id, self.sign(&message)))
    }
}
