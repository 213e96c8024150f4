//! What every command has at hand.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use assay_manifest::JobId;
use clap::Args;

use super::failure::{Exit, Failure};
use super::output::{Format, Output};
use crate::client::Client;
use crate::data_dir::{self, DataDir};
use crate::keys::{Key, Keystore};

/// Options that every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Node to speak to.
    #[arg(long, global = true, env = "ASSAY_RPC", value_name = "URL", default_value = "ws://127.0.0.1:9944")]
    rpc: String,
    /// Key to sign with: a name from the keystore, or a development URI such as //Alice.
    #[arg(long, global = true, env = "ASSAY_KEY", value_name = "NAME")]
    key: Option<String>,
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

    /// The key to sign with.
    ///
    /// # Errors
    /// When none was named, or it does not exist.
    pub fn key(&self) -> Result<Key, Failure> {
        let Some(name) = &self.globals.key else {
            return Err(Failure::usage("signing: no key was named")
                .hint("name one with --key NAME, or //Alice on a development chain"));
        };
        Ok(self.keystore()?.resolve(name)?)
    }

    /// A connection to the node.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn client(&self) -> Result<Client, Failure> {
        Ok(Client::connect(&self.globals.rpc).await?)
    }
}
