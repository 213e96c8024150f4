//! The trust root of a verification: which chain, and whose signatures.

use std::path::Path;

use assay_manifest::Digest32;
use assay_protocol::certificate::{Validator, ValidatorSet};
use assay_protocol::receipt::{Receipt, Trust};
use assay_runtime::executor::{Chain, MemoryKv, Retention, on_big_stack};
use pallet_assay_validators::set_of;
use serde::Serialize;

use super::file;
use crate::chain_spec::ChainSpec;
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};

/// A trust root and where it comes from.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Root {
    /// What receipts are checked against.
    #[serde(flatten)]
    pub trust: Trust,
    /// Where it comes from.
    pub source: Source,
}

/// Where a trust root comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// A trust root or chain spec in a file.
    File(String),
    /// A validator's key: the chain is taken from the receipt itself.
    Key,
    /// None is needed: the receipt rests on its signer alone.
    Signer,
}

impl Root {
    /// The root for `receipt`: what was named, or that of the data directory.
    ///
    /// # Errors
    /// [`Failure`] when what was named is no trust root, or none was named and no node has run here.
    pub fn find(context: &Context, named: Option<&str>, receipt: &Receipt) -> Result<Self, Failure> {
        let Receipt::Ledger(receipt) = receipt else {
            let trust = Trust::of_genesis(Digest32::ZERO, ValidatorSet::new(Vec::new()));
            return Ok(Self { trust, source: Source::Signer });
        };
        match named {
            None => Self::of_data_dir(context),
            Some(named) => match named.parse() {
                Ok(key) if !Path::new(named).exists() => {
                    let validators = ValidatorSet::new(vec![Validator { key, power: 1 }]);
                    let trust = Trust::of_genesis(receipt.settlement.genesis, validators);
                    Ok(Self { trust, source: Source::Key })
                }
                _ => Self::of_file(Path::new(named)),
            },
        }
    }

    fn of_data_dir(context: &Context) -> Result<Self, Failure> {
        let root = context.chain_dir()?;
        let found = context.data_dir().and_then(|dir| Ok(dir.trust()?));
        let trust = found.map_err(|failure| {
            Failure::usage(failure.cause()).hint(format!(
                "no node has run with {}; say what to trust with --trust FILE or --trust KEY",
                root.display()
            ))
        })?;
        Ok(Self { trust, source: Source::File(root.join("trust.json").display().to_string()) })
    }

    fn of_file(path: &Path) -> Result<Self, Failure> {
        let bytes = file::read_bounded(path)?;
        let trust = match (serde_json::from_slice(&bytes), serde_json::from_slice::<ChainSpec>(&bytes)) {
            (Ok(trust), _) => trust,
            (_, Ok(spec)) => of_chain_spec(&spec)?,
            (Err(error), Err(_)) => {
                let cause =
                    format!("reading {}: neither a trust root nor a chain spec: {error}", path.display());
                return Err(
                    Failure::usage(cause).hint("name a trust.json or chain-spec.json, or a validator's key")
                );
            }
        };
        Ok(Self { trust, source: Source::File(path.display().to_string()) })
    }

    /// As lines.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        match &self.source {
            Source::File(file) => {
                vec![("trust", format!("chain {}", self.trust.genesis)), ("", format!("from {file}"))]
            }
            Source::Key => {
                vec![("trust", "the validator's key; the chain is the receipt's own, not pinned".into())]
            }
            Source::Signer => vec![("trust", "the signer alone".into())],
        }
    }

    /// What this kind of root leaves open.
    pub fn left_open(&self) -> Option<&'static str> {
        (self.source == Source::Key).then_some("which chain it is: only the validator's key was given")
    }
}

/// The root that a node of this chain finds: its first block, and its first validators.
fn of_chain_spec(spec: &ChainSpec) -> Result<Trust, Failure> {
    let first =
        || Chain::open(MemoryKv::default(), &spec.genesis, Retention::Archive).map(|chain| chain.genesis());
    let genesis = on_big_stack(first)
        .flatten()
        .map_err(|error| Failure::new(Exit::Usage, format!("computing the first block: {error}")))?;
    Ok(Trust::of_genesis(Digest32::from_bytes(genesis.0), set_of(&spec.genesis.validators)))
}
