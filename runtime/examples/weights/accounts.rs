//! What a key of the state costs that is read or written, by the keys of accounts.

use assay_runtime::{AccountId, Runtime, UNIT};
use codec::Encode;
use sp_keyring::Sr25519Keyring;

use crate::samples::Samples;
use crate::support::{alice, transfer};
use crate::town::{Town, crowd, timed};

/// Transfers to one account and transfers to as many new ones: the difference is a key that is read and written.
pub fn measure(town: &mut Town, samples: &mut Samples) {
    let lease = town.market.net.chain.reader().at(None).expect("the head's state");
    for account in crowd() {
        let key = frame_system::Account::<Runtime>::hashed_key_for(account);
        let (found, us) = timed(|| lease.storage(&key).expect("it is read"));
        assert!(found.is_some());
        samples.add("read", 1, us);
    }
    drop(lease);
    for transfers in [64u32, 128, 256] {
        let bob = |_| Sr25519Keyring::Bob.to_account_id();
        let stranger = |n| AccountId::new(*assay_manifest::sha256(&(transfers, n).encode()).as_bytes());
        take(town, samples, "transfer_to_one", (0..transfers).map(bob));
        take(town, samples, "transfer_to_each", (0..transfers).map(stranger));
    }
}

fn take(town: &mut Town, samples: &mut Samples, name: &'static str, to: impl Iterator<Item = AccountId>) {
    let calls = to.map(|account| transfer(&account, UNIT)).collect();
    let transfers = town.signed(&alice(), calls);
    town.take(name, transfers, samples);
}
