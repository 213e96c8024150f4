//! Talking to the network, and what comes in from it.

use std::time::Duration;

use assay_manifest::Digest32;
use assay_protocol::announcement::SignedAnnouncement;
use libp2p::gossipsub::MessageId;
use libp2p::request_response::ResponseChannel;
use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc, oneshot};

use super::fault::Fault;
use super::names::Topic;
use super::wire::{BookResponse, EnvelopeRequest, EnvelopeResponse};

/// The network did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// No peer takes what is published.
    #[error("publishing: no peer is there to take it")]
    NoPeers,
    /// It was published a moment ago.
    #[error("publishing: the same was published a moment ago")]
    Repeated,
    /// It could not be sent.
    #[error("publishing: {0}")]
    Unpublished(String),
    /// The peer did not answer.
    #[error("asking {peer}: {cause}")]
    Unanswered {
        /// The peer.
        peer: PeerId,
        /// Why.
        cause: String,
    },
    /// A look-up found no way.
    #[error("looking up who has an artifact: {0}")]
    LookUp(String),
    /// As much is under way as may be.
    #[error("asking the network: too much is under way")]
    Busy,
    /// The network has stopped.
    #[error("asking the network: it has stopped")]
    Stopped,
}

/// A peer, as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerInfo {
    /// Its name.
    #[serde(with = "as_text")]
    pub peer: PeerId,
    /// Where it was reached, or says that it is.
    #[serde(with = "as_texts")]
    pub addresses: Vec<Multiaddr>,
    /// The program that it runs, as it says.
    pub agent: Option<String>,
    /// Round trip of the last ping.
    pub latency_ms: Option<u64>,
    /// Zero, or its points for faults as a negative number.
    pub score: i64,
    /// Whether a connection is open.
    pub connected: bool,
}

/// What becomes of a gossiped message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is passed on.
    Accept,
    /// It is not passed on, and nobody is to blame.
    Ignore,
    /// It is not passed on, and whoever sent it made this fault.
    Reject(Fault),
}

/// Names a gossiped message that waits for its judgement.
#[derive(Clone, Debug)]
pub struct Ticket {
    pub(super) id: MessageId,
    pub(super) from: PeerId,
}

/// A gossiped message. It is passed on when it is accepted, and forgotten when nobody judges it.
#[derive(Debug)]
pub struct Gossip {
    /// Who sent it here.
    pub from: PeerId,
    /// What it holds.
    pub bytes: Vec<u8>,
    /// By which it is judged.
    pub ticket: Ticket,
    /// Its part of the memory that gossip may take, until it is judged.
    pub(super) room: OwnedSemaphorePermit,
}

#[cfg(test)]
impl Gossip {
    /// One that nobody sent.
    pub(super) fn made_up(bytes: Vec<u8>) -> Self {
        let from = PeerId::random();
        let room = std::sync::Arc::new(tokio::sync::Semaphore::new(1)).try_acquire_owned().unwrap();
        Self { from, bytes, ticket: Ticket { id: MessageId::new(&[]), from }, room }
    }
}

/// A question of a peer; dropping it refuses an answer.
#[derive(Debug)]
pub struct Asked<Q, A> {
    /// Who asks.
    pub from: PeerId,
    /// What.
    pub question: Q,
    /// Where the answer goes.
    pub answer: Answering<A>,
}

/// Where an answer goes.
#[derive(Debug)]
pub struct Answering<A> {
    pub(super) to: PeerId,
    pub(super) channel: ResponseChannel<A>,
}

/// What comes in for the services behind the network; each queue drops what does not fit.
#[derive(Debug)]
pub struct Incoming {
    /// Transactions of others.
    pub transactions: mpsc::Receiver<Gossip>,
    /// Announcements of others.
    pub announcements: mpsc::Receiver<Gossip>,
    /// Questions about envelopes.
    pub envelopes: mpsc::Receiver<Asked<EnvelopeRequest, EnvelopeResponse>>,
    /// What others ask about announcements.
    pub book: mpsc::Receiver<Asked<super::wire::BookRequest, BookResponse>>,
}

/// Who takes a topic now, or has become reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// A peer takes what is published under a topic from now on.
    Topic(PeerId, Topic),
    /// A peer of this chain is connected.
    Peer(PeerId),
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, NetworkError>>;

pub(super) enum Message {
    Publish {
        topic: Topic,
        bytes: Vec<u8>,
        reply: Reply<()>,
    },
    Judge {
        ticket: Ticket,
        judgement: Judgement,
        topic: Topic,
    },
    AskEnvelopes {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        request: EnvelopeRequest,
        reply: Reply<EnvelopeResponse>,
    },
    AskBook {
        peer: PeerId,
        reply: Reply<BookResponse>,
    },
    AnswerEnvelopes {
        to: Answering<EnvelopeResponse>,
        response: EnvelopeResponse,
    },
    AnswerBook {
        to: Answering<BookResponse>,
        response: BookResponse,
    },
    Provide {
        id: Digest32,
        reply: Reply<()>,
    },
    Withdraw {
        id: Digest32,
    },
    Providers {
        id: Digest32,
        reply: Reply<Vec<PeerId>>,
    },
    Peers(Reply<Vec<PeerInfo>>),
    Listening(Reply<Vec<Multiaddr>>),
    Dial {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
    },
    Suggest {
        addresses: Vec<Multiaddr>,
    },
    Report {
        peer: PeerId,
        fault: Fault,
    },
}

/// Speaks to the network from anywhere.
#[derive(Clone)]
pub struct NetworkHandle {
    pub(super) local: PeerId,
    pub(super) inbox: mpsc::Sender<Message>,
    pub(super) streams: libp2p_stream::Control,
    pub(super) joined: broadcast::Sender<Joined>,
}

impl NetworkHandle {
    /// The name by which others know this node.
    pub const fn local_peer(&self) -> PeerId {
        self.local
    }

    /// What opens and takes byte streams.
    pub fn streams(&self) -> libp2p_stream::Control {
        self.streams.clone()
    }

    /// Who joins from now on. A receiver that lags is told how many it missed.
    pub fn joined(&self) -> broadcast::Receiver<Joined> {
        self.joined.subscribe()
    }

    /// Has others told that this node has an artifact: as soon as somebody is there, and again now and then while the
    /// node runs.
    ///
    /// # Errors
    /// [`NetworkError::Busy`] when the node tells of as many as it may.
    pub async fn provide(&self, id: Digest32) -> Result<(), NetworkError> {
        self.ask(|reply| Message::Provide { id, reply }).await
    }

    /// Who has an artifact, as far as the network knows: at most twenty, in no order, without this node.
    ///
    /// # Errors
    /// [`NetworkError::LookUp`] when nothing was found in time, [`NetworkError::Busy`].
    pub async fn providers(&self, id: Digest32) -> Result<Vec<PeerId>, NetworkError> {
        self.ask(|reply| Message::Providers { id, reply }).await
    }

    /// The peers that this node is connected to, or holds something against.
    ///
    /// # Errors
    /// [`NetworkError::Stopped`].
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, NetworkError> {
        self.ask(Message::Peers).await
    }

    /// Where this node is reached: what others confirmed, then where it listens.
    ///
    /// # Errors
    /// [`NetworkError::Stopped`].
    pub async fn listening(&self) -> Result<Vec<Multiaddr>, NetworkError> {
        self.ask(Message::Listening).await
    }

    /// Connects to a peer, if it can be reached; whoever waits for it is told by [`Self::joined`].
    ///
    /// # Errors
    /// [`NetworkError::Stopped`].
    pub async fn dial(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> Result<(), NetworkError> {
        self.send(Message::Dial { peer, addresses }).await
    }

    /// Addresses at which others may be, to try while this node lacks peers. Nothing vouches for them.
    ///
    /// # Errors
    /// [`NetworkError::Stopped`].
    pub async fn suggest(&self, addresses: Vec<Multiaddr>) -> Result<(), NetworkError> {
        self.send(Message::Suggest { addresses }).await
    }

    /// Counts a fault of a peer.
    pub async fn report(&self, peer: PeerId, fault: Fault) {
        // A network that has stopped has no peers.
        let _ = self.send(Message::Report { peer, fault }).await;
    }

    /// The same without waiting; it is not counted where no more messages fit.
    pub fn report_now(&self, peer: PeerId, fault: Fault) {
        let _ = self.inbox.try_send(Message::Report { peer, fault });
    }

    /// Tells nobody any more that this node has an artifact. Where no more messages fit, peers that ask for it are told
    /// that it is gone.
    pub fn withdraw_now(&self, id: Digest32) {
        let _ = self.inbox.try_send(Message::Withdraw { id });
    }

    pub(super) async fn publish(&self, topic: Topic, bytes: Vec<u8>) -> Result<(), NetworkError> {
        self.ask(|reply| Message::Publish { topic, bytes, reply }).await
    }

    pub(super) async fn judge(
        &self,
        topic: Topic,
        ticket: Ticket,
        judgement: Judgement,
    ) -> Result<(), NetworkError> {
        self.send(Message::Judge { ticket, judgement, topic }).await
    }

    pub(super) async fn ask_envelopes(
        &self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        request: EnvelopeRequest,
    ) -> Result<EnvelopeResponse, NetworkError> {
        self.ask(|reply| Message::AskEnvelopes { peer, addresses, request, reply }).await
    }

    pub(super) async fn ask_book(&self, peer: PeerId) -> Result<Vec<SignedAnnouncement>, NetworkError> {
        self.ask(|reply| Message::AskBook { peer, reply }).await.map(|book| book.0)
    }

    pub(super) async fn answer_envelopes(
        &self,
        to: Answering<EnvelopeResponse>,
        response: EnvelopeResponse,
    ) -> Result<(), NetworkError> {
        self.send(Message::AnswerEnvelopes { to, response }).await
    }

    pub(super) async fn answer_book(
        &self,
        to: Answering<BookResponse>,
        response: BookResponse,
    ) -> Result<(), NetworkError> {
        self.send(Message::AnswerBook { to, response }).await
    }

    async fn ask<T>(&self, message: impl FnOnce(Reply<T>) -> Message) -> Result<T, NetworkError> {
        let (reply, answer) = oneshot::channel();
        self.send(message(reply)).await?;
        answer.await.map_err(|_| NetworkError::Stopped)?
    }

    async fn send(&self, message: Message) -> Result<(), NetworkError> {
        self.inbox.send(message).await.map_err(|_| NetworkError::Stopped)
    }
}

/// Milliseconds of a duration, as far as they fit.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

mod as_texts {
    use libp2p::Multiaddr;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(list: &[Multiaddr], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(ToString::to_string))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Multiaddr>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
    }
}
