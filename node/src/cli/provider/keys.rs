//! The keys of the machine that works for a provider: `assay provider keys` and `assay provider set-keys`.

use std::path::PathBuf;

use assay_manifest::Digest32;
use assay_runtime::{AccountId, Hash, Runtime};
use clap::Args;
use pallet_assay_providers::Call;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::table;
use crate::keys::{Key, PublishedKeys, Role, Seller};

/// Public keys of the machine that is to work, if it is not this one.
#[derive(Debug, Args)]
pub struct KeysArgs {
    /// Work key of the machine that is to work, as `assay provider keys` printed it there; this machine's if absent.
    #[arg(long, value_name = "KEY", requires = "encryption_key")]
    work_key: Option<Digest32>,
    /// Encryption key of that machine.
    #[arg(long, value_name = "KEY", requires = "work_key")]
    encryption_key: Option<Digest32>,
}

impl KeysArgs {
    /// The named keys, if they were.
    pub fn named(&self) -> Option<PublishedKeys> {
        let (work_key, encryption_key) = (self.work_key?, self.encryption_key?);
        Some(PublishedKeys { work_key, encryption_key })
    }
}

/// The keys with which this machine works for an account; made if there were none.
///
/// # Errors
/// [`Failure`] when their file cannot be used.
pub fn local_keys(context: &Context, key: &Key) -> Result<PublishedKeys, Failure> {
    if key.name.starts_with("//") {
        return Ok(Seller::development(&key.name)?.published());
    }
    Ok(context.keystore()?.roles().seller_or_create(&key.account())?.published())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MachineKeys {
    account: AccountId,
    work_key: Digest32,
    encryption_key: Digest32,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

/// Makes the keys with which this machine works for an account, and prints their public halves.
///
/// # Errors
/// [`Failure`] when there is no such account, or their file cannot be used.
pub fn keys(context: &Context, account: Option<&str>) -> Result<(), Failure> {
    let (account, there) = match account {
        Some(text) => context.seller(text)?,
        None => (context.account()?, None),
    };
    let roles = context.keystore()?.roles();
    let seller = match there {
        Some(seller) => seller,
        None => roles.seller_or_create(&account)?,
    };
    let PublishedKeys { work_key, encryption_key } = seller.published();
    let file = Some(roles.path(&Role::Work(account.clone()))).filter(|file| file.exists());
    let keys = MachineKeys { account, work_key, encryption_key, file };
    context.output().result(&keys, |keys| {
        let flags = format!("--work-key {work_key} --encryption-key {encryption_key}");
        let mut rows = vec![
            ("account", keys.account.to_string()),
            ("work key", work_key.to_string()),
            ("encryption key", encryption_key.to_string()),
        ];
        rows.extend(keys.file.as_ref().map(|file| ("file", file.display().to_string())));
        rows.push(("next", format!("where the account's key is: assay provider stake AMOUNT {flags}")));
        rows.push(("", format!("here: assay node --provider {}", keys.account)));
        table::fields(&rows)
    })?;
    Ok(())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeysSet {
    account: AccountId,
    work_key: Digest32,
    encryption_key: Digest32,
    block: Hash,
}

/// Publishes keys for an account that has staked.
///
/// # Errors
/// [`Failure`] when the ledger refuses.
pub async fn set_keys(context: &Context, keys: &KeysArgs) -> Result<(), Failure> {
    let key = context.key()?;
    let client = context.client().await?;
    let named = keys.named();
    let PublishedKeys { work_key, encryption_key } = named.map_or_else(|| local_keys(context, &key), Ok)?;
    let call = Call::<Runtime>::set_keys { work_key: *work_key.as_bytes(), encryption_key };
    let included = client.submit(&key, "publishing keys", call.into()).await?;
    let set = KeysSet { account: key.account(), work_key, encryption_key, block: included.block };
    context.output().result(&set, |set| {
        table::fields(&[
            ("account", set.account.to_string()),
            ("work key", set.work_key.to_string()),
            ("encryption key", set.encryption_key.to_string()),
            ("block", format!("{:?}", set.block)),
        ])
    })?;
    Ok(())
}
