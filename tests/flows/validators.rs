//! Several validators agree on blocks, whatever becomes of one of them.

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::path::Path;

use assay_engine::Settings;
use assay_manifest::Digest32;
use assay_node::chain_spec::{ChainSpec, development_validator};
use assay_node::client::Client;
use assay_node::consensus::Network;
use assay_node::data_dir::DataDir;
use assay_node::keys::Key;
use assay_node::ledger::{self, LedgerHandle};
use assay_node::model_process::Isolation;
use assay_node::node::{Config, Node, StartError};
use assay_node::rpc::{self, ChainKind};
use assay_node::supervisor::TaskError;
use assay_protocol::receipt::{Evidence, Succession, Trust};
use assay_protocol::signature::Signature;
use assay_protocol::units::Height;
use assay_protocol::vote::{Equivocation, Vote, VoteKind};
use assay_runtime::executor::{ChainError, StoreFault};
use assay_runtime::{Hash, Runtime, UNIT, general};
use codec::Encode;
use ed25519_dalek::Signer;
use pallet_assay_validators::{Attended, Call};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const VALIDATORS: u32 = 4;

/// Validators in one process, each with a data directory and a port.
struct Town {
    spec: ChainSpec,
    /// The number of the development validator whose keys each has.
    keys: Vec<Option<u32>>,
    dirs: Vec<TempDir>,
    ports: Vec<u16>,
}

struct Running {
    ledger: LedgerHandle,
    trust: Trust,
    rpc: String,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), TaskError>>,
}

impl Town {
    /// The validators of the first block, and another node.
    fn new(another: Option<u32>) -> Self {
        let keys: Vec<_> = (1..=VALIDATORS).map(Some).chain([another]).collect();
        // All ports are held until the last is found, so that they differ.
        let listeners: Vec<_> = keys.iter().map(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap()).collect();
        Self {
            spec: ChainSpec::local(VALIDATORS).unwrap(),
            keys,
            dirs: listeners.iter().map(|_| tempfile::tempdir().unwrap()).collect(),
            ports: listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect(),
        }
    }

    fn address(&self, number: usize) -> String {
        format!("/ip4/127.0.0.1/tcp/{}", self.ports[number])
    }

    /// Starts every node, and waits for the first blocks.
    async fn start_all(&self) -> Vec<Running> {
        let mut nodes = Vec::new();
        for number in 0..self.ports.len() {
            nodes.push(self.start(number).await);
        }
        for node in &nodes {
            node.reaches(3).await;
        }
        nodes
    }

    /// Starts a node, as soon as the one before it has let go of its directory.
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
        let (ledger, trust) = (node.ledger().clone(), node.trust().clone());
        let rpc = format!("ws://{}", node.rpc_address());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(node.run_until(async { drop(stopped.await) }));
        Running { ledger, trust, rpc, stop, running }
    }

    fn config(&self, number: usize) -> Config {
        Config {
            data: DataDir::create(self.dirs[number].path(), &self.spec, None).unwrap(),
            spec: self.spec.clone(),
            kind: ChainKind::Development,
            validator: self.keys[number].map(development_validator),
            network: Network {
                listen: self.address(number),
                peers: (0..self.ports.len())
                    .filter(|other| *other != number)
                    .map(|other| self.address(other))
                    .collect(),
                ..Network::alone()
            },
            market: None,
            identities: Vec::new(),
            rpc: rpc::Config { listen: ([127, 0, 0, 1], 0).into(), ..rpc::Config::default() },
            ledger: ledger::Config::default(),
            engine: Settings { threads: NonZeroUsize::MIN, ..Settings::for_this_machine() },
            isolation: Isolation::InProcess,
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

    /// Submits a call here, and waits for the block that holds it.
    async fn submit(&self, uri: &str, call: Call<Runtime>) {
        let client = Client::connect(&self.rpc).await.unwrap();
        client.submit(&Key::development(uri).unwrap(), "a test", call.into()).await.unwrap();
    }

    /// Waits until the validators of the next height are these.
    async fn is_decided_by(&self, numbers: &[u32]) {
        let mut expected: Vec<_> =
            numbers.iter().map(|number| development_validator(*number).public()).collect();
        expected.sort();
        let mut heads = self.ledger.heads();
        loop {
            let next = heads.borrow_and_update().number + 1;
            let set = self.ledger.validators_of(next).await.unwrap();
            if set.validators().iter().map(|validator| validator.key).eq(expected.iter().copied()) {
                return;
            }
            heads.changed().await.unwrap();
        }
    }

    /// Whether the chain of hand-overs from the first validators leads to those of the head.
    async fn hands_over(&self) {
        let head = self.ledger.head();
        let hand_overs = self.ledger.hand_overs(head.number, usize::MAX).await.unwrap();
        assert!(!hand_overs.is_empty());
        let succession = Succession::follow(&self.trust, &hand_overs).unwrap();
        let certificate = self.ledger.certificate(head.hash()).await.unwrap().unwrap();
        succession.check(&Evidence { header: head.encode(), certificate }, None).unwrap();
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_validators_agree_though_one_leaves_comes_back_and_loses_everything() {
    let mut town = Town::new(None);
    let mut nodes = town.start_all().await;
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
async fn a_validator_that_lost_everything_begins_with_anothers_snapshot() {
    let mut town = Town::new(None);
    let mut nodes = town.start_all().await;
    nodes[0].reaches(30).await;
    nodes.remove(1).stop().await;
    nodes.pop().unwrap().stop().await;
    let file = town.dirs[0].path().join("snapshot");
    let file = file.to_str().unwrap();
    // The node without keys is stopped; its ledger serves.
    assay(town.dirs[4].path(), &["chain", "snapshot", "export", file]);
    let spec = town.dirs[0].path().join("spec.json");
    std::fs::write(&spec, assay(town.dirs[4].path(), &["chain", "spec"])).unwrap();
    town.forget(1);
    let import = ["chain", "snapshot", "import", file, "--spec", spec.to_str().unwrap()];
    let imported: serde_json::Value = serde_json::from_slice(&assay(town.dirs[1].path(), &import)).unwrap();
    let begins = u32::try_from(imported["height"].as_u64().unwrap()).unwrap();
    assert!(begins >= 3);
    let back = town.start(1).await;
    assert_eq!((back.ledger.base(), back.ledger.hash_of(begins - 1).await.unwrap()), (begins, None));
    let height = nodes[0].ledger.head().number + 5;
    back.reaches(height).await;
    nodes[0].reaches(height).await;
    for height in begins..=height {
        assert_eq!(
            back.ledger.hash_of(height).await.unwrap(),
            nodes[0].ledger.hash_of(height).await.unwrap()
        );
    }
    back.stop().await;
    let checked: serde_json::Value =
        serde_json::from_slice(&assay(town.dirs[1].path(), &["chain", "check"])).unwrap();
    assert_eq!(checked["base"], begins, "it is not whole from the first block");
}

/// What a command prints that works in a directory of its own, as soon as a node that stopped has let go of it.
fn assay(base: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_assay"));
    command.args(["--json", "--chain", "local", "--base-path"]).arg(base).args(arguments);
    loop {
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if !said.contains("Cannot acquire lock") {
            assert!(output.status.success(), "{arguments:?}: {said}");
            return output.stdout;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_four_stop_and_a_third_brings_blocks_back() {
    let town = Town::new(None);
    let mut nodes = town.start_all().await;
    nodes.pop().unwrap().stop().await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_away_for_a_session_is_seen_to_be_and_stays_where_few_decide() {
    let town = Town::new(None);
    let mut nodes = town.start_all().await;
    nodes.remove(3).stop().await;
    let session = town.spec.genesis.params.session_length;
    // What was on its way when it stopped, a whole session without it, and the first block of the next.
    let begins = (nodes[0].ledger.head().number + 2).next_multiple_of(session);
    nodes[0].reaches(begins + session).await;
    let status = ["validator", "status", "//Validator//4", "--rpc", &nodes[0].rpc];
    let status: serde_json::Value = serde_json::from_slice(&assay(town.dirs[3].path(), &status)).unwrap();
    let key = |number| serde_json::json!(development_validator(number).public());
    let validators = status["validators"].as_array().unwrap();
    let missed = |number| {
        let seat = validators.iter().find(|seat| seat["key"] == key(number)).unwrap();
        let count = |field: &str| seat["lastSession"][field].as_u64().unwrap();
        (count("missed"), count("commits"))
    };
    let commits = u64::from(session) - 1;
    assert_eq!(missed(4), (commits, commits), "{status}");
    for present in 1..4 {
        assert!(missed(present).0 < commits, "{status}");
    }
    assert_eq!(status["account"]["absent"], true);
    assert_eq!(status["account"]["chosen"], true, "a quarter of the votes is not done without");
    let back = town.start(3).await;
    back.reaches(begins + session + 5).await;
    nodes.push(back);
    // Its votes are seen again, of which the session's end takes note.
    let end = (nodes[0].ledger.head().number + 1).next_multiple_of(session) + session;
    nodes[0].reaches(end).await;
    let (_, before): (Attended, Attended) =
        nodes[0].ledger.query(None, "LedgerApi_attendance", ()).await.unwrap();
    assert!(before.of(&development_validator(4).public()).unwrap() > 0);
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fifth_validator_joins_and_one_of_the_first_leaves() {
    let town = Town::new(Some(5));
    let nodes = town.start_all().await;
    nodes[4].is_decided_by(&[1, 2, 3, 4]).await;
    let (fifth, genesis) = (development_validator(5), nodes[0].trust.genesis);
    let alice = Key::development("//Alice").unwrap().account();
    let proof = fifth.stand_for(&genesis, &alice);
    let bond = Call::bond { amount: 1_000 * UNIT, keys: fifth.published(), proof };
    nodes[0].submit("//Alice", bond).await;
    nodes[4].is_decided_by(&[1, 2, 3, 4, 5]).await;
    nodes[1].submit("//Validator//2", Call::unbond { amount: 1_000 * UNIT }).await;
    for node in &nodes {
        node.is_decided_by(&[1, 3, 4, 5]).await;
    }
    let mut nodes = nodes;
    // The fifth is needed now: three of four decide.
    nodes.remove(0).stop().await;
    let height = nodes[0].ledger.head().number + 5;
    for node in &nodes {
        node.reaches(height).await;
        node.hands_over().await;
        assert_eq!(node.hashes(height).await, nodes[0].hashes(height).await);
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_votes_for_two_things_is_fined_and_out_and_the_others_go_on() {
    let town = Town::new(None);
    let nodes = town.start_all().await;
    let fourth = development_validator(4);
    let (kind, height, round) = (VoteKind::Prevote, Height::new(3), 7);
    let votes = [None, Some(Digest32::ZERO)].map(|value| {
        let message = Vote { kind, height, round, value }.sign_bytes(&nodes[0].trust.genesis);
        (value, Signature(fourth.consensus.sign(message.as_bytes()).to_bytes()))
    });
    let proof = Equivocation { validator: fourth.public(), kind, height, round, votes };
    let client = Client::connect(&nodes[0].rpc).await.unwrap();
    client.submit_made("a proof", general(Call::convict { proof }.into())).await.unwrap();
    nodes[0].is_decided_by(&[1, 2, 3]).await;
    let height = nodes[0].ledger.head().number + 5;
    for node in &nodes {
        node.reaches(height).await;
        assert_eq!(node.hashes(height).await, nodes[0].hashes(height).await);
    }
    nodes[0].hands_over().await;
    let account = Key::development("//Validator//4").unwrap().account();
    assert_eq!(client.balances(&account).await.unwrap().held, 500 * UNIT, "half of its stake is burned");
    for node in nodes {
        node.stop().await;
    }
}
