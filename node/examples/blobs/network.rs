//! Swarms of libp2p that know each other from the beginning.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use assay_manifest::Digest32;
use assay_node::blobs::{Fault, OpenError, Swarm, wire};
use futures::StreamExt;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, StreamProtocol, SwarmBuilder, noise, tcp, yamux};
use libp2p_stream::{Behaviour, Control};

use crate::Failed;
use crate::stream::{Sent, Stream, Trouble};

/// The protocol of the bare copy: sixteen bytes of range go, and its bytes come.
pub const BARE: StreamProtocol = StreamProtocol::new("/assay/bench/bare/1");

/// A network whose holders are known.
pub struct Known {
    pub control: Control,
    pub holders: Vec<PeerId>,
    /// What this node sends on streams that it opens.
    sent: Arc<Sent>,
    /// What holders did that none should.
    faults: Mutex<Vec<Fault>>,
}

impl Known {
    pub fn new(control: Control, holders: Vec<PeerId>) -> Self {
        Self { control, holders, sent: Sent::new(Trouble::None), faults: Mutex::default() }
    }

    /// What was reported so far, in order.
    pub fn faults(&self) -> Vec<Fault> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The protocol of artifacts.
pub fn blobs() -> Result<StreamProtocol, Failed> {
    Ok(wire::protocol("bench")?)
}

impl Swarm for Known {
    type Stream = Stream;

    async fn holders(&self, _: Digest32) -> Vec<PeerId> {
        self.holders.clone()
    }

    async fn open(&self, holder: PeerId) -> Result<Stream, OpenError> {
        let protocol = wire::protocol("bench").map_err(|error| OpenError(error.to_string()))?;
        let opened = self.control.clone().open_stream(holder, protocol).await;
        let stream = opened.map_err(|error| OpenError(error.to_string()))?;
        Ok(Stream::new(stream, &self.sent))
    }

    fn report(&self, _: PeerId, fault: Fault) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    fn announce(&self, _: Digest32) {}

    fn withdraw(&self, _: Digest32) {}
}

pub fn swarm() -> Result<libp2p::Swarm<Behaviour>, Failed> {
    Ok(SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_quic()
        .with_behaviour(|_| Behaviour::new())?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3600)))
        .build())
}

/// Connects to holders by their addresses, which end with their peer ids.
pub async fn connect(to: Vec<Multiaddr>) -> Result<Known, Failed> {
    let mut swarm = swarm()?;
    for address in &to {
        swarm.dial(address.clone())?;
    }
    let mut holders = Vec::new();
    while holders.len() < to.len() {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => holders.push(peer_id),
            SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.to_string().into()),
            _ => {}
        }
    }
    let control = swarm.behaviour().new_control();
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
    Ok(Known::new(control, holders))
}

/// Listens, and returns the address with the peer's id.
pub async fn listen(at: &str) -> Result<(Multiaddr, Control), Failed> {
    let mut swarm = swarm()?;
    swarm.listen_on(at.parse()?)?;
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    let address = address.with(Protocol::P2p(*swarm.local_peer_id()));
    let control = swarm.behaviour().new_control();
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
    Ok((address, control))
}
