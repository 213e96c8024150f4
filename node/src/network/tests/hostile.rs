//! A swarm that says what no node says.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use assay_manifest::{Digest32, JobId};
use assay_protocol::seal::Purpose;
use futures::{AsyncWriteExt, StreamExt};
use libp2p::gossipsub::{self, MessageAuthenticity, ValidationMode};
use libp2p::identity::Keypair;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{StreamProtocol, Swarm, SwarmBuilder, identify, noise, tcp, yamux};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::town::{GENESIS, Node, QUIC};
use crate::network::names::{Names, Topic};
use crate::network::{Allowance, Config, EnvelopeRequest, Limits, Multiaddr, NetworkError, PeerId};

#[derive(NetworkBehaviour)]
struct Parts {
    identify: identify::Behaviour,
    gossip: gossipsub::Behaviour,
    streams: libp2p_stream::Behaviour,
}

/// One that is connected to a node and says what it is told to say.
pub struct Liar {
    pub peer: PeerId,
    says: mpsc::Sender<(Topic, Vec<u8>)>,
    streams: libp2p_stream::Control,
}

/// Whether gossip says whom it is from.
#[derive(Clone, Copy)]
enum Voice {
    /// As nodes have it.
    Anonymous,
    /// As gossipsub has it by default.
    Signed,
}

fn swarm(names: &Names, voice: Voice) -> Swarm<Parts> {
    let gossip = |key: &Keypair| {
        let (mode, authenticity) = match voice {
            Voice::Anonymous => (ValidationMode::Anonymous, MessageAuthenticity::Anonymous),
            Voice::Signed => (ValidationMode::Permissive, MessageAuthenticity::Signed(key.clone())),
        };
        let config = gossipsub::ConfigBuilder::default()
            .protocol_id_prefix(format!("{}/gossip", names.version()))
            .validation_mode(mode)
            // Without authors and numbers, messages differ by their content.
            .message_id_fn(|message| gossipsub::MessageId::from(message.data.clone()))
            .max_transmit_size(8 << 20)
            .build()
            .unwrap();
        let mut gossip = gossipsub::Behaviour::new(authenticity, config).unwrap();
        for topic in Topic::ALL {
            gossip.subscribe(&names.topic(topic)).unwrap();
        }
        gossip
    };
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_quic()
        .with_behaviour(|key| Parts {
            identify: identify::Behaviour::new(identify::Config::new(names.version(), key.public())),
            gossip: gossip(key),
            streams: libp2p_stream::Behaviour::new(),
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build()
}

impl Liar {
    /// Connects to a node and waits until it takes every topic.
    pub async fn connect(to: &Multiaddr) -> Self {
        Self::connect_on(to, &GENESIS).await
    }

    /// The same on a chain.
    pub async fn connect_on(to: &Multiaddr, genesis: &Digest32) -> Self {
        Self::connect_with(to, genesis, Voice::Anonymous).await
    }

    async fn connect_with(to: &Multiaddr, genesis: &Digest32, voice: Voice) -> Self {
        let names = Names::of(genesis);
        let mut swarm = swarm(&names, voice);
        let (peer, streams) = (*swarm.local_peer_id(), swarm.behaviour().streams.new_control());
        swarm.dial(to.clone()).unwrap();
        let mut shared = HashSet::new();
        while shared.len() < Topic::ALL.len() {
            if let SwarmEvent::Behaviour(PartsEvent::Gossip(gossipsub::Event::Subscribed { topic, .. })) =
                swarm.select_next_some().await
            {
                shared.insert(topic);
            }
        }
        let (says, mut said) = mpsc::channel::<(Topic, Vec<u8>)>(64);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    next = said.recv() => match next {
                        Some((topic, bytes)) => {
                            // It may have been cut off already.
                            let _ = swarm.behaviour_mut().gossip.publish(names.topic(topic), bytes);
                        }
                        None => return,
                    },
                    _ = swarm.select_next_some() => {}
                }
            }
        });
        Self { peer, says, streams }
    }

    async fn say(&self, topic: Topic, bytes: Vec<u8>) {
        self.says.send((topic, bytes)).await.unwrap();
    }

    /// Opens a stream of a protocol and writes these bytes.
    async fn write(&mut self, to: PeerId, word: &'static str, bytes: &[u8]) {
        let protocol: StreamProtocol = Names::of(&GENESIS).protocol(word);
        if let Ok(mut stream) = self.streams.open_stream(to, protocol).await {
            // The other end may have seen enough.
            let _ = stream.write_all(bytes).await;
            let _ = stream.close().await;
        }
    }

    /// Answers every question of a protocol with these bytes.
    fn answer(&mut self, word: &'static str, bytes: &'static [u8]) {
        let mut asked = self.streams.accept(Names::of(&GENESIS).protocol(word)).unwrap();
        tokio::spawn(async move {
            while let Some((_, mut stream)) = asked.next().await {
                // The other end may have seen enough.
                let _ = stream.write_all(bytes).await;
                let _ = stream.close().await;
            }
        });
    }
}

/// A victim with an honest neighbour, and a liar.
async fn town() -> (Node, Node, Liar) {
    town_with(Voice::Anonymous).await
}

async fn town_with(voice: Voice) -> (Node, Node, Liar) {
    let victim = Node::start(QUIC, &[]).await;
    let neighbour = Node::start(QUIC, &[&victim.address]).await;
    neighbour.meets(victim.peer()).await;
    let liar = Liar::connect_with(&victim.address, &GENESIS, voice).await;
    victim.meets(liar.peer).await;
    (victim, neighbour, liar)
}

/// The liar is refused while honest traffic goes on.
async fn ends(victim: Node, neighbour: Node, liar: Liar) {
    victim.refuses(liar.peer).await;
    let hash = neighbour.pool.hand_in(99);
    victim.pool.gets(hash).await;
    assert_eq!((victim.score(neighbour.peer()).await, neighbour.score(victim.peer()).await), (0, 0));
    victim.stop().await;
    neighbour.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_transactions_end_in_a_refusal_and_are_not_passed_on() {
    let (victim, neighbour, liar) = town().await;
    // One more than are enough: a point is forgotten every second.
    for number in 0..5 {
        liar.say(Topic::Transactions, vec![2, number]).await;
    }
    ends(victim, neighbour, liar).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_transactions_end_in_a_refusal() {
    let (victim, neighbour, liar) = town().await;
    for number in 0..5 {
        liar.say(Topic::Transactions, vec![0xff, number]).await;
    }
    ends(victim, neighbour, liar).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_say_whom_they_are_from_end_in_a_refusal() {
    let (victim, neighbour, liar) = town_with(Voice::Signed).await;
    // Each would be taken without that.
    for number in 0..12 {
        liar.say(Topic::Transactions, vec![1, number]).await;
    }
    ends(victim, neighbour, liar).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_too_large_for_their_topic_end_in_a_refusal() {
    let (victim, neighbour, liar) = town().await;
    for number in 0..12 {
        liar.say(Topic::Announcements, vec![number; 100 * 1024]).await;
    }
    ends(victim, neighbour, liar).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_great_lengths_on_every_protocol_of_questions_end_in_a_refusal() {
    for word in ["envelopes", "book"] {
        for bytes in [vec![0xff; 4], vec![5, 0, 0, 0, 9, 9, 9, 9, 9]] {
            let (victim, neighbour, mut liar) = town().await;
            let liar_peer = liar.peer;
            let to = victim.peer();
            let lying = async {
                loop {
                    liar.write(to, word, &bytes).await;
                }
            };
            tokio::select! {
                () = victim.refuses(liar_peer) => {}
                () = lying => unreachable!("it goes on"),
            }
            ends(victim, neighbour, liar).await;
        }
    }
}

/// Takes this much gossip and these questions.
async fn narrow(gossip: Allowance, questions: Allowance) -> Node {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let mut config = Config::new(Zeroizing::new([4; 32]), dir.path().join("peers.json"));
    config.listen = vec![QUIC.parse().unwrap()];
    (config.limits.gossip, config.limits.questions) = (gossip, questions);
    Node::start_with(dir, GENESIS, config).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_flood_only_what_is_allowed_is_taken_and_whoever_passed_it_on_is_not_blamed() {
    let gossip = Allowance { messages_per_s: 1, bytes_per_s: 1 << 20, burst_s: 8 };
    let victim = narrow(gossip, Limits::default().questions).await;
    let relay = Node::start(QUIC, &[&victim.address]).await;
    let neighbour = Node::start(QUIC, &[&victim.address]).await;
    relay.meets(victim.peer()).await;
    neighbour.meets(victim.peer()).await;
    let liar = Liar::connect(&relay.address).await;
    relay.meets(liar.peer).await;
    for number in 0u64..256 {
        let mut bytes = vec![1; 16];
        bytes[8..].copy_from_slice(&number.to_le_bytes());
        liar.say(Topic::Transactions, bytes).await;
    }
    relay.pool.counts_to(256).await;
    victim.pool.counts_to(8).await;
    let hash = neighbour.pool.hand_in(99);
    victim.pool.gets(hash).await;
    assert!(victim.pool.count() < 128, "{} of 256 came through", victim.pool.count());
    assert_eq!((victim.score(relay.peer()).await, victim.score(neighbour.peer()).await), (0, 0));
    for node in [victim, relay, neighbour] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_too_much_is_blamed() {
    let questions = Allowance { messages_per_s: 1, bytes_per_s: 1 << 20, burst_s: 8 };
    let victim = narrow(Limits::default().gossip, questions).await;
    let mut liar = Liar::connect(&victim.address).await;
    victim.meets(liar.peer).await;
    while victim.score(liar.peer).await == 0 {
        liar.write(victim.peer(), "book", &[0; 4]).await;
    }
    victim.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_none_end_in_a_refusal() {
    for bytes in [&[0xff; 4][..], &[5, 0, 0, 0, 9, 9, 9, 9, 9]] {
        let (victim, neighbour, mut liar) = town().await;
        liar.answer("envelopes", bytes);
        let request = EnvelopeRequest::Get {
            job: JobId::from_bytes([1; 32]),
            purpose: Purpose::Answer,
            recipient: [2; 32],
        };
        let asking = async {
            loop {
                let answer = victim.handle.ask_envelopes(liar.peer, Vec::new(), request.clone()).await;
                assert!(matches!(answer, Err(NetworkError::Unanswered { .. })), "{answer:?}");
            }
        };
        tokio::select! {
            () = victim.refuses(liar.peer) => {}
            () = asking => unreachable!("it goes on"),
        }
        ends(victim, neighbour, liar).await;
    }
}
