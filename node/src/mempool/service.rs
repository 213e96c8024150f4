//! The pool's loop: messages in, checks out.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;

use assay_runtime::Hash;
use futures::FutureExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::debug;

use super::inbox::Message;
use super::state::{Effect, Event, Pool, Ticket};
use super::{CheckError, Config, LedgerCheck, MempoolHandle, PoolError, Status, Transaction, Verdict};
use crate::supervisor::told_to_stop;

type Checked = (Hash, Result<Verdict, CheckError>);

struct Submitter {
    answer: oneshot::Sender<Result<Hash, PoolError>>,
    watch: Option<mpsc::Sender<Status>>,
}

/// The service; [`Mempool::run`] returns when it is told to stop.
pub struct Mempool<L> {
    ledger: L,
    inbox: mpsc::Receiver<Message>,
    pool: Pool,
    tickets: u64,
    submitters: HashMap<Ticket, Submitter>,
    watches: HashMap<Hash, mpsc::Sender<Status>>,
    /// Submissions that wait for the ledger. The pool's size bounds both queues.
    fresh: VecDeque<Transaction>,
    /// Transactions that wait to be checked again, after all submissions.
    again: VecDeque<Transaction>,
    checks: JoinSet<Checked>,
    checks_at_once: usize,
}

impl<L: LedgerCheck> Mempool<L> {
    /// An empty pool on top of the finalized block of `height`.
    pub fn new(config: Config, ledger: L, height: u32) -> (Self, MempoolHandle) {
        let (handle, inbox) = MempoolHandle::new(&config);
        let service = Self {
            ledger,
            inbox,
            pool: Pool::new(config, height),
            tickets: 0,
            submitters: HashMap::new(),
            watches: HashMap::new(),
            fresh: VecDeque::new(),
            again: VecDeque::new(),
            checks: JoinSet::new(),
            checks_at_once: config.checks_at_once,
        };
        (service, handle)
    }

    /// Works until `stop` turns true or nobody can reach it any more.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                message = self.inbox.recv() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
                Some(Ok((hash, outcome))) = self.checks.join_next() => {
                    self.step(Event::Checked { hash, outcome });
                }
                () = told_to_stop(&mut stop) => return,
            }
            self.start_checks();
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Submit { transaction, answer, watch } => {
                let ticket = Ticket(self.tickets);
                self.tickets += 1;
                self.submitters.insert(ticket, Submitter { answer, watch });
                self.step(Event::Submitted { ticket, transaction });
            }
            Message::Finalized { height, block, included } => {
                self.step(Event::Finalized { height, block, included });
                let counts = self.pool.counts();
                debug!(height, ready = counts.ready, future = counts.future, bytes = counts.bytes, "pool");
            }
            Message::Rejected(hashes) => self.step(Event::Rejected(hashes)),
            // Whoever asked may have gone away meanwhile.
            Message::Ready { bytes_max, answer } => drop(answer.send(self.pool.ready(bytes_max))),
            Message::Pending(answer) => drop(answer.send(self.pool.pending())),
            Message::TagsOf { account, answer } => drop(answer.send(self.pool.tags_of(&account))),
            Message::Counts(answer) => drop(answer.send(self.pool.counts())),
        }
    }

    fn step(&mut self, event: Event) {
        let fresh = matches!(event, Event::Submitted { .. });
        for effect in self.pool.step(event) {
            match effect {
                Effect::Check(transaction) if fresh => self.fresh.push_back(transaction),
                Effect::Check(transaction) => self.again.push_back(transaction),
                Effect::Answer(ticket, result) => self.answer(ticket, result),
                Effect::Tell(hash, status) => self.tell(hash, status),
            }
        }
    }

    fn answer(&mut self, ticket: Ticket, result: Result<Hash, PoolError>) {
        let Some(Submitter { answer, watch }) = self.submitters.remove(&ticket) else { return };
        if let (Ok(hash), Some(watch)) = (&result, watch) {
            self.watches.insert(*hash, watch);
        }
        // A submitter that went away does not withdraw its transaction.
        let _ = answer.send(result);
    }

    fn tell(&mut self, hash: Hash, status: Status) {
        let Some(watch) = self.watches.get(&hash) else { return };
        if watch.try_send(status).is_err() || status.is_last() {
            self.watches.remove(&hash);
        }
    }

    fn start_checks(&mut self) {
        while self.checks.len() < self.checks_at_once {
            let Some(transaction) = self.fresh.pop_front().or_else(|| self.again.pop_front()) else { return };
            let ledger = self.ledger.clone();
            self.checks.spawn(async move {
                let hash = transaction.hash();
                // Whatever happens in there, the submitter gets an answer and the room is given back.
                let checked = AssertUnwindSafe(ledger.check(transaction)).catch_unwind().await;
                let panicked = |_| Err(CheckError::Failed("the check panicked".into()));
                (hash, checked.unwrap_or_else(panicked))
            });
        }
    }
}
