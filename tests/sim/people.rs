//! What people do in a world: they pay, stake, ask, and rule on definitions.

use assay_manifest::{Digest32, SpecId};
use assay_node::ledger::LedgerHandle;
use assay_protocol::certificate::ValidatorSignature;
use assay_protocol::signature::Signature;
use assay_runtime::{RuntimeCall, general};
use codec::Encode;
use ed25519_dalek::Signer;
use pallet_assay_jobs::{Call, Ruling, ruling_digest};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::runtime::Runtime as Tokio;

use crate::genesis::keys;
use crate::world::{Event, World};
use crate::{market, stake, traffic};

/// Blocks in which validators hand in what they rule on a definition.
const RULING_BLOCKS: u32 = 8;

impl World {
    pub fn pay(&mut self) -> Result<(), String> {
        self.queue.after(self.people.gen_range(traffic::PACE_MS), Event::Pay);
        let seed = self.case.seed;
        self.hand_in(|dice, ledger, tokio| traffic::transfer(seed, dice, ledger, tokio))
    }

    pub fn stake(&mut self) -> Result<(), String> {
        self.queue.after(self.people.gen_range(stake::PACE_MS), Event::Stake);
        let (seed, count) = (self.case.seed, self.nodes.len());
        let byzantine = self.mischief.keys().copied().collect();
        self.hand_in(|dice, ledger, tokio| stake::change(seed, dice, (count, &byzantine), (ledger, tokio)))
    }

    pub fn ask(&mut self) -> Result<(), String> {
        self.queue.after(self.people.gen_range(market::PACE_MS), Event::Ask);
        let buyer = self.people.gen_range(0..market::BUYERS);
        let mut dice = StdRng::seed_from_u64(self.people.r#gen());
        let node = self.market.home_of_buyer(buyer);
        let Some(ledger) = self.nodes[node].ledger().filter(|_| !self.calm) else { return Ok(()) };
        let Some(bytes) = self.market.ask(&mut dice, buyer, ledger, &self.setting.tokio) else {
            return Ok(());
        };
        let outs = self.nodes[node].submit(bytes);
        self.follow(node, outs)
    }

    /// Hands a transaction in at some node, if it runs; it is made of what that node's ledger says.
    fn hand_in(
        &mut self,
        make: impl FnOnce(&mut StdRng, &LedgerHandle, &Tokio) -> Option<Vec<u8>>,
    ) -> Result<(), String> {
        let node = self.people.gen_range(0..self.nodes.len());
        let mut dice = StdRng::seed_from_u64(self.people.r#gen());
        let Some(ledger) = self.nodes[node].ledger() else { return Ok(()) };
        let Some(bytes) = make(&mut dice, ledger, &self.setting.tokio) else { return Ok(()) };
        let outs = self.nodes[node].submit(bytes);
        self.follow(node, outs)
    }

    /// Every validator finds that a definition whose verdicts were paused is right, as it is.
    pub fn rulings(&self, node: usize, height: u32) -> Vec<Vec<u8>> {
        let key = &keys(node).consensus;
        let ruling = Ruling::Confirm;
        let rule = |(spec, since): &(SpecId, u32)| {
            let message = ruling_digest(&self.setting.genesis_hash, spec, *since, ruling);
            let signature = Signature(key.sign(message.as_bytes()).to_bytes());
            let validator = Digest32::from_bytes(key.verifying_key().to_bytes());
            let signatures = vec![ValidatorSignature { validator, signature }];
            let signatures = signatures.try_into().expect("one signature");
            general(RuntimeCall::Jobs(Call::rule { spec: *spec, ruling, signatures })).encode()
        };
        let recent = |paused: &&(SpecId, u32)| (paused.1..paused.1 + RULING_BLOCKS).contains(&height);
        self.checks.jobs.paused.iter().filter(recent).map(rule).collect()
    }
}
