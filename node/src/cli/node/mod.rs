//! `assay node`: running a node, and setting one up.

mod init;
mod peers;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};

use assay_engine::Settings;
use assay_manifest::ModelId;
use assay_runtime::executor::Retention;
use clap::{Args, Subcommand};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing::info;
use tracing_subscriber::EnvFilter;

use self::init::Init;
use self::peers::Peers;
use super::context::Context;
use super::failure::{Exit, Failure};
use crate::chain_spec::{
    self, ChainSpec, development_authority, development_providers, development_sellers, development_validator,
};
use crate::client::Client;
use crate::consensus::{Network, ValidatorKeys, check_address};
use crate::data_dir::{DataDir, LedgerStore};
use crate::development;
use crate::keys::{Key, Role, Seller};
use crate::ledger;
use crate::model_process::{Isolation, ProcessConfig, Unconfined, own_program};
use crate::network::{self, Multiaddr, Switch};
use crate::node::{Config, Node};
use crate::rpc::{self, ChainKind, Methods};
use crate::supervisor::TaskError;

/// Bytes of a KiB.
const KIB: NonZeroU64 = NonZeroU64::MIN.saturating_add(1_023);

/// Run a node, set one up, or look at its network.
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
    /// List the peers that a running node meets on the market's network.
    Peers(Peers),
}

impl NodeCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`] when the node cannot be set up or started, or ends because a part of it failed.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self.setup {
            Some(Setup::Init(init)) => init.run(context),
            Some(Setup::Peers(peers)) => peers.run(context).await,
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
    /// The chain to join, as `assay chain spec` prints it on a node that has it. Its directory below --base-path is made
    /// if it is not there.
    #[arg(long, value_name = "FILE", conflicts_with = "dev")]
    spec: Option<PathBuf>,
    /// Account as which this node sells compute: its address, the name of its key, or a development URI; may be
    /// given several times. The node needs the work key that `assay provider keys` made, not the account's own.
    #[arg(long, value_name = "ACCOUNT")]
    provider: Vec<String>,
    /// Decide blocks with the public keys of this validator of the chain of `assay network`, counted from one.
    #[arg(long, value_name = "N", conflicts_with = "dev", hide = true)]
    development_validator: Option<u32>,
    /// End when the process that started this one does.
    #[arg(long, hide = true)]
    with_parent: bool,
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
    /// Where this node takes part in consensus, as a multiaddress; port 0 takes a free one.
    #[arg(
        long,
        value_name = "MULTIADDR",
        default_value = "/ip4/127.0.0.1/tcp/0",
        value_parser = check_address
    )]
    consensus_listen: String,
    /// Where another node of the chain takes part in it, as a multiaddress; may be given several times.
    #[arg(long, value_name = "MULTIADDR", value_parser = check_address)]
    consensus_peer: Vec<String>,
    /// Where others reach this node on the market's network, as a multiaddress such as
    /// `/ip4/0.0.0.0/udp/30334/quic-v1`; may be given several times. Without this, --peer or --mdns the node takes no
    /// part in it.
    #[arg(long, value_name = "MULTIADDR", value_parser = multiaddr)]
    listen: Vec<Multiaddr>,
    /// Where a node of the market's network is reached, as a multiaddress; may be given several times.
    #[arg(long, value_name = "MULTIADDR", value_parser = multiaddr)]
    peer: Vec<Multiaddr>,
    /// Where others reach this node besides, because a router passes on what comes in there; may be given several
    /// times.
    #[arg(long, value_name = "MULTIADDR", value_parser = multiaddr)]
    external: Vec<Multiaddr>,
    /// Look for other nodes on the local network.
    #[arg(long)]
    mdns: bool,
    /// Pass connections on between nodes that cannot reach each other; needs --external where this node has no public
    /// address.
    #[arg(long)]
    relay: bool,
    /// KiB of artifacts a second that other nodes get in all; by default as fast as it goes.
    #[arg(long, value_name = "KIB")]
    upload_limit: Option<NonZeroU64>,
    /// Keep every state instead of the last 256.
    #[arg(long)]
    archive: bool,
    /// What keeps the ledger, from the creation of the data directory on: `redb` if none is named.
    #[arg(long, value_name = "redb|sled")]
    store: Option<LedgerStore>,
    /// Threads that run models; one a core by default.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Where models are run: each in a confined process of its own, which a model file may end and the node survives,
    /// or in the node.
    #[arg(long, value_name = "process|none", default_value = "process")]
    isolation: IsolationArg,
    /// Refuse to start where the system cannot confine the processes that run models.
    #[arg(long)]
    require_sandbox: bool,
}

/// Where models are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum IsolationArg {
    /// Each in a process of its own.
    Process,
    /// In the node.
    None,
}

impl IsolationArg {
    /// The node's setting.
    ///
    /// # Errors
    /// [`Failure`] when models are to be confined and not run apart, or this program cannot be found.
    pub fn isolation(self, unconfined: Unconfined) -> Result<Isolation, Failure> {
        match (self, unconfined) {
            (Self::None, Unconfined::Warned) => Ok(Isolation::InProcess),
            (Self::None, Unconfined::Refused) => {
                Err(Failure::usage("starting the node: models that run in it cannot be confined")
                    .hint("leave --isolation none out, or --require-sandbox"))
            }
            (Self::Process, unconfined) => {
                let program = own_program().map_err(anyhow::Error::from)?;
                Ok(Isolation::Process(ProcessConfig { program, unconfined }))
            }
        }
    }
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
pub const CACHE_BYTES_MAX: usize = 8 << 30;

/// Events of the log that are printed unless `RUST_LOG` says otherwise. FRAME logs every extrinsic in hex, and a node
/// that has no peers is told by its network of every message that nobody takes.
const DEFAULT_LOG: &str = "info,frame_executive=warn,runtime=warn,jsonrpsee=warn,libp2p=warn,\
    arc_malachitebft=warn,arc_malachitebft_network=off,arc_malachitebft_discovery=error";

impl Run {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        if self.with_parent {
            end_with_parent()?;
        }
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
        let node = unless_interrupted(Node::start(config), &mut shutdown).await??;
        let url = format!("ws://{}", node.rpc_address());
        let set_up = async {
            let model = if dev { Some(set_up_development(&url, &data).await?) } else { None };
            let ready = Ready { event: "ready", rpc: url.clone(), model };
            Ok(context.output().line(&ready, Ready::text)?)
        };
        run_and_set_up(node, set_up, shutdown).await
    }

    fn config(self, context: &Context, base: &Path) -> Result<Config, Failure> {
        let (mut spec, kind, data) = if self.dev {
            let spec = ChainSpec::development()?;
            (spec.clone(), ChainKind::Development, DataDir::create(base, &spec, self.store)?)
        } else {
            let data = self.data_dir(context, base)?;
            let spec = data.chain_spec()?;
            (spec.clone(), if spec.is_development() { ChainKind::Development } else { ChainKind::Live }, data)
        };
        if let Some(millis) = self.block_time {
            spec.block_time_ms = millis;
        }
        let validator = self.validator(&data)?;
        let market = self.market(&data)?;
        let network = Network {
            listen: self.consensus_listen,
            discovery: !self.consensus_peer.is_empty(),
            peers: self.consensus_peer,
            key: data.keystore().roles().load_or_create(&Role::Network)?.ed25519().to_bytes().into(),
        };
        let mut identities = if self.dev { development_sellers()? } else { Vec::new() };
        for account in &self.provider {
            identities.push(seller(context, account)?);
        }
        let retention = if self.archive { Retention::Archive } else { ledger::Config::default().retention };
        let mut engine = Settings::for_this_machine();
        engine.threads = self.threads.unwrap_or(engine.threads);
        engine.cache_bytes_max = CACHE_BYTES_MAX;
        Ok(Config {
            data,
            spec,
            kind,
            validator,
            network,
            market,
            identities,
            rpc: rpc::Config {
                listen: SocketAddr::new(self.rpc_address, self.rpc_port),
                methods: self.rpc_methods.into(),
                origins: self.rpc_cors,
                ..rpc::Config::default()
            },
            ledger: ledger::Config { retention, ..ledger::Config::default() },
            engine,
            isolation: self.isolation.isolation(match self.require_sandbox {
                true => Unconfined::Refused,
                false => Unconfined::Warned,
            })?,
        })
    }

    /// The directory of the chain that is named, made if its file is; or of the one that is there.
    fn data_dir(&self, context: &Context, base: &Path) -> Result<DataDir, Failure> {
        if let Some(file) = &self.spec {
            return Ok(DataDir::create(base, &ChainSpec::read(file)?, self.store)?);
        }
        let data = context.data_dir().map_err(|failure| {
            failure.hint(
                "join a chain with --spec FILE, set one up with `assay node init`, or try `assay node --dev`",
            )
        })?;
        data.expect_store(self.store)?;
        Ok(data)
    }

    /// How the node takes part in the market's network, if it is told where.
    fn market(&self, data: &DataDir) -> Result<Option<network::Config>, Failure> {
        if self.listen.is_empty() && self.peer.is_empty() && !self.mdns {
            if self.relay || self.upload_limit.is_some() || !self.external.is_empty() {
                let cause = "starting the node: --relay, --external and --upload-limit are of no use without the \
                             market's network";
                return Err(Failure::usage(cause).hint("say with --listen where others reach this node"));
            }
            return Ok(None);
        }
        let key = data.keystore().roles().load_or_create(&Role::Network)?.ed25519().to_bytes().into();
        let upload_bytes_per_second = self.upload_limit.map(|kib| kib.saturating_mul(KIB));
        Ok(Some(network::Config {
            listen: self.listen.clone(),
            peers: self.peer.clone(),
            external: self.external.clone(),
            mdns: switch(self.mdns),
            relay: switch(self.relay),
            limits: network::Limits { upload_bytes_per_second, ..network::Limits::DEFAULT },
            ..network::Config::new(key, data.peers())
        }))
    }

    /// The keys of the validator that this node is. Without them it follows a chain, if it is told where that is.
    fn validator(&self, data: &DataDir) -> Result<Option<ValidatorKeys>, Failure> {
        if self.dev {
            return Ok(Some(development_authority()));
        }
        if let Some(number) = self.development_validator {
            return Ok(Some(development_validator(number)));
        }
        if self.consensus_peer.is_empty() {
            authority(data).map(Some)
        } else {
            Ok(ValidatorKeys::load(&data.keystore().roles())?)
        }
    }
}

/// What `starting` gives, which may take long: models are loaded.
async fn unless_interrupted<T>(
    starting: impl Future<Output = T>,
    shutdown: impl Future<Output = ()>,
) -> Result<T, Failure> {
    tokio::select! {
        started = starting => Ok(started),
        () = shutdown => Err(Failure::new(Exit::Interrupted, "starting the node: interrupted")),
    }
}

/// Sets a node up and runs it until `shutdown` resolves or a part of it ends. Where the set-up fails, the node is
/// stopped; where the node ends or is to end, the set-up is given up.
async fn run_and_set_up(
    node: Node,
    set_up: impl Future<Output = Result<(), Failure>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let (stop, stopped) = oneshot::channel::<()>();
    let mut running = std::pin::pin!(node.run_until(async { drop(stopped.await) }));
    let told_to_stop = async {
        let mut shutdown = std::pin::pin!(shutdown);
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            done = set_up => done?,
        }
        shutdown.await;
        Ok(())
    };
    let told = tokio::select! {
        biased;
        ended = &mut running => return Ok(ended?),
        told = told_to_stop => told,
    };
    drop(stop);
    let ended = running.await;
    match told {
        Ok(()) => Ok(ended?),
        Err(failure) => Err(real_failure(failure, ended)),
    }
}

/// Of the failure of a client and the end of its node: the node's own, where that may be why the client failed.
pub fn real_failure(failure: Failure, ended: Result<(), TaskError>) -> Failure {
    match ended {
        Err(error @ (TaskError::Failed { .. } | TaskError::Panicked(_))) => error.into(),
        Ok(()) | Err(TaskError::Stuck(_)) => failure,
    }
}

const fn switch(flag: bool) -> Switch {
    if flag { Switch::On } else { Switch::Off }
}

/// An address, as the command line takes it.
///
/// # Errors
/// What is wrong with it, and how one looks.
pub fn multiaddr(text: &str) -> Result<Multiaddr, String> {
    text.parse::<Multiaddr>()
        .map_err(|error| format!("{error}; write one like /ip4/127.0.0.1/udp/30334/quic-v1"))
}

/// What the node needs to sell as an account.
fn seller(context: &Context, text: &str) -> Result<Seller, Failure> {
    let (account, seller) = context.seller(text)?;
    seller.ok_or_else(|| {
        Failure::usage(format!("selling as {account}: this machine has no work key of it"))
            .hint(format!("make one with `assay provider keys {account}`, and have the account publish it"))
    })
}

/// The keys of the chain's authority, without whom it makes no block.
///
/// # Errors
/// [`Failure`] when they are not in this directory, or their files cannot be used.
pub fn authority(data: &DataDir) -> Result<ValidatorKeys, Failure> {
    ValidatorKeys::load(&data.keystore().roles())?.ok_or_else(|| {
        let cause = format!("acting for {}: the keys of its authority are not here", data.root().display());
        Failure::usage(cause).hint(
            "run it on the machine that created it, or run the development chain with `assay node --dev`",
        )
    })
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

/// Has the system end this process when the one that started it does.
#[cfg(target_os = "linux")]
fn end_with_parent() -> Result<(), Failure> {
    use rustix::process::{Signal, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::TERM)).map_err(anyhow::Error::from)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn end_with_parent() -> Result<(), Failure> {
    Ok(())
}

/// Resolves at the first interrupt or termination signal; the second ends the process at once.
pub fn interrupted() -> Result<impl Future<Output = ()>, Failure> {
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
    let providers = development_providers()?;
    let providers: Vec<_> = providers.iter().map(|provider| (&client, provider)).collect();
    development::open_market(&providers, published.served()).await?;
    Ok(published.model_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::parse;

    /// This program is not the one whose command `worker` runs a model.
    const IN_THIS_PROCESS: [&str; 7] = ["--dev", "--rpc-port", "0", "--threads", "1", "--isolation", "none"];

    #[test]
    fn the_end_of_the_node_says_more_than_its_client_but_a_slow_stop_does_not() {
        let failure = || Failure::new(Exit::Connect, "the node closed the connection");
        let cause = |ended| real_failure(failure(), ended).cause();
        let failed = TaskError::Failed { task: "ledger", source: "the disk is full".into() };
        assert!(cause(Err(failed)).contains("the disk is full"));
        assert_eq!(cause(Err(TaskError::Stuck(1))), failure().cause());
        assert_eq!(cause(Ok(())), failure().cause());
    }

    #[tokio::test]
    async fn a_chain_without_the_keys_of_its_authority_does_not_stand_still_in_silence() {
        let base = tempfile::tempdir().unwrap();
        DataDir::create(base.path(), &ChainSpec::development().unwrap(), None).unwrap();
        let (context, run) = parse::<Run>(base.path(), &["--rpc-port", "0"]);
        let failure = run.run(&context).await.unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage, "{}", failure.cause());
        assert!(failure.next_step().unwrap().contains("assay node --dev"));
    }

    #[test]
    fn an_address_that_is_none_is_refused_before_anything_starts() {
        assert_eq!(check_address("/ip4/10.0.0.1/tcp/1").unwrap(), "/ip4/10.0.0.1/tcp/1");
        assert!(check_address("10.0.0.1:1").unwrap_err().contains("write one like /ip4/"));
    }

    #[tokio::test]
    async fn a_signal_ends_a_start_that_takes_long() {
        let started = unless_interrupted(std::future::pending::<()>(), std::future::ready(())).await;
        assert_eq!(started.unwrap_err().exit(), Exit::Interrupted);
    }

    #[tokio::test]
    async fn a_failed_set_up_stops_the_node_and_is_what_is_told() {
        let base = tempfile::tempdir().unwrap();
        let (context, run) = parse::<Run>(base.path(), &IN_THIS_PROCESS);
        let node = Node::start(run.config(&context, base.path()).unwrap()).await.unwrap();
        let set_up = async { Err(Failure::usage("setting up: no")) };
        let ended = run_and_set_up(node, set_up, std::future::pending()).await;
        assert_eq!(ended.unwrap_err().cause(), "setting up: no");
    }

    #[tokio::test]
    async fn a_node_that_is_told_to_stop_gives_its_set_up_up() {
        let base = tempfile::tempdir().unwrap();
        let (context, run) = parse::<Run>(base.path(), &IN_THIS_PROCESS);
        let node = Node::start(run.config(&context, base.path()).unwrap()).await.unwrap();
        let url = format!("ws://{}", node.rpc_address());
        let (signal, signalled) = oneshot::channel();
        let set_up = async {
            let client = Client::connect(&url).await?;
            let mut heights = client.heights().await?;
            signal.send(()).unwrap();
            // Fails when the server stops, which is no failure of the node's.
            loop {
                heights.next().await?;
            }
        };
        run_and_set_up(node, set_up, async { drop(signalled.await) }).await.unwrap();
    }
}
