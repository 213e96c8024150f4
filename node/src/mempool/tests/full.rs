//! Replacement, and hostile ways to fill the pool.

use super::*;

fn tipped(account: u8, nonce: u32, tip: u64) -> Kind {
    Kind::Paid { account, nonce, tip }
}

/// A pool that is full of calls of four accounts and then some, with these tips.
fn filled(tips: [u64; 12]) -> (World, Vec<Hash>) {
    let mut world = World::new();
    let add = |(account, tip)| world.add(tipped(account, 0, tip)).unwrap();
    let hashes = (10u8..).zip(tips).map(add).collect();
    world.told.clear();
    (world, hashes)
}

impl World {
    fn holds(&self, hash: &Hash) -> bool {
        self.pool.graph().get(hash).is_some()
    }

    fn add_all(&mut self, kinds: impl Iterator<Item = Kind>) {
        kinds.for_each(|kind| assert!(self.add(kind).is_ok(), "{kind:?}"));
    }

    fn ends(&self) -> Vec<(Hash, Status)> {
        self.told.iter().copied().filter(|(_, status)| status.is_last()).collect()
    }
}

#[test]
fn a_priority_higher_by_a_tenth_takes_the_place_and_successors_notice_nothing() {
    let mut world = World::new();
    let old = world.add(tipped(1, 0, 100)).unwrap();
    let successor = world.add(tipped(1, 1, 5)).unwrap();
    world.told.clear();
    for tip in [1, 99, 101, 109] {
        assert_eq!(world.add(tipped(1, 0, tip)), Err(PoolError::Underpriced { percent: 10 }), "tip {tip}");
    }
    let new = world.add(tipped(1, 0, 110)).unwrap();
    assert_eq!(world.told, [(new, Status::Ready), (old, Status::Usurped(new))]);
    let order: Vec<Hash> = world.pool.ready(usize::MAX).iter().map(Transaction::hash).collect();
    assert_eq!(order, [new, successor]);
    assert!(world.add(tipped(1, 0, 100)).is_err(), "the old one does not come back");
}

#[test]
fn a_call_without_tip_is_replaced_by_the_smallest_tip_and_each_raise_costs_more() {
    let mut world = World::new();
    world.add(tipped(1, 0, 0)).unwrap();
    let replaced = (1..=1_000).filter(|tip| world.add(tipped(1, 0, *tip)).is_ok()).count();
    assert!(replaced < 70, "{replaced} replacements up to a thousand times the least tip");
}

#[test]
fn replacing_takes_no_further_share_and_works_in_a_full_pool() {
    let mut world = World::new();
    world.add_all((0..4).map(|nonce| tipped(1, nonce, 10)));
    assert!(world.add(tipped(1, 2, 11)).is_ok());
    assert_eq!(world.add(tipped(1, 4, 50)), Err(PoolError::AccountFull(4)));
    let (mut world, hashes) = filled([3; 12]);
    assert!(world.add(tipped(10, 0, 4)).is_ok(), "account 10 outbids itself");
    assert!(!world.holds(&hashes[0]) && hashes[1..].iter().all(|hash| world.holds(hash)));
}

#[test]
fn the_lowest_priority_leaves_a_full_pool_and_equals_stay() {
    let (mut world, hashes) = filled([5, 7, 3, 9, 5, 7, 8, 9, 6, 7, 8, 9]);
    assert_eq!(world.add(tipped(1, 0, 3)), Err(PoolError::Full), "no higher than the lowest");
    assert!(world.told.is_empty());
    world.add(tipped(1, 0, 4)).unwrap();
    assert_eq!(world.ends(), [(hashes[2], Status::Dropped)]);
    let lower = world.add(tipped(2, 0, 6)).unwrap();
    assert_eq!(world.ends().len(), 2, "then the 4 that has just come");
    world.add(tipped(3, 0, 6)).unwrap();
    assert!(!world.holds(&hashes[4]) && world.holds(&hashes[0]), "of two equal ones the later");
    assert!(world.holds(&lower));
}

#[test]
fn a_step_finds_room_in_a_pool_full_of_paid_calls_and_is_displaced_by_none() {
    let (mut world, _) = filled([60_000; 12]);
    let steps: Vec<Hash> = (0..3).map(|tag| world.add(step(tag)).unwrap()).collect();
    assert_eq!(world.ends().len(), 3);
    assert_eq!(world.add(tipped(1, 0, 60_000)), Err(PoolError::Full));
    world.add_all((1..10).map(|account| tipped(account, 0, 61_000)));
    assert_eq!(world.add(tipped(20, 0, 60_500)), Err(PoolError::Full), "lower than every paid call");
    assert_eq!(
        world.add(Kind::Step { tag: 5, try_again: 1 }),
        Err(PoolError::Full),
        "steps have a limit too"
    );
    assert!(steps.iter().all(|hash| world.holds(hash)));
}

#[test]
fn dependants_go_with_what_they_depend_on() {
    let mut world = World::new();
    let chain: Vec<Hash> = (0..3).map(|nonce| world.add(tipped(1, nonce, 2)).unwrap()).collect();
    world.add_all((10..19).map(|account| tipped(account, 0, 9)));
    world.told.clear();
    // The head is outbid after its successors came, so it is the latest of the three and the first to leave.
    let head = world.add(tipped(1, 0, 3)).unwrap();
    world.add(tipped(2, 0, 5)).unwrap();
    assert!(world.holds(&head) && world.holds(&chain[1]) && !world.holds(&chain[2]));
    world.add(tipped(3, 0, 5)).unwrap();
    world.add(tipped(4, 0, 5)).unwrap();
    assert!(!world.holds(&head) && !world.holds(&chain[1]));
    assert_eq!(world.pool.counts().future, 0, "nothing waits for what was dropped");
}

#[test]
fn a_high_tip_behind_a_low_one_keeps_no_place() {
    let mut world = World::new();
    world.add(tipped(1, 0, 1)).unwrap();
    let behind: Vec<Hash> = (1..4).map(|nonce| world.add(tipped(1, nonce, 1_000)).unwrap()).collect();
    world.add_all((10..18).map(|account| tipped(account, 0, 5)));
    world.told.clear();
    world.add_all((20..23).map(|account| tipped(account, 0, 2)));
    let expected: Vec<_> = behind.iter().rev().map(|hash| (*hash, Status::Dropped)).collect();
    assert_eq!(world.ends(), expected);
}

#[test]
fn calls_that_wait_for_a_nonce_that_never_comes_crowd_out_nobody() {
    let mut world = World::new();
    for account in 1..8 {
        for nonce in 1..4 {
            // Some are admitted and some push others out, whatever they bid.
            drop(world.add(tipped(account, nonce, 60_000 + u64::from(nonce))));
        }
    }
    assert_eq!(world.pool.counts().future, SMALL.waiting_max);
    let honest: Vec<Hash> = (10..22).map(|account| world.add(tipped(account, 0, 0)).unwrap()).collect();
    assert!(honest.iter().all(|hash| world.holds(hash)));
    assert_eq!(world.pool.counts().future, 0);
}

#[test]
fn a_large_call_that_outbids_too_little_displaces_nothing() {
    let mut world = World::new();
    let mut add = |account: u8, tip: u64, bytes: usize| {
        let transaction = Transaction::made_up(u64::from(account), bytes, Some(super::account(account)));
        world.ledger.kinds.insert(transaction.hash(), tipped(account, 0, tip));
        let ticket = Ticket(world.tickets);
        world.tickets += 1;
        world.step(Event::Submitted { ticket, transaction });
        world.check_all();
        world.answers[&ticket].clone()
    };
    // Twelve of 160 bytes leave 80 of 2,000.
    for account in 10..22 {
        add(account, if account == 10 { 1 } else { 9 }, 160).unwrap();
    }
    assert_eq!(add(1, 5, 241), Err(PoolError::Full));
    assert!(add(2, 5, 240).is_ok());
    assert_eq!(world.ends().len(), 1);
}

#[test]
fn a_flood_of_bad_signatures_takes_nothing_from_the_pool() {
    let (mut world, hashes) = filled([0; 12]);
    let mut busy = 0;
    for nonce in 0..40 {
        let (ticket, _) = world.submit(tipped(1, nonce, 9));
        busy += usize::from(world.answers.get(&ticket) == Some(&Err(PoolError::Busy)));
    }
    assert_eq!(busy, 40 - SMALL.checking_max);
    let flood = std::mem::take(&mut world.checks);
    assert!(world.add(step(1)).is_ok(), "steps are looked at all the same");
    for hash in flood {
        let bad = Err(TransactionValidityError::Invalid(InvalidTransaction::BadProof));
        world.step(Event::Checked { hash, outcome: Ok(Verdict { height: 0, validity: bad }) });
    }
    assert_eq!(hashes.iter().filter(|hash| world.holds(hash)).count(), 11, "one made room for the step");
}

#[test]
fn a_predecessor_that_turns_invalid_leaves_no_more_waiting_than_may_wait() {
    let mut world = World::new();
    let heads: Vec<Hash> = (1..4).map(|account| world.add(tipped(account, 0, 5)).unwrap()).collect();
    for account in 1..4 {
        world.add_all((1..4).map(|nonce| tipped(account, nonce, 5)));
    }
    world.told.clear();
    world.step(Event::Rejected(heads));
    assert_eq!(world.pool.counts().future, SMALL.waiting_max);
    assert_eq!(world.ends().iter().filter(|(_, status)| *status == Status::Dropped).count(), 5);
}

#[test]
fn ranks_follow_blocks_replacements_and_new_checks() {
    let mut world = World::new();
    world.add(tipped(1, 0, 1)).unwrap();
    let second = world.add(tipped(1, 1, 9)).unwrap();
    world.add_all((10..20).map(|account| tipped(account, 0, 5)));
    world.add(tipped(1, 0, 8)).unwrap();
    world.add(tipped(2, 0, 6)).unwrap();
    assert!(world.holds(&second), "its predecessor does not hold it back any more");
    world.block(1);
    world.add(tipped(3, 0, 6)).unwrap();
    assert!(world.holds(&second));
}
