//! The same over libp2p, by QUIC and by TCP on loopback.

use std::sync::Arc;
use std::time::Duration;

use assay_manifest::Digest32;
use futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, SwarmBuilder, noise, tcp, yamux};
use libp2p_stream::{Behaviour, Control};
use tokio::sync::watch;

use super::world::{Stores, quick};
use crate::blobs::wire::protocol;
use crate::blobs::{Fault, Fetch, Fetcher, OpenError, ServeConfig, Server, Swarm, Want};

/// A network of peers that are known from the beginning.
struct Known {
    control: Control,
    holders: Vec<PeerId>,
}

impl Swarm for Known {
    type Stream = libp2p::Stream;

    async fn holders(&self, _: Digest32) -> Vec<PeerId> {
        self.holders.clone()
    }

    async fn open(&self, holder: PeerId) -> Result<libp2p::Stream, OpenError> {
        let protocol = protocol("test").map_err(|error| OpenError(error.to_string()))?;
        self.control.clone().open_stream(holder, protocol).await.map_err(|error| OpenError(error.to_string()))
    }

    fn report(&self, peer: PeerId, fault: Fault) {
        panic!("{peer}: {fault:?}");
    }

    fn announce(&self, _: Digest32) {}

    fn withdraw(&self, _: Digest32) {}
}

fn swarm() -> libp2p::Swarm<Behaviour> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_quic()
        .with_behaviour(|_| Behaviour::new())
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build()
}

/// A swarm that listens and runs, its address, and its control.
async fn listening(at: &str) -> (Multiaddr, Control) {
    let mut swarm = swarm();
    swarm.listen_on(at.parse().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    let address = address.with_p2p(*swarm.local_peer_id()).unwrap();
    let control = swarm.behaviour().new_control();
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
    (address, control)
}

/// A swarm that runs and is connected to these, which it knows by their addresses.
async fn connected(to: &[Multiaddr]) -> Control {
    let mut swarm = swarm();
    for address in to {
        swarm.dial(address.clone()).unwrap();
    }
    let mut connections = 0;
    while connections < to.len() {
        if let SwarmEvent::ConnectionEstablished { .. } = swarm.select_next_some().await {
            connections += 1;
        }
    }
    let control = swarm.behaviour().new_control();
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
    control
}

async fn arrives_over(at: &str) {
    let stores = Stores::new();
    let (source, sink) = (stores.store("source-store"), stores.store("sink"));
    let manifest = stores.artifact(&source, 6_000_000);
    let (running, stop) = watch::channel(false);
    let mut addresses = Vec::new();
    for _ in 0..3 {
        let (address, mut control) = listening(at).await;
        let incoming = control.accept(protocol("test").unwrap()).unwrap();
        let network = Arc::new(Known { control, holders: Vec::new() });
        let server = Server::new(network, Arc::clone(&source), ServeConfig::default());
        tokio::spawn(server.run(incoming, stop.clone()));
        addresses.push(address);
    }
    let control = connected(&addresses).await;
    let peer = |address: &Multiaddr| {
        address.iter().find_map(|part| match part {
            libp2p::multiaddr::Protocol::P2p(peer) => Some(peer),
            _ => None,
        })
    };
    let holders = addresses.iter().filter_map(peer).collect();
    let network = Arc::new(Known { control, holders });
    let config = crate::blobs::FetchConfig { range_bytes: 512 << 10, ..quick() };
    let fetcher = Fetcher::new(network, Arc::clone(&sink), config);
    let want = Want { artifact: manifest.artifact_id(), kind: None };
    assert_eq!(fetcher.fetch(want, &|_| {}).await.unwrap(), manifest);
    drop(running);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_arrives_over_quic() {
    arrives_over("/ip4/127.0.0.1/udp/0/quic-v1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_arrives_over_tcp() {
    arrives_over("/ip4/127.0.0.1/tcp/0").await;
}
