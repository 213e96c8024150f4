//! JSON-RPC: what wallets, explorers, the command line and scripts speak to a node.
//!
//! One port serves HTTP and WebSocket. The methods of Substrate nodes are there under their own names, so
//! that polkadot.js, polkadot-api and subxt connect unchanged; ours are grouped as `group_v1_name`. Every
//! method takes its parameters by position or by name. `docs/RPC.md` lists methods and error codes.
//!
//! Invariants:
//! - A transaction is decoded only on the ledger's threads and with a limit on nesting, whichever method it
//!   came through.
//! - Methods that touch the node's disk are refused unless the node allows them, and no web page reaches
//!   any method unless it is the node's own or its origin is on the list.
//! - Every queue is bounded: a full one refuses the request, and a subscriber that falls behind is told so
//!   and dropped.

mod ports;
mod error;
mod params;
mod blocking;
mod feed;
mod chain;
mod state;
mod author;
mod system;
mod payment;
mod node;
mod artifacts;
mod providers;
mod jobs;
mod watch;
mod receipts;
mod gate;
mod service;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use error::{Code, Reason, RpcError};
pub use ports::{
    Artifacts, Ask, Collected, Executed, FetchRequest, FetchWatch, ImportProgress, ImportRequest, Isolation,
    Jobs, LocalArtifact, Models, NewArtifact, Peers, PortError, Prepared, Receipts, Serving, Settlement,
};
pub use service::{Backend, Rpc, Services, StartError, start};
pub use watch::JobEvent;

/// Which methods are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Methods {
    /// All of them on a loopback address, the safe ones elsewhere.
    #[default]
    Auto,
    /// Those that neither touch the node's disk nor its keys.
    Safe,
    /// All of them.
    Unsafe,
}

/// How the server behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Which methods it serves.
    pub methods: Methods,
    /// Origins of foreign web pages that may connect, such as `https://polkadot.js.org`; none by default.
    pub origins: Vec<String>,
    /// Host names under which the node is reached, besides `localhost` and bare addresses.
    pub hosts: Vec<String>,
    /// Connections at the same time; more are answered with status 429.
    pub connections_max: u32,
    /// Subscriptions of one connection; more are refused.
    pub subscriptions_max: u32,
    /// Bytes of one request: a transaction of 512 KiB in hex, and room beside it.
    pub request_bytes_max: u32,
    /// Bytes of one response: a block of 2 MiB in hex, or a manifest of thousands of tensors.
    pub response_bytes_max: u32,
    /// Requests of one batch.
    pub batch_max: u32,
    /// Messages that wait for one connection; when full, its subscriptions fall behind.
    pub messages_waiting_max: u32,
    /// Calls on blocking threads at the same time; more are refused as busy.
    pub blocking_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9944)),
            methods: Methods::default(),
            origins: Vec::new(),
            hosts: Vec::new(),
            connections_max: 128,
            subscriptions_max: 256,
            request_bytes_max: 2 * 1024 * 1024,
            response_bytes_max: 16 * 1024 * 1024,
            batch_max: 64,
            messages_waiting_max: 256,
            blocking_max: 16,
        }
    }
}

impl Config {
    /// Whether methods that touch the node's disk are served.
    pub const fn serves_unsafe(&self) -> bool {
        match self.methods {
            Methods::Auto => self.listen.ip().is_loopback(),
            Methods::Safe => false,
            Methods::Unsafe => true,
        }
    }
}

/// What kind of chain it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    /// Anybody knows its keys.
    Development,
    /// It is meant to last.
    Live,
}

/// What a node says about itself.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The chain's name.
    pub chain: String,
    /// Its kind.
    pub kind: ChainKind,
    /// From one block to the next, in milliseconds.
    pub block_time_ms: u64,
    /// Where the node keeps its data; told only where unsafe methods are served.
    pub data_dir: Option<PathBuf>,
    /// Whether the node makes blocks.
    pub validator: bool,
}
