//! Votes are verified once for all nodes of a run: every node gets the same ones, and a fifth of what a run costs would be
//! the same arithmetic again and again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use assay_node::consensus::bft::{Chain, Proposal, Signatures, ValidatorKey, Vote, VoteSignature};
use async_trait::async_trait;
use bytes::Bytes;
use malachite_core_types::{ValidatorProof, VoteExtensionScope};
use malachite_signing::{Error, VerificationResult, Verifier};

/// Votes that are remembered at most; some heights of seven validators are a few hundred.
const VOTES_MAX: usize = 4_096;

/// A signature and the key that it is to be of.
type Signed = ([u8; 64], [u8; 32]);

/// What the nodes verify with, and what it said.
#[derive(Clone)]
pub struct Memo {
    signatures: Signatures,
    said: Arc<Mutex<HashMap<Signed, (Vote, bool)>>>,
}

impl Memo {
    pub fn new(signatures: Signatures) -> Self {
        Self { signatures, said: Arc::default() }
    }

    fn recall(&self, signed: &Signed, vote: &Vote) -> Option<bool> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.get(signed).filter(|(said_of, _)| said_of == vote).map(|(_, is_valid)| *is_valid)
    }
}

#[async_trait]
impl Verifier<Chain> for Memo {
    async fn verify_signed_vote(
        &self,
        vote: &Vote,
        signature: &VoteSignature,
        key: &ValidatorKey,
    ) -> Result<VerificationResult, Error> {
        let signed = (signature.0, key.0);
        if let Some(is_valid) = self.recall(&signed, vote) {
            return Ok(VerificationResult::from_bool(is_valid));
        }
        let result = self.signatures.verify_signed_vote(vote, signature, key).await?;
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() == VOTES_MAX {
            said.clear();
        }
        said.insert(signed, (vote.clone(), result.is_valid()));
        Ok(result)
    }

    async fn verify_signed_proposal(
        &self,
        proposal: &Proposal,
        signature: &VoteSignature,
        key: &ValidatorKey,
    ) -> Result<VerificationResult, Error> {
        self.signatures.verify_signed_proposal(proposal, signature, key).await
    }

    async fn verify_signed_vote_extension(
        &self,
        scope: &VoteExtensionScope<Chain>,
        extension: &Bytes,
        signature: &VoteSignature,
        key: &ValidatorKey,
    ) -> Result<VerificationResult, Error> {
        self.signatures.verify_signed_vote_extension(scope, extension, signature, key).await
    }

    async fn verify_validator_proof(
        &self,
        proof: &ValidatorProof<Chain>,
    ) -> Result<VerificationResult, Error> {
        self.signatures.verify_validator_proof(proof).await
    }
}
