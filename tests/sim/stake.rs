//! Stake on its way: honest validators bond, unbond and withdraw, so that others decide after a session; always so that
//! those who are Byzantine keep less than a third of the votes.

use std::collections::BTreeSet;

use assay_manifest::Digest32;
use assay_node::ledger::LedgerHandle;
use assay_runtime::{AccountId, BlockNumber, Runtime, RuntimeCall, UNIT};
use codec::Decode;
use pallet_assay_validators::{Bond, Bonds, Call, ValidatorInfo, Validators};
use rand::Rng;
use rand::rngs::StdRng;
use sp_core::Pair;
use tokio::runtime::Runtime as Tokio;

use crate::genesis::{founder, keys};
use crate::traffic::{Signer, signed};

/// From one such transaction to the next, in milliseconds.
pub const PACE_MS: std::ops::Range<u64> = 5_000..20_000;
/// Units of stake that a validator adds.
const ADDED: u128 = 1_000 * UNIT;

/// A transaction of an honest node's founder, if there is one that may be made now.
pub fn change(
    seed: u64,
    dice: &mut StdRng,
    (nodes, byzantine): (usize, &BTreeSet<usize>),
    (ledger, tokio): (&LedgerHandle, &Tokio),
) -> Option<Vec<u8>> {
    let honest: Vec<usize> = (0..nodes).filter(|node| !byzantine.contains(node)).collect();
    let node = honest[dice.gen_range(0..honest.len())];
    let (who, wish) = (founder(seed, node), dice.gen_range(0..4));
    let account = AccountId::from(who.public().0);
    let stored = |key: Vec<u8>| tokio.block_on(ledger.storage(None, key)).ok().flatten();
    let bond_of = |number: usize| {
        let account = AccountId::from(founder(seed, number).public().0);
        let bytes = stored(Bonds::<Runtime>::hashed_key_for(account))?;
        Bond::<BlockNumber>::decode(&mut bytes.as_slice()).ok()
    };
    let chosen = stored(Validators::<Runtime>::hashed_key().to_vec())?;
    let chosen = Vec::<ValidatorInfo>::decode(&mut chosen.as_slice()).ok()?;
    let own = bond_of(node);
    let stake = own.as_ref().map_or(0, |bond| bond.stake);
    let call = match wish {
        0 if stake == 0 => bond(ledger, node, &account),
        1 if stake > 0 && stake < 2 * ADDED => bond(ledger, node, &account),
        2 if stake > 0 => {
            let amount = if dice.gen_bool(0.5) { stake } else { stake / 2 };
            let power = |number: usize| {
                let key = keys(number).public();
                chosen.iter().find(|info| info.key == key).map_or(0, |info| u128::from(info.power) * UNIT)
            };
            let against: u128 = byzantine.iter().map(|node| power(*node)).sum();
            // Until the next choice the old stake counts, and from then on the new one.
            let least = |number: &usize| {
                let bonded = bond_of(*number).map_or(0, |bond| bond.stake);
                power(*number).min(if *number == node { bonded - amount } else { bonded })
            };
            let left: u128 = honest.iter().map(least).sum();
            // Twice as much would do; others' transactions may be on their way.
            if left <= 3 * against.max(ADDED) {
                return None;
            }
            Call::unbond { amount }
        }
        3 if own.is_some_and(|bond| !bond.unbonding.is_empty()) => Call::withdraw {},
        _ => return None,
    };
    signed(&Signer::Ed25519(who), RuntimeCall::Validators(call), ledger, tokio)
}

fn bond(ledger: &LedgerHandle, node: usize, account: &AccountId) -> Call<Runtime> {
    let keys = keys(node);
    let proof = keys.stand_for(&Digest32::from_bytes(ledger.genesis().0), account);
    Call::bond { amount: ADDED, keys: keys.published(), proof }
}
