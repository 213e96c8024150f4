//! What every command has at hand.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use assay_manifest::{Digest32, JobId};
use assay_runtime::AccountId;
use clap::Args;
use sp_core::crypto::Ss58Codec;

use super::failure::{Exit, Failure};
use super::output::{Format, Output};
use super::secrets::Secrets;
use crate::client::Client;
use crate::data_dir::{self, DataDir};
use crate::keys::{Key, Keystore, Seller};

/// Options that every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Node to speak to.
    #[arg(long, global = true, env = "ASSAY_RPC", value_name = "URL", default_value = "ws://127.0.0.1:9944")]
    rpc: String,
    /// Key to sign with: a name from the keystore, or one derived from it such as NAME//2; or a development key
    /// such as //Alice.
    #[arg(long, global = true, env = "ASSAY_KEY", value_name = "NAME")]
    key: Option<String>,
    /// File whose first line is the passphrase of the key, mode 0600; else it is asked for on the terminal, or
    /// read from standard input.
    #[arg(long, global = true, env = "ASSAY_PASSWORD_FILE", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Directory under which each chain has its own.
    #[arg(long, global = true, env = "ASSAY_BASE_PATH", value_name = "DIR")]
    base_path: Option<PathBuf>,
    /// The chain whose directory is used.
    #[arg(long, global = true, env = "ASSAY_CHAIN", value_name = "ID", default_value = "dev")]
    chain: String,
    /// Print one JSON object instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// Answer yes to every question.
    #[arg(long, global = true)]
    yes: bool,
    /// Print without colours.
    #[arg(long, global = true, env = "NO_COLOR", value_parser = clap::builder::FalseyValueParser::new())]
    no_color: bool,
}

/// The global options, resolved when they are needed.
#[derive(Clone, Debug)]
pub struct Context {
    globals: Globals,
}

impl Context {
    /// Wraps the options.
    pub const fn new(globals: Globals) -> Self {
        Self { globals }
    }

    /// Where results are printed.
    pub const fn output(&self) -> Output {
        Output::new(if self.globals.json { Format::Json } else { Format::Text })
    }

    /// Whether the user has said yes to every question.
    pub const fn says_yes(&self) -> bool {
        self.globals.yes
    }

    /// Has the user agree before something is paid; programs and `--yes` agree beforehand.
    ///
    /// # Errors
    /// When the user does not.
    pub fn confirm(&self, what: &str) -> Result<(), Failure> {
        let asked = !self.globals.yes && !self.globals.json;
        if !asked || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Ok(());
        }
        let mut answer = String::new();
        write!(io::stderr(), "{what}; go on? [y/N] ")
            .and_then(|()| io::stdin().read_line(&mut answer))
            .map_err(anyhow::Error::from)?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failure::new(Exit::Interrupted, format!("{what}: you did not agree"))),
        }
    }

    /// Whether colours are wanted.
    pub const fn colors(&self) -> bool {
        !self.globals.no_color
    }

    /// The directory that was named for all chains, if one was.
    pub const fn named_base(&self) -> Option<&PathBuf> {
        self.globals.base_path.as_ref()
    }

    /// The same options with another directory for all chains.
    #[must_use]
    pub fn with_base(&self, base: &Path) -> Self {
        Self { globals: Globals { base_path: Some(base.into()), ..self.globals.clone() } }
    }

    /// The directory for all chains.
    ///
    /// # Errors
    /// When none was named and the platform has none.
    pub fn base(&self) -> Result<PathBuf, Failure> {
        match &self.globals.base_path {
            Some(base) => Ok(base.clone()),
            None => Ok(data_dir::default_base()?),
        }
    }

    /// The chain's directory, whether or not it is there.
    ///
    /// # Errors
    /// When the platform has no place for data.
    pub fn chain_dir(&self) -> Result<PathBuf, Failure> {
        Ok(self.base()?.join(&self.globals.chain))
    }

    /// The file of a job's order: what opens everything about it.
    ///
    /// # Errors
    /// When the platform has no place for data.
    pub fn order_file(&self, job: &JobId) -> Result<PathBuf, Failure> {
        Ok(self.chain_dir()?.join("orders").join(format!("{}.json", hex::encode(job.as_bytes()))))
    }

    /// The file of a receipt that is kept under this name.
    ///
    /// # Errors
    /// When the platform has no place for data.
    pub fn receipt_file(&self, name: &str) -> Result<PathBuf, Failure> {
        Ok(self.chain_dir()?.join("receipts").join(format!("{name}.json")))
    }

    /// The chain's directory, which a node or `node init` has created.
    ///
    /// # Errors
    /// When there is none, or another version wrote it.
    pub fn data_dir(&self) -> Result<DataDir, Failure> {
        let root = self.chain_dir()?;
        DataDir::open(&root).map_err(|error| {
            Failure::from(error).hint(format!(
                "no node has run with {}; name its directory with --base-path and --chain",
                root.display()
            ))
        })
    }

    /// The keys of the user: those in the chain's directory, whether or not a node has run there.
    ///
    /// # Errors
    /// When the platform has no place for data.
    pub fn keystore(&self) -> Result<Keystore, Failure> {
        Ok(Keystore::new(self.chain_dir()?.join("keystore")))
    }

    /// Whether a key to sign with was named.
    pub const fn names_key(&self) -> bool {
        self.globals.key.is_some()
    }

    /// The key to sign with, unlocked. A command asks for it once.
    ///
    /// # Errors
    /// When none was named, it does not exist, or the passphrase is wrong.
    pub fn key(&self) -> Result<Key, Failure> {
        self.unlock(self.named_key()?)
    }

    /// The account of the key to sign with; it is unlocked only where its name has a path.
    ///
    /// # Errors
    /// When none was named, or it does not exist.
    pub fn account(&self) -> Result<AccountId, Failure> {
        self.account_of(self.named_key()?)
    }

    fn named_key(&self) -> Result<&str, Failure> {
        self.globals.key.as_deref().ok_or_else(|| {
            Failure::usage("signing: no key was named")
                .hint("name one with --key NAME, or //Alice on a development chain")
        })
    }

    /// A key by its name or development URI, unlocked.
    ///
    /// # Errors
    /// When it does not exist, or the passphrase is wrong.
    fn unlock(&self, name: &str) -> Result<Key, Failure> {
        if name.starts_with("//") {
            return Ok(Key::development(name)?);
        }
        // What is wrong with the file is told before anybody is asked.
        let locked = self.keystore()?.find(name)?;
        let passphrase = self.secrets().passphrase(locked.name().name())?;
        Ok(locked.unlock(&passphrase)?)
    }

    /// The account that is meant by an address, the name of a key or a development URI.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn account_of(&self, text: &str) -> Result<AccountId, Failure> {
        if let Ok(account) = AccountId::from_ss58check(text) {
            return Ok(account);
        }
        if text.starts_with("//") {
            return Ok(Key::development(text)?.account());
        }
        let locked = self.keystore()?.find(text)?;
        // An address is public, but one that is derived from it follows from the secret.
        if locked.name().path().is_empty() {
            Ok(locked.account().clone())
        } else {
            Ok(self.unlock(text)?.account())
        }
    }

    /// An account as [`Self::account_of`], and what this machine needs to sell as it, if it has that.
    ///
    /// # Errors
    /// When there is no such account, or the file of its work key cannot be used.
    pub fn seller(&self, text: &str) -> Result<(AccountId, Option<Seller>), Failure> {
        if text.starts_with("//") {
            let seller = Seller::development(text)?;
            return Ok((seller.account.clone(), Some(seller)));
        }
        let account = self.account_of(text)?;
        let seller = self.keystore()?.roles().seller(&account)?;
        Ok((account, seller))
    }

    /// Where passphrases and words come from.
    pub fn secrets(&self) -> Secrets<'_> {
        Secrets::new(self.globals.password_file.as_deref())
    }

    /// A connection to the node.
    ///
    /// # Errors
    /// When nothing answers, or the node is on another chain than the directory where orders and receipts go.
    pub async fn client(&self) -> Result<Client, Failure> {
        let client = Client::connect(&self.globals.rpc).await?;
        let Ok(data) = self.chain_dir().and_then(|root| Ok(DataDir::open(&root)?)) else { return Ok(client) };
        let there = Digest32::from_bytes(client.genesis().0);
        match data.kept_trust()? {
            Some(trust) if trust.genesis != there => {
                let (url, root) = (&self.globals.rpc, data.root().display());
                let here = trust.genesis;
                Err(Failure::usage(format!("asking {url}: its chain is {there}, and {root} belongs to {here}"))
                    .hint("name a node of this chain with --rpc, or that chain's directory with --base-path and --chain"))
            }
            _ => Ok(client),
        }
    }
}
