//! Transactions: what enters the pool here is told to others, and what others say is handed to the pool.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use assay_runtime::Hash;
use sp_runtime::transaction_validity::InvalidTransaction;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tracing::{debug, warn};

use super::behaviour::REMEMBERED_FOR;
use super::fault::Fault;
use super::inbox::{Gossip, Joined, Judgement, NetworkError, NetworkHandle, Ticket};
use super::names::Topic;
use super::ports::TransactionPool;
use crate::mempool::{PoolError, Transaction};
use crate::supervisor::told_to_stop;

/// Transactions of peers that the pool is looking at: a few of its batches.
const CHECKS_MAX: usize = 512;
/// Own transactions that are told again while they wait for a block. The oldest makes room.
const OWN_MAX: usize = 2_048;
/// Of those, how many are told at a time.
const TOLD_AT_ONCE_MAX: usize = 64;
/// Between two times that one is told: others have forgotten by then that they have heard of it.
const TELL_EVERY: Duration = Duration::from_secs(35);
const TICK: Duration = Duration::from_secs(1);
/// Transactions of peers that are valid a block later or earlier, and are handed to the pool again: a step that follows
/// a block may come sooner than the block. The oldest makes room.
const EARLY_MAX: usize = 256;
/// How often one is handed to the pool again, a tick apart.
const EARLY_TRIES: u8 = 6;

const _: () = assert!(TELL_EVERY.as_secs() > REMEMBERED_FOR.as_secs());

/// What the pool's answer to a peer's transaction says of the message. A peer is to blame only for what no state of the
/// ledger makes valid: it may be some blocks ahead or behind.
pub fn judge(answer: &Result<Hash, PoolError>) -> Judgement {
    use InvalidTransaction::{BadProof, BadSigner, MandatoryValidation};
    match answer {
        // One that waits here was forgotten by the layer below, and is told again: for those who came meanwhile.
        Ok(_) | Err(PoolError::Known) => Judgement::Accept,
        Err(PoolError::TooLarge { .. }) => Judgement::Reject(Fault::Oversized),
        Err(PoolError::Malformed(_)) => Judgement::Reject(Fault::Malformed),
        Err(PoolError::Invalid(BadProof | BadSigner | MandatoryValidation)) => {
            Judgement::Reject(Fault::InvalidTransaction)
        }
        Err(_) => Judgement::Ignore,
    }
}

/// Whether the same transaction may be valid when the ledger here is a block further.
const fn is_early(answer: &Result<Hash, PoolError>) -> bool {
    matches!(answer, Err(PoolError::Invalid(InvalidTransaction::Stale | InvalidTransaction::Future)))
}

/// A transaction that may be valid soon.
struct Early {
    bytes: Vec<u8>,
    tries: u8,
}

/// What came of handing a peer's transaction to the pool.
struct Checked {
    /// By which it is judged, the first time.
    ticket: Option<(Ticket, Judgement)>,
    early: Option<Early>,
}

/// Own transactions, and when they were last told.
#[derive(Debug, Default)]
struct Own {
    arrivals: u64,
    by_arrival: BTreeMap<u64, (Hash, Option<Instant>)>,
}

impl Own {
    fn add(&mut self, hash: Hash) {
        self.by_arrival.insert(self.arrivals, (hash, None));
        self.arrivals = self.arrivals.saturating_add(1);
        while self.by_arrival.len() > OWN_MAX {
            self.by_arrival.pop_first();
        }
    }

    /// Those to be told now, the oldest first.
    fn due(&self, now: Instant) -> Vec<Hash> {
        let is_due =
            |told: &Option<Instant>| told.is_none_or(|at| now.saturating_duration_since(at) >= TELL_EVERY);
        let due = self.by_arrival.values().filter(|(_, told)| is_due(told));
        due.take(TOLD_AT_ONCE_MAX).map(|(hash, _)| *hash).collect()
    }

    fn told(&mut self, hash: &Hash, now: Instant) {
        if let Some((_, told)) = self.by_arrival.values_mut().find(|(own, _)| own == hash) {
            *told = Some(now);
        }
    }

    /// Of `asked`, only those in `held` still wait for a block.
    fn retain(&mut self, asked: &[Hash], held: &[Transaction]) {
        self.by_arrival.retain(|_, (hash, _)| {
            !asked.contains(hash) || held.iter().any(|transaction| transaction.hash() == *hash)
        });
    }
}

/// The service; [`Transactions::run`] ends when it is told to.
pub struct Transactions<P> {
    network: NetworkHandle,
    pool: P,
    incoming: mpsc::Receiver<Gossip>,
    joined: broadcast::Receiver<Joined>,
    told_here: broadcast::Receiver<Transaction>,
    own: Own,
    checks: JoinSet<Checked>,
    early: VecDeque<Early>,
}

impl<P: TransactionPool> Transactions<P> {
    /// Between the network and the pool.
    pub fn new(network: NetworkHandle, incoming: mpsc::Receiver<Gossip>, pool: P) -> Self {
        let (joined, told_here) = (network.joined(), pool.own());
        let (own, checks, early) = (Own::default(), JoinSet::new(), VecDeque::new());
        Self { network, pool, incoming, joined, told_here, own, checks, early }
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
                Some(Ok(checked)) = self.checks.join_next() => self.checked(checked).await,
                gossip = self.incoming.recv(), if self.checks.len() < CHECKS_MAX => match gossip {
                    Some(gossip) => {
                        self.check(gossip);
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
                _ = tick.tick() => {
                    self.try_early();
                    self.tell_due().await
                }
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
                warn!(missed, "own transactions came too fast to be told to others");
                true
            }
            Err(broadcast::error::RecvError::Closed) => false,
        }
    }

    fn check(&mut self, gossip: Gossip) {
        let pool = self.pool.clone();
        self.checks.spawn(async move {
            let Gossip { from, bytes, ticket, room } = gossip;
            let answer = pool.submit(bytes.clone()).await;
            drop(room);
            if let Err(error) = &answer {
                debug!(%from, %error, "a peer's transaction");
            }
            let early = is_early(&answer).then_some(Early { bytes, tries: EARLY_TRIES });
            Checked { ticket: Some((ticket, judge(&answer))), early }
        });
    }

    async fn checked(&mut self, checked: Checked) -> bool {
        if let Some(early) = checked.early {
            if self.early.len() == EARLY_MAX {
                self.early.pop_front();
            }
            self.early.push_back(early);
        }
        match checked.ticket {
            Some((ticket, judgement)) => {
                self.network.judge(Topic::Transactions, ticket, judgement).await.is_ok()
            }
            None => true,
        }
    }

    /// Hands what was early to the pool again.
    fn try_early(&mut self) {
        let room = CHECKS_MAX.saturating_sub(self.checks.len()).min(self.early.len());
        for Early { bytes, tries } in self.early.drain(..room) {
            let pool = self.pool.clone();
            self.checks.spawn(async move {
                let answer = pool.submit(bytes.clone()).await;
                let tries = tries.saturating_sub(1);
                let early = (is_early(&answer) && tries > 0).then_some(Early { bytes, tries });
                Checked { ticket: None, early }
            });
        }
    }

    async fn tell_due(&mut self) -> bool {
        let due = self.own.due(Instant::now());
        if due.is_empty() {
            return true;
        }
        let Ok(held) = self.pool.held(due.clone()).await else { return false };
        self.own.retain(&due, &held);
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
    use sp_runtime::transaction_validity::UnknownTransaction;

    use super::*;

    #[test]
    fn only_what_no_state_of_the_ledger_makes_valid_is_a_fault() {
        use InvalidTransaction::*;
        for (answer, expected) in [
            (Ok(Hash::zero()), Judgement::Accept),
            (Err(PoolError::Known), Judgement::Accept),
            (Err(PoolError::Malformed("x".into())), Judgement::Reject(Fault::Malformed)),
            (Err(PoolError::TooLarge { bytes: 2, bytes_max: 1 }), Judgement::Reject(Fault::Oversized)),
            (Err(PoolError::Invalid(BadProof)), Judgement::Reject(Fault::InvalidTransaction)),
            // A block more or less decides about these.
            (Err(PoolError::Invalid(Stale)), Judgement::Ignore),
            (Err(PoolError::Invalid(Future)), Judgement::Ignore),
            (Err(PoolError::Invalid(Payment)), Judgement::Ignore),
            (Err(PoolError::Invalid(AncientBirthBlock)), Judgement::Ignore),
            (Err(PoolError::Unknown(UnknownTransaction::CannotLookup)), Judgement::Ignore),
            // The pool's own affairs.
            (Err(PoolError::Full), Judgement::Ignore),
            (Err(PoolError::Busy), Judgement::Ignore),
            (Err(PoolError::Banned), Judgement::Ignore),
        ] {
            assert_eq!(judge(&answer), expected, "{answer:?}");
        }
    }

    #[test]
    fn a_step_that_came_sooner_than_its_block_is_tried_again_and_nothing_else_is() {
        use InvalidTransaction::*;
        assert!(is_early(&Err(PoolError::Invalid(Stale))) && is_early(&Err(PoolError::Invalid(Future))));
        let others = [Ok(Hash::zero()), Err(PoolError::Known), Err(PoolError::Invalid(BadProof))];
        assert!(!others.iter().any(is_early));
    }

    #[test]
    fn an_own_transaction_is_told_again_until_it_has_left_the_pool() {
        let (mut own, start, hash) = (Own::default(), Instant::now(), Hash::repeat_byte(1));
        own.add(hash);
        assert_eq!(own.due(start), vec![hash]);
        own.told(&hash, start);
        assert!(own.due(start + TELL_EVERY - TICK).is_empty());
        assert_eq!(own.due(start + TELL_EVERY), vec![hash]);
        own.retain(&[hash], &[]);
        assert!(own.due(start + TELL_EVERY).is_empty());
    }

    #[test]
    fn own_transactions_have_a_bound_and_leave_in_portions() {
        let mut own = Own::default();
        for number in 0..2 * OWN_MAX as u64 {
            own.add(Hash::from_low_u64_be(number));
        }
        let due = own.due(Instant::now());
        assert_eq!((due.len(), due[0]), (TOLD_AT_ONCE_MAX, Hash::from_low_u64_be(OWN_MAX as u64)));
        assert_eq!(own.by_arrival.len(), OWN_MAX);
    }
}
