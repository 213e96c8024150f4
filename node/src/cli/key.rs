//! `assay key`: create and inspect keys.

use std::io::{self, IsTerminal, Write};

use anyhow::Context as _;
use assay_manifest::Digest32;
use clap::Subcommand;
use serde::Serialize;
use sp_core::Pair;

use super::context::Context;
use super::failure::Failure;
use super::table;
use crate::keys::Key;

/// What is to be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Create a key from twelve fresh words, and print them once.
    Generate {
        /// Name under which the key is kept: letters, digits, '-' and '_'.
        name: String,
    },
    /// Print a key's address and public keys.
    Inspect {
        /// Name of a key, or a development URI such as //Alice.
        name: String,
    },
    /// Print names and addresses of all keys.
    List,
}

impl KeyCommand {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure`] when a name is bad, taken or unknown, or the key store cannot be used.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Generate { name } => generate(context, &name),
            Self::Inspect { name } => inspect(context, &name),
            Self::List => list(context),
        }
    }
}

#[derive(Serialize)]
struct Generated<'a> {
    name: &'a str,
    address: String,
    account: Digest32,
    phrase: &'a str,
}

fn generate(context: &Context, name: &str) -> Result<(), Failure> {
    let (key, phrase) = context.keystore()?.generate(name)?;
    let generated = Generated { name, address: key.address(), account: account(&key), phrase: &phrase };
    context.output().result(&generated, |generated| {
        table::fields(&[
            ("name", name.into()),
            ("address", generated.address.clone()),
            ("words", generated.phrase.into()),
        ])
    })?;
    if io::stdout().is_terminal() {
        let warning = "Write the twelve words down: they are the key, and are not shown again.";
        writeln!(io::stderr().lock(), "{warning}").context("writing to standard error")?;
    }
    Ok(())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Inspected {
    name: String,
    address: String,
    account: Digest32,
    work_key: Digest32,
    encryption_key: Digest32,
}

fn inspect(context: &Context, name: &str) -> Result<(), Failure> {
    let key = context.keystore()?.resolve(name)?;
    let (work_key, encryption_key) = public_keys(&key);
    let (name, address) = (key.name.clone(), key.address());
    let inspected = Inspected { name, address, account: account(&key), work_key, encryption_key };
    context.output().result(&inspected, |key| {
        table::fields(&[
            ("name", key.name.clone()),
            ("address", key.address.clone()),
            ("account", key.account.to_string()),
            ("work key", key.work_key.to_string()),
            ("encryption key", key.encryption_key.to_string()),
        ])
    })?;
    Ok(())
}

/// A key of the store; a damaged one is listed with what is wrong with it.
#[derive(Serialize)]
struct Listed {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn list(context: &Context) -> Result<(), Failure> {
    let store = context.keystore()?;
    let listed = |name: String| match store.resolve(&name) {
        Ok(key) => Listed { name, address: Some(key.address()), error: None },
        Err(error) => Listed { name, address: None, error: Some(error.to_string()) },
    };
    let keys: Vec<Listed> = store.names()?.into_iter().map(listed).collect();
    context.output().result(&keys, |keys| {
        if keys.is_empty() {
            return "no keys; create one with `assay key generate NAME`".into();
        }
        let shown = |key: &Listed| key.address.clone().or(key.error.clone()).unwrap_or_default();
        table::table(
            ["NAME", "ADDRESS"],
            &keys.iter().map(|key| [key.name.clone(), shown(key)]).collect::<Vec<_>>(),
        )
    })?;
    Ok(())
}

fn account(key: &Key) -> Digest32 {
    Digest32::from_bytes(key.account().into())
}

/// The keys that a provider publishes: for its signatures of job steps, and for inputs sealed to it.
pub fn public_keys(key: &Key) -> (Digest32, Digest32) {
    let work_key = Digest32::from_bytes(key.work_key().public().0);
    (work_key, Digest32::from_bytes(key.encryption_key()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::Exit;
    use crate::cli::testing::context;

    #[test]
    fn a_generated_key_can_be_inspected_and_is_never_generated_again() {
        let dir = tempfile::tempdir().unwrap();
        let context = context(dir.path(), &["--json"]);
        let generate = || KeyCommand::Generate { name: "seller".into() }.run(&context);
        generate().unwrap();
        assert_eq!(context.keystore().unwrap().names().unwrap(), ["seller"]);
        KeyCommand::Inspect { name: "seller".into() }.run(&context).unwrap();
        KeyCommand::List.run(&context).unwrap();
        assert_eq!(generate().unwrap_err().exit(), Exit::Usage);
        let unknown = KeyCommand::Inspect { name: "nobody".into() }.run(&context).unwrap_err();
        assert!(unknown.next_step().unwrap().contains("assay key list"));
    }

    #[test]
    fn a_damaged_key_does_not_hide_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let context = context(dir.path(), &[]);
        KeyCommand::Generate { name: "sound".into() }.run(&context).unwrap();
        std::fs::write(dir.path().join("dev/keystore/broken.key"), "no words").unwrap();
        KeyCommand::List.run(&context).unwrap();
    }

    #[test]
    fn published_keys_are_not_the_accounts_own() {
        let alice = Key::development("//Alice").unwrap();
        let (work_key, encryption_key) = public_keys(&alice);
        assert_ne!(work_key, account(&alice));
        assert_ne!(encryption_key, work_key);
        assert_eq!(public_keys(&alice), (work_key, encryption_key));
    }
}
