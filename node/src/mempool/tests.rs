use std::collections::{BTreeMap, HashMap, HashSet};

use assay_runtime::{AccountId, Hash};
use codec::Encode;
use proptest::prelude::*;
use sp_runtime::transaction_validity::{InvalidTransaction, TransactionValidityError, ValidTransaction};

use super::state::{Effect, Event, Pool, Ticket};
use super::*;

mod full;

const SMALL: Config = Config {
    transactions_max: 12,
    bytes_max: 2_000,
    transaction_bytes_max: 400,
    account_max: 4,
    feeless_max: 3,
    waiting_max: 4,
    replacement_percent: 10,
    checking_max: 10,
    checking_bytes_max: 1_000,
    waiting_blocks_max: 5,
    ban_blocks: 2,
    rechecks_per_block: 3,
    checks_at_once: 2,
    check_batch_max: 4,
    inbox_max: 8,
};

/// What a made-up transaction is.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Paid { account: u8, nonce: u32, tip: u64 },
    Step { tag: u8, try_again: u8 },
}

/// A ledger that knows nonces only.
#[derive(Default)]
struct Ledger {
    height: u32,
    nonces: BTreeMap<u8, u32>,
    steps_done: HashSet<u8>,
    kinds: HashMap<Hash, Kind>,
}

fn account(byte: u8) -> AccountId {
    AccountId::new([byte; 32])
}

fn nonce_tag(account_byte: u8, nonce: u32) -> Vec<u8> {
    (account(account_byte), nonce).encode()
}

impl Ledger {
    fn make(&mut self, kind: Kind) -> Transaction {
        let (seed, signer) = match kind {
            Kind::Paid { account: byte, nonce, tip } => {
                (u64::from(byte) << 48 | u64::from(nonce) << 16 | tip, Some(account(byte)))
            }
            Kind::Step { tag, try_again } => (u64::MAX - u64::from(tag) - (u64::from(try_again) << 8), None),
        };
        let transaction = Transaction::made_up(seed, 100, signer);
        self.kinds.insert(transaction.hash(), kind);
        transaction
    }

    fn check(&self, hash: &Hash) -> Result<Verdict, CheckError> {
        let stale = Err(TransactionValidityError::Invalid(InvalidTransaction::Stale));
        let validity = match self.kinds[hash] {
            Kind::Paid { account, nonce, tip } => {
                let next = self.nonces.get(&account).copied().unwrap_or_default();
                let requires = if nonce > next { vec![nonce_tag(account, nonce - 1)] } else { vec![] };
                let provides = vec![nonce_tag(account, nonce)];
                if nonce < next { stale } else { Ok(valid(tip, requires, provides, u64::MAX)) }
            }
            Kind::Step { tag, .. } if self.steps_done.contains(&tag) => stale,
            Kind::Step { tag, try_again } => {
                Ok(valid((1 << 62) + u64::from(try_again), vec![], vec![vec![tag]], 4))
            }
        };
        Ok(Verdict { height: self.height, validity })
    }

    fn include(&mut self, hash: &Hash) {
        match self.kinds[hash] {
            Kind::Paid { account, nonce, .. } => {
                let next = self.nonces.entry(account).or_default();
                assert_eq!(*next, nonce, "a block must hold an account's transactions by nonce");
                *next += 1;
            }
            Kind::Step { tag, .. } => assert!(self.steps_done.insert(tag)),
        }
    }
}

fn valid(priority: u64, requires: Vec<Vec<u8>>, provides: Vec<Vec<u8>>, longevity: u64) -> ValidTransaction {
    ValidTransaction { priority, requires, provides, longevity, propagate: true }
}

/// A pool with the ledger it asks, and what it has said.
struct World {
    ledger: Ledger,
    pool: Pool,
    checks: Vec<Hash>,
    tickets: u64,
    answers: BTreeMap<Ticket, Result<Hash, PoolError>>,
    told: Vec<(Hash, Status)>,
}

impl World {
    fn new() -> Self {
        Self {
            ledger: Ledger::default(),
            pool: Pool::new(SMALL, 0),
            checks: Vec::new(),
            tickets: 0,
            answers: BTreeMap::new(),
            told: Vec::new(),
        }
    }

    fn step(&mut self, event: Event) {
        for effect in self.pool.step(event) {
            match effect {
                Effect::Check(transaction) => self.checks.push(transaction.hash()),
                Effect::Answer(ticket, result) => {
                    assert!(self.answers.insert(ticket, result).is_none(), "one answer a submission");
                }
                Effect::Tell(hash, status) => {
                    let last = self.told.iter().rev().find(|(other, _)| *other == hash);
                    let ended = last.is_some_and(|(_, status)| status.is_last());
                    assert!(
                        !ended || status == Status::Ready || status == Status::Future,
                        "told after its end"
                    );
                    self.told.push((hash, status));
                }
            }
        }
        self.assert_consistent();
    }

    fn submit(&mut self, kind: Kind) -> (Ticket, Hash) {
        let transaction = self.ledger.make(kind);
        let (ticket, hash) = (Ticket(self.tickets), transaction.hash());
        self.tickets += 1;
        self.step(Event::Submitted { ticket, transaction });
        (ticket, hash)
    }

    fn check_one(&mut self, index: usize) {
        if !self.checks.is_empty() {
            let hash = self.checks.remove(index % self.checks.len());
            let outcome = self.ledger.check(&hash);
            self.step(Event::Checked { hash, outcome });
        }
    }

    fn check_all(&mut self) {
        while !self.checks.is_empty() {
            self.check_one(0);
        }
    }

    /// Submits, checks, and gives the answer.
    fn add(&mut self, kind: Kind) -> Result<Hash, PoolError> {
        let (ticket, _) = self.submit(kind);
        self.check_all();
        self.answers[&ticket].clone()
    }

    fn block(&mut self, transactions_max: usize) {
        let included: Vec<Hash> =
            self.pool.ready(usize::MAX).iter().take(transactions_max).map(Transaction::hash).collect();
        included.iter().for_each(|hash| self.ledger.include(hash));
        self.ledger.height += 1;
        let height = self.ledger.height;
        self.step(Event::Finalized { height, block: Hash::from_low_u64_be(height.into()), included });
    }

    fn assert_consistent(&self) {
        let (counts, pending) = (self.pool.counts(), self.pool.pending());
        assert_eq!(counts.ready, pending.len(), "ready is what a block can take");
        assert!(counts.ready + counts.future <= SMALL.transactions_max && counts.future <= SMALL.waiting_max);
        let held: usize = self.pool.graph().iter().map(|(entry, _)| entry.transaction.bytes().len()).sum();
        assert!(held <= SMALL.bytes_max && counts.bytes <= held + 2 * SMALL.checking_bytes_max);
        let ranked: Vec<Hash> =
            self.pool.graph().lowest_first().map(|(_, entry)| entry.transaction.hash()).collect();
        assert_eq!(ranked.len(), counts.ready + counts.future, "everything has one rank");
        assert!(
            self.pool.graph().lowest_first().all(|(rank, entry)| rank == self.pool.graph().rank_of(entry))
        );
        assert!((0..8).all(|byte| self.pool.tags_of(&account(byte)).len() <= SMALL.account_max));
        assert!(pending.iter().filter(|one| one.signer().is_none()).count() <= SMALL.feeless_max);
        let unique: HashSet<Hash> = pending.iter().map(Transaction::hash).collect();
        assert_eq!(unique.len(), pending.len());
    }
}

fn step(tag: u8) -> Kind {
    Kind::Step { tag, try_again: 0 }
}

fn paid(account: u8, nonce: u32) -> Kind {
    Kind::Paid { account, nonce, tip: 0 }
}

#[test]
fn an_accounts_transactions_go_by_nonce_whatever_the_order_of_arrival() {
    let mut world = World::new();
    let [third, second, first] = [2, 1, 0].map(|nonce| world.add(paid(1, nonce)).unwrap());
    let order: Vec<Hash> = world.pool.ready(usize::MAX).iter().map(Transaction::hash).collect();
    assert_eq!(order, [first, second, third]);
    let future_then_ready = [
        (third, Status::Future),
        (second, Status::Future),
        (first, Status::Ready),
        (second, Status::Ready),
        (third, Status::Ready),
    ];
    assert_eq!(world.told, future_then_ready);
}

#[test]
fn steps_come_before_paid_calls_and_higher_tips_before_lower() {
    let mut world = World::new();
    let low = world.add(Kind::Paid { account: 1, nonce: 0, tip: 1 }).unwrap();
    let high = world.add(Kind::Paid { account: 2, nonce: 0, tip: 9 }).unwrap();
    let step = world.add(step(1)).unwrap();
    let order: Vec<Hash> = world.pool.ready(usize::MAX).iter().map(Transaction::hash).collect();
    assert_eq!(order, [step, high, low]);
    assert_eq!(world.pool.ready(250).len(), 2, "a block's bytes bound what it is offered");
}

#[test]
fn a_step_is_never_replaced_and_what_is_known_is_not_taken_twice() {
    let mut world = World::new();
    world.add(paid(1, 0)).unwrap();
    assert_eq!(world.add(paid(1, 0)), Err(PoolError::Known));
    let (first, _) = world.submit(Kind::Step { tag: 1, try_again: 0 });
    let (second, _) = world.submit(Kind::Step { tag: 1, try_again: 0 });
    world.check_all();
    assert!(world.answers[&first].is_ok());
    assert_eq!(world.answers[&second], Err(PoolError::Known));
    assert_eq!(world.add(Kind::Step { tag: 1, try_again: 1 }), Err(PoolError::Taken));
}

#[test]
fn every_limit_refuses_with_its_own_error() {
    let mut world = World::new();
    for nonce in 0..4 {
        world.add(paid(1, nonce)).unwrap();
    }
    assert_eq!(world.add(paid(1, 4)), Err(PoolError::AccountFull(4)));
    for tag in 0..3 {
        world.add(step(tag)).unwrap();
    }
    assert_eq!(world.add(step(3)), Err(PoolError::Full));
    for account in 2..7 {
        world.add(paid(account, 0)).unwrap();
    }
    assert_eq!(world.add(paid(7, 0)), Err(PoolError::Full));
    world.block(1);
    assert!(world.add(paid(7, 0)).is_ok(), "a block makes room");
}

#[test]
fn an_unproven_signature_uses_up_no_accounts_share() {
    let mut world = World::new();
    for nonce in 0..8 {
        let forged = world.ledger.make(Kind::Paid { account: 1, nonce, tip: 7 });
        let ticket = Ticket(1_000 + u64::from(nonce));
        world.step(Event::Submitted { ticket, transaction: forged });
    }
    let honest = world.add(paid(1, 0));
    assert!(matches!(honest, Err(PoolError::Underpriced { .. })) || honest.is_ok());
    let mut world = World::new();
    for nonce in 0..8 {
        let transaction = world.ledger.make(Kind::Paid { account: 1, nonce, tip: 7 });
        let hash = transaction.hash();
        world.step(Event::Submitted { ticket: Ticket(1_000 + u64::from(nonce)), transaction });
        let bad = Err(TransactionValidityError::Invalid(InvalidTransaction::BadProof));
        world.checks.clear();
        world.step(Event::Checked { hash, outcome: Ok(Verdict { height: 0, validity: bad }) });
    }
    assert!((0..4).all(|nonce| world.add(paid(1, nonce)).is_ok()));
}

#[test]
fn what_can_never_be_valid_is_banned_for_some_blocks() {
    let mut world = World::new();
    world.ledger.nonces.insert(1, 5);
    assert_eq!(world.add(paid(1, 0)), Err(PoolError::Invalid(InvalidTransaction::Stale)));
    assert_eq!(world.add(paid(1, 0)), Err(PoolError::Banned));
    (0..=SMALL.ban_blocks).for_each(|_| world.block(0));
    assert_eq!(world.add(paid(1, 0)), Err(PoolError::Invalid(InvalidTransaction::Stale)));
}

#[test]
fn a_step_that_comes_too_early_may_come_again() {
    let mut world = World::new();
    world.ledger.steps_done.insert(1);
    assert_eq!(world.add(step(1)), Err(PoolError::Invalid(InvalidTransaction::Stale)));
    world.ledger.steps_done.clear();
    assert!(world.add(step(1)).is_ok());
}

#[test]
fn a_block_takes_out_what_it_holds_and_lets_successors_go() {
    let mut world = World::new();
    let hashes: Vec<Hash> = (0..3).map(|nonce| world.add(paid(1, nonce)).unwrap()).collect();
    world.told.clear();
    world.block(2);
    let block = Hash::from_low_u64_be(1);
    assert_eq!(world.told, [(hashes[0], Status::Finalized(block)), (hashes[1], Status::Finalized(block))]);
    assert_eq!(world.pool.ready(usize::MAX).iter().map(Transaction::hash).collect::<Vec<_>>(), [hashes[2]]);
}

#[test]
fn a_transaction_made_invalid_elsewhere_leaves_and_its_successors_wait() {
    let mut world = World::new();
    let hashes: Vec<Hash> = (0..3).map(|nonce| world.add(paid(1, nonce)).unwrap()).collect();
    world.told.clear();
    world.step(Event::Rejected(vec![hashes[0]]));
    let mut waiting = world.told.split_off(1);
    assert_eq!(world.told, [(hashes[0], Status::Invalid)]);
    waiting.sort_by_key(|(hash, _)| *hash != hashes[1]);
    assert_eq!(waiting, [(hashes[1], Status::Future), (hashes[2], Status::Future)]);
    assert_eq!(world.pool.counts().ready, 0);
}

#[test]
fn what_waits_too_long_is_dropped() {
    let mut world = World::new();
    let orphan = world.add(paid(1, 3)).unwrap();
    (0..=SMALL.waiting_blocks_max).for_each(|_| world.block(0));
    assert_eq!(world.told.last(), Some(&(orphan, Status::Dropped)));
    assert_eq!(world.pool.counts(), Counts::default());
}

#[test]
fn a_step_expires_with_its_longevity_unless_it_is_found_valid_again() {
    let mut world = World::new();
    let step = world.add(step(1)).unwrap();
    for _ in 0..10 {
        world.block(0);
        world.check_all();
    }
    assert_eq!(world.pool.counts().ready, 1);
    (0..5).for_each(|_| world.block(0));
    assert_eq!(world.told.last(), Some(&(step, Status::Dropped)), "unchecked for longer than it is valid");
}

#[test]
fn every_transaction_is_checked_again_in_turn_and_a_block_asks_for_few() {
    let mut world = World::new();
    let all: HashSet<Hash> = (1..=7).map(|account| world.add(paid(account, 0)).unwrap()).collect();
    let mut seen = HashSet::new();
    for _ in 0..3 {
        world.block(0);
        assert!(world.checks.len() <= SMALL.rechecks_per_block);
        seen.extend(world.checks.iter().copied());
        world.check_all();
    }
    assert_eq!(seen, all);
}

#[test]
fn a_transaction_checked_before_its_predecessors_block_is_ready_after_it() {
    let mut world = World::new();
    world.add(paid(1, 0)).unwrap();
    let (_, second) = world.submit(paid(1, 1));
    let hash = world.checks.remove(0);
    let outcome = world.ledger.check(&hash);
    world.block(1);
    world.step(Event::Checked { hash, outcome });
    assert_eq!(world.told.last(), Some(&(second, Status::Future)));
    world.check_all();
    assert_eq!(world.told.last(), Some(&(second, Status::Ready)));
}

#[test]
fn a_failing_ledger_refuses_newcomers_and_keeps_the_pool() {
    let mut world = World::new();
    let kept = world.add(paid(1, 0)).unwrap();
    let failed = || Err(CheckError::Failed("no disk".into()));
    let (ticket, hash) = world.submit(paid(2, 0));
    world.step(Event::Checked { hash, outcome: failed() });
    assert_eq!(world.answers[&ticket], Err(PoolError::Ledger("no disk".into())));
    world.checks.clear();
    world.block(0);
    world.step(Event::Checked { hash: kept, outcome: failed() });
    assert_eq!(world.pool.counts().ready, 1);
}

#[derive(Clone, Debug)]
enum Deed {
    Submit(Kind),
    Check(usize),
    Block(usize),
    Reject(usize),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let paid =
        (0u8..7, 0u32..7, 0u64..40).prop_map(|(account, nonce, tip)| Kind::Paid { account, nonce, tip });
    let step = (0u8..6, 0u8..2).prop_map(|(tag, try_again)| Kind::Step { tag, try_again });
    let deed = prop_oneof![
        5 => paid.prop_map(Deed::Submit),
        1 => step.prop_map(Deed::Submit),
        5 => (0usize..20).prop_map(Deed::Check),
        2 => (0usize..4).prop_map(Deed::Block),
        1 => (0usize..20).prop_map(Deed::Reject),
    ];
    proptest::collection::vec(deed, 0..120)
}

proptest! {
    #[test]
    fn any_history_keeps_limits_order_and_answers(history in deeds()) {
        let mut world = World::new();
        for deed in history {
            match deed {
                Deed::Submit(kind) => drop(world.submit(kind)),
                Deed::Check(index) => world.check_one(index),
                Deed::Block(size) => world.block(size),
                Deed::Reject(index) => {
                    let hash = world.pool.pending().get(index).map(Transaction::hash);
                    world.step(Event::Rejected(hash.into_iter().collect()));
                }
            }
        }
        world.check_all();
        prop_assert_eq!(world.answers.len() as u64, world.tickets, "every submission is answered");
        // After a rest nothing is left but what could go, and then nothing at all.
        for _ in 0..=SMALL.waiting_blocks_max {
            world.block(usize::MAX);
            world.check_all();
        }
        prop_assert_eq!(world.pool.counts(), Counts::default());
    }
}

mod service {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tokio::sync::watch;

    /// Decides by the first byte; answers only when it is let go.
    #[derive(Clone)]
    struct Gate(Arc<Mutex<HashMap<Hash, Result<Verdict, CheckError>>>>);

    impl LedgerCheck for Gate {
        async fn check(&self, transactions: Vec<Transaction>) -> Vec<Result<Verdict, CheckError>> {
            let prepared = self.0.lock().unwrap().clone();
            let answer = |transaction: &Transaction| prepared.get(&transaction.hash()).cloned();
            let answers = transactions.iter().map(answer).collect::<Option<_>>();
            answers.expect("a transaction that the test did not prepare")
        }
    }

    fn signed(nonce: u32) -> Vec<u8> {
        use sp_core::Pair;
        let key = sp_core::sr25519::Pair::from_seed(&[1; 32]);
        let call = assay_runtime::RuntimeCall::System(frame_system::Call::remark { remark: vec![1] });
        let extension = assay_runtime::signed_extension(nonce, 0);
        // Nobody looks at it here, and a real one would differ each time.
        let signature = sp_core::sr25519::Signature::from_raw([7; 64]);
        let address = assay_runtime::Address::Id(key.public().into());
        assay_runtime::UncheckedExtrinsic::new_signed(call, address, signature.into(), extension).encode()
    }

    fn started(
        config: Config,
        verdicts: Vec<(Vec<u8>, Result<Verdict, CheckError>)>,
    ) -> (MempoolHandle, watch::Sender<bool>) {
        let hash = |bytes: Vec<u8>| Transaction::parse(bytes, usize::MAX).unwrap().hash();
        let verdicts = verdicts.into_iter().map(|(bytes, verdict)| (hash(bytes), verdict)).collect();
        let (pool, handle) = Mempool::new(config, Gate(Arc::new(Mutex::new(verdicts))), 0);
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(pool.run(stopped));
        (handle, stop)
    }

    fn good(provides: u8) -> Result<Verdict, CheckError> {
        Ok(Verdict { height: 0, validity: Ok(valid(0, vec![], vec![vec![provides]], u64::MAX)) })
    }

    #[tokio::test]
    async fn a_watched_transaction_is_followed_into_its_block() {
        let (handle, _stop) = started(SMALL, vec![(signed(0), good(0))]);
        let (hash, mut watch) = handle.submit_and_watch(signed(0)).await.unwrap();
        assert_eq!(watch.recv().await, Some(Status::Ready));
        assert_eq!(handle.ready(usize::MAX).await.unwrap()[0].hash(), hash);
        assert_eq!(handle.counts().await.unwrap().ready, 1);
        handle.finalized(1, Hash::repeat_byte(9), vec![hash]).await.unwrap();
        assert_eq!(watch.recv().await, Some(Status::Finalized(Hash::repeat_byte(9))));
        assert_eq!(watch.recv().await, None);
        assert!(handle.pending().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_check_that_panics_refuses_its_batch_only() {
        let (handle, _stop) = started(SMALL, vec![(signed(1), good(1))]);
        let refused = handle.submit(signed(0)).await;
        assert_eq!(refused, Err(PoolError::Ledger("the check did not end".into())));
        assert!(handle.submit(signed(1)).await.is_ok());
        assert_eq!(handle.counts().await.unwrap().ready, 1);
    }

    #[tokio::test]
    async fn what_comes_in_together_is_checked_in_batches_and_each_gets_its_own_answer() {
        let bad = || Ok(Verdict { height: 0, validity: Err(InvalidTransaction::BadProof.into()) });
        let verdict = |n: u32| if n.is_multiple_of(3) { bad() } else { good(n as u8) };
        let (handle, _stop) = started(
            Config { account_max: 10, inbox_max: 16, checking_bytes_max: 10_000, ..SMALL },
            (0..10).map(|n| (signed(n), verdict(n))).collect(),
        );
        let answers = futures::future::join_all((0..10).map(|n| handle.submit(signed(n)))).await;
        for (n, answer) in answers.into_iter().enumerate() {
            let refused = Err(PoolError::Invalid(InvalidTransaction::BadProof));
            assert!(if n.is_multiple_of(3) { answer == refused } else { answer.is_ok() }, "{n}");
        }
        assert_eq!(handle.counts().await.unwrap().ready, 6);
    }

    #[tokio::test]
    async fn a_stopped_pool_says_so() {
        let (handle, stop) = started(SMALL, vec![]);
        stop.send(true).unwrap();
        stop.closed().await;
        assert_eq!(handle.submit(signed(0)).await, Err(PoolError::Stopped));
        assert_eq!(handle.counts().await, Err(PoolError::Stopped));
    }
}
