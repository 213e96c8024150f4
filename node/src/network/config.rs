//! How a node takes part in the market's network.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use libp2p::Multiaddr;
use zeroize::Zeroizing;

use super::rate::Allowance;
use super::wire;

/// Something that is there or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// It is not.
    #[default]
    Off,
    /// It is.
    On,
}

/// How a node takes part.
#[derive(Clone)]
pub struct Config {
    /// Where others reach it, such as `/ip4/0.0.0.0/udp/30334/quic-v1`; a relay's address with `/p2p-circuit` behind it
    /// reserves a place there. Without any, it only reaches others.
    pub listen: Vec<Multiaddr>,
    /// Where others reach it besides, because a router passes on what comes in there. A node that relays for others
    /// needs one: it is where they are reached through it.
    pub external: Vec<Multiaddr>,
    /// Where it reaches others: it tries to for ever, whoever else is connected. Where an address names the peer, too,
    /// with `/p2p/`, connections of that peer count for no limit.
    pub peers: Vec<Multiaddr>,
    /// ed25519 seed of the key by which others know it.
    pub key: Zeroizing<[u8; 32]>,
    /// Whether it looks for others on its local network.
    pub mdns: Switch,
    /// Whether it passes connections on between others that cannot reach each other.
    pub relay: Switch,
    /// The file in which it keeps where it met others.
    pub contacts: PathBuf,
    /// Bounds.
    pub limits: Limits,
}

impl Config {
    /// A node that listens nowhere and knows nobody.
    pub fn new(key: Zeroizing<[u8; 32]>, contacts: PathBuf) -> Self {
        Self {
            listen: Vec::new(),
            external: Vec::new(),
            peers: Vec::new(),
            key,
            mdns: Switch::Off,
            relay: Switch::Off,
            contacts,
            limits: Limits::default(),
        }
    }
}

/// Bounds of the network.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections of one peer: one by QUIC and one by TCP may be made at the same time.
    pub connections_per_peer: u32,
    /// Connections that others made.
    pub connections_in: u32,
    /// Connections that this node made.
    pub connections_out: u32,
    /// Connections that are being made, each way.
    pub connections_pending: u32,
    /// Share of the machine's memory, in hundredths, from which on no connection is taken.
    pub memory_percent: u32,
    /// Peers below which this node looks for more.
    pub peers_wanted: usize,
    /// Of those, how many this node has dialled by itself: whoever only waits for connections can be surrounded.
    pub dialled_wanted: usize,
    /// Streams of each kind of questions with one peer at the same time. The largest question has 1 MiB.
    pub streams_max: usize,
    /// What one peer may gossip.
    pub gossip: Allowance,
    /// What one peer may ask and be answered.
    pub questions: Allowance,
    /// Messages that wait for each of the services behind the network; when full, a message is dropped.
    pub waiting_max: usize,
    /// KiB of gossip that wait for the services, and with them; what is more is dropped.
    pub gossip_kib_max: u32,
    /// Messages that wait for the network; when full, services wait.
    pub inbox_max: usize,
    /// Look-ups of who has an artifact at the same time; more are refused.
    pub lookups_max: usize,
    /// Bytes of artifacts a second that this node gives to others in all; as fast as it goes where there is none.
    pub upload_bytes_per_second: Option<NonZeroU64>,
    /// How long a look-up may take.
    pub lookup_timeout: Duration,
    /// How long a question may take.
    pub question_timeout: Duration,
    /// How long a connection is kept that nobody uses.
    pub idle_timeout: Duration,
    /// From when on a peer that dials although it is connected has lost that connection. Before, both may have dialled,
    /// or one by QUIC and by TCP.
    pub redial_after: Duration,
}

impl Limits {
    /// What a node has unless it is told otherwise.
    pub const DEFAULT: Self = Self {
        connections_per_peer: 3,
        connections_in: 192,
        connections_out: 96,
        connections_pending: 64,
        memory_percent: 90,
        peers_wanted: 8,
        dialled_wanted: 4,
        streams_max: 4,
        // A neighbour passes on what all others say: several full blocks at once, then what blocks can take.
        gossip: Allowance { messages_per_s: 1_024, bytes_per_s: 2 << 20, burst_s: 8 },
        // An executor with eight jobs asks and hands over some dozens of times a block.
        questions: Allowance { messages_per_s: 64, bytes_per_s: 4 << 20, burst_s: 8 },
        waiting_max: 1_024,
        gossip_kib_max: 32 * 1_024,
        inbox_max: 1_024,
        lookups_max: 64,
        upload_bytes_per_second: None,
        lookup_timeout: Duration::from_secs(10),
        question_timeout: Duration::from_secs(20),
        idle_timeout: Duration::from_secs(600),
        redial_after: Duration::from_secs(5),
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

// The largest message of each kind is within what a peer may say at once, and within the memory for it.
const _: () = {
    let Limits { gossip, questions, gossip_kib_max, peers_wanted, dialled_wanted, connections_out, .. } =
        Limits::DEFAULT;
    assert!(gossip.burst_bytes() >= wire::TRANSACTION_BYTES_MAX as u64);
    assert!(questions.burst_bytes() >= wire::ENVELOPES_BYTES_MAX as u64);
    assert!(questions.burst_bytes() >= wire::ANNOUNCEMENTS_BYTES_MAX as u64);
    assert!(gossip_kib_max as u64 * 1_024 > 8 * wire::TRANSACTION_BYTES_MAX as u64);
    assert!(dialled_wanted <= peers_wanted && peers_wanted < connections_out as usize);
};
