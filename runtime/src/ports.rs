//! Ties between pallets, which do not know one another.

use assay_manifest::{Digest32, ModelId, SpecId};
use assay_protocol::certificate::ValidatorSet;
use assay_protocol::job::Contender;
use assay_protocol::params::Params;
use assay_protocol::units::Amount;
use frame_support::dispatch::DispatchResult;
use frame_support::traits::Get;
use pallet_assay_jobs::{Beacon, ProviderBook, Referees};

use crate::{AccountId, Jobs, Providers, Validators};

/// The jobs pallet holds the chain's parameters; the providers read them.
pub struct ChainParams;

impl Get<Params> for ChainParams {
    fn get() -> Params {
        Jobs::params()
    }
}

/// The chain's first block, which signatures outside of transactions cover.
pub struct ChainGenesis;

impl Get<Digest32> for ChainGenesis {
    fn get() -> Digest32 {
        Jobs::genesis()
    }
}

/// The beacon as the jobs see it.
pub struct ChainBeacon;

impl Beacon for ChainBeacon {
    fn randomness_at(height: u32) -> Option<Digest32> {
        Validators::randomness_at(height)
    }
}

// Every validator can vote in a question.
const _: () = assert!(pallet_assay_jobs::VOTES_MAX >= pallet_assay_validators::VALIDATORS_MAX);

/// The validators as the jobs see them.
pub struct ChainReferees;

impl Referees for ChainReferees {
    fn count() -> u32 {
        Validators::count()
    }

    fn set() -> ValidatorSet {
        Validators::set()
    }
}

/// The providers as the jobs see them.
pub struct StakeBook;

impl ProviderBook<AccountId> for StakeBook {
    fn contenders(model: &ModelId, spec: &SpecId) -> Vec<Contender> {
        Providers::contenders(model, spec)
    }

    fn contenders_at_large(model: &ModelId, spec: &SpecId, weights_bytes: u64) -> Vec<Contender> {
        Providers::contenders_at_large(model, spec, weights_bytes)
    }

    fn total_stake() -> Amount {
        Providers::total_stake()
    }

    fn bondable(who: &AccountId) -> Amount {
        Providers::bondable(who)
    }

    fn score(who: &AccountId) -> Amount {
        Providers::score(who)
    }

    fn lock(who: &AccountId, amount: u128) -> DispatchResult {
        Providers::lock(who, amount)
    }

    fn unlock(who: &AccountId, amount: u128) -> DispatchResult {
        Providers::unlock(who, amount)
    }

    fn forfeit(who: &AccountId, payments: &[(AccountId, u128)], burned: u128) -> DispatchResult {
        Providers::forfeit(who, payments, burned)
    }

    fn begin_work(who: &AccountId) -> DispatchResult {
        Providers::begin_work(who)
    }

    fn end_work(who: &AccountId) -> DispatchResult {
        Providers::end_work(who)
    }

    fn miss(who: &AccountId) -> DispatchResult {
        Providers::miss(who)
    }

    fn fault(who: &AccountId) -> DispatchResult {
        Providers::fault(who)
    }

    fn credit(who: &AccountId, burned: u128) -> DispatchResult {
        Providers::credit(who, burned)
    }
}
