//! What happens to a settled job: the fresh look, and the challenge (clause J8).

use super::*;

const STEP: u128 = 1_000_000_000;
/// A with the request's cap as its price: what is set aside for a fresh verifier, and four steps.
const RESERVED: u128 = 103_750_000_000 + 4 * STEP;

impl World {
    /// A job settled by `settled` in a world whose pot can pay, and whose executor is new.
    fn sampled(settled: Opening) -> Self {
        let mut world = Self::new(8);
        world.pot = 10 * RESERVED;
        world.lost.insert([0xcc; 32], 10 * RESERVED);
        world.reach_revealing(&[settled; 3]);
        world.reveal(settled);
        world.draw();
        assert!(matches!(world.job.phase, Phase::Rechecking { .. }));
        world
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
fn a_fresh_verifier_that_agrees_is_paid_from_the_pot_and_confirms() {
    let mut world = World::sampled(right());
    let (fresh, pot) = (world.provider_of(world.fresh()), world.pot);
    assert_eq!(world.reserved, RESERVED);
    world.look_again(right());
    assert_eq!(world.later.len(), 1);
    let record = &world.later[0];
    assert_eq!((record.verdict, record.round, record.value_round()), (Verdict::RetroVerified, 1, 2));
    assert_eq!(record.payments, world.record.as_ref().unwrap().payments);
    assert_eq!(record.seats.last().unwrap().paid, Amount::new(A));
    assert_eq!(world.gain(fresh), A);
    assert_eq!(world.pot, pot - A - 4 * STEP);
    world.close();
    assert!(world.faults.is_empty() && world.misses.is_empty());
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
    let mut world = World::new(8);
    world.pot = 10 * RESERVED;
    world.lost.insert([0xcc; 32], 10 * RESERVED);
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
    assert_eq!(world.lost.len(), 1, "nobody lost but the one that filled the pot");
}

#[test]
fn chance_and_youth_decide_who_is_looked_at_again() {
    let outcome = |score: u128, mark: u8, pot: u128| {
        let mut world = World::new(8);
        world.pot = pot;
        world.lost.insert([0xcc; 32], pot);
        world.scores = (1..=8).map(|n| (account(n), score)).collect();
        world.reach_revealing(&[right(); 3]);
        world.reveal(right());
        world.now = world.job.due().unwrap();
        let contenders = world.contenders();
        let randomness = Digest32::from_bytes([mark; 32]);
        world.step(Input::Draw { randomness, contenders, total_stake: Amount::new(STAKE * 8) });
        let looked_at = matches!(world.job.phase, Phase::Rechecking { .. });
        world.close();
        looked_at
    };
    let grown = Params::MAIN.newcomer_score.get();
    assert!((0..16).all(|mark| outcome(grown - 1, mark, RESERVED)), "every job of a newcomer");
    assert!(!outcome(grown - 1, 0, RESERVED - 1 - F * 3 / 100), "unless the pot cannot pay");
    let looked_at = (0..=u8::MAX).filter(|mark| outcome(grown, *mark, RESERVED)).count();
    assert!((3..=25).contains(&looked_at), "{looked_at} of 256: about a twentieth");
}

#[test]
fn a_lost_challenge_pays_the_referee() {
    let mut world = World::new(6);
    world.reach_revealing(&[right(); 3]);
    world.reveal(right());
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
