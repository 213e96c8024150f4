//! Which chain a node is on: its genesis and the pace of its blocks, in one JSON file.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use assay_manifest::{Digest32, TaggedHash};
use assay_protocol::params::Params;
use assay_protocol::seal::SealingSecret;
use assay_runtime::{AccountId, Endowment, GenesisSpec, UNIT};
use ed25519_dalek::SigningKey;
use pallet_assay_validators::{ValidatorInfo, ValidatorKeys as PublicKeys};
use serde::{Deserialize, Serialize};
use sp_core::{Pair, sr25519};

use crate::consensus::ValidatorKeys;
use crate::keys::{Key, KeyError, Seller};

/// A chain, as its nodes agree on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChainSpec {
    /// Name for people.
    pub name: String,
    /// Name of its data directory: lowercase letters, digits and `-`.
    pub id: String,
    /// From one block to the next, in milliseconds.
    pub block_time_ms: u64,
    /// What decides the first state.
    pub genesis: GenesisSpec,
}

/// Accounts with tokens on a development chain.
pub const DEVELOPMENT_ACCOUNTS: [&str; 2] = ["//Alice", "//Bob"];
/// Providers in the one process of a development node: seats for an executor, two verifiers, and standby.
pub const DEVELOPMENT_PROVIDERS: u32 = 6;
/// Votes of every validator of the first block, a staked token each.
const FOUNDING_VOTES: u64 = 1_000;
/// Tokens of every development account.
const DEVELOPMENT_TOKENS: u128 = 1_000_000 * UNIT;
/// Blocks of a development chain: short, so that a person sees a whole job within seconds.
const DEVELOPMENT_BLOCK_TIME: Duration = Duration::from_millis(200);
/// Blocks of a chain that is set up with `node init`.
const BLOCK_TIME: Duration = Duration::from_secs(1);

/// Largest file of a chain: 100 validators, and some 100,000 accounts.
const SPEC_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A file that should hold a chain does not.
#[derive(Debug, thiserror::Error)]
#[error("reading the chain in {}: {cause}", path.display())]
pub struct SpecFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub cause: String,
}

impl ChainSpec {
    /// The id of the development chain, which no other has.
    pub const DEVELOPMENT: &str = "dev";
    /// The id of the development chain with several validators.
    pub const LOCAL: &str = "local";

    /// The development chain: known keys, short windows, blocks every 200 ms.
    ///
    /// # Errors
    /// [`KeyError`] when a development key cannot be derived.
    pub fn development() -> Result<Self, KeyError> {
        let providers = development_providers()?;
        let accounts = DEVELOPMENT_ACCOUNTS.iter().map(|uri| Key::development(uri));
        let accounts = accounts.collect::<Result<Vec<_>, _>>()?;
        let founder = founder(1)?;
        let endowed = accounts.iter().chain(&providers).map(Key::account).chain([founder.clone()]);
        Ok(Self {
            name: "Development".into(),
            id: Self::DEVELOPMENT.into(),
            block_time_ms: millis(DEVELOPMENT_BLOCK_TIME),
            genesis: GenesisSpec {
                seed: "assay development".into(),
                validators: vec![validator(&development_authority(), founder)],
                endowments: endowed.map(development_endowment).collect(),
                params: Params::DEVELOPMENT,
            },
        })
    }

    /// A development chain with several validators, whose keys are [`development_validator`]'s.
    ///
    /// # Errors
    /// [`KeyError`] when a development key cannot be derived.
    pub fn local(validators: u32) -> Result<Self, KeyError> {
        let development = Self::development()?;
        let mut genesis = GenesisSpec { validators: Vec::new(), ..development.genesis };
        for number in 1..=validators {
            let founder = founder(number)?;
            // The first is endowed already.
            genesis.endowments.extend((number > 1).then(|| development_endowment(founder.clone())));
            genesis.validators.push(validator(&development_validator(number), founder));
        }
        Ok(Self { name: "Local network".into(), id: Self::LOCAL.into(), genesis, ..development })
    }

    /// The same with tokens for as many development providers.
    ///
    /// # Errors
    /// [`KeyError`] when a development key cannot be derived.
    pub fn with_providers(mut self, providers: u32) -> Result<Self, KeyError> {
        // The first are endowed already.
        for number in DEVELOPMENT_PROVIDERS + 1..=providers {
            let account = Key::development(&development_provider(number))?.account();
            self.genesis.endowments.push(development_endowment(account));
        }
        Ok(self)
    }

    /// A chain of one's own: one validator with `authority`'s keys, for which `founder` has a stake, and all other
    /// tokens with `endowments`.
    pub fn single(
        id: &str,
        seed: String,
        (authority, founder): (&ValidatorKeys, AccountId),
        endowments: Vec<Endowment>,
    ) -> Self {
        Self {
            name: id.into(),
            id: id.into(),
            block_time_ms: millis(BLOCK_TIME),
            genesis: GenesisSpec {
                seed,
                validators: vec![validator(authority, founder)],
                endowments,
                params: Params::MAIN,
            },
        }
    }

    /// A chain in a file, as `assay chain spec` prints it.
    ///
    /// # Errors
    /// [`SpecFileError`] when it cannot be read, or is none.
    pub fn read(path: &Path) -> Result<Self, SpecFileError> {
        let failed = |cause: String| SpecFileError { path: path.into(), cause };
        let mut text = Vec::new();
        let file = File::open(path).map_err(|error| failed(error.to_string()))?;
        file.take(SPEC_BYTES_MAX + 1).read_to_end(&mut text).map_err(|error| failed(error.to_string()))?;
        if text.len() as u64 > SPEC_BYTES_MAX {
            return Err(failed(format!("it has more than {SPEC_BYTES_MAX} bytes")));
        }
        let spec: Self = serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
        // It names a directory.
        if spec.id.is_empty() || !spec.id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(failed(format!("the id {:?} is not of letters, digits and '-'", spec.id)));
        }
        spec.genesis.storage().map_err(failed)?;
        Ok(spec)
    }

    /// Whether its keys are the public ones of development.
    pub fn is_development(&self) -> bool {
        self.id == Self::DEVELOPMENT || self.id == Self::LOCAL
    }

    /// From one block to the next.
    pub const fn block_time(&self) -> Duration {
        Duration::from_millis(self.block_time_ms)
    }
}

/// The accounts of a development node's providers.
///
/// # Errors
/// [`KeyError`] when a development key cannot be derived.
pub fn development_providers() -> Result<Vec<Key>, KeyError> {
    (1..=DEVELOPMENT_PROVIDERS).map(|n| Key::development(&development_provider(n))).collect()
}

/// What sells as them.
///
/// # Errors
/// [`KeyError`] when a development key cannot be derived.
pub fn development_sellers() -> Result<Vec<Seller>, KeyError> {
    (1..=DEVELOPMENT_PROVIDERS).map(|n| Seller::development(&development_provider(n))).collect()
}

/// The development URI of a provider, counted from one.
pub fn development_provider(number: u32) -> String {
    format!("//Provider//{number}")
}

/// The validator of the development chain. Its keys are public: such a chain protects nothing.
pub fn development_authority() -> ValidatorKeys {
    validator_keys(|purpose| TaggedHash::new(purpose).finish())
}

/// A validator of [`ChainSpec::local`], counted from one. Its keys are public as well.
pub fn development_validator(number: u32) -> ValidatorKeys {
    validator_keys(|purpose| TaggedHash::new(purpose).u32(number).finish())
}

fn validator_keys(seed: impl Fn(&str) -> Digest32) -> ValidatorKeys {
    let seed = |purpose: &str| *seed(purpose).as_bytes();
    ValidatorKeys {
        consensus: SigningKey::from_bytes(&seed("assay/development/consensus")),
        vrf: sr25519::Pair::from_seed(&seed("assay/development/vrf")),
        encryption: SealingSecret::from_bytes(seed("assay/development/encryption")),
    }
}

const fn development_endowment(account: AccountId) -> Endowment {
    Endowment { account, amount: DEVELOPMENT_TOKENS }
}

/// The account that stakes for a development validator, counted from one.
fn founder(number: u32) -> Result<AccountId, KeyError> {
    Ok(Key::development(&format!("//Validator//{number}"))?.account())
}

fn validator(keys: &ValidatorKeys, account: AccountId) -> ValidatorInfo {
    let PublicKeys { key, vrf_key, encryption_key } = keys.published();
    ValidatorInfo { account, key, vrf_key, encryption_key, power: FOUNDING_VOTES }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_reads_as_it_was_written() {
        let spec = ChainSpec::development().unwrap();
        let json = serde_json::to_string_pretty(&spec).unwrap();
        assert_eq!(serde_json::from_str::<ChainSpec>(&json).unwrap(), spec);
        assert!(serde_json::from_str::<ChainSpec>(&json.replacen("\"id\"", "\"idd\"", 1)).is_err());
    }

    #[test]
    fn every_development_account_is_endowed_once() {
        let spec = ChainSpec::development().unwrap();
        assert_eq!(spec.genesis.endowments.len(), 9);
        let local = ChainSpec::local(4).unwrap();
        assert_eq!(local.genesis.endowments.len(), 12);
        assert!(local.genesis.storage().is_ok());
        assert!(spec.genesis.storage().is_ok());
    }
}
