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
        self.make_block_at(clock_ms()).await
    }

    async fn make_block_at(&self, clock_ms: u64) -> Result<(), ConsensusError> {
        let head = self.ledger.head();
        let item = self.evaluate_beacon(&head).await?;
        let now_ms = self.next_timestamp_ms(clock_ms).await?;
        let extrinsics = self.source.ready().await;
        let proposed = self.ledger.propose(now_ms, vec![item], extrinsics).await?;
        if !proposed.rejected.is_empty() {
            self.source.rejected(proposed.rejected).await;
        }
        let header = proposed.block.header.clone();
        let count = proposed.block.extrinsics.len().saturating_sub(1);
        let genesis = Digest32::from_bytes(self.ledger.genesis().0);
        let certificate = certify(&self.keys.consensus, &genesis, &header);
        self.ledger.import(proposed.block, certificate).await?;
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
    async fn next_timestamp_ms(&self, clock_ms: u64) -> Result<u64, ConsensusError> {
        let key = pallet_timestamp::Now::<assay_runtime::Runtime>::hashed_key();
        let last = self.ledger.storage(None, key.to_vec()).await?;
        let last = last.and_then(|bytes| u64::decode(&mut bytes.as_slice()).ok()).unwrap_or(0);
        Ok(clock_ms.max(last.saturating_add(1)))
    }
}

/// Signs a block alone, in the shape of a certificate by many.
pub fn certify(key: &SigningKey, genesis: &Digest32, header: &Header) -> CommitCertificate {
    let (height, value) = (Height::new(header.number), Digest32::from_bytes(header.hash().0));
    let message = CommitCertificate::sign_bytes(genesis, height, 0, &value);
    let signature = Signature(key.sign(message.as_bytes()).to_bytes());
    let validator = Digest32::from_bytes(key.verifying_key().to_bytes());
    CommitCertificate {
        height,
        round: 0,
        value,
        signatures: vec![ValidatorSignature { validator, signature }],
    }
}

/// Milliseconds since 1970.
fn clock_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use assay_runtime::UncheckedExtrinsic;
    use assay_runtime::executor::MemoryKv;

    use super::*;
    use crate::chain_spec::{ChainSpec, development_authority};
    use crate::ledger;

    struct Nothing;

    impl TransactionSource for Nothing {
        async fn ready(&self) -> Vec<UncheckedExtrinsic> {
            Vec::new()
        }

        async fn rejected(&self, _hashes: Vec<assay_runtime::Hash>) {}
    }

    /// Deadlines are heights, so a clock decides nothing but the time that a block states.
    #[tokio::test]
    async fn blocks_are_made_whatever_the_clock_says() {
        const YEAR_2100_MS: u64 = 4_102_444_800_000;
        let spec = ChainSpec::development().unwrap();
        let config = ledger::Config::default();
        let ledger = ledger::open(MemoryKv::default(), &spec.genesis, config).unwrap().handle;
        let config = Config { block_time: spec.block_time() };
        let authority = Authority::new(config, development_authority(), ledger.clone(), Nothing);
        let mut stated = Vec::new();
        for clock_ms in [1_000, YEAR_2100_MS, YEAR_2100_MS, 0, 1_000] {
            authority.make_block_at(clock_ms).await.unwrap();
            let key = pallet_timestamp::Now::<assay_runtime::Runtime>::hashed_key();
            let now = ledger.storage(None, key.to_vec()).await.unwrap().unwrap();
            stated.push(u64::decode(&mut now.as_slice()).unwrap());
        }
        assert_eq!(ledger.head().number, 5);
        let after = |blocks: u64| YEAR_2100_MS + blocks;
        assert_eq!(stated, [1_000, after(0), after(1), after(2), after(3)]);
    }
}
