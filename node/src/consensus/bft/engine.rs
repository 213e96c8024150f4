//! Starts the engine, serves it, and ends with it.

use std::net::IpAddr;
use std::time::Duration;

use assay_manifest::Digest32;
use bytesize::ByteSize;
use malachite_app::config::NodeConfig;
use malachite_app::types::Keypair;
use malachite_app_channel::{
    Channels, ConsensusContext, EngineBuilder, EngineHandle, NetworkContext, NetworkIdentity, RequestContext,
    SyncContext, WalContext,
};
use malachite_codec::Codec;
use malachite_config::{
    ConsensusConfig, DiscoveryConfig, P2pConfig, ProtocolNames, ValuePayload, ValueSyncConfig,
};
use malachite_engine::network::Multiaddr;
use malachite_signing::Signer;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::app::App;
use super::context::{Chain, ValidatorKey};
use super::parts::BLOCK_BYTES_MAX;
use super::signing::{Signatures, Signing};
use super::wire::Wire;
use crate::consensus::ports::{Candidates, TransactionSource};
use crate::consensus::{Config, ConsensusError, Network, Proposer};
use crate::ledger::LedgerHandle;
use crate::supervisor::told_to_stop;

/// Bytes of a gossip message: a piece of a block, and what is around it.
const MESSAGE_BYTES_MAX: u64 = 192 << 10;
/// Bytes of an answer to a node that catches up: a few of the largest blocks.
pub(super) const SYNC_BYTES_MAX: usize = 4 * BLOCK_BYTES_MAX;
/// Connections from one address: validators of a test share theirs, and so do those behind one router.
const CONNECTIONS_PER_IP_MAX: usize = 64;
/// How often nodes tell one another how far they are.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// Decided blocks that one request asks for.
const SYNC_BATCH: usize = 16;
/// Requests that may wait for the engine.
const REQUESTS_WAITING_MAX: usize = 64;

/// From one look whether somebody else listens where this node is to, to the next.
const LOOK: Duration = Duration::from_millis(250);
/// How often it is looked.
const LOOKS: u32 = 20;

/// What takes part in consensus: as a validator, or following it.
pub struct Consensus<S, C> {
    /// How.
    pub config: Config,
    /// The ledger that it extends.
    pub ledger: LedgerHandle,
    /// Builds this validator's blocks; none follows only.
    pub proposer: Option<Proposer<S>>,
    /// Where proposed blocks are kept.
    pub candidates: C,
}

/// The engine's settings, in the shape that it asks for.
#[derive(Clone)]
struct EngineConfig {
    moniker: String,
    consensus: ConsensusConfig,
    sync: ValueSyncConfig,
}

impl NodeConfig for EngineConfig {
    fn moniker(&self) -> &str {
        &self.moniker
    }

    fn consensus(&self) -> &ConsensusConfig {
        &self.consensus
    }

    fn consensus_mut(&mut self) -> &mut ConsensusConfig {
        &mut self.consensus
    }

    fn value_sync(&self) -> &ValueSyncConfig {
        &self.sync
    }

    fn value_sync_mut(&mut self) -> &mut ValueSyncConfig {
        &mut self.sync
    }
}

/// Where a node is reached, as it was written.
///
/// # Errors
/// What is wrong with it.
pub fn check_address(text: &str) -> Result<String, String> {
    let parsed: Result<Multiaddr, _> = text.parse();
    parsed
        .map(|_| text.to_owned())
        .map_err(|error| format!("{error}; write one like /ip4/127.0.0.1/tcp/30333"))
}

/// Whether this node can listen there, asked for as the engine will ask. The engine itself says nothing where it cannot,
/// and waits for ever.
async fn check_free(text: &str) -> Result<(), ConsensusError> {
    let mut parts = text.split('/').skip(1);
    let (Some("ip4" | "ip6"), Some(ip), Some("tcp"), Some(port)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Ok(());
    };
    let (Ok(ip), Ok(port)) = (ip.parse::<IpAddr>(), port.parse::<u16>()) else { return Ok(()) };
    let taken = |cause: &str| ConsensusError::Listen { address: text.into(), cause: cause.into() };
    // Sockets of one user may share a port, and connections would be split between them.
    if port != 0 && !ip.is_unspecified() && answers_for_long(ip, port).await {
        return Err(taken("another program listens there"));
    }
    let bind = || {
        let socket = if ip.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        // A node that stopped a moment ago may still hold the port.
        #[cfg(unix)]
        socket.set_reuseport(true)?;
        socket.bind((ip, port).into())
    };
    bind().map_err(|error| taken(&error.to_string()))
}

/// Whether somebody listens there, and goes on: a node that stopped a moment ago does not.
async fn answers_for_long(ip: IpAddr, port: u16) -> bool {
    let mut looks = tokio::time::interval(LOOK);
    for _ in 0..LOOKS {
        looks.tick().await;
        if !matches!(timeout(LOOK, TcpStream::connect((ip, port))).await, Ok(Ok(_))) {
            return false;
        }
    }
    true
}

impl<S: TransactionSource, C: Candidates> Consensus<S, C> {
    /// Takes part until `stop` turns true.
    ///
    /// # Errors
    /// [`ConsensusError`] when the engine cannot be started, or stops by itself: the node must then stop.
    pub async fn run(self, mut stop: watch::Receiver<bool>) -> Result<(), ConsensusError> {
        let genesis = Digest32::from_bytes(self.ledger.genesis().0);
        let signatures = Signatures { genesis };
        let signing = self
            .proposer
            .as_ref()
            .map(|proposer| Signing { signatures, key: proposer.keys().consensus.clone() });
        let (channels, mut engine) = start(&self.config, signatures, signing.clone()).await?;
        let app = App::new(self, signatures, signing);
        let ended = tokio::select! {
            ended = app.run(channels) => ended,
            _ = &mut engine.handle => return Err(ConsensusError::Stopped("its engine ended".into())),
            () = told_to_stop(&mut stop) => Ok(()),
        };
        engine.actor.stop(None);
        // It lets go of its files. That it panicked while it did is nobody's concern any more.
        let _ = engine.handle.await;
        ended
    }
}

/// Starts the engine of a node: what answers `channels` is what it decides for. Without a key it follows only.
///
/// # Errors
/// [`ConsensusError`] when somebody else listens where this node is to, or the engine cannot be started.
pub async fn start(
    config: &Config,
    signatures: Signatures,
    signing: Option<Signing>,
) -> Result<(Channels<Chain>, EngineHandle), ConsensusError> {
    let failed = |error: &dyn std::fmt::Display| ConsensusError::Start(error.to_string());
    check_free(&config.network.listen).await?;
    let engine = engine_config(&config.network, &signatures.genesis)?;
    let keypair = Keypair::ed25519_from_bytes(*config.network.key).map_err(|error| failed(&error))?;
    let moniker = engine.moniker.clone();
    let (identity, context) = match signing {
        Some(signing) => {
            let key = ValidatorKey(signing.key.verifying_key().to_bytes());
            let peer = keypair.public().to_peer_id().to_bytes();
            let proof = signing.sign_validator_proof(key.0.to_vec(), peer).await;
            let proof = Wire.encode(&proof.map_err(|error| failed(&error))?);
            let proof = proof.map_err(|error| failed(&error))?;
            (
                NetworkIdentity::new_validator(moniker, keypair, key.to_string(), proof),
                ConsensusContext::new_validator(key, Box::new(signatures), Box::new(signing)),
            )
        }
        None => (
            NetworkIdentity::new(moniker, keypair, None),
            // The key of nobody: who follows has no vote.
            ConsensusContext::new_full_node(ValidatorKey([0; 32]), Box::new(signatures)),
        ),
    };
    EngineBuilder::new(Chain, engine)
        .with_default_wal(WalContext::new(config.write_ahead_log.clone(), Wire))
        .with_default_network(NetworkContext::new(identity, Wire))
        .with_default_sync(SyncContext::new(Wire))
        .with_default_consensus(context)
        .with_default_request(RequestContext::new(REQUESTS_WAITING_MAX))
        .build()
        .await
        .map_err(|error| failed(&error))
}

fn engine_config(network: &Network, genesis: &Digest32) -> Result<EngineConfig, ConsensusError> {
    let address = |text: &String| {
        text.parse().map_err(|error| ConsensusError::Start(format!("the address {text}: {error}")))
    };
    let chain = hex::encode(&genesis.as_bytes()[..8]);
    let protocol = |name: &str| format!("/assay/{chain}/{name}/1");
    let p2p = P2pConfig {
        listen_addr: address(&network.listen)?,
        persistent_peers: network.peers.iter().map(address).collect::<Result<_, _>>()?,
        discovery: DiscoveryConfig {
            enabled: network.discovery,
            max_connections_per_ip: CONNECTIONS_PER_IP_MAX,
            ip_throttle_duration: Duration::ZERO,
            ..DiscoveryConfig::default()
        },
        pubsub_max_size: ByteSize::b(MESSAGE_BYTES_MAX),
        rpc_max_size: ByteSize::b(2 * SYNC_BYTES_MAX as u64),
        // Nodes of different chains do not even speak.
        protocol_names: ProtocolNames {
            consensus: protocol("consensus"),
            discovery_kad: protocol("discovery-kad"),
            discovery_regres: protocol("discovery"),
            sync: protocol("sync"),
            validator_proof: protocol("validator-proof"),
        },
        ..P2pConfig::default()
    };
    let consensus =
        ConsensusConfig { p2p, value_payload: ValuePayload::ProposalAndParts, ..ConsensusConfig::default() };
    let sync = ValueSyncConfig {
        status_update_interval: STATUS_INTERVAL,
        max_response_size: ByteSize::b(2 * SYNC_BYTES_MAX as u64),
        batch_size: SYNC_BATCH,
        ..ValueSyncConfig::default()
    };
    Ok(EngineConfig { moniker: format!("assay-{chain}"), consensus, sync })
}
