//! Queues between the network and the services behind it. A full one drops.

use std::collections::HashMap;
use std::sync::Arc;

use libp2p::request_response::OutboundRequestId;
use tokio::sync::{Semaphore, mpsc};

use super::config::Limits;
use super::inbox::{Asked, Gossip, Incoming, Reply, Ticket};
use super::names::Topic;
use super::wire::{Book, Envelopes, Exchange};

/// Questions of each kind that wait: those about envelopes are large, and may take 64 MiB.
const QUESTIONS_MAX: usize = 64;

/// Ways to the services.
pub struct Routes {
    /// KiB that gossip may still take.
    room: Arc<Semaphore>,
    transactions: mpsc::Sender<Gossip>,
    announcements: mpsc::Sender<Gossip>,
    pub envelopes: Line<Envelopes>,
    pub book: Line<Book>,
}

/// One kind of question: who waits for which answer, and where the questions of others go.
pub struct Line<X: Exchange> {
    pub asked: HashMap<OutboundRequestId, Reply<X::Response>>,
    pub route: mpsc::Sender<Asked<X::Request, X::Response>>,
}

/// The other end of a line.
type Questions<X> = mpsc::Receiver<Asked<<X as Exchange>::Request, <X as Exchange>::Response>>;

impl<X: Exchange> Line<X> {
    fn new(waiting_max: usize) -> (Self, Questions<X>) {
        let (route, questions) = mpsc::channel(waiting_max.min(QUESTIONS_MAX));
        (Self { asked: HashMap::new(), route }, questions)
    }
}

impl Routes {
    /// The queues, and their other ends.
    pub fn new(limits: &Limits) -> (Self, Incoming) {
        let Limits { waiting_max, gossip_kib_max, .. } = *limits;
        let (transactions, transactions_in) = mpsc::channel(waiting_max);
        let (announcements, announcements_in) = mpsc::channel(waiting_max);
        let (envelopes, envelopes_in) = Line::new(waiting_max);
        let (book, book_in) = Line::new(waiting_max);
        let permits = usize::try_from(gossip_kib_max).unwrap_or(Semaphore::MAX_PERMITS);
        let routes =
            Self { room: Arc::new(Semaphore::new(permits)), transactions, announcements, envelopes, book };
        let incoming = Incoming {
            transactions: transactions_in,
            announcements: announcements_in,
            envelopes: envelopes_in,
            book: book_in,
        };
        (routes, incoming)
    }

    /// Hands a message to its service; false if there is no room.
    pub fn pass_on(&self, topic: Topic, ticket: Ticket, bytes: Vec<u8>) -> bool {
        let kib = u32::try_from(bytes.len() / 1_024).unwrap_or(u32::MAX).saturating_add(1);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(kib) else { return false };
        let route = match topic {
            Topic::Transactions => &self.transactions,
            Topic::Announcements => &self.announcements,
        };
        route.try_send(Gossip { from: ticket.from, bytes, ticket, room }).is_ok()
    }
}
