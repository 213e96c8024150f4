//! What the swarm reports.

use std::time::Instant;

use codec::Encode;
use libp2p::core::ConnectedPoint;
use libp2p::request_response::{self, Message as Exchanged};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, gossipsub, identify, mdns, ping};
use tracing::{debug, info};

use super::behaviour::BehaviourEvent;
use super::codec::fault_of;
use super::contacts::{is_plausible, is_relayed, with_peer};
use super::fault::Fault;
use super::inbox::{Answering, Asked, Joined, Judgement, NetworkError, Ticket};
use super::names::Topic;
use super::rate::Taken;
use super::routes::Line;
use super::service::{Network, answer};
use super::wire::{Book, Envelopes, Exchange};

/// Addresses of one peer that are remembered.
const ADDRESSES_PER_PEER_MAX: usize = 8;
/// Characters of what a peer calls its program.
const AGENT_CHARS_MAX: usize = 64;

/// An exchange with its line.
trait OnLine: Exchange {
    fn line(network: &mut Network) -> &mut Line<Self>;
}

impl OnLine for Envelopes {
    fn line(network: &mut Network) -> &mut Line<Self> {
        &mut network.routes.envelopes
    }
}

impl OnLine for Book {
    fn line(network: &mut Network) -> &mut Line<Self> {
        &mut network.routes.book
    }
}

impl Network {
    pub(super) fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } => self.connected(peer_id, &endpoint),
            SwarmEvent::ConnectionClosed { peer_id, num_established, endpoint, .. } => {
                if num_established == 0 {
                    self.peers.remove(&peer_id);
                } else if let Some(known) = self.peers.get_mut(&peer_id)
                    && endpoint.is_dialer()
                {
                    known.dialled = known.dialled.saturating_sub(1);
                }
            }
            SwarmEvent::NewListenAddr { address, .. } => info!(%address, "the network listens"),
            SwarmEvent::ListenerClosed { addresses, reason: Err(error), .. } => {
                tracing::warn!(?addresses, %error, "the network has stopped to listen");
            }
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
                debug!(peer = ?peer_id, %error, "dialling");
            }
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.identified(peer_id, &info);
            }
            BehaviourEvent::Ping(ping::Event { peer, result: Ok(latency), .. }) => {
                if let Some(known) = self.peers.get_mut(&peer) {
                    known.latency = Some(latency);
                }
            }
            BehaviourEvent::Gossip(event) => self.on_gossip(event),
            BehaviourEvent::Envelopes(event) => self.on_exchange::<Envelopes>(event),
            BehaviourEvent::Book(event) => self.on_exchange::<Book>(event),
            BehaviourEvent::Kad(event) => self.on_kad(event),
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, address) in found {
                    debug!(%peer, %address, "found on the local network");
                    if let Err(error) = self.swarm.dial(with_peer(&address, peer)) {
                        debug!(%address, %error, "dialling");
                    }
                }
            }
            _ => {}
        }
    }

    fn connected(&mut self, peer: PeerId, endpoint: &ConnectedPoint) {
        let (address, now) = (endpoint.get_remote_address(), Instant::now());
        let known = self.peers.entry(peer).or_default();
        let (first, since) = known.seen.get_or_insert_with(|| (address.clone(), now));
        if endpoint.is_dialer() {
            known.dialled = known.dialled.saturating_add(1);
            remember(&mut known.addresses, address);
            return self.contacts.reached(peer, address, now);
        }
        let is_settled = now.saturating_duration_since(*since) > self.config.limits.redial_after;
        if is_settled && !is_relayed(first) {
            // Over QUIC a killed peer leaves a connection that looks alive. What is said once, on the first connection,
            // such as which topics this node takes, would never be told to the one that runs now: so it begins anew.
            debug!(%peer, %address, "dialled again; all its connections end");
            // It fails for who is not connected, which would be as well.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    fn identified(&mut self, peer: PeerId, info: &identify::Info) {
        if info.protocol_version != self.names.version() {
            return self.blame(peer, Fault::WrongChain);
        }
        let Some(known) = self.peers.get_mut(&peer) else { return };
        let agent = info.agent_version.chars().take(AGENT_CHARS_MAX).collect();
        let is_new = known.agent.replace(agent).is_none();
        let Some((seen, _)) = &known.seen else { return };
        let plausible = info.listen_addrs.iter().filter(|address| is_plausible(address, seen));
        let plausible: Vec<_> = plausible.take(ADDRESSES_PER_PEER_MAX).collect();
        for address in &plausible {
            remember(&mut known.addresses, address);
            self.swarm.behaviour_mut().kad.add_address(&peer, (*address).clone());
        }
        if is_new {
            // Nobody may be listening.
            let _ = self.joined.send(Joined::Peer(peer));
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source: from, message_id: id, message } => {
                let topic =
                    Topic::ALL.into_iter().find(|topic| self.names.topic(*topic).hash() == message.topic);
                let Some(topic) = topic else { return };
                // Whoever passes on what others say too much of is not to blame for it.
                if self.gossip_rates.take(from, message.data.len(), Instant::now()) != Taken::Within {
                    return self.judge(&id, from, Judgement::Ignore);
                }
                let is_taken = self.routes.pass_on(topic, Ticket { id: id.clone(), from }, message.data);
                if !is_taken {
                    debug!(?topic, "a message was dropped, since too many wait");
                    self.judge(&id, from, Judgement::Ignore);
                }
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                if let Some(which) =
                    Topic::ALL.into_iter().find(|which| self.names.topic(*which).hash() == topic)
                {
                    // Nobody may be listening.
                    let _ = self.joined.send(Joined::Topic(peer_id, which));
                }
            }
            _ => {}
        }
    }

    fn on_exchange<X: OnLine>(
        &mut self,
        event: request_response::Event<Result<X::Request, Fault>, X::Response>,
    ) {
        match event {
            request_response::Event::Message { peer: from, message, .. } => match message {
                Exchanged::Request { request: question, channel, .. } => {
                    if let Some(question) = self.sound(from, question) {
                        let asked = Asked { from, question, answer: Answering { to: from, channel } };
                        if X::line(self).route.try_send(asked).is_err() {
                            // Whoever asked learns from the end of its stream that there is no answer.
                            debug!(%from, "a question was dropped, since too many wait");
                        }
                    }
                }
                Exchanged::Response { request_id, response } => {
                    if let Some(reply) = X::line(self).asked.remove(&request_id) {
                        answer(reply, Ok(response));
                    }
                }
            },
            request_response::Event::OutboundFailure { peer, request_id, error, .. } => {
                self.blame_for_answer(peer, &error);
                if let Some(reply) = X::line(self).asked.remove(&request_id) {
                    answer(reply, Err(NetworkError::Unanswered { peer, cause: error.to_string() }));
                }
            }
            // Whoever asked has gone away, or does not get an answer.
            request_response::Event::InboundFailure { .. } | request_response::Event::ResponseSent { .. } => {
            }
        }
    }

    /// Only bytes that a peer sent are a fault of it; that it cannot be reached is none.
    fn blame_for_answer(&mut self, peer: PeerId, error: &request_response::OutboundFailure) {
        if let request_response::OutboundFailure::Io(error) = error
            && let Some(fault) = fault_of(error)
        {
            self.blame(peer, fault);
        }
    }

    /// A question without a fault, of a peer that may ask one more.
    fn sound<Q: Encode>(&mut self, from: PeerId, question: Result<Q, Fault>) -> Option<Q> {
        match question {
            Ok(question) => self.is_allowed(from, question.encoded_size()).then_some(question),
            Err(fault) => {
                self.blame(from, fault);
                None
            }
        }
    }

    /// Whether a peer may ask, or be answered, so much more.
    pub(super) fn is_allowed(&mut self, from: PeerId, bytes: usize) -> bool {
        let taken = self.question_rates.take(from, bytes, Instant::now());
        if taken == Taken::Flood {
            self.blame(from, Fault::Flood);
        }
        taken == Taken::Within
    }
}

fn remember(addresses: &mut Vec<Multiaddr>, address: &Multiaddr) {
    if !addresses.contains(address) && addresses.len() < ADDRESSES_PER_PEER_MAX {
        addresses.push(address.clone());
    }
}
