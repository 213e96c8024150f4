//! Many names of one attacker around an honest node: as many as its limits let in.

use std::net::TcpListener;
use std::sync::Arc;

use assay_manifest::Digest32;
use assay_protocol::seal::Purpose;
use libp2p::identity::Keypair;
use zeroize::Zeroizing;

use super::hostile::Liar;
use super::post::{OneJob, Post};
use super::town::{GENESIS, Node, QUIC};
use crate::fixtures::{EXECUTOR, REQUESTER, envelope};
use crate::network::{Config, Limits, Multiaddr, NetworkHandle};

/// Connections that the victim takes: more than gossipsub lets come from one address by itself.
const SYBILS: u32 = 20;

/// Where a node will listen, and its key.
struct Named {
    key: [u8; 32],
    listen: Multiaddr,
}

impl Named {
    fn new(key: [u8; 32]) -> Self {
        // By TCP, whose dialling fails while nobody is there: by QUIC one attempt could outlast the sybils' arrival.
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        Self { key, listen: format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap() }
    }

    fn address(&self) -> Multiaddr {
        let peer = Keypair::ed25519_from_bytes(self.key).unwrap().public().to_peer_id();
        format!("{}/p2p/{peer}", self.listen).parse().unwrap()
    }

    fn config(&self, dir: &std::path::Path) -> Config {
        let mut config = Config::new(Zeroizing::new(self.key), dir.join("peers.json"));
        config.listen = vec![self.listen.clone()];
        config
    }
}

/// A node that is told of a friend, which is not there yet.
fn lonely(dir: &std::path::Path, friend: &Named) -> Config {
    let mut config = Config::new(Zeroizing::new([1; 32]), dir.join("peers.json"));
    config.listen = vec![QUIC.parse().unwrap()];
    config.peers = vec![friend.address()];
    config.limits = Limits { connections_in: SYBILS, ..Limits::default() };
    config
}

/// Connects as many as are let in.
async fn surround(victim: &NetworkHandle, address: &Multiaddr, genesis: &Digest32) -> Vec<Liar> {
    let mut sybils = Vec::new();
    for _ in 0..SYBILS {
        sybils.push(Liar::connect_on(address, genesis).await);
    }
    while victim.peers().await.unwrap().iter().filter(|info| info.connected).count() < sybils.len() {
        tokio::task::yield_now().await;
    }
    sybils
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_surrounded_node_reaches_whom_its_operator_named_and_hears_what_is_said_behind_it() {
    let named = Named::new([2; 32]);
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let config = lonely(dir.path(), &named);
    let victim = Node::start_with(dir, GENESIS, config).await;
    let sybils = surround(&victim.handle, &victim.address, &GENESIS).await;

    let dir = Arc::new(tempfile::tempdir().unwrap());
    let config = named.config(dir.path());
    let friend = Node::start_with(dir, GENESIS, config).await;
    victim.meets(friend.peer()).await;
    let other = Node::start(QUIC, &[&friend.address]).await;
    other.meets(friend.peer()).await;
    let hash = other.pool.hand_in(9);
    victim.pool.gets(hash).await;
    let hash = victim.pool.hand_in(10);
    other.pool.gets(hash).await;
    // They share an address with the honest, and have done nothing.
    for info in victim.handle.peers().await.unwrap() {
        assert_eq!((info.score, info.connected), (0, true), "{info:?}");
    }
    drop(sybils);
    for node in [victim, friend, other] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_of_a_surrounded_buyer_hands_its_envelopes_over() {
    let ledger = OneJob::new();
    let (genesis, named) = (ledger.get().genesis, Named::new([3; 32]));
    let dir = tempfile::tempdir().unwrap();
    let config = lonely(dir.path(), &named);
    let buyers = Post::start_with(dir, &ledger, &[], config).await;
    let sybils = surround(&buyers.handle, &buyers.address, &genesis).await;

    let input = envelope(&ledger.get(), Purpose::Input, [REQUESTER, EXECUTOR], 0);
    buyers.put(&input);
    let dir = tempfile::tempdir().unwrap();
    let config = named.config(dir.path());
    let executors = Post::start_with(dir, &ledger, &[EXECUTOR], config).await;
    executors.gets(&input).await;
    drop(sybils);
    executors.stop().await;
    buyers.stop().await;
}
