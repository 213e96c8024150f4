//! Nodes without a ledger: networks with made-up pools behind them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use assay_manifest::Digest32;
use assay_runtime::Hash;
use sp_runtime::transaction_validity::InvalidTransaction;
use tempfile::TempDir;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::mempool::{Nature, PoolError, Refused, Transaction};
use crate::network::{
    Config, Incoming, Joined, Multiaddr, Network, NetworkHandle, PeerId, Topic, TransactionPool, Transactions,
};

pub const GENESIS: Digest32 = Digest32::from_bytes([7; 32]);
pub const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
pub const TCP: &str = "/ip4/127.0.0.1/tcp/0";

/// A pool that takes what begins with 1, holds what begins with 2 for forged, takes what begins with 3 from its second
/// block on, and holds the rest for no transaction.
#[derive(Clone)]
pub struct MadeUpPool {
    heights: watch::Sender<u32>,
    held: Arc<Mutex<HashMap<Hash, Transaction>>>,
    own: broadcast::Sender<Transaction>,
    counts: watch::Sender<usize>,
    /// How often something came too soon.
    pub early: watch::Sender<usize>,
}

impl MadeUpPool {
    pub fn new() -> Self {
        let (heights, counts) = (watch::channel(1).0, watch::channel(0).0);
        Self {
            heights,
            held: Arc::default(),
            own: broadcast::channel(64).0,
            counts,
            early: watch::channel(0).0,
        }
    }

    /// The next block is final.
    pub fn next_block(&self) {
        self.heights.send_modify(|height| *height += 1);
    }

    /// A transaction handed in at this node.
    pub fn hand_in(&self, seed: u64) -> Hash {
        self.hand_in_as(1, seed)
    }

    /// One that begins with this byte.
    pub fn hand_in_as(&self, kind: u8, seed: u64) -> Hash {
        let transaction = Transaction::made_up(seed << 8 | u64::from(kind), 200, None);
        let hash = transaction.hash();
        self.held.lock().unwrap().insert(hash, transaction.clone());
        let _ = self.own.send(transaction);
        hash
    }

    pub fn count(&self) -> usize {
        self.held.lock().unwrap().len()
    }

    pub fn has(&self, hash: &Hash) -> bool {
        self.held.lock().unwrap().contains_key(hash)
    }

    /// Waits until it was handed so many.
    pub async fn counts_to(&self, count: usize) {
        self.counts.subscribe().wait_for(|handed| *handed >= count).await.unwrap();
    }

    /// Waits until a transaction is here.
    pub async fn gets(&self, hash: Hash) {
        let mut counts = self.counts.subscribe();
        while !self.has(&hash) {
            counts.changed().await.unwrap();
        }
    }
}

impl TransactionPool for MadeUpPool {
    async fn submit(&self, bytes: Vec<u8>) -> Result<Hash, Refused> {
        let refused = |error, nature| Err(Refused::new(error, nature));
        match bytes.first() {
            Some(1) => {}
            Some(2) => return refused(PoolError::Invalid(InvalidTransaction::BadProof), Nature::Lasting),
            Some(3) if *self.heights.borrow() < 2 => {
                self.early.send_modify(|count| *count += 1);
                return refused(PoolError::Invalid(InvalidTransaction::Stale), Nature::Step);
            }
            Some(3) => {}
            _ => return refused(PoolError::Malformed("made up".into()), Nature::Step),
        }
        let transaction = Transaction::of_bytes(bytes);
        let hash = transaction.hash();
        let known = self.held.lock().unwrap().insert(hash, transaction).is_some();
        self.counts.send_modify(|count| *count += 1);
        if known { refused(PoolError::Known, Nature::Step) } else { Ok(hash) }
    }

    fn heights(&self) -> watch::Receiver<u32> {
        self.heights.subscribe()
    }

    async fn pending(&self) -> Result<Vec<Transaction>, PoolError> {
        Ok(self.held.lock().unwrap().values().cloned().collect())
    }

    fn own(&self) -> broadcast::Receiver<Transaction> {
        self.own.subscribe()
    }

    async fn held(&self, hashes: Vec<Hash>) -> Result<Vec<Transaction>, PoolError> {
        let held = self.held.lock().unwrap();
        Ok(hashes.iter().filter_map(|hash| held.get(hash)).cloned().collect())
    }
}

/// A running node.
pub struct Node {
    pub handle: NetworkHandle,
    pub pool: MadeUpPool,
    pub dir: Arc<TempDir>,
    pub address: Multiaddr,
    /// Who takes transactions from here.
    listeners: watch::Receiver<HashSet<PeerId>>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Node {
    /// Starts a node of the chain that knows these others.
    pub async fn start(listen: &str, peers: &[&Multiaddr]) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self::start_in(dir, rand::random(), GENESIS, listen, peers).await
    }

    pub async fn start_in(
        dir: Arc<TempDir>,
        key: [u8; 32],
        genesis: Digest32,
        listen: &str,
        peers: &[&Multiaddr],
    ) -> Self {
        let mut config = Config::new(Zeroizing::new(key), dir.path().join("peers.json"));
        config.listen = vec![listen.parse().unwrap()];
        config.peers = peers.iter().map(|address| (*address).clone()).collect();
        Self::start_with(dir, genesis, config).await
    }

    pub async fn start_with(dir: Arc<TempDir>, genesis: Digest32, config: Config) -> Self {
        let (network, handle, incoming) = Network::start(config, &genesis).unwrap();
        let (pool, stop) = (MadeUpPool::new(), watch::channel(false).0);
        let Incoming { transactions, .. } = incoming;
        let (heard, listeners) = watch::channel(HashSet::new());
        let mut joined = handle.joined();
        tokio::spawn(async move {
            while let Ok(joined) = joined.recv().await {
                if let Joined::Topic(peer, Topic::Transactions) = joined {
                    heard.send_modify(|listeners| listeners.extend([peer]));
                }
            }
        });
        let service = Transactions::new(handle.clone(), transactions, pool.clone());
        let tasks =
            vec![tokio::spawn(network.run(stop.subscribe())), tokio::spawn(service.run(stop.subscribe()))];
        let address = loop {
            match handle.listening().await.unwrap().pop() {
                Some(address) => break address,
                None => tokio::task::yield_now().await,
            }
        };
        Self { handle, pool, dir, address, listeners, stop, tasks }
    }

    pub fn peer(&self) -> PeerId {
        self.handle.local_peer()
    }

    /// Waits until a peer of the chain is connected and takes transactions from here.
    pub async fn meets(&self, peer: PeerId) {
        self.listeners.clone().wait_for(|listeners| listeners.contains(&peer)).await.unwrap();
        while !self.is_connected(peer).await {
            tokio::task::yield_now().await;
        }
    }

    pub async fn is_connected(&self, peer: PeerId) -> bool {
        let peers = self.handle.peers().await.unwrap();
        peers.iter().any(|info| info.peer == peer && info.connected && info.agent.is_some())
    }

    /// Waits until a peer is refused.
    pub async fn refuses(&self, peer: PeerId) {
        while self.score(peer).await > -100 || self.is_connected(peer).await {
            tokio::task::yield_now().await;
        }
    }

    pub async fn score(&self, peer: PeerId) -> i64 {
        let peers = self.handle.peers().await.unwrap();
        peers.iter().find(|info| info.peer == peer).map_or(0, |info| info.score)
    }

    pub async fn stop(self) -> Arc<TempDir> {
        self.stop.send_replace(true);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.dir
    }
}
