//! Several validators agree on blocks, whatever becomes of one of them.

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::path::Path;

use assay_engine::Settings;
use assay_node::chain_spec::{ChainSpec, development_validator};
use assay_node::consensus::Network;
use assay_node::data_dir::DataDir;
use assay_node::ledger::{self, LedgerHandle};
use assay_node::node::{Config, Node, StartError};
use assay_node::rpc::{self, ChainKind};
use assay_node::supervisor::TaskError;
use assay_runtime::Hash;
use assay_runtime::executor::{ChainError, StoreFault};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const VALIDATORS: u32 = 4;

/// Validators in one process, each with a data directory and a port.
struct Town {
    spec: ChainSpec,
    dirs: Vec<TempDir>,
    ports: Vec<u16>,
}

struct Running {
    ledger: LedgerHandle,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), TaskError>>,
}

impl Town {
    fn new() -> Self {
        // All ports are held until the last is found, so that they differ.
        let listeners: Vec<_> =
            (0..=VALIDATORS).map(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap()).collect();
        Self {
            spec: ChainSpec::local(VALIDATORS).unwrap(),
            dirs: listeners.iter().map(|_| tempfile::tempdir().unwrap()).collect(),
            ports: listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect(),
        }
    }

    fn address(&self, number: usize) -> String {
        format!("/ip4/127.0.0.1/tcp/{}", self.ports[number])
    }

    /// Starts a node, as soon as the one before it has let go of its directory; the last has the keys of none.
    async fn start(&self, number: usize) -> Running {
        let node = loop {
            match Node::start(self.config(number)).await {
                Err(StartError::Ledger { source: ChainError::Store(error), .. })
                    if error.fault == StoreFault::Held =>
                {
                    tokio::task::yield_now().await;
                }
                started => break started.unwrap(),
            }
        };
        let ledger = node.ledger().clone();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(node.run_until(async { drop(stopped.await) }));
        Running { ledger, stop, running }
    }

    fn config(&self, number: usize) -> Config {
        let keys = u32::try_from(number).unwrap();
        Config {
            data: DataDir::create(self.dirs[number].path(), &self.spec, None).unwrap(),
            spec: self.spec.clone(),
            kind: ChainKind::Development,
            validator: (keys < VALIDATORS).then(|| development_validator(keys + 1)),
            network: Network {
                listen: self.address(number),
                peers: (0..self.ports.len())
                    .filter(|other| *other != number)
                    .map(|other| self.address(other))
                    .collect(),
                ..Network::alone()
            },
            identities: Vec::new(),
            rpc: rpc::Config { listen: ([127, 0, 0, 1], 0).into(), ..rpc::Config::default() },
            ledger: ledger::Config::default(),
            engine: Settings { threads: NonZeroUsize::MIN, ..Settings::for_this_machine() },
        }
    }

    fn forget(&mut self, number: usize) {
        self.dirs[number] = tempfile::tempdir().unwrap();
        assert!(!Path::new(self.dirs[number].path()).join("local").exists());
    }
}

impl Running {
    async fn reaches(&self, height: u32) {
        let mut heads = self.ledger.heads();
        heads.wait_for(|head| head.number >= height).await.unwrap();
    }

    async fn hashes(&self, to: u32) -> Vec<Hash> {
        let mut hashes = Vec::new();
        for height in 0..=to {
            hashes.push(self.ledger.hash_of(height).await.unwrap().unwrap());
        }
        hashes
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_validators_agree_though_one_leaves_comes_back_and_loses_everything() {
    let mut town = Town::new();
    let mut nodes = Vec::new();
    for number in 0..town.ports.len() {
        nodes.push(town.start(number).await);
    }
    for node in &nodes {
        node.reaches(5).await;
    }
    nodes.remove(1).stop().await;
    let height = nodes[0].ledger.head().number;
    nodes[0].reaches(height + 5).await;
    let back = town.start(1).await;
    back.reaches(height + 5).await;
    back.stop().await;
    town.forget(1);
    nodes.insert(1, town.start(1).await);
    let height = nodes[0].ledger.head().number + 5;
    for node in &nodes {
        node.reaches(height).await;
    }
    let expected = nodes[0].hashes(height).await;
    for node in &nodes {
        assert_eq!(node.hashes(height).await, expected);
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_four_stop_and_a_third_brings_blocks_back() {
    let town = Town::new();
    let mut nodes = Vec::new();
    for number in 0..4 {
        nodes.push(town.start(number).await);
    }
    for node in &nodes {
        node.reaches(3).await;
    }
    nodes.pop().unwrap().stop().await;
    nodes.pop().unwrap().stop().await;
    // What had the votes of three when the third left may still be decided, and nothing after it.
    let stopped = nodes.iter().map(|node| node.ledger.head().number).max().unwrap();
    let height = stopped + 1;
    let third = town.start(2).await;
    assert!(third.ledger.head().number <= height);
    for node in nodes.iter().chain([&third]) {
        node.reaches(height + 3).await;
    }
    let expected = third.hashes(height + 3).await;
    for node in &nodes {
        assert_eq!(node.hashes(height + 3).await, expected);
    }
}
