//! What happens to a settled job: the fresh look, and the challenge (clause J8).

use super::*;
use crate::job::recheck::lot;

const STEP: u128 = 1_000_000_000;
/// The most that a look at this job may cost: twenty times its three hundredths for the pot, and four steps. The fee
/// at the request's cap would be more.
const BUDGET: u128 = F * 60 / 100 + 4 * STEP;

impl World {
    /// Providers without a record, the pot empty but for what keeps it alive.
    fn of_newcomers(providers: u8) -> Self {
        let mut world = Self::new(providers);
        world.scores = (1..=providers).map(|n| (account(n), 0)).collect();
        world
    }

    /// Fills the pot from outside.
    fn fill_pot(&mut self, amount: u128) {
        self.pot = amount;
        self.lost.insert([0xcc; 32], amount);
    }

    /// A job settled by `settled`, whose executor is new.
    fn sampled(settled: Opening) -> Self {
        let mut world = Self::of_newcomers(8);
        world.reach_revealing(&[settled; 3]);
        world.reveal(settled);
        world.draw();
        assert!(matches!(world.job.phase, Phase::Rechecking { .. }));
        world
    }

    /// The draw after the settlement.
    fn draw_fresh(&mut self, randomness: Digest32, contenders: Vec<Contender>) {
        self.now = self.job.due().unwrap();
        self.step(Input::Draw { randomness, contenders, total_stake: Amount::new(STAKE * 8) });
    }

    fn fresh(&self) -> u8 {
        self.verifiers()[0]
    }

    /// The fresh verifier commits to a value and opens it.
    fn look_again(&mut self, value: Opening) {
        let value = at_round(&value, 2);
        let seat = self.fresh();
        let input = self.fresh_commit(seat, &value);
        self.step(input);
        self.reveal(value);
    }

    fn fresh_commit(&self, index: u8, opening: &Opening) -> Input {
        let seat = self.job.seats.iter().find(|s| s.index == index).unwrap();
        let value = opening.value(&self.job.id, 2, &Self::claim());
        let commitment = self.job.seat_id(seat).commit(&value);
        Input::Commit {
            seat: index,
            commitment: self.sign(seat, (commitment, commitment), None),
            claim: None,
        }
    }
}

#[test]
fn a_newcomer_pays_the_fresh_verifier_that_agrees_and_gets_the_rest_back() {
    let mut world = World::sampled(right());
    let (executor, fresh) = (world.provider_of(0), world.provider_of(world.fresh()));
    assert_eq!(world.reserved, BUDGET);
    assert_eq!(world.gain(executor), F - BUDGET);
    assert_eq!(world.pot, F * 3 / 100 + BUDGET);
    world.look_again(right());
    assert_eq!(world.later.len(), 1);
    let record = &world.later[0];
    assert_eq!((record.verdict, record.round, record.value_round()), (Verdict::RetroVerified, 1, 2));
    assert_eq!(record.payments, world.record.as_ref().unwrap().payments);
    assert_eq!(record.seats.last().unwrap().paid, Amount::new(A));
    assert_eq!(world.gain(fresh), A);
    assert_eq!(world.gain(executor), F - A - 4 * STEP);
    assert_eq!(world.pot, F * 3 / 100, "the pot has paid nothing");
    world.close();
    assert!(world.faults.is_empty() && world.misses.is_empty());
}

#[test]
fn a_newcomer_gets_everything_back_where_nobody_can_look() {
    let mut world = World::of_newcomers(6);
    world.reach_revealing(&[right(); 3]);
    world.reveal(right());
    world.draw_fresh(Digest32::ZERO, Vec::new());
    assert!(matches!(world.job.phase, Phase::Settled { .. }));
    assert_eq!(world.gain(world.provider_of(0)), F);
    assert_eq!((world.reserved, world.pot), (0, F * 3 / 100));
    world.close();
}

#[test]
fn chance_pays_from_the_pot_no_more_than_as_many_jobs_bring_it() {
    let mut world = World::new(8);
    world.fill_pot(10 * BUDGET);
    world.reach_revealing(&[right(); 3]);
    world.reveal(right());
    let executor = world.provider_of(0);
    assert_eq!(world.gain(executor), F, "nothing is withheld from an executor with a record");
    let pot = world.pot;
    let drawn = |mark: &Digest32| lot(mark, &world.job.id) < Params::MAIN.recheck_percent;
    let mut marks = (0..=u8::MAX).map(|mark| Digest32::from_bytes([mark; 32]));
    let randomness = marks.find(drawn).unwrap();
    world.draw_fresh(randomness, world.contenders());
    let fresh = world.provider_of(world.fresh());
    assert_eq!(world.reserved, BUDGET);
    world.look_again(right());
    assert_eq!((world.gain(fresh), world.gain(executor)), (A, F));
    assert_eq!(world.pot, pot - A - 4 * STEP);
    world.close();
}

#[test]
fn a_chosen_executor_never_gets_a_record_and_pays_no_look() {
    let chosen =
        PublicRecord { direct_executor: Some(account(3)), ..record(Policy::Verified { verifiers: 2 }) };
    let mut world = World::with(8, chosen);
    world.scores = (1..=8).map(|n| (account(n), 0)).collect();
    world.reach_revealing(&[right(); 3]);
    world.reveal(right());
    assert_eq!((world.gain(account(3)), world.reserved), (F, 0));
    world.close();
}

#[test]
fn nobody_is_drawn_whose_price_a_look_cannot_pay() {
    let mut world = World::of_newcomers(8);
    world.reach_revealing(&[right(); 3]);
    world.reveal(right());
    let mut contenders = world.contenders();
    contenders.iter_mut().for_each(|contender| contender.verify = world.job.record.prices.verify_max);
    world.draw_fresh(Digest32::ZERO, contenders);
    assert!(matches!(world.job.phase, Phase::Settled { .. }));
    assert_eq!(world.gain(world.provider_of(0)), F);
    world.close();
}

#[test]
fn an_agreed_failure_that_processed_nothing_pays_a_look_no_more_than_that() {
    let failed = Opening { position: 0, ..opening(ValueKind::Fail, 3) };
    let mut world = World::of_newcomers(8);
    world.reach_revealing(&[failed; 3]);
    world.reveal(failed);
    assert_eq!(world.reserved, 60 * UNIT + 4 * STEP, "of the fee for the prompt alone");
    world.draw();
    let fresh = world.provider_of(world.fresh());
    world.look_again(failed);
    assert_eq!(world.gain(fresh), 50 * UNIT, "half a unit for each of its hundred tokens");
    world.close();
}

#[test]
fn a_copier_of_the_opened_value_is_not_right() {
    let mut world = World::sampled(right());
    let seat = world.fresh();
    let copied = world.fresh_commit(seat, &right());
    world.step(copied);
    world.step(Input::Reveal { opening: right() });
    assert!(
        matches!(world.job.phase, Phase::Rejudging { .. }),
        "the blind of round 1 opens nothing in round 2"
    );
    world.step(Input::Verdict { opening: Some(at_round(&right(), 2)) });
    assert_eq!(world.loss(world.provider_of(seat)), BOND);
    for seat in 0..3 {
        assert_eq!(world.loss(world.provider_of(seat)), 0);
    }
    assert_eq!(world.later.last().unwrap().verdict, Verdict::Refereed);
    world.close();
}

#[test]
fn seats_that_agreed_on_a_lie_forfeit_when_a_fresh_verifier_finds_it() {
    // All three say that wrong tokens are right; the fresh one and the validators reject them.
    let mut world = World::sampled(right());
    let fresh = world.fresh();
    let honest = world.provider_of(fresh);
    world.look_again(reject());
    assert!(matches!(world.job.phase, Phase::Rejudging { .. }));
    let before = world.gain(REQUESTER);
    world.step(Input::Verdict { opening: Some(at_round(&reject(), 2)) });
    for seat in 0..3 {
        assert_eq!(world.loss(world.provider_of(seat)), BOND);
    }
    assert_eq!(world.faults.len(), 3);
    assert_eq!(world.gain(REQUESTER) - before, 3 * F_MAX, "a job fee of every forfeited bond");
    assert_eq!(world.gain(honest), A + 3 * F_MAX / 2, "its fee, and half a job fee of every bond");
    world.close();
    assert_eq!(world.loss(honest), 0);
}

#[test]
fn a_seat_that_lied_in_its_round_and_told_the_truth_for_the_next_is_wrong_all_the_same() {
    let mut world = World::of_newcomers(8);
    world.reach_accepted();
    // The executor says "right" now, and "rejected" to whoever looks again.
    let input = world.commit_input(0, &right());
    let Input::Commit { seat, commitment, claim } = input else { panic!("a commitment") };
    let truth = at_round(&reject(), 2).value(&world.job.id, 2, &World::claim());
    let held = world.job.seats[0].clone();
    let recheck = SeatId { round: 2, ..world.job.seat_id(&held) }.commit(&truth);
    let commitment = world.sign(&held, (commitment.commitment, recheck), claim);
    world.step(Input::Commit { seat, commitment, claim });
    world.draw();
    for seat in world.verifiers() {
        world.commit(seat, &right());
    }
    world.reveal(right());
    world.draw();
    world.look_again(reject());
    world.step(Input::Verdict { opening: Some(at_round(&reject(), 2)) });
    assert_eq!(world.loss(world.provider_of(0)), BOND);
    world.close();
}

#[test]
fn a_fresh_verifier_that_lies_forfeits_alone() {
    let mut world = World::sampled(right());
    let fresh = world.provider_of(world.fresh());
    world.look_again(reject());
    world.step(Input::Verdict { opening: Some(at_round(&right(), 2)) });
    world.close();
    assert_eq!(world.loss(fresh), BOND);
    assert_eq!(world.faults, vec![fresh]);
}

#[test]
fn a_fresh_verifier_that_declines_or_is_silent_changes_nothing_but_pays() {
    for (silent, fine) in [(false, A / 2), (true, A)] {
        let mut world = World::sampled(right());
        let seat = world.fresh();
        let fresh = world.provider_of(seat);
        match silent {
            true => world.timeout(),
            false => world.step(Input::Decline { seat }),
        }
        assert!(matches!(world.job.phase, Phase::Settled { .. }));
        assert_eq!(world.loss(fresh), fine);
        assert!(world.later.is_empty());
        world.close();
    }
}

#[test]
fn a_fresh_value_that_nobody_opens_is_different_and_without_a_verdict_nothing_changes() {
    let mut world = World::sampled(right());
    let seat = world.fresh();
    let committed = world.fresh_commit(seat, &at_round(&right(), 2));
    world.step(committed);
    world.timeout();
    assert!(matches!(world.job.phase, Phase::Rejudging { .. }));
    world.timeout();
    assert!(matches!(world.job.phase, Phase::Settled { .. }));
    assert!(world.later.is_empty());
    world.close();
    assert!(world.lost.is_empty());
}

#[test]
fn chance_and_youth_decide_who_is_looked_at_again() {
    let outcome = |score: u128, mark: u8, pot: u128| {
        let mut world = World::new(8);
        world.fill_pot(pot);
        world.scores = (1..=8).map(|n| (account(n), score)).collect();
        world.reach_revealing(&[right(); 3]);
        world.reveal(right());
        world.draw_fresh(Digest32::from_bytes([mark; 32]), world.contenders());
        let looked_at = matches!(world.job.phase, Phase::Rechecking { .. });
        world.close();
        looked_at
    };
    let grown = Params::MAIN.newcomer_score.get();
    assert!((0..16).all(|mark| outcome(grown - 1, mark, 0)), "every job of a newcomer, which pays for it");
    let looked_at: Vec<u8> = (0..=u8::MAX).filter(|mark| outcome(grown, *mark, BUDGET)).collect();
    assert!((3..=25).contains(&looked_at.len()), "{looked_at:?} of 256: about a twentieth");
    let too_little = BUDGET - 1 - F * 3 / 100;
    assert!(looked_at.iter().all(|mark| !outcome(grown, *mark, too_little)), "unless the pot cannot pay");
}

#[test]
fn a_lost_challenge_pays_the_referee() {
    let mut world = World::new(6);
    world.reach_revealing(&[right(); 3]);
    world.reveal(right());
    world.draw();
    let challenger = [0xbb; 32];
    world.step(Input::Challenge { challenger });
    let deposit = world.job.quote.referee_cost.get();
    assert_eq!(world.deposits[&challenger], deposit);
    let pot = world.pot;
    world.step(Input::Verdict { opening: Some(right()) });
    assert_eq!((world.gain(challenger), world.pot - pot), (0, deposit));
    let final_now = world.try_step(Input::Challenge { challenger });
    assert_eq!(final_now, Err(Refusal::NotContestable), "the validators have spoken");
    world.close();
    assert!(world.faults.is_empty());
}

#[test]
fn a_won_challenge_costs_every_seat_that_agreed_its_bond() {
    let mut world = World::new(6);
    world.reach_revealing(&[right(); 3]);
    world.reveal(right());
    world.draw();
    let challenger = [0xbb; 32];
    world.step(Input::Challenge { challenger });
    world.step(Input::Verdict { opening: Some(reject()) });
    assert_eq!(world.gain(challenger), world.job.quote.referee_cost.get(), "the deposit is returned");
    for seat in 0..3 {
        assert_eq!(world.loss(world.provider_of(seat)), BOND);
    }
    let record = world.later.last().unwrap();
    assert_eq!((record.verdict, record.opening), (Verdict::Refereed, Some(reject())));
    world.close();
}

#[test]
fn a_challenge_without_a_verdict_costs_nobody() {
    for verdict in [true, false] {
        let mut world = World::new(6);
        world.reach_revealing(&[right(); 3]);
        world.reveal(right());
        world.draw();
        let challenger = [0xbb; 32];
        world.step(Input::Challenge { challenger });
        match verdict {
            true => world.step(Input::Verdict { opening: None }),
            false => world.timeout(),
        }
        assert_eq!(world.gain(challenger), world.job.quote.referee_cost.get());
        assert!(world.later.is_empty() && world.faults.is_empty());
        world.close();
    }
}

#[test]
fn the_window_stands_still_while_the_validators_are_asked_and_nobody_asks_them_for_ever() {
    let mut world = World::new(6);
    world.reach_revealing(&[right(); 3]);
    world.reveal(right());
    let challenge = || Input::Challenge { challenger: [0xbb; 32] };
    assert_eq!(world.try_step(challenge()), Err(Refusal::WrongPhase), "before the draw of a fresh look");
    world.draw();
    let left = world.job.phase.closes_at().unwrap().minus(world.now).unwrap();
    for _ in 0..3 {
        world.step(challenge());
        world.timeout();
        assert_eq!(world.job.phase.closes_at().unwrap(), world.now.plus(left).unwrap());
    }
    assert_eq!(world.try_step(challenge()), Err(Refusal::NotContestable));
    world.close();
}

#[test]
fn what_an_executor_keeps_from_the_fresh_verifier_is_no_longer_called_an_answer() {
    let mut world = World::sampled(right());
    let executor = world.provider_of(0);
    let party = Party::Seat(world.fresh());
    world.step(Input::Need { party, key: Digest32::from_bytes([5; 32]) });
    world.timeout();
    assert_eq!(world.loss(executor), BOND);
    let record = world.later.last().unwrap();
    assert_eq!((record.verdict, record.opening, record.value), (Verdict::Inconclusive, None, None));
    assert_eq!(world.gain(REQUESTER), F_MAX + world.record.as_ref().unwrap().payments.refunded.get());
    let contested = world.try_step(Input::Challenge { challenger: [0xbb; 32] });
    assert_eq!(contested, Err(Refusal::NotContestable));
    world.close();
}

#[test]
fn a_look_leaves_time_to_contest_what_it_did_not_find() {
    let mut world = World::sampled(right());
    // The look has taken as long as the whole window.
    world.job.phase = Phase::Rechecking { closes_at: world.now.plus(Height::new(1)).unwrap() };
    world.look_again(right());
    let left = world.job.phase.closes_at().unwrap().minus(world.now).unwrap();
    assert_eq!(left, Height::new(Params::MAIN.answer_window));
    world.close();
}

#[test]
fn a_settlement_can_be_contested_until_its_window_closes_and_no_longer() {
    let mut world = World::new(6);
    world.reach_revealing(&[right(); 3]);
    world.reveal(right());
    world.draw();
    let closes_at = world.job.phase.closes_at().unwrap();
    world.now = closes_at;
    let challenge = || Input::Challenge { challenger: [0xbb; 32] };
    assert_eq!(world.try_step(challenge()), Err(Refusal::NotContestable));
    world.now = Height::new(closes_at.get() - 1);
    world.step(challenge());
    world.step(Input::Verdict { opening: Some(reject()) });
    assert_eq!(world.faults.len(), 3, "bonds are there to the last height");
    world.close();
}

#[test]
fn in_the_tolerance_class_no_value_costs_a_bond() {
    let tolerant = PublicRecord { class: Class::Tolerance, ..record(Policy::Verified { verifiers: 2 }) };
    let mut world = World::with(6, tolerant.clone());
    world.reach_revealing(&[right(), reject(), reject()]);
    world.reveal(right());
    world.reveal(reject());
    world.timeout();
    assert_eq!(world.job.phase, Phase::Inconclusive, "no referee can compare by bounds");
    world.close();
    assert!(world.lost.is_empty());

    let mut world = World::with(6, tolerant);
    world.reach_revealing(&[right(), right(), reject()]);
    world.reveal(right());
    world.reveal(reject());
    world.step(Input::Concede { seat: 2 });
    assert!(matches!(world.job.phase, Phase::Settled { .. }), "and nobody looks again");
    let conceded = world.provider_of(2);
    assert_eq!((world.loss(conceded), world.gain(conceded)), (0, 0));
    assert_eq!(world.misses, vec![conceded]);
    assert_eq!(world.try_step(Input::Challenge { challenger: [0xbb; 32] }), Err(Refusal::NotContestable));
    world.close();
}
