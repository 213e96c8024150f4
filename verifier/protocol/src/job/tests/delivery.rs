//! Data that a party lacks: asked for, posted, complained of (clauses J12 and J13).

use super::*;
use crate::params::PACKAGE_BYTES_MAX;

const BYTES: u32 = 1_024;

fn post_fee(bytes: u32) -> u128 {
    Params::MAIN.byte_fee.get() * u128::from(bytes) + 3 * Params::MAIN.step_fee.get()
}

fn deposit() -> u128 {
    post_fee(PACKAGE_BYTES_MAX)
}

impl World {
    fn need(&mut self, party: Party) {
        self.step(Input::Need { party, key: Digest32::from_bytes([8; 32]) });
    }

    fn try_need(&mut self, party: Party) -> Result<(), Refusal> {
        self.try_step(Input::Need { party, key: Digest32::from_bytes([8; 32]) })
    }

    fn post(&mut self, party: Party) {
        self.step(Input::Post { party, bytes: BYTES });
    }

    fn complain(&mut self, party: Party, package: Package) {
        self.step(Input::Complain { party, package });
    }

    fn wait_out(&mut self, blocks: u32) {
        self.now = self.now.plus(Height::new(blocks)).unwrap();
    }

    fn settled() -> Self {
        let mut world = Self::new(6);
        world.reach_revealing(&[right(); 3]);
        world.reveal(right());
        world
    }

    fn finish_honestly(&mut self) {
        for seat in self.verifiers() {
            self.commit(seat, &right());
        }
        self.reveal(right());
        self.close();
    }
}

#[test]
fn an_executor_that_gets_its_input_on_the_ledger_pays_the_bytes_and_works() {
    let mut world = World::new(6);
    world.draw();
    world.need(Party::Seat(0));
    world.wait_out(29);
    world.post(Party::Seat(0));
    let executor = world.provider_of(0);
    assert_eq!(world.loss(executor), post_fee(BYTES));
    world.step(Input::Accept { seat: 0 });
    assert_eq!(world.dropped, vec![Party::Seat(0)], "the package is gone with the acceptance");
    world.commit(0, &right());
    world.draw();
    world.finish_honestly();
    assert_eq!(world.loss(executor), post_fee(BYTES), "an honest seat loses nothing else");
}

#[test]
fn an_executor_that_asked_waits_for_its_input_and_may_decline_what_it_gets_for_the_bytes() {
    let mut world = World::new(6);
    world.draw();
    world.need(Party::Seat(0));
    assert_eq!(world.try_step(Input::Decline { seat: 0 }), Err(Refusal::NoNeed), "it waits");
    world.post(Party::Seat(0));
    let executor = world.provider_of(0);
    world.step(Input::Decline { seat: 0 });
    assert_eq!(world.loss(executor), post_fee(BYTES));
    assert_eq!(world.dropped, vec![Party::Seat(0)]);
    assert!(matches!(world.job.phase, Phase::Requested { .. }), "another is drawn");
    assert!(world.misses.is_empty());
}

#[test]
fn a_requester_that_does_not_answer_an_executor_pays_a_hundredth_and_the_job_ends() {
    let mut world = World::new(6);
    world.draw();
    world.need(Party::Seat(0));
    world.timeout();
    assert_eq!(world.job.phase, Phase::Expired);
    world.close();
    assert_eq!(world.burned, F_MAX / 100);
    assert!(world.lost.is_empty() && world.misses.is_empty());
}

#[test]
fn the_data_window_is_inclusive_and_exact() {
    let window = Params::MAIN.data_window;
    for (blocks, answer) in [(window, Ok(())), (window + 1, Err(()))] {
        let mut world = World::new(6);
        world.draw();
        world.need(Party::Seat(0));
        world.wait_out(blocks);
        let posted = world.try_step(Input::Post { party: Party::Seat(0), bytes: BYTES });
        assert_eq!(posted.map_err(drop), answer, "{blocks} blocks after the claim");
        let expired = world.try_step(Input::Deadline);
        assert_eq!(expired.is_ok(), answer.is_err(), "{blocks} blocks after the claim");
    }
}

#[test]
fn an_executor_that_got_its_input_and_stays_silent_is_fined_as_for_silence() {
    let mut world = World::new(6);
    world.draw();
    world.need(Party::Seat(0));
    world.post(Party::Seat(0));
    let executor = world.provider_of(0);
    world.timeout();
    assert_eq!(world.loss(executor), post_fee(BYTES) + F_MAX / 10);
    assert_eq!(world.misses, vec![executor]);
    assert_eq!(world.job.round, 2);
    world.close();
}

#[test]
fn a_starved_verifier_loses_nothing_and_the_executor_everything() {
    let mut world = World::new(6);
    world.reach_verifying();
    let [starved, other] = world.verifiers()[..] else { panic!("two seats") };
    world.need(Party::Seat(starved));
    world.commit(other, &right());
    world.timeout();
    assert_eq!(world.job.phase, Phase::Inconclusive);
    let record = world.record.clone().unwrap();
    assert_eq!(record.seats[0].outcome, SeatOutcome::Withheld);
    world.close();
    let executor = world.provider_of(0);
    assert_eq!(world.loss(executor), BOND);
    assert_eq!(world.faults, vec![executor]);
    assert!(world.misses.is_empty());
    for seat in [starved, other] {
        assert_eq!(world.loss(world.provider_of(seat)), 0);
    }
    let steps = Params::MAIN.step_fee.get() * u128::from(world.job.steps);
    assert_eq!(world.gain(REQUESTER), world.job.quote.escrow.get() - steps + F_MAX);
}

#[test]
fn a_verifier_that_gets_its_data_has_its_whole_window_again() {
    let mut world = World::new(6);
    world.reach_verifying();
    let seat = world.verifiers()[0];
    let first = world.job.seats[usize::from(seat)].deadline;
    world.now = first;
    world.need(Party::Seat(seat));
    world.wait_out(30);
    world.post(Party::Seat(seat));
    let window = Params::MAIN.verify_window(Tokens::new(100), Tokens::new(50)).unwrap();
    assert_eq!(world.job.seats[usize::from(seat)].deadline, world.now.plus(Height::new(window)).unwrap());
    world.commit(seat, &right());
    assert_eq!(world.loss(world.provider_of(seat)), post_fee(BYTES));
}

#[test]
fn nobody_asks_twice_or_for_what_is_not_theirs() {
    let mut world = World::new(6);
    assert_eq!(world.try_need(Party::Seat(0)), Err(Refusal::WrongPhase));
    world.draw();
    assert_eq!(world.try_need(Party::Seat(1)), Err(Refusal::WrongSeat));
    assert_eq!(world.try_need(Party::Requester), Err(Refusal::WrongPhase));
    world.need(Party::Seat(0));
    assert_eq!(world.try_need(Party::Seat(0)), Err(Refusal::NoNeed));
    world.step(Input::Accept { seat: 0 });
    assert_eq!(world.try_need(Party::Seat(0)), Err(Refusal::NoNeed));
    assert!(world.try_step(Input::Post { party: Party::Seat(0), bytes: 1 }).is_err(), "it has accepted");
}

#[test]
fn a_package_over_the_limit_is_refused() {
    let mut world = World::new(6);
    world.draw();
    world.need(Party::Seat(0));
    let post = |bytes| Input::Post { party: Party::Seat(0), bytes };
    assert_eq!(world.try_step(post(PACKAGE_BYTES_MAX + 1)), Err(Refusal::Full));
    world.step(post(PACKAGE_BYTES_MAX));
    assert_eq!(world.try_step(post(1)), Err(Refusal::NoNeed), "posted once");
}

#[test]
fn a_bad_package_costs_the_executor_its_bond_and_whoever_paid_for_packages_gets_it_back() {
    let mut world = World::new(6);
    world.reach_verifying();
    let [one, other] = world.verifiers()[..] else { panic!("two seats") };
    for seat in [one, other] {
        world.need(Party::Seat(seat));
        world.post(Party::Seat(seat));
    }
    world.commit(one, &right());
    world.complain(Party::Seat(other), Package::Bad);
    assert_eq!(world.job.phase, Phase::Inconclusive);
    world.close();
    assert_eq!(world.loss(world.provider_of(0)), BOND);
    for seat in [one, other] {
        let who = world.provider_of(seat);
        assert_eq!((world.loss(who), world.gain(who)), (post_fee(BYTES), post_fee(BYTES)));
    }
    // The fees were burned before they were made good.
    let steps = Params::MAIN.step_fee.get() * u128::from(world.job.steps);
    assert_eq!(world.burned, steps + BOND - F_MAX);
}

#[test]
fn the_largest_packages_are_made_good_out_of_what_would_be_burned() {
    let mut world = World::new(6);
    world.reach_verifying();
    let [one, other] = world.verifiers()[..] else { panic!("two seats") };
    for seat in [one, other] {
        world.need(Party::Seat(seat));
        world.step(Input::Post { party: Party::Seat(seat), bytes: PACKAGE_BYTES_MAX });
    }
    let paid = [one, other].map(|seat| world.loss(world.provider_of(seat)));
    world.complain(Party::Seat(other), Package::Bad);
    world.close();
    let back = [one, other].map(|seat| world.gain(world.provider_of(seat)));
    assert_eq!(back, paid);
    assert_eq!(paid, [post_fee(PACKAGE_BYTES_MAX); 2]);
}

#[test]
fn a_bad_package_costs_the_requester_a_tenth_and_what_its_executor_paid_for_it() {
    let mut world = World::new(6);
    world.draw();
    world.need(Party::Seat(0));
    world.post(Party::Seat(0));
    world.complain(Party::Seat(0), Package::Bad);
    assert_eq!(world.job.phase, Phase::Inconclusive);
    world.close();
    let executor = world.provider_of(0);
    assert_eq!(world.burned, F_MAX / 10 + post_fee(BYTES));
    assert_eq!((world.loss(executor), world.gain(executor)), (post_fee(BYTES), post_fee(BYTES)));
    assert_eq!(world.gain(REQUESTER), world.job.quote.escrow.get() - F_MAX / 10 - post_fee(BYTES));
    assert_eq!(world.record.unwrap().payments.executor.get(), post_fee(BYTES));
}

#[test]
fn a_false_complaint_costs_the_seat_its_bond_and_it_is_replaced() {
    let mut world = World::new(6);
    world.reach_verifying();
    let seat = world.verifiers()[0];
    world.need(Party::Seat(seat));
    world.post(Party::Seat(seat));
    world.complain(Party::Seat(seat), Package::Good);
    assert_eq!(world.verifiers().len(), 2, "a standby seat takes its place");
    let guilty = world.provider_of(seat);
    world.finish_honestly();
    assert_eq!(world.loss(guilty), BOND);
    assert_eq!(world.faults, vec![guilty]);
    assert_eq!(world.record.unwrap().verdict, Verdict::VerifiedThin);
}

#[test]
fn a_false_complaint_of_an_executor_draws_another() {
    let mut world = World::new(6);
    world.draw();
    world.need(Party::Seat(0));
    world.post(Party::Seat(0));
    world.complain(Party::Seat(0), Package::Good);
    assert_eq!(world.loss(world.provider_of(0)), BOND);
    assert_eq!(world.job.round, 2);
    world.close();
}

#[test]
fn a_requester_gets_its_answer_on_the_ledger_for_the_price_of_its_bytes() {
    let mut world = World::settled();
    world.need(Party::Requester);
    assert_eq!(world.deposits[&REQUESTER], deposit());
    world.post(Party::Requester);
    let before = world.gain(REQUESTER);
    world.run_out();
    assert_eq!(world.gain(REQUESTER) - before, deposit() - post_fee(BYTES));
    world.close();
    assert!(world.faults.is_empty());
}

#[test]
fn an_executor_that_keeps_its_answer_forfeits_after_the_settlement() {
    let mut world = World::settled();
    world.need(Party::Requester);
    world.run_out();
    world.close();
    assert_eq!(world.loss(world.provider_of(0)), BOND);
    let steps = Params::MAIN.step_fee.get() * u128::from(world.job.steps);
    let spent = F + 2 * A + F * 5 / 100 + steps;
    assert_eq!(world.gain(REQUESTER), world.job.quote.escrow.get() - spent + F_MAX + deposit());
}

#[test]
fn a_bad_answer_forfeits_the_executors_bond_and_a_false_complaint_the_deposit() {
    for (package, executor_loses, requester_loses) in [(Package::Bad, BOND, 0), (Package::Good, 0, deposit())]
    {
        let mut world = World::settled();
        world.need(Party::Requester);
        world.post(Party::Requester);
        let before = world.gain(REQUESTER);
        world.complain(Party::Requester, package);
        let paid = if package == Package::Bad { F_MAX } else { 0 };
        assert_eq!(world.gain(REQUESTER) - before, deposit() - requester_loses + paid);
        world.close();
        assert_eq!(world.loss(world.provider_of(0)), executor_loses);
    }
}

#[test]
fn bonds_outlive_a_claim_at_the_last_height() {
    let mut world = World::settled();
    world.draw();
    let closes_at = world.job.phase.closes_at().unwrap();
    world.now = closes_at;
    assert_eq!(world.try_need(Party::Requester), Err(Refusal::NoNeed));
    world.now = Height::new(closes_at.get() - 1);
    world.need(Party::Requester);
    world.wait_out(30);
    world.post(Party::Requester);
    world.wait_out(30);
    world.complain(Party::Requester, Package::Bad);
    assert_eq!(world.loss(world.provider_of(0)), BOND);
    world.close();
}

#[test]
fn a_request_for_few_eyes_ends_rather_than_showing_its_input_to_more() {
    // Three seats and one validator.
    for (max_eyes, phase) in [(4, Phase::Inconclusive), (5, Phase::Verifying), (0, Phase::Verifying)] {
        let mut world =
            World::with(6, PublicRecord { max_eyes, ..record(Policy::Verified { verifiers: 2 }) });
        world.reach_verifying();
        let seat = world.verifiers()[0];
        world.step(Input::Decline { seat });
        assert_eq!(world.job.phase, phase, "{max_eyes} eyes");
    }
}
