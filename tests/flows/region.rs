//! Nodes with data directories of their own and a network between them, all in one process.

use std::num::NonZeroUsize;
use std::path::Path;

use assay_engine::Settings;
use assay_manifest::JobId;
use assay_node::chain_spec::{ChainSpec, DEVELOPMENT_ACCOUNTS, development_provider, development_validator};
use assay_node::client::{Client, Order};
use assay_node::consensus;
use assay_node::data_dir::DataDir;
use assay_node::development;
use assay_node::keys::{Key, Seller};
use assay_node::ledger::{self, LedgerHandle};
use assay_node::model_process::Isolation;
use assay_node::network::{self, Multiaddr, NetworkHandle};
use assay_node::node::{Config, Node};
use assay_node::rpc::{self, ChainKind};
use assay_node::supervisor::TaskError;
use assay_node::worker::Served;
use assay_protocol::job::SettlementRecord;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

/// The demo model's quantised file, at every node after [`open_market`].
pub const MODEL_FILE: &str = "demo-q8_0.gguf";
/// Blocks slow enough for six nodes on one machine.
const BLOCK_TIME_MS: u64 = 400;

/// What a node is; one that is nothing follows the chain.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// The number of the development validator whose keys it has.
    pub validator: Option<u32>,
    /// The numbers of the development providers as which it sells.
    pub sells: Vec<u32>,
}

/// The nodes that were started, as those that come later find them.
pub struct Region {
    pub spec: ChainSpec,
    /// Where each validator is to listen for consensus.
    validators: Vec<String>,
    /// Where the market's network is found.
    market: Vec<Multiaddr>,
    started: u8,
}

/// A node at work.
pub struct Running {
    pub dir: TempDir,
    pub client: Client,
    pub rpc: String,
    pub ledger: LedgerHandle,
    pub network: NetworkHandle,
    sells: Vec<u32>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), TaskError>>,
}

impl Part {
    /// One that sells nothing, and makes no blocks.
    pub fn follower() -> Self {
        Self::default()
    }

    pub fn validator(number: u32) -> Self {
        Self { validator: Some(number), sells: Vec::new() }
    }

    pub fn provider(number: u32) -> Self {
        Self { validator: None, sells: vec![number] }
    }
}

impl Region {
    /// No nodes yet; `validators` of them will have keys of development validators.
    pub fn new(spec: ChainSpec, validators: usize) -> Self {
        // All ports are held until the last is found, so that they differ.
        let listeners: Vec<_> =
            (0..validators).map(|_| std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap()).collect();
        let port = |listener: &std::net::TcpListener| listener.local_addr().unwrap().port();
        let validators =
            listeners.iter().map(|listener| format!("/ip4/127.0.0.1/tcp/{}", port(listener))).collect();
        let spec = ChainSpec { block_time_ms: BLOCK_TIME_MS, ..spec };
        Self { spec, validators, market: Vec::new(), started: 0 }
    }

    /// Starts a node that knows the validators, and the first node that was started.
    pub async fn start(&mut self, part: Part) -> Running {
        let dir = tempfile::tempdir().unwrap();
        let config = self.config(&part, dir.path());
        let node = Node::start(config).await.unwrap();
        let (ledger, network) = (node.ledger().clone(), node.network().unwrap().clone());
        let rpc = format!("ws://{}", node.rpc_address());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(node.run_until(async { drop(stopped.await) }));
        let client = Client::connect(&rpc).await.unwrap();
        let sells = part.sells;
        let started = Running { dir, client, rpc, ledger, network, sells, stop, running };
        if self.market.is_empty() {
            self.market.push(started.address().await);
        }
        started
    }

    fn config(&mut self, part: &Part, dir: &Path) -> Config {
        let data = DataDir::create(dir, &self.spec, None).unwrap();
        let seller = |number: &u32| Seller::development(&development_provider(*number)).unwrap();
        Config {
            spec: self.spec.clone(),
            kind: ChainKind::Development,
            validator: part.validator.map(development_validator),
            network: self.consensus(part),
            market: Some(self.market(&data)),
            data,
            identities: part.sells.iter().map(seller).collect(),
            rpc: rpc::Config { listen: ([127, 0, 0, 1], 0).into(), ..rpc::Config::default() },
            ledger: ledger::Config::default(),
            isolation: Isolation::InProcess,
            engine: engine(),
        }
    }

    fn consensus(&self, part: &Part) -> consensus::Network {
        let alone = consensus::Network::alone();
        let own = part.validator.map(|number| &self.validators[number as usize - 1]);
        let peers = self.validators.iter().filter(|other| Some(*other) != own).cloned().collect();
        match own {
            Some(own) => consensus::Network { listen: own.clone(), peers, ..alone },
            None => consensus::Network { peers, discovery: true, ..alone },
        }
    }

    /// How a node with this data takes part in the market's network, under a name of its own.
    pub fn market(&mut self, data: &DataDir) -> network::Config {
        self.started += 1;
        network::Config {
            listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()],
            peers: self.market.clone(),
            ..network::Config::new(Zeroizing::new([self.started; 32]), data.peers())
        }
    }
}

/// One thread: many engines share the machine.
pub fn engine() -> Settings {
    Settings { threads: NonZeroUsize::MIN, ..Settings::for_this_machine() }
}

impl Running {
    /// Where the market's network finds it.
    pub async fn address(&self) -> Multiaddr {
        loop {
            if let Some(address) = self.network.listening().await.unwrap().pop() {
                return address;
            }
            tokio::task::yield_now().await;
        }
    }

    /// The keys of the providers as which it sells.
    pub fn sellers(&self) -> Vec<Key> {
        self.sells.iter().map(|number| Key::development(&development_provider(*number)).unwrap()).collect()
    }

    /// Whether a provider sells here.
    pub fn is_of(&self, provider: &[u8; 32]) -> bool {
        self.sellers().iter().any(|key| AsRef::<[u8; 32]>::as_ref(&key.account()) == provider)
    }

    /// Waits until this node has so many offers of the model in force.
    pub async fn knows_offers(&self, model: &Served, offers: usize) {
        let Served { model_id, spec_id } = model;
        let mut heights = self.client.heights().await.unwrap();
        while self.client.serving(model_id, Some(spec_id)).await.unwrap().len() < offers {
            heights.next().await.unwrap();
        }
    }

    /// The record of a job, as soon as this node knows of its end: it may be some blocks behind.
    pub async fn settlement(&self, job: &JobId) -> SettlementRecord {
        let mut heights = self.client.heights().await.unwrap();
        loop {
            if let Ok(state) = self.client.job(job).await
                && let Some(record) = state.settlement
            {
                return record;
            }
            heights.next().await.unwrap();
        }
    }

    pub async fn stop(self) -> TempDir {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
        self.dir
    }
}

/// Imports the demo model at every seller's node, and registers it.
pub async fn publish(sellers: &[Running]) -> Served {
    let publisher = Key::development(DEVELOPMENT_ACCOUNTS[0]).unwrap();
    let mut published = None;
    for seller in sellers {
        published = Some(development::publish(&seller.client, &publisher, seller.dir.path()).await.unwrap());
    }
    published.unwrap().served()
}

/// The same, and every provider stakes and offers it; returns when they sell.
pub async fn open_market(sellers: &[Running]) -> Served {
    let served = publish(sellers).await;
    offer(sellers, served).await;
    served
}

/// Every provider of these nodes stakes and offers the model; returns when they sell.
pub async fn offer(sellers: &[Running], served: Served) {
    let keys: Vec<(&Client, Key)> =
        sellers.iter().flat_map(|node| node.sellers().into_iter().map(|key| (&node.client, key))).collect();
    let keys: Vec<(&Client, &Key)> = keys.iter().map(|(client, key)| (*client, key)).collect();
    development::open_market(&keys, served).await.unwrap();
}

/// The answer that a job's executor has, as its buyer reads it.
pub async fn answer_of(nodes: &[Running], order: &Order, record: &SettlementRecord) -> String {
    let executor = record.seats.iter().rfind(|seat| seat.role == assay_protocol::party::Role::Executor);
    let executor = executor.unwrap().provider;
    let there = nodes.iter().find(|node| node.is_of(&executor)).unwrap();
    there.settlement(&order.job).await;
    there.client.answer(order, record).await.unwrap().text.clone()
}

/// Who buys.
pub fn buyer() -> Key {
    Key::development(DEVELOPMENT_ACCOUNTS[1]).unwrap()
}
