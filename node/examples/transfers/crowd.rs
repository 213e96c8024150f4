//! Accounts that pay one another.

use assay_node::client::signed;
use assay_node::keys::Key;
use assay_runtime::{Address, Endowment, GenesisSpec, Hash, RuntimeCall, UNIT, UncheckedExtrinsic};

pub struct Crowd {
    keys: Vec<Key>,
}

impl Crowd {
    pub fn new(accounts: u32) -> Self {
        let key = |n| Key::development(&format!("//Crowd//{n}")).expect("a derivation");
        Self { keys: (0..accounts).map(key).collect() }
    }

    /// The same beginning, with tokens for everyone.
    pub fn endowed(&self, mut genesis: GenesisSpec) -> GenesisSpec {
        let endowed = self.keys.iter().map(|key| Endowment { account: key.account(), amount: 1_000 * UNIT });
        genesis.endowments.extend(endowed);
        genesis
    }

    /// A transfer by each of some accounts, to accounts far from them; `nonce` is how many each has sent before.
    pub fn transfers(
        &self,
        genesis: Hash,
        nonce: u32,
        some: std::ops::Range<usize>,
    ) -> Vec<UncheckedExtrinsic> {
        let half = self.keys.len() / 2;
        let transfer = |n: usize| {
            let dest = Address::Id(self.keys[(n + half) % self.keys.len()].account());
            let call = pallet_balances::Call::transfer_keep_alive { dest, value: UNIT };
            signed(&self.keys[n], nonce, genesis, RuntimeCall::Balances(call))
        };
        some.map(transfer).collect()
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }
}
