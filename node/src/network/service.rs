//! The task that owns the swarm.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use assay_manifest::Digest32;
use codec::Encode;
use futures::StreamExt;
use libp2p::gossipsub::{MessageAcceptance, PublishError};
use libp2p::identity::Keypair;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, Swarm};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::{debug, info, warn};

use super::behaviour::{self, BAD_GOSSIP, Behaviour, POINT_WEIGHT};
use super::claims::Claims;
use super::config::{Config, Limits};
use super::contacts::{ADDRESS_BYTES_MAX, CONTACTS_MAX, Contacts, peer_of, reach_of};
use super::fault::Fault;
use super::inbox::{
    Incoming, Joined, Judgement, Message, NetworkError, NetworkHandle, PeerInfo, Reply, millis,
};
use super::lookups::LookUps;
use super::names::{Names, Topic};
use super::provided::Provided;
use super::rate::Rates;
use super::routes::Routes;
use super::score::{Scores, Sentence};
use super::wire::BookRequest;
use crate::private_file::{self, FileError};
use crate::supervisor::told_to_stop;

/// Between two looks at what is due: dialling, decay, refusals that end.
const TICK: Duration = Duration::from_secs(1);
/// Between two writes of where others were met.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// Bytes of the file of contacts: as many addresses as are kept, each of the greatest length.
const CONTACTS_BYTES_MAX: usize = 256 * 1024;
// In text an address has at most four characters a byte, and quotes around it.
const _: () = assert!(CONTACTS_MAX * (4 * ADDRESS_BYTES_MAX + 8) <= CONTACTS_BYTES_MAX + CONTACTS_MAX * 8);
/// News of who joined that wait for a reader.
const JOINED_MAX: usize = 256;
/// Addresses of this node that are told to others.
const OWN_ADDRESSES_MAX: usize = 8;

/// The network could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The key is none.
    #[error("starting the network: its key is none: {0}")]
    Key(String),
    /// The swarm could not be put together.
    #[error("starting the network: {0}")]
    Build(String),
    /// A protocol cannot be spoken.
    #[error("starting the network: {0}")]
    Protocol(String),
    /// It cannot listen there.
    #[error("listening on {address}: {cause}")]
    Listen {
        /// Where.
        address: Multiaddr,
        /// Why.
        cause: String,
    },
}

/// What is known of a connected peer.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub agent: Option<String>,
    pub latency: Option<Duration>,
    pub addresses: Vec<Multiaddr>,
    /// Where its first connection comes from or leads to, and when that was made.
    pub seen: Option<(Multiaddr, Instant)>,
    /// Open connections that this node made.
    pub dialled: u32,
}

/// The service; [`Network::run`] ends when it is told to.
pub struct Network {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) config: Config,
    pub(super) names: Names,
    inbox: mpsc::Receiver<Message>,
    pub(super) joined: broadcast::Sender<Joined>,
    pub(super) routes: Routes,
    pub(super) peers: HashMap<PeerId, Known>,
    pub(super) scores: Scores,
    pub(super) gossip_rates: Rates,
    pub(super) question_rates: Rates,
    pub(super) contacts: Contacts,
    pub(super) look_ups: LookUps,
    pub(super) claims: Claims,
    pub(super) provided: Provided,
    keeping: Option<JoinHandle<Result<(), FileError>>>,
    kept_at: Instant,
}

impl Network {
    /// Starts to listen for nodes of the chain with this genesis.
    ///
    /// # Errors
    /// [`StartError`] when the swarm cannot be put together, or cannot listen where it should.
    pub fn start(config: Config, genesis: &Digest32) -> Result<(Self, NetworkHandle, Incoming), StartError> {
        let key =
            Keypair::ed25519_from_bytes(*config.key).map_err(|error| StartError::Key(error.to_string()))?;
        let names = Names::of(genesis);
        let swarm = listening(&config, key, &names)?;
        let local = *swarm.local_peer_id();
        let (sender, inbox) = mpsc::channel(config.limits.inbox_max);
        let (routes, incoming) = Routes::new(&config.limits);
        let joined = broadcast::channel(JOINED_MAX).0;
        let streams = swarm.behaviour().streams.new_control();
        let handle = NetworkHandle { local, inbox: sender, streams, joined: joined.clone() };
        let (gossip_rates, question_rates) =
            (Rates::new(config.limits.gossip), Rates::new(config.limits.questions));
        let contacts = Contacts::new(local, &config.peers, &read_contacts(&config), Instant::now());
        let network = Self {
            swarm,
            config,
            names,
            inbox,
            joined,
            routes,
            peers: HashMap::new(),
            scores: Scores::default(),
            gossip_rates,
            question_rates,
            contacts,
            look_ups: LookUps::default(),
            claims: Claims::default(),
            provided: Provided::default(),
            keeping: None,
            kept_at: Instant::now(),
        };
        Ok((network, handle, incoming))
    }

    /// Works until `stop` turns true, or nobody can reach it any more; then keeps where others were met.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        info!(peer = %self.swarm.local_peer_id(), chain = %self.names.version(), "network started");
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = self.inbox.recv() => match message {
                    Some(message) => self.take(message),
                    None => break,
                },
                event = self.swarm.select_next_some() => self.on_event(event),
                _ = tick.tick() => self.tick(Instant::now()).await,
                () = told_to_stop(&mut stop) => break,
            }
        }
        self.end_keeping().await;
        self.keep_contacts();
        self.end_keeping().await;
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Publish { topic, bytes, reply } => {
                let published = self.publish(topic, bytes);
                answer(reply, published);
            }
            Message::Judge { ticket, judgement, topic } => {
                self.judge(&ticket.id, ticket.from, judgement);
                debug!(from = %ticket.from, ?topic, ?judgement, "judged");
            }
            Message::AskEnvelopes { peer, addresses, request, reply } => {
                let envelopes = &mut self.swarm.behaviour_mut().envelopes;
                let id = envelopes.send_request_with_addresses(&peer, Ok(request), addresses);
                self.routes.envelopes.asked.insert(id, reply);
            }
            Message::AskBook { peer, reply } => {
                let id = self.swarm.behaviour_mut().book.send_request(&peer, Ok(BookRequest));
                self.routes.book.asked.insert(id, reply);
            }
            // Whoever asked may have gone away, or have waited long enough.
            Message::AnswerEnvelopes { to, response } => {
                if self.is_allowed(to.to, response.encoded_size()) {
                    drop(self.swarm.behaviour_mut().envelopes.send_response(to.channel, response));
                }
            }
            Message::AnswerBook { to, response } => {
                if self.is_allowed(to.to, response.encoded_size()) {
                    drop(self.swarm.behaviour_mut().book.send_response(to.channel, response));
                }
            }
            Message::Provide { id, reply } => answer(reply, self.provide(id)),
            Message::Withdraw { id } => {
                self.provided.remove(&id);
                self.swarm.behaviour_mut().kad.stop_providing(&behaviour::provider_key(&id));
            }
            Message::Providers { id, reply } => self.providers(&id, reply),
            Message::Peers(reply) => answer(reply, Ok(self.peer_infos(Instant::now()))),
            Message::Listening(reply) => answer(reply, Ok(self.own_addresses())),
            Message::Dial { peer, addresses } => self.dial(peer, addresses),
            Message::Suggest { addresses } => {
                let (near, now) = (reach_of(&self.config.listen), Instant::now());
                addresses.into_iter().for_each(|address| self.contacts.suggest(address, near, now));
            }
            Message::Report { peer, fault } => self.blame(peer, fault),
        }
    }

    fn publish(&mut self, topic: Topic, bytes: Vec<u8>) -> Result<(), NetworkError> {
        let topic = self.names.topic(topic);
        match self.swarm.behaviour_mut().gossip.publish(topic, bytes) {
            Ok(_) => Ok(()),
            Err(PublishError::Duplicate) => Err(NetworkError::Repeated),
            Err(PublishError::NoPeersSubscribedToTopic) => Err(NetworkError::NoPeers),
            Err(error) => Err(NetworkError::Unpublished(error.to_string())),
        }
    }

    pub(super) fn judge(&mut self, id: &libp2p::gossipsub::MessageId, from: PeerId, judgement: Judgement) {
        let acceptance = match judgement {
            Judgement::Accept => MessageAcceptance::Accept,
            Judgement::Ignore => MessageAcceptance::Ignore,
            Judgement::Reject(_) => MessageAcceptance::Reject,
        };
        self.swarm.behaviour_mut().gossip.report_message_validation_result(id, &from, acceptance);
        if let Judgement::Reject(fault) = judgement {
            self.blame(from, fault);
        }
    }

    /// Counts a fault, and refuses the peer when it was one too many.
    pub(super) fn blame(&mut self, peer: PeerId, fault: Fault) {
        if peer == *self.swarm.local_peer_id() {
            return;
        }
        let now = Instant::now();
        let sentence = self.scores.count(peer, fault, now);
        debug!(%peer, ?fault, points = self.scores.points(&peer, now), "a peer made a fault");
        self.tell_score(peer, now);
        if sentence == Sentence::Refuse {
            warn!(%peer, %fault, "refusing a peer for a time");
            self.contacts.forget(&peer);
            // Closes its connections, too.
            self.swarm.behaviour_mut().refused.block_peer(peer);
        }
    }

    fn tell_score(&mut self, peer: PeerId, now: Instant) {
        let points = f64::from(self.scores.points(&peer, now));
        self.swarm.behaviour_mut().gossip.set_application_score(&peer, -points);
    }

    async fn tick(&mut self, now: Instant) {
        for peer in self.scores.expire(now) {
            self.swarm.behaviour_mut().refused.unblock_peer(peer);
        }
        let connected: HashSet<PeerId> = self.peers.keys().copied().collect();
        self.gossip_rates.expire(now, |peer| connected.contains(peer));
        self.question_rates.expire(now, |peer| connected.contains(peer));
        for peer in &connected {
            // Its points are in it, and have an end of their own.
            let points = f64::from(self.scores.points(peer, now)) * POINT_WEIGHT;
            let score = self.swarm.behaviour().gossip.peer_score(peer);
            if score.is_some_and(|score| score + points < BAD_GOSSIP) {
                self.blame(*peer, Fault::BadGossip);
            }
            self.tell_score(*peer, now);
        }
        self.tell_provided();
        for address in self.contacts.due(&connected, self.lacking(), now) {
            if let Err(error) = self.swarm.dial(address.clone()) {
                debug!(%address, %error, "dialling");
            }
        }
        if now.saturating_duration_since(self.kept_at) >= KEEP_EVERY {
            self.end_keeping().await;
            self.keep_contacts();
            self.kept_at = now;
            let forgotten = self.claims.expire(now);
            self.forget(forgotten);
        }
    }

    /// How many more peers this node looks for: until it has as many as it wants, and as many that it chose itself.
    fn lacking(&self) -> usize {
        let Limits { peers_wanted, dialled_wanted, .. } = self.config.limits;
        let dialled = self.peers.values().filter(|known| known.dialled > 0).count();
        let any = peers_wanted.saturating_sub(self.peers.len());
        any.max(dialled_wanted.saturating_sub(dialled))
    }

    fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let options = DialOpts::peer_id(peer)
            .addresses(addresses)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .build();
        if let Err(error) = self.swarm.dial(options) {
            debug!(%peer, %error, "dialling");
        }
    }

    fn peer_infos(&self, now: Instant) -> Vec<PeerInfo> {
        let info = |peer: &PeerId, known: Option<&Known>| PeerInfo {
            peer: *peer,
            addresses: known.map(|known| known.addresses.clone()).unwrap_or_default(),
            agent: known.and_then(|known| known.agent.clone()),
            latency_ms: known.and_then(|known| known.latency).map(millis),
            score: -i64::from(self.scores.points(peer, now)),
            connected: known.is_some(),
        };
        let connected = self.peers.iter().map(|(peer, known)| info(peer, Some(known)));
        let others = self.scores.peers().filter(|peer| !self.peers.contains_key(peer));
        connected.chain(others.map(|peer| info(peer, None))).collect()
    }

    /// What others confirmed first, then where this node listens.
    fn own_addresses(&self) -> Vec<Multiaddr> {
        let mut addresses: Vec<Multiaddr> = Vec::new();
        for address in self.swarm.external_addresses().chain(self.swarm.listeners()) {
            if !addresses.contains(address) && addresses.len() < OWN_ADDRESSES_MAX {
                addresses.push(address.clone());
            }
        }
        addresses
    }

    fn keep_contacts(&mut self) {
        let Some(addresses) = self.contacts.take_changed() else { return };
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let path = self.config.contacts.clone();
        let bytes = serde_json::to_vec_pretty(&texts).unwrap_or_default();
        self.keeping = Some(tokio::task::spawn_blocking(move || private_file::replace(&path, &bytes)));
    }

    async fn end_keeping(&mut self) {
        match self.keeping.take() {
            None => {}
            Some(keeping) => match keeping.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, "keeping where peers were met"),
                Err(error) => warn!(%error, "keeping where peers were met"),
            },
        }
    }
}

/// A swarm that listens where it should.
fn listening(config: &Config, key: Keypair, names: &Names) -> Result<Swarm<Behaviour>, StartError> {
    let built = behaviour::build(config, key, names);
    let mut swarm = built.map_err(|error| StartError::Build(error.to_string()))?;
    for address in &config.listen {
        let failed = |error: libp2p::TransportError<_>| StartError::Listen {
            address: address.clone(),
            cause: error.to_string(),
        };
        swarm.listen_on(address.clone()).map_err(failed)?;
    }
    for address in &config.external {
        swarm.add_external_address(address.clone());
    }
    // So that no crowd of strangers keeps out whom the operator named.
    for peer in config.peers.iter().filter_map(peer_of) {
        swarm.behaviour_mut().limits.bypass_peer_id(&peer);
    }
    Ok(swarm)
}

/// Whoever asked may have gone away.
pub(super) fn answer<T>(reply: Reply<T>, result: Result<T, NetworkError>) {
    drop(reply.send(result));
}

/// A file that cannot be read costs nothing but the way to peers that others name again.
fn read_contacts(config: &Config) -> Vec<Multiaddr> {
    if !config.contacts.exists() {
        return Vec::new();
    }
    let texts: Vec<String> = match private_file::read(&config.contacts, CONTACTS_BYTES_MAX) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            warn!(path = %config.contacts.display(), %error, "reading where peers were met");
            Vec::new()
        }),
        Err(error) => {
            warn!(%error, "reading where peers were met");
            Vec::new()
        }
    };
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}
