//! A validator that decides alone: step by step, for tests and measurements. Nodes run the engine.

use assay_manifest::Digest32;
use assay_protocol::certificate::{CommitCertificate, ValidatorSignature};
use assay_protocol::signature::Signature;
use assay_protocol::units::Height;
use assay_runtime::Header;
use ed25519_dalek::{Signer, SigningKey};

use super::ports::TransactionSource;
use super::{Clock, ConsensusError, Proposer, ValidatorKeys};
use crate::ledger::LedgerHandle;

/// Makes one block after the other, each of them when it is told to.
pub struct Solo<S> {
    proposer: Proposer<S>,
    ledger: LedgerHandle,
}

impl<S: TransactionSource> Solo<S> {
    /// The only validator of `ledger`, that takes its transactions from `source`.
    pub fn new(keys: ValidatorKeys, ledger: LedgerHandle, source: S) -> Self {
        Self { proposer: Proposer::new(keys, ledger.clone(), source), ledger }
    }

    /// Proposes and signs one block, and has the ledger verify and commit it.
    ///
    /// # Errors
    /// [`ConsensusError`] when it cannot be made.
    pub async fn make_block(&self) -> Result<(), ConsensusError> {
        self.make_block_at(Clock::system().now_ms()).await
    }

    async fn make_block_at(&self, clock_ms: u64) -> Result<(), ConsensusError> {
        let block = self.proposer.propose_at(clock_ms).await?;
        let genesis = Digest32::from_bytes(self.ledger.genesis().0);
        let certificate = certify(&self.proposer.keys().consensus, &genesis, &block.header);
        Ok(self.ledger.import(block, certificate).await?)
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

#[cfg(test)]
mod tests {
    use assay_runtime::UncheckedExtrinsic;
    use assay_runtime::executor::MemoryKv;
    use codec::Decode;

    use super::*;
    use crate::chain_spec::{ChainSpec, development_authority};
    use crate::ledger;

    struct Nothing;

    impl TransactionSource for Nothing {
        async fn ready(&self) -> Vec<UncheckedExtrinsic> {
            Vec::new()
        }

        async fn rejected(&self, _hashes: Vec<assay_runtime::Hash>) {}

        async fn convict(&self, _proof: assay_protocol::vote::Equivocation) {}
    }

    /// Deadlines are heights, so a clock decides nothing but the time that a block states.
    #[tokio::test]
    async fn blocks_are_made_whatever_the_clock_says() {
        const YEAR_2100_MS: u64 = 4_102_444_800_000;
        let spec = ChainSpec::development().unwrap();
        let config = ledger::Config::default();
        let ledger = ledger::open(MemoryKv::default(), &spec.genesis, config).unwrap().handle;
        let validator = Solo::new(development_authority(), ledger.clone(), Nothing);
        let mut stated = Vec::new();
        for clock_ms in [1_000, YEAR_2100_MS, YEAR_2100_MS, 0, 1_000] {
            validator.make_block_at(clock_ms).await.unwrap();
            let key = pallet_timestamp::Now::<assay_runtime::Runtime>::hashed_key();
            let now = ledger.storage(None, key.to_vec()).await.unwrap().unwrap();
            stated.push(u64::decode(&mut now.as_slice()).unwrap());
        }
        assert_eq!(ledger.head().number, 5);
        let after = |blocks: u64| YEAR_2100_MS + blocks;
        assert_eq!(stated, [1_000, after(0), after(1), after(2), after(3)]);
    }
}
