//! The market's network: the second swarm of a node, beside that of consensus. Transactions, announcements of who is
//! where, and sealed envelopes travel over it; artifacts go over its byte streams.
//!
//! One task owns the swarm and waits for nobody: what comes in goes into bounded queues, from which the services behind
//! it take and judge. Every name of a protocol carries the chain. What a peer does wrong is a [`Fault`] with one row in
//! one table; a peer that has collected too many points is disconnected and refused for a time.
//!
//! libp2p is named nowhere else. The network reads no envelope: all are sealed to their recipients.

mod fault;
mod score;
mod rate;
mod backoff;
mod bootstrap;
mod contacts;
mod names;
mod wire;
mod codec;
mod config;
mod behaviour;
mod inbox;
mod lookups;
mod claims;
mod provided;
mod ports;
mod routes;
mod service;
mod events;
mod sharing;
mod transactions;
mod presence;
mod courier;
#[cfg(test)]
mod tests;

pub use bootstrap::meet_validators;
pub use codec::read_message;
pub use config::{Config, Limits, Switch};
pub use contacts::names_peer;
pub use courier::{Courier, Home, Wish};
pub use fault::{Action, Fault, Rule};
pub use inbox::{Asked, Gossip, Incoming, Joined, Judgement, NetworkError, NetworkHandle, PeerInfo};
pub use libp2p::{Multiaddr, PeerId};
pub use names::{Names, Topic};
pub use ports::{Directory, JobLedger, LedgerFailure, PostOffice, Registry, Slip, TransactionPool};
pub use presence::{Announcing, Place, Presence, SharedBook};
pub use rate::Allowance;
pub use score::{DECAY_PER_S, LINE, REFUSED_FOR};
pub use service::{Network, StartError};
pub use transactions::Transactions;
pub use wire::{
    BookRequest, BookResponse, EnvelopeRequest, EnvelopeResponse, Message, Receipt, Refusal, decode_message,
};
