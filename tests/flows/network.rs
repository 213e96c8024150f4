//! One job whose parties have a node each: nothing but transactions, announcements and sealed envelopes passes
//! between them.

use std::num::NonZeroUsize;

use assay_engine::Settings;
use assay_node::chain_spec::{
    ChainSpec, DEVELOPMENT_ACCOUNTS, development_providers, development_sellers, development_validator,
};
use assay_node::client::Client;
use assay_node::consensus::Network;
use assay_node::data_dir::DataDir;
use assay_node::development;
use assay_node::keys::{Key, Seller};
use assay_node::ledger;
use assay_node::network::{self, Multiaddr, NetworkHandle};
use assay_node::node::{Config, Node};
use assay_node::rpc::{self, ChainKind};
use assay_node::supervisor::TaskError;
use assay_protocol::job::Verdict;
use assay_protocol::party::Role;
use assay_protocol::seal::Envelope;
use jsonrpsee::rpc_params;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::parties::wish;
use crate::process::{NodeProcess, failure, json};

/// Who runs a node of this test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Validator,
    /// Somebody who sells nothing, through whom the buyer buys.
    Follower,
    /// A provider, counted from zero.
    Provider(usize),
}

struct Running {
    dir: TempDir,
    client: Client,
    network: NetworkHandle,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), TaskError>>,
}

/// Blocks slow enough for five nodes on one machine.
const BLOCK_TIME_MS: u64 = 400;

fn spec() -> ChainSpec {
    ChainSpec { block_time_ms: BLOCK_TIME_MS, ..ChainSpec::local(1).unwrap() }
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

impl Running {
    async fn start(who: Who, consensus: &str, market: &[Multiaddr]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec();
        let data = DataDir::create(dir.path(), &spec, None).unwrap();
        let sellers = development_sellers().unwrap();
        let identities: Vec<Seller> = match who {
            Who::Provider(number) => sellers.into_iter().skip(number).take(1).collect(),
            Who::Validator | Who::Follower => Vec::new(),
        };
        let of_consensus = match who {
            Who::Validator => Network { listen: consensus.into(), ..Network::alone() },
            _ => Network { peers: vec![consensus.into()], discovery: true, ..Network::alone() },
        };
        let key = Zeroizing::new(own_key(who));
        let of_market = network::Config {
            listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()],
            peers: market.to_vec(),
            ..network::Config::new(key, data.peers())
        };
        let config = Config {
            data,
            spec,
            kind: ChainKind::Development,
            validator: (who == Who::Validator).then(|| development_validator(1)),
            network: of_consensus,
            market: Some(of_market),
            identities,
            rpc: rpc::Config { listen: ([127, 0, 0, 1], 0).into(), ..rpc::Config::default() },
            ledger: ledger::Config::default(),
            isolation: assay_node::model_process::Isolation::InProcess,
            engine: Settings { threads: NonZeroUsize::MIN, ..Settings::for_this_machine() },
        };
        let node = Node::start(config).await.unwrap();
        let network = node.network().unwrap().clone();
        let url = format!("ws://{}", node.rpc_address());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(node.run_until(async { drop(stopped.await) }));
        let client = Client::connect(&url).await.unwrap();
        Self { dir, client, network, stop, running }
    }

    /// Where the market's network finds it.
    async fn address(&self) -> Multiaddr {
        loop {
            if let Some(address) = self.network.listening().await.unwrap().pop() {
                return address;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
    }
}

/// A seed of its own for each node.
fn own_key(who: Who) -> [u8; 32] {
    let number = match who {
        Who::Validator => 1,
        Who::Follower => 2,
        Who::Provider(number) => 3 + number as u8,
    };
    [number; 32]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_settles_whose_buyer_executor_and_verifiers_have_nodes_of_their_own() {
    let consensus = format!("/ip4/127.0.0.1/tcp/{}", free_port());
    let validator = Running::start(Who::Validator, &consensus, &[]).await;
    let market = [validator.address().await];
    let buyers = Running::start(Who::Follower, &consensus, &market).await;
    let mut sellers = Vec::new();
    for number in 0..3 {
        sellers.push(Running::start(Who::Provider(number), &consensus, &market).await);
    }

    // Every provider has the model's files; registering and offering goes through their own nodes.
    let publisher = Key::development(DEVELOPMENT_ACCOUNTS[0]).unwrap();
    let mut published = None;
    for seller in &sellers {
        published = Some(development::publish(&seller.client, &publisher, seller.dir.path()).await.unwrap());
    }
    let published = published.unwrap();
    let providers = development_providers().unwrap();
    for (seller, provider) in sellers.iter().zip(&providers) {
        development::open_market(&[(&seller.client, provider)], published.served()).await.unwrap();
    }
    let served = published.served();
    let mut heights = buyers.client.heights().await.unwrap();
    while buyers.client.serving(&served.model_id, Some(&served.spec_id)).await.unwrap().len() < 3 {
        heights.next().await.unwrap();
    }

    // The buyer's node has no model: one that sells counts the prompt.
    let buyer = Key::development(DEVELOPMENT_ACCOUNTS[1]).unwrap();
    let question = wish(published.model_id, "What is 12 + 31?".into());
    let order = sellers[0].client.draft(buyer.account(), question).await.unwrap();
    let client = &buyers.client;
    client.place(&buyer, &order).await.unwrap();
    let verdict = client.follow_order(&buyer, &order, |_| {}).await.unwrap();
    assert_eq!(verdict, Verdict::VerifiedThin);

    // No seat had to ask for its data on the ledger, and the answer is where the buyer comes for it.
    let job = client.job_on_ledger(&order.job).await.unwrap().unwrap();
    assert!(job.needs.is_empty(), "{:?}", job.needs);
    let mut at_work: Vec<_> = job.round_seats().map(|seat| seat.provider).collect();
    at_work.dedup();
    assert_eq!(at_work.len(), 3);
    let executor = job.round_seats().find(|seat| seat.role == Role::Executor).unwrap().provider;
    let answers = loop {
        // It travels when the job is paid, and not before.
        let answers: Result<Vec<Envelope>, _> = client.request("job_v1_output", rpc_params![order.job]).await;
        match answers {
            Ok(answers) => break answers,
            Err(_) => drop(heights.next().await.unwrap()),
        }
    };
    assert_eq!(answers.iter().map(|answer| answer.sender).collect::<Vec<_>>(), vec![executor]);
    let number =
        providers.iter().position(|provider| *AsRef::<[u8; 32]>::as_ref(&provider.account()) == executor);
    let there = &sellers[number.unwrap()].client;
    let sealed: Vec<Envelope> = there.request("job_v1_output", rpc_params![order.job]).await.unwrap();
    assert_eq!(answers, sealed);
    let record = client.job(&order.job).await.unwrap().settlement.unwrap();
    assert!(!there.answer(&order, &record).await.unwrap().tokens.is_empty());

    for node in sellers.into_iter().chain([buyers, validator]) {
        node.stop().await;
    }
}

#[test]
fn two_nodes_that_are_told_of_each_other_list_each_other_as_peers() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let port = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let address = format!("/ip4/127.0.0.1/udp/{port}/quic-v1");
    let first = NodeProcess::start_with(dirs[0].path(), &["--listen", &address]);
    let list = |node: &NodeProcess| {
        let base = dirs[0].path().to_str().unwrap();
        json(&["node", "peers", "--rpc", &node.rpc, "--base-path", base, "--json"])
    };
    assert_eq!(list(&first), serde_json::json!([]));
    let second = NodeProcess::start_with(dirs[1].path(), &["--peer", &address]);
    for node in [&first, &second] {
        // The peer says what it runs a moment after it has connected.
        let peers = loop {
            let peers = list(node);
            if peers[0]["agent"].is_string() {
                break peers;
            }
        };
        assert_eq!((&peers[0]["connected"], &peers[0]["score"]), (&true.into(), &0.into()), "{peers}");
        assert!(peers[0]["agent"].as_str().unwrap().starts_with("assay/"), "{peers}");
    }
    assert!(
        list(&second)[0]["addresses"].as_array().unwrap().iter().any(|there| *there == *address),
        "{address}"
    );

    // No address at all; and what is of no use to a node that takes no part.
    for bad in [&["--peer", "10.0.0.1:1"][..], &["--relay"], &["--external", "/ip4/1.2.3.4/udp/1/quic-v1"]] {
        let (code, message) = failure(&[&["node", "--dev"], bad].concat());
        assert_eq!(code, 2, "{message}");
    }
}
