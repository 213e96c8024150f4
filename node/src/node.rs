//! The one composition file: what a node consists of, how it starts, and how it stops.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use assay_engine::{Engine, Settings};
use assay_manifest::{Digest32, ModelId};
use assay_protocol::receipt::Trust;
use assay_protocol::seal::SealingSecret;
use assay_runtime::executor::ChainError;
use assay_store::{Store, StoreError};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tracing::{info, warn};

use crate::adapters::{
    Board, CandidateFile, Journal, JournalError, Market, Models, Orders, Peers, PoolSource, Swarm, Workplace,
    open_ledger,
};
use crate::blobs::{self, FetchConfig, Fetcher, NoNetwork, ServeConfig};
use crate::chain_spec::ChainSpec;
use crate::consensus::{self, CandidatesError, Consensus, Proposer, ValidatorKeys};
use crate::data_dir::{DataDir, DataDirError};
use crate::keys::Seller;
use crate::ledger::{self, LedgerError, LedgerHandle};
use crate::mempool::{self, Mempool, MempoolHandle};
use crate::model_process::{Isolation, ProbeError, confined};
use crate::network::{
    self, Announcing, Courier, Home, Incoming, NetworkHandle, Presence, Transactions, Wish,
};
use crate::receipts::Receipts;
use crate::retention;
use crate::rpc::{self, Backend, ChainKind, Rpc, Services};
use crate::sealing::{self, KeyRing, RingError};
use crate::serving::{self, Judging, Serving, Wants};
use crate::supervisor::{Supervisor, TaskError, told_to_stop};
use crate::worker::{self, Desk, Identity, Referee, Shop, Worker};

/// What a node is to be.
pub struct Config {
    /// Where it keeps its things.
    pub data: DataDir,
    /// The chain.
    pub spec: ChainSpec,
    /// Whether the chain is one that anybody knows the keys of.
    pub kind: ChainKind,
    /// The keys with which it makes blocks and referees, if it is a validator; it follows the chain without.
    pub validator: Option<ValidatorKeys>,
    /// How it meets the nodes that agree on blocks.
    pub network: consensus::Network,
    /// How it takes part in the market's network, if it does.
    pub market: Option<network::Config>,
    /// The accounts as which it sells compute.
    pub identities: Vec<Seller>,
    /// How JSON-RPC is served.
    pub rpc: rpc::Config,
    /// How the ledger is kept.
    pub ledger: ledger::Config,
    /// How models are run.
    pub engine: Settings,
    /// Where models are run.
    pub isolation: Isolation,
}

/// A node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Its ledger.
    #[error("opening {}: {source}", path.display())]
    Ledger {
        /// The ledger's file.
        path: PathBuf,
        /// What went wrong.
        source: ChainError,
    },
    /// The running ledger.
    #[error(transparent)]
    Query(#[from] LedgerError),
    /// Its journal.
    #[error("opening {}: {source}", path.display())]
    Journal {
        /// The journal's file.
        path: PathBuf,
        /// What went wrong.
        source: JournalError,
    },
    /// Its proposed blocks.
    #[error("opening {}: {source}", path.display())]
    Candidates {
        /// Their file.
        path: PathBuf,
        /// What went wrong.
        source: CandidatesError,
    },
    /// Its encryption keys.
    #[error(transparent)]
    Keys(#[from] RingError),
    /// Its artifact store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its engine.
    #[error("starting the engine: {0}")]
    Engine(String),
    /// The processes in which it runs models.
    #[error(transparent)]
    Isolation(#[from] ProbeError),
    /// The market's network.
    #[error(transparent)]
    Network(#[from] network::StartError),
    /// Its server.
    #[error(transparent)]
    Rpc(#[from] rpc::StartError),
}

/// A running node.
pub struct Node {
    ledger: LedgerHandle,
    network: Option<NetworkHandle>,
    rpc: Rpc,
    supervisor: Supervisor,
    models: Arc<Models>,
    trust: Trust,
}

/// What a node keeps, opened.
struct Kept {
    store: Arc<Store>,
    /// Where the store lies.
    store_dir: PathBuf,
    journal: Journal,
    candidates: CandidateFile,
    ring: KeyRing,
    ledger: LedgerHandle,
    ended: oneshot::Receiver<Result<(), ChainError>>,
}

impl Kept {
    fn open(
        data: &DataDir,
        spec: &ChainSpec,
        config: ledger::Config,
        derived: Vec<SealingSecret>,
    ) -> Result<Self, StartError> {
        let chain = |source| StartError::Ledger { path: data.ledger(), source };
        let kv = open_ledger(data.store(), &data.ledger()).map_err(|error| chain(error.into()))?;
        let journal = Journal::open(&data.journal());
        let journal = journal.map_err(|source| StartError::Journal { path: data.journal(), source })?;
        let candidates = CandidateFile::open(&data.candidates());
        let candidates =
            candidates.map_err(|source| StartError::Candidates { path: data.candidates(), source })?;
        let ring = KeyRing::open(data.sealing(), derived)?;
        let store = Arc::new(Store::open(&data.models())?);
        let ledger::Ledger { handle, ended } = ledger::open(kv, &spec.genesis, config).map_err(chain)?;
        Ok(Self { store, store_dir: data.models(), journal, candidates, ring, ledger: handle, ended })
    }
}

/// What the services are built from.
struct Parts {
    ledger: LedgerHandle,
    pool: MempoolHandle,
    journal: Journal,
    ring: KeyRing,
    store: Arc<Store>,
    models: Arc<Models>,
    /// Artifacts of other nodes.
    peers: Arc<Peers>,
    /// Asks for models, and what is asked.
    wants: (Wants, mpsc::Receiver<ModelId>),
    /// The finalized height, told after the pool has heard of the block.
    heights: watch::Receiver<u32>,
}

impl Node {
    /// Starts every service.
    ///
    /// # Errors
    /// [`StartError`] naming what could not be started; whatever was started before it has ended again.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let Config {
            data,
            spec,
            kind,
            validator,
            network,
            market,
            identities,
            rpc,
            ledger,
            engine,
            isolation,
        } = config;
        let decides = validator.is_some();
        let workplace = workplace(isolation, engine).await?;
        data.check_whole()?;
        let kept = Kept::open(&data, &spec, ledger, first_keys(&identities, validator.as_ref()))?;
        let trust = trust_root(&kept.ledger).await?;
        data.keep_trust(&trust)?;
        let mut supervisor = Supervisor::new();
        let candidates = kept.candidates.clone();
        let mut parts = start_ledger(&mut supervisor, kept, workplace);
        let (ledger, models) = (parts.ledger.clone(), Arc::clone(&parts.models));
        let identity = rpc::Identity {
            chain: spec.name.clone(),
            kind,
            block_time_ms: spec.block_time_ms,
            data_dir: Some(data.root().into()),
            validator: validator.is_some(),
        };
        let market = match market {
            Some(config) => {
                Some(start_market(&mut supervisor, &mut parts, config, &identities, validator.as_ref())?)
            }
            None => None,
        };
        let (market, wish) = market.unzip();
        let rpc = start_rpc(&parts, rpc, identity, (market.clone(), wish)).await?;
        let source = PoolSource { pool: parts.pool.clone(), ledger: ledger.reserved() };
        let consensus = Consensus {
            config: consensus::Config {
                block_time: spec.block_time(),
                clock: consensus::Clock::system(),
                network,
                write_ahead_log: data.write_ahead_log(),
            },
            ledger: ledger.reserved(),
            proposer: validator.clone().map(|keys| Proposer::new(keys, ledger.reserved(), source)),
            candidates,
        };
        start_selling(&mut supervisor, parts, &identities, validator.as_ref()).await;
        // Blocks last, so that no deadline passes while models are loaded.
        supervisor.spawn("consensus", consensus.run(supervisor.stopping()));
        let part = if decides { "decides" } else { "follows" };
        info!(chain = %spec.id, genesis = %ledger.genesis(), height = ledger.head().number, part, "node started");
        Ok(Self { ledger, network: market, rpc, supervisor, models, trust })
    }

    /// Where JSON-RPC listens.
    pub const fn rpc_address(&self) -> SocketAddr {
        self.rpc.address()
    }

    /// The ledger.
    pub const fn ledger(&self) -> &LedgerHandle {
        &self.ledger
    }

    /// The market's network, if this node takes part in it.
    pub const fn network(&self) -> Option<&NetworkHandle> {
        self.network.as_ref()
    }

    /// What receipts of this chain rest on.
    pub const fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Runs until `shutdown` resolves, then stops in order; or until a task ends, which is an error.
    ///
    /// # Errors
    /// [`TaskError`] when a task ended before, or did not end when told to.
    pub async fn run_until(mut self, shutdown: impl Future<Output = ()>) -> Result<(), TaskError> {
        let failure = tokio::select! {
            () = shutdown => None,
            failure = self.supervisor.first_end() => Some(failure),
        };
        self.rpc.stop().await;
        let stopped = self.supervisor.stop().await;
        // What is being computed still is computed for nobody.
        self.models.close();
        failure.map_or(stopped, Err)
    }
}

/// Ledger, pool and journal, and the tasks that keep them in step.
fn start_ledger(supervisor: &mut Supervisor, kept: Kept, workplace: Workplace) -> Parts {
    let Kept { store, store_dir, journal, ring, ledger, ended, .. } = kept;
    let height = ledger.head().number;
    supervisor.spawn("ledger", ledger_end(ended, supervisor.stopping()));
    let (service, pool) = Mempool::new(mempool::Config::default(), ledger.checking(), height);
    supervisor.spawn("mempool", infallible(service.run(supervisor.stopping())));
    let (told, heights) = watch::channel(height);
    let telling = tell(ledger.clone(), pool.clone(), told, supervisor.stopping());
    supervisor.spawn("blocks", infallible(telling));
    let retention = retention::run(ledger.clone(), journal.clone(), supervisor.stopping());
    supervisor.spawn("retention", infallible(retention));
    let models = Arc::new(Models::at(workplace, Arc::clone(&store)));
    let peers = Arc::new(Peers::new(Arc::new(NoNetwork), Arc::clone(&store), store_dir));
    Parts { ledger, pool, journal, ring, store, models, peers, wants: serving::wants(), heights }
}

/// Serves artifacts to the nodes of a network, and returns what fetches from them.
fn start_blobs<S: blobs::Swarm>(
    supervisor: &mut Supervisor,
    store: &Arc<Store>,
    network: blobs::Joined<S>,
    serve: ServeConfig,
) -> Fetcher<S> {
    let blobs::Joined { swarm, incoming } = network;
    let server = blobs::Server::new(swarm, Arc::clone(store), serve);
    let fetcher = server.fetcher(FetchConfig::default());
    supervisor.spawn("blobs", infallible(server.run(incoming, supervisor.stopping())));
    fetcher
}

/// Where models are run, after it was found out whether they can be run there as is asked for.
async fn workplace(isolation: Isolation, settings: Settings) -> Result<Workplace, StartError> {
    let failed = |error: &dyn std::fmt::Display| StartError::Engine(error.to_string());
    match isolation {
        Isolation::InProcess => {
            let engine = Engine::new(settings).map_err(|error| failed(&error))?;
            Ok(Workplace::Here(Arc::new(engine)))
        }
        Isolation::Process(config) => {
            let asked = config.clone();
            let probed = tokio::task::spawn_blocking(move || confined(&asked)).await;
            let confinement = probed.map_err(|error| failed(&error))??.confinement;
            Ok(Workplace::Processes { config, settings, confinement })
        }
    }
}

async fn start_rpc(
    parts: &Parts,
    config: rpc::Config,
    identity: rpc::Identity,
    (network, wish): (Option<NetworkHandle>, Option<Wish>),
) -> Result<Rpc, rpc::StartError> {
    let Parts { ledger, pool, journal, store, models, peers, .. } = parts;
    let peers: Arc<Peers> = Arc::clone(peers);
    let (ledger, pool, identity) = (ledger.clone(), pool.clone(), Arc::new(identity));
    let backend = Backend { ledger: ledger.clone(), pool, identity, network, wants: parts.wants.0.clone() };
    let services = Services {
        artifacts: Arc::clone(store),
        peers,
        models: Arc::clone(models),
        jobs: Arc::new(Orders { journal: journal.clone(), models: Arc::clone(models), wish }),
        receipts: Arc::new(Receipts::new(ledger, Arc::new(journal.clone()))),
    };
    rpc::start(config, backend, services).await
}

/// The market's network, and what travels over it.
fn start_market(
    supervisor: &mut Supervisor,
    parts: &mut Parts,
    config: network::Config,
    identities: &[Seller],
    validator: Option<&ValidatorKeys>,
) -> Result<(NetworkHandle, Wish), network::StartError> {
    let Parts { ledger, pool, journal, models, heights, .. } = parts;
    let market = Market { ledger: ledger.reserved(), models: Arc::clone(models), heights: heights.clone() };
    let genesis = Digest32::from_bytes(ledger.genesis().0);
    let bytes_per_second = config.limits.upload_bytes_per_second;
    let serve = ServeConfig { bytes_per_second, ..ServeConfig::default() };
    let (swarm, network, incoming) = network::Network::start(config, &genesis)?;
    let Incoming { transactions, announcements, envelopes, book: questions } = incoming;
    let home = Home {
        hosted: identities.iter().map(|seller| seller.account.clone().into()).collect(),
        judge: validator.map(|keys| *keys.public().as_bytes()),
    };
    let provider = |seller: &Seller| Announcing::Provider(seller.account.clone().into(), seller.work.clone());
    let judge = validator.map(|keys| Announcing::Validator(keys.consensus.clone()));
    let own = identities.iter().map(provider).chain(judge).collect();
    let transactions = Transactions::new(network.clone(), transactions, pool.clone());
    let (presence, book) = Presence::new(network.clone(), market.clone(), own, announcements, questions);
    let meeting = network::meet_validators(network.clone(), market.clone(), supervisor.stopping());
    let (courier, wish) = Courier::new(network.clone(), envelopes, (market, journal.clone()), book, home);
    let artifacts = Swarm::join(network.clone(), &genesis)?;
    let fetcher = start_blobs(supervisor, &parts.store, artifacts, serve);
    parts.peers = Arc::new(parts.peers.by(Arc::new(fetcher)));
    supervisor.spawn("network", infallible(swarm.run(supervisor.stopping())));
    supervisor.spawn("transactions", infallible(transactions.run(supervisor.stopping())));
    supervisor.spawn("presence", infallible(presence.run(supervisor.stopping())));
    supervisor.spawn("bootstrap", infallible(meeting));
    supervisor.spawn("courier", infallible(courier.run(supervisor.stopping())));
    Ok((network, wish))
}

/// Loads what is offered, then works for the seats of `identities`, and as a referee if this node is a validator.
async fn start_selling(
    supervisor: &mut Supervisor,
    parts: Parts,
    identities: &[Seller],
    validator: Option<&ValidatorKeys>,
) {
    let Parts { ledger, pool, journal, ring, models, peers, wants: (_, questions), heights, .. } = parts;
    let accounts = identities.iter().map(|seller| seller.account.clone()).collect();
    let judging = validator.map_or(Judging::Nothing, |_| Judging::Contested);
    let shelf = Arc::clone(&models);
    let mut serving = Serving::new(ledger.reserved(), shelf, peers, accounts, questions, judging);
    serving.prepare().await;
    supervisor.spawn("serving", infallible(serving.run(supervisor.stopping())));
    let referee = validator.map(|keys| Referee { key: keys.consensus.clone() });
    let sellers: Vec<_> = identities.iter().map(identity).collect();
    let (ring, board) = (Arc::new(ring), Board { ledger: ledger.reserved(), pool, heights });
    let rotation = sealing::rotate(board.clone(), Arc::clone(&ring), sellers.clone(), supervisor.stopping());
    supervisor.spawn("sealing", infallible(rotation));
    let shop = Shop::new(models, Desk { mailbox: Arc::new(journal), ring }, sellers, referee);
    supervisor
        .spawn("worker", Worker::new(worker::Config::default(), board, shop).run(supervisor.stopping()));
}

/// The keys of this node that are on the ledger before any is rotated.
fn first_keys(identities: &[Seller], validator: Option<&ValidatorKeys>) -> Vec<SealingSecret> {
    let sellers = identities.iter().map(Seller::first_sealing_secret);
    sellers.chain(validator.map(|keys| keys.encryption.clone())).collect()
}

async fn trust_root(ledger: &LedgerHandle) -> Result<Trust, LedgerError> {
    let validators = ledger.validators_of(1).await?;
    Ok(Trust::of_genesis(Digest32::from_bytes(ledger.genesis().0), validators))
}

fn identity(seller: &Seller) -> Identity {
    Identity { account: seller.account.clone().into(), work_key: seller.work.clone() }
}

async fn infallible(task: impl Future<Output = ()>) -> Result<(), std::convert::Infallible> {
    task.await;
    Ok(())
}

/// Ends with the ledger's writer: at the latest when the node stops and lets go of its handles.
async fn ledger_end(
    ended: oneshot::Receiver<Result<(), ChainError>>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    tokio::select! {
        ended = ended => match ended {
            Ok(result) => Ok(result?),
            Err(_) => Err("the ledger's thread panicked".into()),
        },
        () = told_to_stop(&mut stop) => Ok(()),
    }
}

/// Tells the pool of every finalized block, and then the worker.
async fn tell(
    ledger: LedgerHandle,
    pool: MempoolHandle,
    heights: watch::Sender<u32>,
    mut stop: watch::Receiver<bool>,
) {
    let mut blocks = ledger.subscribe();
    loop {
        let block = tokio::select! {
            block = blocks.recv() => block,
            () = told_to_stop(&mut stop) => return,
        };
        match block {
            Ok(block) => {
                let (height, included) = (block.header.number, block.extrinsics.clone());
                // A pool that is gone while the node stops is no failure; otherwise its own end is.
                if pool.finalized(height, block.hash, included).await.is_err() {
                    return told_to_stop(&mut stop).await;
                }
                heights.send_replace(height);
            }
            // The pool finds out by itself what was included meanwhile when it checks again.
            Err(broadcast::error::RecvError::Lagged(missed)) => warn!(missed, "blocks came too fast"),
            Err(broadcast::error::RecvError::Closed) => return told_to_stop(&mut stop).await,
        }
    }
}
