//! The single authority: it signs every block itself, in the shape of a commit certificate.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use assay_manifest::Digest32;
use assay_protocol::certificate::{CommitCertificate, ValidatorSet, ValidatorSignature};
use assay_protocol::seal::SealingSecret;
use assay_protocol::signature::Signature;
use assay_protocol::units::Height;
use assay_runtime::Header;
use codec::Decode;
use ed25519_dalek::{Signer, SigningKey};
use pallet_assay_validators::{vrf_input, vrf_sign};
use sp_core::sr25519;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::ports::TransactionSource;
use crate::ledger::{LedgerError, LedgerHandle};
use crate::supervisor::told_to_stop;

/// How blocks are made.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// From one block to the next.
    pub block_time: Duration,
}

/// The keys with which an authority makes blocks.
#[derive(Clone)]
pub struct AuthorityKeys {
    /// Signs blocks and verdicts.
    pub consensus: SigningKey,
    /// Evaluates the beacon, and does nothing else.
    pub vrf: sr25519::Pair,
    /// Opens disputed work that is sealed to it.
    pub encryption: SealingSecret,
}

impl AuthorityKeys {
    /// The public consensus key.
    pub fn public(&self) -> Digest32 {
        Digest32::from_bytes(self.consensus.verifying_key().to_bytes())
    }
}

/// No block could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsensusError {
    /// The ledger refused or has stopped.
    #[error("making a block: {0}")]
    Ledger(#[from] LedgerError),
    /// This node's key is not in the chain's validator set.
    #[error("making a block: the key {0} is not a validator of this chain")]
    NotAValidator(Digest32),
    /// The ledger lacks what the next block builds on.
    #[error("making a block: {0}")]
    Incomplete(&'static str),
}

/// The engine of a chain with one validator.
pub struct Authority<S> {
    config: Config,
    keys: AuthorityKeys,
    ledger: LedgerHandle,
    source: S,
}

impl<S: TransactionSource> Authority<S> {
    /// An authority over `ledger` that takes its transactions from `source`.
    pub const fn new(config: Config, keys: AuthorityKeys, ledger: LedgerHandle, source: S) -> Self {
        Self { config, keys, ledger, source }
    }

    /// Makes blocks until `stop` turns true.
    ///
    /// # Errors
    /// [`ConsensusError`] when a block cannot be made; the chain then stands still, so the node must stop.
    pub async fn run(self, mut stop: watch::Receiver<bool>) -> Result<(), ConsensusError> {
        let mut ticks = tokio::time::interval(self.config.block_time);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => match self.make_block().await {
                    // The next tick tries again.
                    Err(ConsensusError::Ledger(LedgerError::Busy)) => warn!("no block: the ledger is busy"),
                    made => made?,
                },
                () = told_to_stop(&mut stop) => return Ok(()),
            }
        }
    }

    /// Proposes, signs, and has the ledger verify and commit one block.
    ///
    /// # Errors
    /// [`ConsensusError`] as for [`Self::run`].
    pub async fn make_block(&self) -> Result<(), ConsensusError> {
        let head = self.ledger.head();
        let item = self.evaluate_beacon(&head).await?;
        let now_ms = self.next_timestamp_ms().await?;
        let extrinsics = self.source.ready().await;
        let proposed = self.ledger.propose(now_ms, vec![item], extrinsics).await?;
        if !proposed.rejected.is_empty() {
            self.source.rejected(proposed.rejected).await;
        }
        let header = proposed.block.header.clone();
        let count = proposed.block.extrinsics.len().saturating_sub(1);
        self.ledger.import(proposed.block, self.certify(&header)).await?;
        info!(height = header.number, transactions = count, hash = %header.hash(), "finalized");
        Ok(())
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

    /// The clock's milliseconds, but always past the previous block's.
    async fn next_timestamp_ms(&self) -> Result<u64, ConsensusError> {
        let key = pallet_timestamp::Now::<assay_runtime::Runtime>::hashed_key();
        let last = self.ledger.storage(None, key.to_vec()).await?;
        let last = last.and_then(|bytes| u64::decode(&mut bytes.as_slice()).ok()).unwrap_or(0);
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        Ok(now.max(last.saturating_add(1)))
    }

    fn certify(&self, header: &Header) -> CommitCertificate {
        let (height, value) = (Height::new(header.number), Digest32::from_bytes(header.hash().0));
        let genesis = Digest32::from_bytes(self.ledger.genesis().0);
        let message = CommitCertificate::sign_bytes(&genesis, height, 0, &value);
        let signature = Signature(self.keys.consensus.sign(message.as_bytes()).to_bytes());
        let signatures = vec![ValidatorSignature { validator: self.keys.public(), signature }];
        CommitCertificate { height, round: 0, value, signatures }
    }
}
