//! The loop between the network and the pool.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use assay_runtime::Hash;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tracing::{debug, error, warn};

use super::early::{Early, TRIES_MAX, Tried};
use super::own::Own;
use crate::mempool::{Outlook, PoolError, Refused, Transaction};
use crate::network::fault::Fault;
use crate::network::inbox::{Gossip, Joined, Judgement, NetworkError, NetworkHandle};
use crate::network::names::Topic;
use crate::network::ports::TransactionPool;
use crate::supervisor::told_to_stop;

/// Transactions of peers that the pool is looking at: a few of its batches.
const CHECKS_MAX: usize = 512;
/// Between two looks at what is to be told again.
const TICK: Duration = Duration::from_secs(1);

/// What the pool's answer to a peer's transaction says of the message.
fn judge(answer: &Result<Hash, Refused>) -> Judgement {
    match answer {
        // One that waits here was forgotten by the layer below, and is told again: for those who came meanwhile.
        Ok(_) | Err(Refused { error: PoolError::Known, .. }) => Judgement::Accept,
        Err(Refused { error, outlook: Outlook::Never }) => Judgement::Reject(match error {
            PoolError::TooLarge { .. } => Fault::Oversized,
            PoolError::Malformed(_) => Fault::Malformed,
            _ => Fault::InvalidTransaction,
        }),
        Err(_) => Judgement::Ignore,
    }
}

/// A peer's transaction with the pool's answer.
struct Checked {
    tried: Tried,
    answer: Result<Hash, Refused>,
}

/// The service; [`Transactions::run`] ends when it is told to.
pub struct Transactions<P> {
    network: NetworkHandle,
    pool: P,
    incoming: mpsc::Receiver<Gossip>,
    joined: broadcast::Receiver<Joined>,
    told_here: broadcast::Receiver<Transaction>,
    heights: watch::Receiver<u32>,
    own: Own,
    checks: JoinSet<Checked>,
    early: Early,
}

impl<P: TransactionPool> Transactions<P> {
    /// Between the network and the pool.
    pub fn new(network: NetworkHandle, incoming: mpsc::Receiver<Gossip>, pool: P) -> Self {
        let (joined, told_here, heights) = (network.joined(), pool.own(), pool.heights());
        let (own, checks, early) = (Own::default(), JoinSet::new(), Early::default());
        Self { network, pool, incoming, joined, told_here, heights, own, checks, early }
    }

    /// Works until `stop` turns true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = self.work() => told_to_stop(&mut stop).await,
            () = told_to_stop(&mut stop) => {}
        }
    }

    /// Ends when network or pool have stopped, which ends the node by itself.
    async fn work(&mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let went_on = tokio::select! {
                own = self.told_here.recv() => self.heard(own).await,
                Some(checked) = self.checks.join_next() => match checked {
                    Ok(checked) => self.checked(checked).await,
                    Err(error) => {
                        error!(%error, "checking a peer's transaction");
                        true
                    }
                },
                gossip = self.incoming.recv(), if self.checks.len() < CHECKS_MAX => match gossip {
                    Some(gossip) => {
                        self.check(gossip, 0);
                        true
                    }
                    None => false,
                },
                joined = self.joined.recv() => match joined {
                    Ok(Joined::Topic(_, Topic::Transactions)) => self.tell_due().await,
                    Err(broadcast::error::RecvError::Closed) => false,
                    // The next tick tells whoever was missed.
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => true,
                },
                changed = self.heights.changed() => {
                    self.try_early();
                    changed.is_ok()
                }
                _ = tick.tick() => self.tell_due().await,
            };
            if !went_on {
                return;
            }
        }
    }

    async fn heard(&mut self, own: Result<Transaction, broadcast::error::RecvError>) -> bool {
        match own {
            Ok(transaction) => {
                self.own.add(transaction.hash());
                self.tell(&transaction).await
            }
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                warn!(missed, "own transactions came too fast to be told to others one by one");
                let Ok(waiting) = self.pool.pending().await else { return false };
                // Those of others among them are no news to them, and no harm.
                waiting.iter().for_each(|transaction| self.own.add(transaction.hash()));
                self.tell_due().await
            }
            Err(broadcast::error::RecvError::Closed) => false,
        }
    }

    /// Hands a peer's transaction to the pool.
    fn check(&mut self, gossip: Gossip, tries: u8) {
        let (pool, height) = (self.pool.clone(), *self.heights.borrow());
        self.checks.spawn(async move {
            let answer = pool.submit(gossip.bytes.clone()).await;
            if let Err(error) = &answer {
                debug!(from = %gossip.from, %error, tries, "a peer's transaction");
            }
            let tried = Tried { gossip, height, tries: tries.saturating_add(1) };
            Checked { tried, answer }
        });
    }

    /// Judges a message, or lets it wait for the next block: it is judged once, so that it is passed on by everybody who
    /// could use it.
    async fn checked(&mut self, checked: Checked) -> bool {
        let Checked { tried, answer } = checked;
        let is_early = matches!(&answer, Err(Refused { outlook: Outlook::Soon, .. }));
        if !is_early || tried.tries >= TRIES_MAX {
            return self.end(tried.gossip, judge(&answer)).await;
        }
        if tried.height != *self.heights.borrow() {
            // The block that it waited for may have come while the pool looked at it.
            self.check(tried.gossip, tried.tries);
            return true;
        }
        for out in self.early.add(tried) {
            if !self.end(out.gossip, Judgement::Ignore).await {
                return false;
            }
        }
        true
    }

    async fn end(&self, gossip: Gossip, judgement: Judgement) -> bool {
        let Gossip { ticket, room: _room, .. } = gossip;
        self.network.judge(Topic::Transactions, ticket, judgement).await.is_ok()
    }

    /// Hands what was early to the pool again.
    fn try_early(&mut self) {
        for _ in 0..self.early.len() {
            if self.checks.len() >= CHECKS_MAX {
                return;
            }
            if let Some(Tried { gossip, tries, .. }) = self.early.take() {
                self.check(gossip, tries);
            }
        }
    }

    async fn tell_due(&mut self) -> bool {
        let due = self.own.due(Instant::now());
        if due.is_empty() {
            return true;
        }
        let Ok(held) = self.pool.held(due.clone()).await else { return false };
        let still: HashSet<Hash> = held.iter().map(Transaction::hash).collect();
        due.iter().filter(|hash| !still.contains(*hash)).for_each(|hash| self.own.forget(hash));
        for transaction in held {
            if !self.tell(&transaction).await {
                return false;
            }
        }
        true
    }

    async fn tell(&mut self, transaction: &Transaction) -> bool {
        let hash = transaction.hash();
        match self.network.publish(Topic::Transactions, transaction.bytes().to_vec()).await {
            // A peer was faster, and others have it.
            Ok(()) | Err(NetworkError::Repeated) => self.own.told(&hash, Instant::now()),
            Err(NetworkError::Stopped) => return false,
            // It is due again at once.
            Err(error) => debug!(%hash, %error, "telling others of a transaction"),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use sp_runtime::transaction_validity::InvalidTransaction;

    use super::*;
    use crate::mempool::Nature;

    #[test]
    fn only_what_no_state_of_the_ledger_makes_valid_is_a_fault() {
        use InvalidTransaction::*;
        let refused = |error, nature| Err(Refused::new(error, nature));
        let too_large = PoolError::TooLarge { bytes: 2, bytes_max: 1 };
        for (answer, expected) in [
            (Ok(Hash::zero()), Judgement::Accept),
            (refused(PoolError::Known, Nature::Step), Judgement::Accept),
            (refused(PoolError::Malformed("x".into()), Nature::Step), Judgement::Reject(Fault::Malformed)),
            (refused(too_large, Nature::Step), Judgement::Reject(Fault::Oversized)),
            (
                refused(PoolError::Invalid(BadProof), Nature::Lasting),
                Judgement::Reject(Fault::InvalidTransaction),
            ),
            (refused(PoolError::Invalid(BadProof), Nature::Mortal), Judgement::Ignore),
            (refused(PoolError::Invalid(Stale), Nature::Lasting), Judgement::Ignore),
            (refused(PoolError::Invalid(Stale), Nature::Step), Judgement::Ignore),
            (refused(PoolError::Banned, Nature::Lasting), Judgement::Ignore),
        ] {
            assert_eq!(judge(&answer), expected, "{answer:?}");
        }
    }
}
