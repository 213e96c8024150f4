//! `assay node`: running a node, and setting one up.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use assay_engine::Settings;
use assay_manifest::{Digest32, ModelId};
use assay_runtime::executor::Retention;
use assay_runtime::{AccountId, Endowment, UNIT};
use clap::{Args, Subcommand};
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use sp_core::crypto::Ss58Codec;
use sp_core::{Pair, sr25519};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use tracing_subscriber::EnvFilter;

use super::context::Context;
use super::failure::{Exit, Failure};
use crate::chain_spec::{self, ChainSpec, development_authority, development_providers};
use crate::client::Client;
use crate::consensus::AuthorityKeys;
use crate::data_dir::{DataDir, read_json, write_json};
use crate::development;
use crate::keys::Key;
use crate::ledger;
use crate::node::{Config, Node};
use crate::rpc::{self, ChainKind, Methods};

/// Run a node, or set one up.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct NodeCommand {
    #[command(subcommand)]
    setup: Option<Setup>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Setup {
    /// Create a chain of your own, with this machine as its single authority.
    Init(Init),
}

impl NodeCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`] when the node cannot be set up or started, or ends because a part of it failed.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self.setup {
            Some(Setup::Init(init)) => init.run(context),
            None => self.run.run(context).await,
        }
    }
}

/// Run a node.
#[derive(Debug, Args)]
struct Run {
    /// Run a development chain: known keys, a model to ask, six providers, and no value. Without --base-path
    /// it is gone when the node ends.
    #[arg(long)]
    dev: bool,
    /// Keys as which this node sells compute.
    #[arg(long, value_name = "KEY")]
    provider: Vec<String>,
    /// Where JSON-RPC listens.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    rpc_address: IpAddr,
    /// Port of JSON-RPC; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 9944)]
    rpc_port: u16,
    /// Which methods are served: `auto` serves unsafe ones on loopback only.
    #[arg(long, value_name = "auto|safe|unsafe", default_value = "auto")]
    rpc_methods: MethodsArg,
    /// Origin of a web page that may connect, such as `https://polkadot.js.org`; may be given several times.
    #[arg(long, value_name = "ORIGIN")]
    rpc_cors: Vec<String>,
    /// Time from one block to the next, in milliseconds, instead of the chain's.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(20..=60_000))]
    block_time: Option<u64>,
    /// Keep every state instead of the last 256.
    #[arg(long)]
    archive: bool,
    /// Threads that run models; one a core by default.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum MethodsArg {
    Auto,
    Safe,
    Unsafe,
}

impl From<MethodsArg> for Methods {
    fn from(methods: MethodsArg) -> Self {
        match methods {
            MethodsArg::Auto => Self::Auto,
            MethodsArg::Safe => Self::Safe,
            MethodsArg::Unsafe => Self::Unsafe,
        }
    }
}

/// Keys and values of one execution: 32,000 positions of an 8 B model. A request that needs more is refused.
const CACHE_BYTES_MAX: usize = 8 << 30;

/// Events of the log that are printed unless `RUST_LOG` says otherwise. FRAME logs every extrinsic in hex.
const DEFAULT_LOG: &str = "info,frame_executive=warn,runtime=warn,jsonrpsee=warn";

impl Run {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        start_log(context);
        // Kept until the node has ended, then removed with all that is below it.
        let temporary = match (self.dev, context.named_base()) {
            (true, None) => Some(tempfile::tempdir().map_err(anyhow::Error::from)?),
            _ => None,
        };
        let base = match &temporary {
            Some(dir) => dir.path().to_owned(),
            None => context.base()?,
        };
        let dev = self.dev;
        let config = self.config(context, &base)?;
        let data = config.data.clone();
        let mut shutdown = std::pin::pin!(interrupted()?);
        let node = Node::start(config).await?;
        let url = format!("ws://{}", node.rpc_address());
        let set_up = async {
            let model = if dev { Some(set_up_development(&url, &data).await?) } else { None };
            let ready = Ready { event: "ready", rpc: url.clone(), model };
            Ok::<_, Failure>(context.output().line(&ready, Ready::text)?)
        };
        let set_up = tokio::select! {
            set_up = set_up => set_up,
            () = &mut shutdown => return stop(node).await,
        };
        if let Err(failure) = set_up {
            stop(node).await?;
            return Err(failure);
        }
        node.run_until(shutdown).await.map_err(|error| Failure::new(Exit::Internal, error))
    }

    fn config(self, context: &Context, base: &Path) -> Result<Config, Failure> {
        let (mut spec, kind, data) = if self.dev {
            let spec = ChainSpec::development()?;
            (spec.clone(), ChainKind::Development, DataDir::create(base, &spec)?)
        } else {
            let data = context.data_dir().map_err(|failure| {
                failure.hint("set a chain up with `assay node init`, or try `assay node --dev`")
            })?;
            (data.chain_spec()?, ChainKind::Live, data)
        };
        if let Some(millis) = self.block_time {
            spec.block_time_ms = millis;
        }
        let authority = if self.dev { Some(development_authority()) } else { load_authority(&data)? };
        let mut identities = if self.dev { development_providers()? } else { Vec::new() };
        for name in &self.provider {
            identities.push(data.keystore().resolve(name)?);
        }
        let retention = if self.archive { Retention::Archive } else { ledger::Config::default().retention };
        let mut engine = Settings::for_this_machine();
        engine.threads = self.threads.unwrap_or(engine.threads);
        engine.cache_bytes_max = CACHE_BYTES_MAX;
        Ok(Config {
            data,
            spec,
            kind,
            authority,
            identities,
            rpc: rpc::Config {
                listen: SocketAddr::new(self.rpc_address, self.rpc_port),
                methods: self.rpc_methods.into(),
                origins: self.rpc_cors,
                ..rpc::Config::default()
            },
            ledger: ledger::Config { retention, ..ledger::Config::default() },
            engine,
        })
    }
}

async fn stop(node: Node) -> Result<(), Failure> {
    node.run_until(std::future::ready(())).await.map_err(|error| Failure::new(Exit::Internal, error))
}

fn start_log(context: &Context) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    // Another subscriber is there already only where a test set one.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(context.colors() && std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .try_init();
}

/// Resolves at the first interrupt or termination signal; the second ends the process at once.
fn interrupted() -> Result<impl Future<Output = ()>, Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(anyhow::Error::from)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        info!("stopping; interrupt again to end at once");
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            std::process::exit(Exit::Interrupted as i32);
        });
    })
}

/// The line on standard output by which other programs know that they can connect.
#[derive(Serialize)]
struct Ready {
    event: &'static str,
    rpc: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<ModelId>,
}

impl Ready {
    fn text(&self) -> String {
        let Self { rpc, model, .. } = self;
        match model {
            Some(_) => format!(
                "ready on {rpc}; six providers offer the model `demo`; ask it with\n  \
                 assay job submit --rpc {rpc} --key //Bob --model demo --prompt '{}' --wait",
                development::question()
            ),
            None => format!("ready on {rpc}"),
        }
    }
}

async fn set_up_development(url: &str, data: &DataDir) -> Result<ModelId, Failure> {
    let client = Client::connect(url).await?;
    let publisher = Key::development(chain_spec::DEVELOPMENT_ACCOUNTS[0])?;
    let published = development::publish(&client, &publisher, data.root()).await?;
    let model = published.model_id;
    development::open_market(&client, &development_providers()?, model).await?;
    Ok(model)
}

/// The authority's secrets as they lie in the keystore, mode 0600.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthorityFile {
    consensus: Digest32,
    vrf: Digest32,
}

fn authority_path(data: &DataDir) -> PathBuf {
    data.root().join("keystore").join("authority.json")
}

/// The keys of the chain's authority, if this machine is it.
fn load_authority(data: &DataDir) -> Result<Option<AuthorityKeys>, Failure> {
    let path = authority_path(data);
    if !path.exists() {
        return Ok(None);
    }
    let file: AuthorityFile = read_json(&path)?;
    Ok(Some(file.keys()))
}

impl AuthorityFile {
    fn generate() -> Self {
        let secret = || Digest32::from_bytes(rand::random());
        Self { consensus: secret(), vrf: secret() }
    }

    fn keys(&self) -> AuthorityKeys {
        AuthorityKeys {
            consensus: SigningKey::from_bytes(self.consensus.as_bytes()),
            vrf: sr25519::Pair::from_seed(self.vrf.as_bytes()),
        }
    }
}

/// Create a chain of your own.
#[derive(Debug, Args)]
struct Init {
    /// Name of the chain and its directory: lowercase letters, digits and `-`.
    id: String,
    /// The account that has all tokens: an address, or a key of the keystore.
    #[arg(long, value_name = "ACCOUNT")]
    endow: String,
    /// How many tokens.
    #[arg(long, value_name = "ASY", default_value_t = 1_000_000_000)]
    tokens: u64,
}

#[derive(Serialize)]
struct Initialised {
    id: String,
    directory: PathBuf,
    endowed: AccountId,
}

impl Init {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.id.is_empty() || self.id.len() > 32 || !self.id.chars().all(allowed) || self.id == "dev" {
            return Err(Failure::usage(format!("naming a chain {:?}", self.id))
                .hint("use up to 32 lowercase letters, digits and '-'; `dev` is the development chain"));
        }
        let base = context.base()?;
        let root = base.join(&self.id);
        if root.join("VERSION").exists() {
            return Err(Failure::usage(format!("creating {}: it exists", root.display()))
                .hint("choose another name, or run it with `assay node --chain NAME`"));
        }
        let endowed = match AccountId::from_ss58check(&self.endow) {
            Ok(account) => account,
            Err(_) => context.keystore()?.resolve(&self.endow)?.account(),
        };
        let file = AuthorityFile::generate();
        let seed = Digest32::from_bytes(rand::random()).to_string();
        let amount = u128::from(self.tokens).saturating_mul(UNIT);
        let endowments = vec![Endowment { account: endowed.clone(), amount }];
        let spec = ChainSpec::single(&self.id, seed, &file.keys(), endowments);
        let data = DataDir::create(&base, &spec)?;
        write_json(&authority_path(&data), &file)?;
        let done = Initialised { id: self.id, directory: data.root().to_owned(), endowed };
        context.output().result(&done, |done| {
            format!(
                "chain {} in {}\nrun it with `assay node --chain {}`",
                done.id,
                done.directory.display(),
                done.id
            )
        })?;
        Ok(())
    }
}
