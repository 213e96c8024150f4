//! `assay key`: create, import and look after keys.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use assay_manifest::Digest32;
use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use sp_core::crypto::Ss58Codec;

use super::context::Context;
use super::failure::Failure;
use super::secrets::Secrets;
use super::table;
use crate::keys::{Cost, Key, WordCount, Words};

/// What is to be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Create a key from fresh words, print them once, and keep them encrypted under a passphrase.
    New {
        /// Name under which the key is kept: letters, digits, '-' and '_'.
        name: String,
        /// How many words.
        #[arg(long, value_name = "12|24", default_value = "12")]
        words: WordsArg,
    },
    /// Keep a key whose words you have. They are asked for on the terminal, or read from standard input.
    Import {
        /// Name under which the key is kept: letters, digits, '-' and '_'.
        name: String,
        /// File with the words, mode 0600.
        #[arg(long, value_name = "FILE")]
        mnemonic_file: Option<PathBuf>,
    },
    /// Print names and addresses of all keys.
    List,
    /// Print what is public of a key: its address, and the work key that this machine has for it.
    Show {
        /// Name of a key, or one derived from it such as NAME//2; or a development key such as //Alice.
        name: String,
    },
    /// Encrypt a key under another passphrase.
    ChangePassword {
        /// Name of a key.
        name: String,
        /// File whose first line is the new passphrase, mode 0600.
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
    },
    /// Print the words of a key. Whoever sees them owns all that it owns; takes --yes.
    Export {
        /// Name of a key.
        name: String,
    },
}

/// How many words a new key has.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum WordsArg {
    #[value(name = "12")]
    Twelve,
    #[value(name = "24")]
    TwentyFour,
}

impl From<WordsArg> for WordCount {
    fn from(words: WordsArg) -> Self {
        match words {
            WordsArg::Twelve => Self::Twelve,
            WordsArg::TwentyFour => Self::TwentyFour,
        }
    }
}

impl KeyCommand {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure`] when a name is bad, taken or unknown, a passphrase is wrong, or a file cannot be used.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::New { name, words } => create(context, &name, words.into()),
            Self::Import { name, mnemonic_file } => import(context, &name, mnemonic_file.as_deref()),
            Self::List => list(context),
            Self::Show { name } => show(context, &name),
            Self::ChangePassword { name, new_password_file } => {
                change_password(context, &name, new_password_file.as_deref())
            }
            Self::Export { name } => export(context, &name),
        }
    }
}

/// A key's words, which only the commands that are for that print.
#[derive(Serialize)]
struct Told<'a> {
    name: &'a str,
    address: String,
    account: Digest32,
    words: &'a str,
}

fn create(context: &Context, name: &str, count: WordCount) -> Result<(), Failure> {
    let store = context.keystore()?;
    store.free_name(name)?;
    let passphrase = context.secrets().new_passphrase(name)?;
    let words = Words::generate(count);
    let key = store.add(name, &words, &passphrase)?;
    tell(context, &key, &words)?;
    if io::stdout().is_terminal() {
        let warning = "Write the words down: they bring the key back without its file and passphrase.";
        writeln!(io::stderr().lock(), "{warning}").context("writing to standard error")?;
    }
    Ok(())
}

fn tell(context: &Context, key: &Key, words: &Words) -> Result<(), Failure> {
    let words = words.phrase()?;
    let told = Told { name: &key.name, address: key.address(), account: account(key), words: &words };
    context.output().result(&told, |told| {
        table::fields(&[
            ("name", told.name.into()),
            ("address", told.address.clone()),
            ("words", told.words.into()),
        ])
    })?;
    Ok(())
}

fn import(context: &Context, name: &str, file: Option<&Path>) -> Result<(), Failure> {
    let store = context.keystore()?;
    store.free_name(name)?;
    let words = context.secrets().words(file)?;
    let passphrase = context.secrets().new_passphrase(name)?;
    let key = store.add(name, &words, &passphrase)?;
    context.output().result(&Shown::of(&key), Shown::text)?;
    Ok(())
}

fn change_password(context: &Context, name: &str, new_file: Option<&Path>) -> Result<(), Failure> {
    let store = context.keystore()?;
    let locked = store.find(name)?;
    let old = context.secrets().passphrase(name)?;
    // Told before a new one is asked for.
    locked.words(&old)?;
    let new = Secrets::new(new_file).new_passphrase(name)?;
    store.change_passphrase(name, &old, &new)?;
    let changed = Listed { name: name.into(), address: Some(locked.account().to_ss58check()), error: None };
    context.output().result(&changed, |changed| format!("{} has a new passphrase", changed.name))?;
    Ok(())
}

fn export(context: &Context, name: &str) -> Result<(), Failure> {
    let store = context.keystore()?;
    let locked = store.find(name)?;
    if !context.says_yes() {
        return Err(Failure::usage(format!(
            "exporting the key {name:?}: whoever sees its words owns all it owns"
        ))
        .hint("make sure that nobody watches, and say so with --yes"));
    }
    let words = locked.words(&context.secrets().passphrase(name)?)?;
    tell(context, &Key::derive(name.into(), &words, "")?, &words)
}

/// What is public of a key.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    name: String,
    address: String,
    account: Digest32,
    #[serde(skip_serializing_if = "Option::is_none")]
    work_key: Option<Digest32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kdf: Option<Cost>,
}

impl Shown {
    fn of(key: &Key) -> Self {
        let (name, address) = (key.name.clone(), key.address());
        Self { name, address, account: account(key), work_key: None, file: None, kdf: None }
    }

    fn text(&self) -> String {
        let mut rows = vec![
            ("name", self.name.clone()),
            ("address", self.address.clone()),
            ("account", self.account.to_string()),
        ];
        rows.extend(self.work_key.map(|key| ("work key", key.to_string())));
        rows.extend(self.file.as_ref().map(|file| ("file", file.display().to_string())));
        rows.extend(self.kdf.map(|cost| {
            let Cost { memory_kib, passes, lanes } = cost;
            let cost = format!("Argon2id over {} MiB, {passes} passes, {lanes} lane", memory_kib / 1024);
            ("passphrase", cost)
        }));
        table::fields(&rows)
    }
}

fn show(context: &Context, name: &str) -> Result<(), Failure> {
    let (account, seller) = context.seller(name)?;
    let work_key = seller.map(|seller| seller.published().work_key);
    let (address, digest) = (account.to_ss58check(), Digest32::from_bytes(account.into()));
    let mut shown = Shown { name: name.into(), address, account: digest, work_key, file: None, kdf: None };
    if !name.starts_with("//") {
        let store = context.keystore()?;
        let locked = store.find(name)?;
        shown.file = Some(store.path(locked.name()));
        shown.kdf = Some(locked.cost());
    }
    context.output().result(&shown, Shown::text)?;
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
    let listed = |name: String| match store.find(&name) {
        Ok(key) => Listed { name, address: Some(key.account().to_ss58check()), error: None },
        Err(error) => Listed { name, address: None, error: Some(error.to_string()) },
    };
    let keys: Vec<Listed> = store.names()?.into_iter().map(listed).collect();
    context.output().result(&keys, |keys| {
        if keys.is_empty() {
            return "no keys; create one with `assay key new NAME`".into();
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
