//! Builds the blocks that this validator proposes.

use assay_manifest::Digest32;
use assay_protocol::certificate::ValidatorSet;
use assay_protocol::vote::Equivocation;
use assay_runtime::{Block, Header};
use codec::Decode;
use pallet_assay_validators::{vrf_input, vrf_sign};

use super::ports::TransactionSource;
use super::{ConsensusError, ValidatorKeys};
use crate::ledger::LedgerHandle;

/// Builds blocks on the head of `ledger`, of transactions that `source` has.
pub struct Proposer<S> {
    keys: ValidatorKeys,
    ledger: LedgerHandle,
    source: S,
}

impl<S: TransactionSource> Proposer<S> {
    /// A proposer with a validator's keys.
    pub const fn new(keys: ValidatorKeys, ledger: LedgerHandle, source: S) -> Self {
        Self { keys, ledger, source }
    }

    /// The keys.
    pub const fn keys(&self) -> &ValidatorKeys {
        &self.keys
    }

    /// Builds the next block, when the clock shows so many milliseconds since 1970.
    ///
    /// # Errors
    /// [`ConsensusError`] when the ledger cannot, or this validator is none of the chain.
    pub async fn propose_at(&self, clock_ms: u64) -> Result<Block, ConsensusError> {
        let head = self.ledger.head();
        let item = self.evaluate_beacon(&head).await?;
        let now_ms = clock_ms.max(last_timestamp_ms(&self.ledger).await?.saturating_add(1));
        let extrinsics = self.source.ready().await;
        let proposed = self.ledger.propose(now_ms, vec![item], extrinsics).await?;
        if !proposed.rejected.is_empty() {
            self.source.rejected(proposed.rejected).await;
        }
        Ok(proposed.block)
    }

    /// Has the ledger told of a validator that voted for two things in one round.
    pub(super) async fn convict(&self, proof: Equivocation) {
        self.source.convict(proof).await;
    }

    async fn evaluate_beacon(&self, head: &Header) -> Result<sp_runtime::DigestItem, ConsensusError> {
        let previous: Option<Digest32> = self.ledger.query(None, "LedgerApi_randomness", head.number).await?;
        let previous = previous.ok_or(ConsensusError::Incomplete("the head's randomness is missing"))?;
        let set: ValidatorSet = self.ledger.query(None, "LedgerApi_validators", ()).await?;
        let public = self.keys.public();
        let position = set.validators().iter().position(|validator| validator.key == public);
        let position = position.and_then(|position| u32::try_from(position).ok());
        let position = position.ok_or(ConsensusError::NotAValidator(public))?;
        let genesis = Digest32::from_bytes(self.ledger.genesis().0);
        let input = vrf_input(&genesis, head.number.saturating_add(1), &previous);
        Ok(vrf_sign(&self.keys.vrf, position, input))
    }
}

/// The time that the head states, in milliseconds since 1970.
pub async fn last_timestamp_ms(ledger: &LedgerHandle) -> Result<u64, ConsensusError> {
    let key = pallet_timestamp::Now::<assay_runtime::Runtime>::hashed_key();
    let last = ledger.storage(None, key.to_vec()).await?;
    Ok(last.and_then(|bytes| u64::decode(&mut bytes.as_slice()).ok()).unwrap_or(0))
}
