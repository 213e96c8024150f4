//! The chain that is simulated: its validators, its accounts, and windows so short that a run sees them close.

use std::time::Duration;

use assay_node::chain_spec::development_validator;
use assay_node::consensus::ValidatorKeys;
use assay_protocol::params::Params;
use assay_runtime::{AccountId, Endowment, GenesisSpec, UNIT};
use frame_support::PalletId;
use pallet_assay_validators::{ValidatorInfo, ValidatorKeys as PublicKeys};
use sp_core::{Pair, ed25519};
use sp_runtime::traits::AccountIdConversion;

use crate::market::Market;
use crate::random::bytes;

/// From one block to the next.
pub const BLOCK_TIME: Duration = Duration::from_millis(1_000);
/// Votes of every validator of the first block.
const VOTES: u64 = 1_000;
/// Accounts that pay one another.
pub const PAYERS: usize = 8;

pub const PARAMS: Params = Params {
    accept_window: 8,
    reveal_window: 8,
    concede_window: 8,
    verdict_window: 16,
    challenge_window: 10,
    data_window: 8,
    answer_window: 8,
    pause_window: 20,
    offer_delay: 1,
    unbonding_window: 60,
    session_length: 8,
    validator_stake_min: Params::DEVELOPMENT.validator_stake_min,
    validator_unbonding_window: 40,
    ..Params::MAIN
};

/// The chain of a seed. The first so many of its nodes are validators from the beginning.
pub fn genesis(seed: u64, validators: usize, nodes: usize) -> GenesisSpec {
    let founder = |number| AccountId::from(founder(seed, number).public().0);
    let validator = |number: usize| {
        let PublicKeys { key, vrf_key, encryption_key } = keys(number).published();
        ValidatorInfo { account: founder(number), key, vrf_key, encryption_key, power: VOTES }
    };
    let endowment = |account| Endowment { account, amount: 100_000 * UNIT };
    let payers = (0..PAYERS).map(|number| AccountId::from(payer(seed, number).public().0));
    GenesisSpec {
        seed: format!("simulation {seed}"),
        validators: (0..validators).map(validator).collect(),
        endowments: payers
            .chain((0..nodes).map(founder))
            .chain(Market::accounts(seed))
            .map(endowment)
            .collect(),
        params: PARAMS,
    }
}

/// The keys of a node that is a validator or may become one.
pub fn keys(number: usize) -> ValidatorKeys {
    development_validator(number as u32 + 1)
}

/// The account that stakes for a node. Its signatures are the same in every run, as those of ed25519 are.
pub fn founder(seed: u64, number: usize) -> ed25519::Pair {
    ed25519::Pair::from_seed(&bytes(seed, "founder", number as u64))
}

pub fn payer(seed: u64, number: usize) -> ed25519::Pair {
    ed25519::Pair::from_seed(&bytes(seed, "payer", number as u64))
}

pub fn pot() -> AccountId {
    PalletId(*b"asy/vpot").into_account_truncating()
}
