//! What a transaction costs whatever it calls, and what a key of the state costs that is read or written, by the keys of
//! accounts.

use assay_runtime::{AccountId, Runtime, RuntimeCall, UNIT};
use codec::Encode;
use sp_core::{Pair, sr25519};
use sp_keyring::Sr25519Keyring;

use crate::samples::Samples;
use crate::support::{alice, provider, transfer};
use crate::town::{PROVIDERS, Town, crowd, timed};

/// Blocks of each number of transactions.
const ROUNDS: usize = 5;
/// A signature is verified so many times.
const SIGNATURES: usize = 64;

/// Remarks of nothing, each of another account. Transfers to one account and transfers to as many new ones: the
/// difference is a key that is read and written.
pub fn measure(town: &mut Town, samples: &mut Samples) {
    let lease = town.market.net.chain.reader().at(None).expect("the head's state");
    for account in crowd() {
        let key = frame_system::Account::<Runtime>::hashed_key_for(account);
        let (found, us) = timed(|| lease.storage(&key).expect("it is read"));
        assert!(found.is_some());
        samples.add("read", 1, us);
    }
    drop(lease);
    for round in 0..ROUNDS {
        for transactions in [64, 128, PROVIDERS] {
            nothing(town, samples, transactions);
        }
        for transfers in [64u32, 128, 256] {
            let bob = |_| Sr25519Keyring::Bob.to_account_id();
            let stranger = |n| {
                AccountId::new(*assay_manifest::sha256(&(round as u32, transfers, n).encode()).as_bytes())
            };
            take(town, samples, "transfer_to_one", (0..transfers).map(bob));
            take(town, samples, "transfer_to_each", (0..transfers).map(stranger));
        }
    }
    let (signature, public) = (alice().sign(&[]), alice().public());
    for _ in 0..SIGNATURES {
        let (holds, us) = timed(|| sr25519::Pair::verify(&signature, [], &public));
        assert!(holds);
        samples.add("sr25519", 1, us);
    }
}

fn nothing(town: &mut Town, samples: &mut Samples, transactions: u8) {
    let remark = || RuntimeCall::System(frame_system::Call::remark { remark: vec![] });
    let signed = (0..transactions).flat_map(|n| town.signed(&provider(n), vec![remark()])).collect();
    town.take("nothing", signed, samples);
}

fn take(town: &mut Town, samples: &mut Samples, name: &'static str, to: impl Iterator<Item = AccountId>) {
    let calls = to.map(|account| transfer(&account, UNIT)).collect();
    let transfers = town.signed(&alice(), calls);
    town.take(name, transfers, samples);
}
