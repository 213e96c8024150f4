//! The pool's loop: messages in, checks out.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;

use assay_runtime::Hash;
use futures::FutureExt;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::debug;

use super::inbox::{Message, Origin};
use super::state::{Effect, Event, Pool, Ticket};
use super::{CheckError, Config, LedgerCheck, MempoolHandle, PoolError, Status, Transaction, Verdict};
use crate::supervisor::told_to_stop;

/// A batch that came back.
type Checked = Vec<(Hash, Result<Verdict, CheckError>)>;

struct Submitter {
    transaction: Transaction,
    origin: Origin,
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
    /// Tells of what was handed in here and taken.
    own: broadcast::Sender<Transaction>,
    heights: watch::Sender<u32>,
    watches: HashMap<Hash, mpsc::Sender<Status>>,
    /// Job steps that wait for the ledger's check. The pool's limits bound all three queues.
    steps: VecDeque<Transaction>,
    /// Paid calls that wait for it, after all steps.
    paid: VecDeque<Transaction>,
    /// Transactions that wait to be checked again, after all submissions.
    again: VecDeque<Transaction>,
    checks: JoinSet<Checked>,
    checks_at_once: usize,
    check_batch_max: usize,
}

impl<L: LedgerCheck> Mempool<L> {
    /// An empty pool on top of the finalized block of `height`.
    pub fn new(config: Config, ledger: L, height: u32) -> (Self, MempoolHandle) {
        let (heights, told) = watch::channel(height);
        let (handle, inbox) = MempoolHandle::new(&config, told);
        let service = Self {
            ledger,
            inbox,
            pool: Pool::new(config, height),
            tickets: 0,
            submitters: HashMap::new(),
            own: handle.teller(),
            heights,
            watches: HashMap::new(),
            steps: VecDeque::new(),
            paid: VecDeque::new(),
            again: VecDeque::new(),
            checks: JoinSet::new(),
            checks_at_once: config.checks_at_once,
            check_batch_max: config.check_batch_max,
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
                Some(Ok(checked)) = self.checks.join_next() => {
                    for (hash, outcome) in checked {
                        self.step(Event::Checked { hash, outcome });
                    }
                }
                () = told_to_stop(&mut stop) => return,
            }
            self.start_checks();
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Submit { transaction, origin, answer, watch } => {
                let ticket = Ticket(self.tickets);
                self.tickets += 1;
                let submitter = Submitter { transaction: transaction.clone(), origin, answer, watch };
                self.submitters.insert(ticket, submitter);
                self.step(Event::Submitted { ticket, transaction });
            }
            Message::Finalized { height, block, included } => {
                self.step(Event::Finalized { height, block, included });
                self.heights.send_replace(height);
                let counts = self.pool.counts();
                debug!(height, ready = counts.ready, future = counts.future, bytes = counts.bytes, "pool");
            }
            Message::Rejected(hashes) => self.step(Event::Rejected(hashes)),
            // Whoever asked may have gone away meanwhile.
            Message::Ready { bytes_max, answer } => drop(answer.send(self.pool.ready(bytes_max))),
            Message::Pending(answer) => drop(answer.send(self.pool.pending())),
            Message::Held { hashes, answer } => drop(answer.send(self.pool.held(&hashes))),
            Message::TagsOf { account, answer } => drop(answer.send(self.pool.tags_of(&account))),
            Message::Counts(answer) => drop(answer.send(self.pool.counts())),
        }
    }

    fn step(&mut self, event: Event) {
        let fresh = matches!(event, Event::Submitted { .. });
        for effect in self.pool.step(event) {
            match effect {
                Effect::Check(transaction) if !fresh => self.again.push_back(transaction),
                Effect::Check(transaction) => match transaction.signer() {
                    Some(_) => self.paid.push_back(transaction),
                    None => self.steps.push_back(transaction),
                },
                Effect::Answer(ticket, result) => self.answer(ticket, result),
                Effect::Tell(hash, status) => self.tell(hash, status),
            }
        }
    }

    fn answer(&mut self, ticket: Ticket, result: Result<Hash, PoolError>) {
        let Some(Submitter { transaction, origin, answer, watch }) = self.submitters.remove(&ticket) else {
            return;
        };
        if result.is_ok() && origin == Origin::Here {
            // Nobody may be listening.
            let _ = self.own.send(transaction);
        }
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
            let batch = self.next_batch();
            if batch.is_empty() {
                return;
            }
            let ledger = self.ledger.clone();
            self.checks.spawn(async move {
                let hashes: Vec<Hash> = batch.iter().map(Transaction::hash).collect();
                // Whatever happens in there, the submitters get answers and the room is given back.
                let checked = AssertUnwindSafe(ledger.check(batch)).catch_unwind().await;
                let answers = checked.map(|answers| answers.into_iter().map(Some).collect());
                let mut answers: Vec<_> = answers.unwrap_or_default();
                answers.resize(hashes.len(), None);
                let unanswered = || Err(CheckError::Failed("the check did not end".into()));
                let answers = answers.into_iter().map(|answer| answer.unwrap_or_else(unanswered));
                hashes.into_iter().zip(answers).collect()
            });
        }
    }

    fn next_batch(&mut self) -> Vec<Transaction> {
        let mut batch = Vec::new();
        for queue in [&mut self.steps, &mut self.paid, &mut self.again] {
            let room = self.check_batch_max.saturating_sub(batch.len());
            batch.extend(queue.drain(..room.min(queue.len())));
        }
        batch
    }
}
