//! What the swarm is made of.

use std::time::Duration;

use assay_manifest::Digest32;
use libp2p::gossipsub::{self, MessageAuthenticity, MessageId, ValidationMode};
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    PeerId, Swarm, SwarmBuilder, allow_block_list, connection_limits, dcutr, identify, kad, mdns,
    memory_connection_limits, noise, ping, relay, tcp, yamux,
};

use super::claims::{CLAIMED_FOR, CLAIMS_MAX};
use super::codec::Codec;
use super::config::{Config, Limits, Switch};
use super::names::{Names, Topic};
use super::provided::PROVIDED_MAX;
use super::wire::{self, Book, Envelopes, Exchange};

/// How this program names itself to others.
const AGENT: &str = concat!("assay/", env!("CARGO_PKG_VERSION"));
/// How long a message is remembered, so that it is not taken or passed on twice.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(30);
/// Heartbeats, a second each, for which a message can wait for its judgement and be passed on then: a step that came
/// sooner than its block is tried on the blocks of about six seconds.
const HELD_FOR_BEATS: usize = 8;
/// Who-has-what entries of one key: as many as an answer names.
pub const PROVIDERS_PER_KEY_MAX: usize = 20;
/// How often this node says again what it has.
const PROVIDER_RENEWED_AFTER: Duration = Duration::from_secs(6 * 3_600);

const _: () = assert!(CLAIMED_FOR.as_secs() > 2 * PROVIDER_RENEWED_AFTER.as_secs());

/// The parts of the swarm. Limits come first: a connection that one refuses reaches no other.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    pub limits: connection_limits::Behaviour,
    pub memory: memory_connection_limits::Behaviour,
    pub refused: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub identify: identify::Behaviour,
    pub ping: ping::Behaviour,
    pub kad: kad::Behaviour<MemoryStore>,
    pub gossip: gossipsub::Behaviour,
    pub envelopes: request_response::Behaviour<Codec<Envelopes>>,
    pub book: request_response::Behaviour<Codec<Book>>,
    pub streams: libp2p_stream::Behaviour,
    pub relay_client: relay::client::Behaviour,
    pub relay: Toggle<relay::Behaviour>,
    pub dcutr: dcutr::Behaviour,
    pub mdns: Toggle<mdns::tokio::Behaviour>,
}

/// What went wrong while the swarm was put together.
pub type BuildError = Box<dyn std::error::Error + Send + Sync>;

/// Puts the swarm together: QUIC, TCP with Noise and yamux, names, relays. Of several addresses of a peer, QUIC's have
/// a head start.
pub fn build(config: &Config, key: Keypair, names: &Names) -> Result<Swarm<Behaviour>, BuildError> {
    let idle = config.limits.idle_timeout;
    let swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_quic()
        .with_dns()?
        .with_relay_client(noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key, relay_client| behaviour(config, key, names, relay_client))?
        .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(idle).with_smart_dial())
        .build();
    Ok(swarm)
}

fn behaviour(
    config: &Config,
    key: &Keypair,
    names: &Names,
    relay_client: relay::client::Behaviour,
) -> Result<Behaviour, BuildError> {
    let local = key.public().to_peer_id();
    let Limits { memory_percent, .. } = config.limits;
    let mdns = match config.mdns {
        Switch::On => Some(mdns::tokio::Behaviour::new(mdns::Config::default(), local)?),
        Switch::Off => None,
    };
    let relay = match config.relay {
        Switch::On => Some(relay::Behaviour::new(local, relay_config())),
        Switch::Off => None,
    };
    let identify = identify::Config::new(names.version(), key.public()).with_agent_version(AGENT.into());
    Ok(Behaviour {
        limits: connection_limits::Behaviour::new(connection_limits(&config.limits)),
        memory: memory_connection_limits::Behaviour::with_max_percentage(f64::from(memory_percent) / 100.0),
        refused: allow_block_list::Behaviour::default(),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new()),
        kad: kademlia(local, names, &config.limits),
        gossip: gossip(names)?,
        envelopes: questions::<Envelopes>(names, &config.limits),
        book: questions::<Book>(names, &config.limits),
        streams: libp2p_stream::Behaviour::new(),
        relay_client,
        relay: relay.into(),
        dcutr: dcutr::Behaviour::new(local),
        mdns: mdns.into(),
    })
}

/// What one relayed connection may take: enough for envelopes, not for artifacts.
fn relay_config() -> relay::Config {
    relay::Config {
        max_circuit_bytes: 16 << 20,
        max_circuit_duration: Duration::from_secs(600),
        ..relay::Config::default()
    }
}

fn connection_limits(limits: &Limits) -> connection_limits::ConnectionLimits {
    let Limits { connections_per_peer, connections_in, connections_out, connections_pending, .. } = *limits;
    connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(connections_pending))
        .with_max_pending_outgoing(Some(connections_pending))
        .with_max_established_incoming(Some(connections_in))
        .with_max_established_outgoing(Some(connections_out))
        .with_max_established_per_peer(Some(connections_per_peer))
}

fn questions<X: Exchange>(names: &Names, limits: &Limits) -> request_response::Behaviour<Codec<X>> {
    let config = request_response::Config::default()
        .with_request_timeout(limits.question_timeout)
        .with_max_concurrent_streams(limits.streams_max);
    let protocol = (names.protocol(X::WORD), ProtocolSupport::Full);
    request_response::Behaviour::with_codec(Codec::default(), [protocol], config)
}

fn kademlia(local: PeerId, names: &Names, limits: &Limits) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(names.protocol("kad"));
    config
        .set_query_timeout(limits.lookup_timeout)
        .set_provider_record_ttl(Some(CLAIMED_FOR))
        .set_provider_publication_interval(Some(PROVIDER_RENEWED_AFTER))
        // Values are of no use here and are not kept; who has what is kept within the bounds of `claims`.
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_max_packet_size(16 * 1_024);
    let store = MemoryStoreConfig {
        max_records: 0,
        max_value_bytes: 0,
        max_providers_per_key: PROVIDERS_PER_KEY_MAX,
        max_provided_keys: CLAIMS_MAX + PROVIDED_MAX,
    };
    let mut kad = kad::Behaviour::with_config(local, MemoryStore::with_config(local, store), config);
    kad.set_mode(Some(kad::Mode::Server));
    kad
}

fn gossip(names: &Names) -> Result<gossipsub::Behaviour, BuildError> {
    let mut config = gossipsub::ConfigBuilder::default();
    config
        .protocol_id_prefix(format!("{}/gossip", names.version()))
        // What is gossiped is signed by whom it is of, so that who published it need not be known, nor verified anew with
        // every copy.
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(message_id)
        .duplicate_cache_time(REMEMBERED_FOR)
        .history_length(HELD_FOR_BEATS)
        .max_transmit_size(wire::TRANSACTION_BYTES_MAX + 1_024);
    for (topic, bytes_max) in [
        (Topic::Transactions, wire::TRANSACTION_BYTES_MAX + 1_024),
        (Topic::Announcements, wire::ANNOUNCEMENT_BYTES_MAX + 1_024),
    ] {
        config.max_transmit_size_for_topic(bytes_max, names.topic(topic).hash());
    }
    let mut gossip = gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config.build()?)?;
    gossip.with_peer_score(peer_score(names), thresholds())?;
    for topic in Topic::ALL {
        gossip.subscribe(&names.topic(topic))?;
    }
    Ok(gossip)
}

/// A message is its content: whoever says the same again says nothing new.
fn message_id(message: &gossipsub::Message) -> MessageId {
    let mut hash = blake3::Hasher::new();
    hash.update(message.topic.as_str().as_bytes()).update(&[0]).update(&message.data);
    MessageId::from(hash.finalize().as_bytes().as_slice())
}

/// Below this, gossipsub ignores what a peer says.
const GRAYLIST: f64 = -80.0;
/// Below this without its points, this node refuses a peer: what took it below [`GRAYLIST`] is forgotten by a fifth until
/// the next look, a second later.
pub const BAD_GOSSIP: f64 = -60.0;

/// What a point counts there: so little that points alone, below their own line, let gossipsub ignore nobody, together
/// with three messages that this node refused.
pub const POINT_WEIGHT: f64 = 0.5;

const _: () = assert!(GRAYLIST * 0.8 < BAD_GOSSIP);
const _: () = assert!(-(3.0 * 25.0) * POINT_WEIGHT - 2.0 * 3.0 * 3.0 > GRAYLIST);

fn thresholds() -> gossipsub::PeerScoreThresholds {
    gossipsub::PeerScoreThresholds {
        gossip_threshold: -40.0,
        publish_threshold: -60.0,
        graylist_threshold: GRAYLIST,
        ..Default::default()
    }
}

/// The application's score is the peer's points, negated. What gossipsub counts by itself: seven messages that it
/// refuses, with an author or too large for their topic, end a peer; so does breaking promises for long. How
/// much a topic carries depends on the day, so silence costs nothing; and many honest nodes may share one address, behind
/// a router or a relay, so that costs nothing either: gossipsub's own measure would end the fourteenth of them and all
/// others with it.
fn peer_score(names: &Names) -> gossipsub::PeerScoreParams {
    let topic = gossipsub::TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -2.0,
        invalid_message_deliveries_decay: 0.9,
        ..Default::default()
    };
    gossipsub::PeerScoreParams {
        topics: Topic::ALL.map(|which| (names.topic(which).hash(), topic.clone())).into_iter().collect(),
        app_specific_weight: POINT_WEIGHT,
        behaviour_penalty_weight: -2.0,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: 0.9,
        ip_colocation_factor_weight: 0.0,
        ..Default::default()
    }
}

/// The key under which Kademlia knows who has an artifact.
pub fn provider_key(id: &Digest32) -> kad::RecordKey {
    kad::RecordKey::new(id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_peers_behind_one_address_are_not_punished_for_it() {
        let score = peer_score(&Names::of(&Digest32::ZERO));
        assert_eq!(score.ip_colocation_factor_weight, 0.0);
        score.validate().unwrap();
    }
}
