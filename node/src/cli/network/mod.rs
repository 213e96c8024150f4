//! `assay network`: a whole network on this machine, a process a node.

mod child;

use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use assay_manifest::ModelId;
use clap::Args;
use futures::future::try_join_all;
use rand::Rng;
use serde::Serialize;

use self::child::{Child, Launch};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::node::interrupted;
use crate::chain_spec::{ChainSpec, DEVELOPMENT_ACCOUNTS, development_provider};
use crate::client::Client;
use crate::data_dir::write_json;
use crate::development;
use crate::keys::Key;
use crate::private_file;

/// Start a network on this machine to try things with: validators and providers, each a process of its own, with known
/// keys and a model to ask. It ends with this command, and is worth nothing.
#[derive(Debug, Args)]
pub struct Network {
    /// Nodes that decide blocks.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16))]
    validators: u32,
    /// Nodes that sell compute, each as an account of its own.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=32))]
    providers: u32,
    /// Time from one block to the next, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    block_time: u64,
}

/// What a node is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// It decides blocks.
    Validator,
    /// It sells compute.
    Provider,
}

/// A line about a node that can be spoken to.
#[derive(Serialize)]
struct NodeLine<'a> {
    event: &'static str,
    role: Part,
    name: &'a str,
    pid: u32,
    rpc: &'a str,
}

/// The line that says that the model can be asked.
#[derive(Serialize)]
struct ReadyLine {
    event: &'static str,
    model: ModelId,
}

impl Network {
    /// Runs it until it is interrupted, or one of its nodes could not be started.
    ///
    /// # Errors
    /// [`Failure`] when a node does not start, or the model cannot be offered.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        // Kept until all nodes have ended, then removed with all that is below it.
        let temporary = match context.named_base() {
            None => Some(tempfile::tempdir().map_err(anyhow::Error::from)?),
            Some(_) => None,
        };
        let base = match &temporary {
            Some(dir) => dir.path().to_owned(),
            None => context.base()?,
        };
        let mut shutdown = std::pin::pin!(interrupted()?);
        let mut nodes = self.launch(&base)?.into_iter().map(Child::start).collect::<Result<Vec<_>, _>>()?;
        let started = tokio::select! {
            started = self.set_up(context, &mut nodes, &base) => started,
            () = &mut shutdown => Err(Failure::new(Exit::Interrupted, "starting the network: interrupted")),
        };
        if started.is_ok() {
            // A node that is killed is the point of trying; the others go on.
            shutdown.await;
        }
        let stopped = futures::future::join_all(nodes.into_iter().map(Child::stop)).await;
        started?;
        stopped.into_iter().collect()
    }

    /// What each node is started with.
    fn launch(&self, base: &Path) -> Result<Vec<Launch>, Failure> {
        let spec = ChainSpec { block_time_ms: self.block_time, ..ChainSpec::local(self.validators)? };
        let spec = spec.with_providers(self.providers)?;
        private_file::create_dir(base)?;
        let file = base.join("chain-spec.json");
        write_json(&file, &spec)?;
        let validators = (1..=self.validators).map(|number| (Part::Validator, number));
        let all: Vec<_> =
            validators.chain((1..=self.providers).map(|number| (Part::Provider, number))).collect();
        let ports = free_ports(all.len())?;
        let deciding = &ports[..self.validators as usize];
        let launch = |((part, number), ports): ((Part, u32), &Ports)| {
            let name = match part {
                Part::Validator => format!("validator-{number}"),
                Part::Provider => format!("provider-{number}"),
            };
            let mut arguments = vec![
                "--spec".to_owned(),
                file.display().to_string(),
                format!("--consensus-listen={}", ports.consensus()),
                format!("--listen={}", ports.quic()),
                format!("--listen={}", ports.tcp()),
            ];
            for other in deciding.iter().filter(|other| *other != ports) {
                arguments.push(format!("--consensus-peer={}", other.consensus()));
                arguments.push(format!("--peer={}", other.quic()));
            }
            arguments.push(match part {
                Part::Validator => format!("--development-validator={number}"),
                Part::Provider => format!("--provider={}", development_provider(number)),
            });
            Launch { part, base: base.join(&name), name, arguments }
        };
        Ok(all.into_iter().zip(&ports).map(launch).collect())
    }

    /// Waits for the nodes, and has the providers offer the demo model: one of them imports it, the others fetch it.
    async fn set_up(&self, context: &Context, nodes: &mut [Child], base: &Path) -> Result<(), Failure> {
        for node in nodes.iter_mut() {
            let rpc = node.ready().await?.to_owned();
            let line =
                NodeLine { event: "node", role: node.part, name: &node.name, pid: node.pid, rpc: &rpc };
            context
                .output()
                .line(&line, |line| format!("{:<12} process {:<8} {}", line.name, line.pid, line.rpc))?;
        }
        let selling = nodes.iter().filter(|node| node.part == Part::Provider);
        let clients = try_join_all(selling.map(|node| Client::connect(node.rpc()))).await?;
        let providers = (1..=self.providers).map(|number| Key::development(&development_provider(number)));
        let providers: Vec<_> = clients.into_iter().zip(providers.collect::<Result<Vec<_>, _>>()?).collect();
        let (first, _) = providers.first().ok_or_else(|| Failure::usage("starting no provider"))?;
        let publisher = Key::development(DEVELOPMENT_ACCOUNTS[0])?;
        let published = development::publish(first, &publisher, base).await?;
        let offering: Vec<_> = providers.iter().map(|(client, provider)| (client, provider)).collect();
        development::open_market(&offering, published.served()).await?;
        let rpc = nodes.first().map_or("", Child::rpc);
        context.output().line(&ReadyLine { event: "ready", model: published.model_id }, |_| {
            format!(
                "ready: {} offer the model `demo`; ask it at any node, such as\n  \
                 assay job submit --rpc {rpc} --key //Alice --model demo --prompt '{}' --wait",
                super::table::count(providers.len(), "provider"),
                development::question(),
            )
        })?;
        Ok(())
    }
}

/// Where a node is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ports {
    consensus: u16,
    market: u16,
}

impl Ports {
    fn consensus(&self) -> String {
        format!("/ip4/127.0.0.1/tcp/{}", self.consensus)
    }

    fn quic(&self) -> String {
        format!("/ip4/127.0.0.1/udp/{}/quic-v1", self.market)
    }

    fn tcp(&self) -> String {
        format!("/ip4/127.0.0.1/tcp/{}", self.market)
    }
}

/// The first port that is tried: below those that systems give to connections of their own.
const FIRST_PORT: u16 = 12_000;
/// The last one.
const LAST_PORT: u16 = 31_999;

/// Ports that nobody listens on, from a random one on. Those of connections could be taken again before a node listens.
fn free_ports(nodes: usize) -> Result<Vec<Ports>, Failure> {
    let first = rand::thread_rng().gen_range(FIRST_PORT..=LAST_PORT);
    // QUIC takes the same number.
    let is_free = |port: &u16| {
        TcpListener::bind(("127.0.0.1", *port)).is_ok() && UdpSocket::bind(("127.0.0.1", *port)).is_ok()
    };
    let mut free = (first..=LAST_PORT).chain(FIRST_PORT..first).filter(is_free);
    let mut pair = || Some(Ports { consensus: free.next()?, market: free.next()? });
    let found: Option<Vec<Ports>> = (0..nodes).map(|_| pair()).collect();
    found.ok_or_else(|| {
        Failure::new(Exit::Internal, format!("finding {} free ports: there are fewer", 2 * nodes))
    })
}
