//! The keys of the machine that decides blocks for an account: `assay validator keys`.

use std::path::Path;

use assay_manifest::Digest32;
use assay_protocol::seal::EncryptionKey;
use assay_protocol::signature::Signature;
use assay_protocol::vote::verify_key_claim;
use assay_runtime::AccountId;
use pallet_assay_validators::ValidatorKeys as PublicKeys;
use serde::{Deserialize, Serialize};

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::table;
use crate::client::Client;
use crate::consensus::ValidatorKeys;

/// Largest file of keys that is read.
const FILE_BYTES_MAX: usize = 64 * 1024;

/// What an account stakes on, as the machine prints it that has the secrets.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MachineKeys {
    /// For whom the machine decides.
    account: AccountId,
    /// The chain that the proof holds on.
    genesis: Digest32,
    /// ed25519 key that signs votes.
    key: Digest32,
    /// sr25519 key that evaluates the beacon.
    vrf_key: Digest32,
    /// X25519 key to which disputed work is sealed.
    encryption_key: EncryptionKey,
    /// The consensus key's, by which it stands for the account.
    proof: Signature,
}

impl MachineKeys {
    /// This machine's, made if there were none.
    ///
    /// # Errors
    /// [`Failure`] when their files cannot be used.
    pub fn local(context: &Context, client: &Client, account: &AccountId) -> Result<Self, Failure> {
        let secrets = ValidatorKeys::load_or_create(&context.keystore()?.roles())?;
        let PublicKeys { key, vrf_key, encryption_key } = secrets.published();
        let genesis = client.genesis_digest();
        let proof = secrets.stand_for(&genesis, account);
        Ok(Self { account: account.clone(), genesis, key, vrf_key, encryption_key, proof })
    }

    /// Another machine's.
    ///
    /// # Errors
    /// [`Failure`] when the file is none.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let reading = |cause: &dyn std::fmt::Display| {
            Failure::usage(format!("reading the validator's keys from {}: {cause}", path.display())).hint(
                "make the file with `assay validator keys ACCOUNT --json` on the machine that is to decide",
            )
        };
        let length = std::fs::metadata(path).map_err(|error| reading(&error))?.len();
        if length > FILE_BYTES_MAX as u64 {
            return Err(reading(&format_args!("it has {length} bytes, and keys have less")));
        }
        let text = std::fs::read(path).map_err(|error| reading(&error))?;
        serde_json::from_slice(&text).map_err(|error| reading(&error))
    }

    /// The keys with their proof, if it holds for this chain and account.
    ///
    /// # Errors
    /// [`Failure`] when they were made for others.
    pub fn proven(&self, client: &Client, account: &AccountId) -> Result<(PublicKeys, Signature), Failure> {
        let Self { genesis, key, vrf_key, encryption_key, proof, .. } = self.clone();
        let holds =
            genesis == client.genesis_digest() && verify_key_claim(&genesis, account.as_ref(), &key, &proof);
        if !holds {
            let cause = format!("staking: the keys were made for {} or another chain", self.account);
            return Err(Failure::usage(cause).hint(format!(
                "make them with `assay validator keys {account} --json` on the machine that is to decide"
            )));
        }
        Ok((PublicKeys { key, vrf_key, encryption_key }, proof))
    }
}

/// Makes the keys with which this machine decides for an account, and prints their public halves.
///
/// # Errors
/// [`Failure`] when there is no such account, no node answers, or the files cannot be used.
pub async fn keys(context: &Context, account: Option<&str>) -> Result<(), Failure> {
    let account = match account {
        Some(text) => context.account_of(text)?,
        None => context.account()?,
    };
    let client = context.client().await?;
    let keys = MachineKeys::local(context, &client, &account)?;
    context.output().result(&keys, |keys| {
        table::fields(&[
            ("account", keys.account.to_string()),
            ("key", keys.key.to_string()),
            ("VRF key", keys.vrf_key.to_string()),
            ("encryption key", keys.encryption_key.to_string()),
            ("next", "where the account's key is: assay validator stake AMOUNT --keys FILE,".into()),
            ("", format!("with what `assay validator keys {} --json` prints here", keys.account)),
            ("", "here: start the node again; it decides once it is chosen".into()),
        ])
    })?;
    Ok(())
}
