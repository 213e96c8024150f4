//! The first state of a chain.

use std::collections::{BTreeMap, BTreeSet};

use assay_manifest::{Digest32, sha256};
use assay_protocol::params::Params;
use pallet_assay_validators::{VALIDATORS_MAX, VOTES_MAX, ValidatorInfo};
use serde::{Deserialize, Serialize};
use sp_runtime::BuildStorage;
use sp_runtime::Storage;

use crate::{AccountId, Balance, EXISTENTIAL_DEPOSIT, RuntimeGenesisConfig, UNIT, config, version};

/// Tokens of an account at the beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endowment {
    /// The account, SS58.
    pub account: AccountId,
    /// Base units, as a decimal string.
    #[serde(with = "decimal")]
    pub amount: Balance,
}

/// Everything that decides the first state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GenesisSpec {
    /// Tells chains apart that are otherwise alike, and seeds the beacon.
    pub seed: String,
    /// The first validators.
    pub validators: Vec<ValidatorInfo>,
    /// The first balances.
    pub endowments: Vec<Endowment>,
    /// The protocol's parameters.
    pub params: Params,
}

impl GenesisSpec {
    /// The key-value pairs of the first state.
    ///
    /// # Errors
    /// When the specification contradicts itself, such as an account named twice, or parameters that do not fit one
    /// another.
    pub fn storage(&self) -> Result<Storage, String> {
        self.check()?;
        let mut balances: BTreeMap<AccountId, Balance> =
            self.endowments.iter().map(|entry| (entry.account.clone(), entry.amount)).collect();
        // The pot must exist, or the first payment to it would fail as dust.
        balances.insert(config::Pot::get(), EXISTENTIAL_DEPOSIT);
        for validator in &self.validators {
            // What is held, and what an account must have besides.
            let balance = balances.entry(validator.account.clone()).or_insert(EXISTENTIAL_DEPOSIT);
            *balance = balance.saturating_add(stake(validator));
        }
        let balances = balances.into_iter().collect();
        let genesis = RuntimeGenesisConfig {
            balances: pallet_balances::GenesisConfig { balances, ..Default::default() },
            validators: pallet_assay_validators::GenesisConfig {
                validators: self.validators.clone(),
                randomness: self.first_randomness(),
                ..Default::default()
            },
            jobs: pallet_assay_jobs::GenesisConfig {
                params: Some(self.params.clone()),
                ..Default::default()
            },
            ..Default::default()
        };
        let mut storage = genesis.build_storage()?;
        storage.top.insert(sp_core::storage::well_known_keys::CODE.to_vec(), version::code_stub());
        Ok(storage)
    }

    /// What the pallets would answer with a panic, or take and be stuck with.
    fn check(&self) -> Result<(), String> {
        let mut accounts = BTreeSet::from([config::Pot::get()]);
        let mut total = EXISTENTIAL_DEPOSIT;
        for validator in &self.validators {
            total = total
                .checked_add(stake(validator).saturating_add(EXISTENTIAL_DEPOSIT))
                .ok_or("the validators' stakes do not sum to an amount")?;
        }
        for Endowment { account, amount } in &self.endowments {
            if !accounts.insert(account.clone()) {
                return Err(format!("the account {account} is endowed twice, or is the pot"));
            }
            if *amount < EXISTENTIAL_DEPOSIT {
                return Err(format!(
                    "the account {account} gets {amount}, under the least of {EXISTENTIAL_DEPOSIT}"
                ));
            }
            total = total.checked_add(*amount).ok_or("the endowments do not sum to an amount")?;
        }
        // All of it could be bonded.
        if total / UNIT > Balance::from(VOTES_MAX) {
            return Err(format!(
                "there are more than {VOTES_MAX} tokens, each of which may come to be a vote"
            ));
        }
        self.check_validators()?;
        self.check_params()
    }

    /// What would be fixed for the life of the chain.
    fn check_params(&self) -> Result<(), String> {
        self.params.check().map_err(|error| format!("the parameters do not fit one another: {error}"))?;
        // A forfeited bond pays the requester a job fee, even into an account that has been emptied meanwhile.
        let least = self.params.job_fee_min.get();
        if least < EXISTENTIAL_DEPOSIT {
            return Err(format!(
                "the parameters do not fit one another: jobFeeMin is {least}, under the least of an account, \
                 {EXISTENTIAL_DEPOSIT}"
            ));
        }
        Ok(())
    }

    fn check_validators(&self) -> Result<(), String> {
        if self.validators.is_empty() || self.validators.len() > VALIDATORS_MAX as usize {
            return Err(format!("{} validators, of 1 to {VALIDATORS_MAX}", self.validators.len()));
        }
        let (mut keys, mut accounts) = (BTreeSet::new(), BTreeSet::new());
        for validator in &self.validators {
            if !keys.insert(validator.key) {
                return Err(format!("the validator {} is named twice", validator.key));
            }
            if !accounts.insert(&validator.account) || validator.account == config::Pot::get() {
                return Err(format!(
                    "the account {} stakes for two validators, or is the pot",
                    validator.account
                ));
            }
            if validator.power == 0 {
                return Err(format!("the validator {} has no votes", validator.key));
            }
        }
        Ok(())
    }

    fn first_randomness(&self) -> Digest32 {
        sha256(self.seed.as_bytes())
    }
}

/// What a validator of the first block has staked: its votes, a token each.
fn stake(validator: &ValidatorInfo) -> Balance {
    Balance::from(validator.power).saturating_mul(UNIT)
}

mod decimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(amount: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(amount)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
