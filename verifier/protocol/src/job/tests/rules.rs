//! The rules of a job up to its settlement.

use super::*;

#[test]
fn an_honest_job_pays_everyone_to_the_unit() {
    let mut world = World::new(6);
    world.reach_revealing(&[right(), right(), right()]);
    let steps = 5;
    world.reveal(right());
    let record = world.record.clone().unwrap();
    assert_eq!(record.verdict, Verdict::VerifiedThin, "six providers are a thin draw");
    let step_fee = Params::MAIN.step_fee.get();
    let burned = F * 2 / 100 + step_fee * steps;
    assert_eq!(record.payments.executor, Amount::new(F));
    assert_eq!(record.payments.verifiers, Amount::new(2 * A));
    assert_eq!(record.payments.pot, Amount::new(F * 3 / 100));
    assert_eq!(record.payments.burned, Amount::new(burned));
    assert_eq!(world.gain(world.provider_of(0)), F);
    assert_eq!(world.gain(world.provider_of(1)), A);
    assert_eq!(world.locked.values().sum::<u128>(), 3 * BOND, "bonds wait for the window");
    world.close();
    assert!(world.misses.is_empty() && world.faults.is_empty());
}

#[test]
fn a_failure_is_an_agreed_value_and_pays_for_the_tokens_before_it_whatever_its_claim_says() {
    // F = 100 + 2 units a token; the claim is of three.
    for (position, fee) in [(0, 100), (2, 104), (3, 106), (9, 106)] {
        let fail = Opening { position, ..opening(ValueKind::Fail, 3) };
        let mut world = World::new(6);
        world.reach_revealing(&[fail; 3]);
        world.reveal(fail);
        let payments = world.record.clone().unwrap().payments;
        assert_eq!(payments.executor, Amount::new(fee * UNIT), "failure at {position}");
        world.close();
    }
}

#[test]
fn an_executor_that_commits_to_its_own_claims_rejection_has_conceded() {
    let mut world = World::new(6);
    world.reach_revealing(&[reject(); 3]);
    world.reveal(reject());
    let (executor, verifier) = (world.provider_of(0), world.provider_of(1));
    let record = world.record.clone().unwrap();
    assert_eq!(record.payments.executor, Amount::ZERO);
    assert_eq!(world.loss(executor), BOND / 2);
    assert_eq!(world.misses, vec![executor]);
    assert_eq!(world.gain(verifier), A + F_MAX / 2, "its fee, and half a job fee of the bond");
    world.close();
}

#[test]
fn a_decline_after_the_seats_deadline_is_too_late() {
    let mut world = World::new(6);
    world.reach_verifying();
    let seat = world.verifiers()[0];
    let deadline = world.job.seats.iter().find(|s| s.index == seat).unwrap().deadline;
    world.now = deadline.plus(Height::new(1)).unwrap();
    assert_eq!(world.try_step(Input::Decline { seat }), Err(Refusal::TooLate(deadline)));
}

#[test]
fn an_executor_that_never_accepts_costs_the_requester_a_hundredth() {
    let mut world = World::new(6);
    for _ in 0..3 {
        world.draw();
        world.timeout();
    }
    assert_eq!(world.job.phase, Phase::Expired);
    world.close();
    assert_eq!(world.burned, F_MAX / 100);
    assert!(world.lost.is_empty(), "the input may have been withheld");
}

#[test]
fn a_decline_before_acceptance_draws_another_without_fault() {
    let mut world = World::new(6);
    world.draw();
    let first = world.provider_of(0);
    world.step(Input::Decline { seat: 0 });
    assert_eq!(world.job.round, 2);
    world.draw();
    let second = world.job.executor().unwrap().provider;
    assert_ne!(first, second, "nobody is drawn twice");
    assert!(world.lost.is_empty());
}

#[test]
fn an_executor_silent_before_its_commitment_is_fined_and_replaced() {
    let mut world = World::new(6);
    world.reach_accepted();
    let first = world.provider_of(0);
    world.timeout();
    assert_eq!(world.loss(first), F_MAX / 10);
    assert_eq!(world.misses, vec![first]);
    assert_eq!(world.job.round, 2);
    world.draw();
    let seat = world.job.executor().unwrap().index;
    world.step(Input::Accept { seat });
    world.timeout();
    world.reach_accepted();
    world.timeout();
    assert_eq!(world.job.phase, Phase::Expired);
    world.close();
    let steps = Params::MAIN.step_fee.get() * 3;
    assert_eq!(world.gain(REQUESTER), world.job.quote.escrow.get() - steps, "only steps are charged");
}

#[test]
fn a_declining_verifier_pays_half_a_fee_and_a_silent_one_a_whole() {
    let mut world = World::new(6);
    world.reach_verifying();
    let [first, second] = world.verifiers()[..] else { panic!("two seats") };
    world.step(Input::Decline { seat: first });
    assert_eq!(world.loss(world.provider_of(first)), A / 2);
    world.commit(second, &right());
    let standby = world.verifiers()[0];
    world.timeout();
    assert_eq!(world.loss(world.provider_of(standby)), A);
    assert_eq!(world.misses, vec![world.provider_of(standby)]);
    let third = world.verifiers()[0];
    world.commit(third, &right());
    world.reveal(right());
    assert_eq!(world.record.clone().unwrap().verdict, Verdict::VerifiedThin);
    world.close();
}

#[test]
fn a_standby_whose_stake_went_elsewhere_is_passed_over_in_drawn_order() {
    let mut world = World::new(6);
    world.reach_verifying();
    let [gone, next] = [world.job.standby[0].provider, world.job.standby[1].provider];
    world.elsewhere.insert(gone, STAKE);
    let first = world.verifiers()[0];
    world.step(Input::Decline { seat: first });
    let passed = world.job.seats.iter().find(|seat| seat.provider == gone).unwrap();
    assert_eq!((passed.outcome, passed.bond), (SeatOutcome::Unbonded, Amount::ZERO));
    let seated: Vec<_> = world.verifiers().iter().map(|seat| world.provider_of(*seat)).collect();
    assert!(seated.contains(&next));
    for seat in world.verifiers() {
        world.commit(seat, &right());
    }
    world.reveal(right());
    world.close();
    assert_eq!(world.loss(gone), 0);
}

#[test]
fn when_every_verifier_concedes_the_executor_is_paid_but_nothing_is_called_verified() {
    let mut world = World::new(6);
    world.reach_revealing(&[right(), reject(), reject()]);
    world.reveal(right());
    world.reveal(reject());
    for seat in [1, 2] {
        world.step(Input::Concede { seat });
    }
    let record = world.record.clone().unwrap();
    assert_eq!(record.verdict, Verdict::Committed);
    assert_eq!(record.payments.executor, Amount::new(F));
    assert_eq!(record.payments.verifiers, Amount::ZERO);
    world.close();
    assert_eq!(world.loss(world.provider_of(1)), BOND / 4);
}

#[test]
fn standby_seats_exhausted_end_without_a_verdict() {
    let mut world = World::new(4);
    world.reach_verifying();
    while world.job.phase == Phase::Verifying {
        world.timeout();
    }
    assert_eq!(world.job.phase, Phase::Inconclusive);
    world.close();
    let executor = world.provider_of(0);
    assert_eq!(world.loss(executor), 0);
}

#[test]
fn no_reveal_before_every_counted_seat_has_committed() {
    let mut world = World::new(6);
    world.reach_verifying();
    let seat = world.verifiers()[0];
    world.commit(seat, &right());
    assert_eq!(world.try_step(Input::Reveal { opening: right() }), Err(Refusal::WrongPhase));
}

#[test]
fn one_honest_reveal_opens_every_seat_that_holds_it_and_no_other() {
    let mut world = World::new(6);
    world.reach_revealing(&[reject(), right(), right()]);
    assert_eq!(
        world.try_step(Input::Reveal { opening: opening(ValueKind::Ok, 77) }),
        Err(Refusal::OpensNothing)
    );
    world.reveal(right());
    assert_eq!(world.job.counted_seats().filter(|s| s.value == Some(0)).count(), 2);
    assert!(matches!(world.job.phase, Phase::Revealing { .. }));
    world.reveal(reject());
    assert!(matches!(world.job.phase, Phase::Disputed { .. }));
}

#[test]
fn a_value_that_nobody_opens_counts_as_different() {
    let mut world = World::new(6);
    world.reach_revealing(&[reject(), right(), right()]);
    world.reveal(right());
    world.timeout();
    assert!(matches!(world.job.phase, Phase::Disputed { .. }));
}

#[test]
fn an_executor_that_concedes_loses_half_its_bond() {
    let mut world = World::new(6);
    world.reach_revealing(&[right(), reject(), reject()]);
    world.reveal(right());
    world.reveal(reject());
    world.step(Input::Concede { seat: 0 });
    assert!(matches!(world.job.phase, Phase::Sampling { .. }));
    let executor = world.provider_of(0);
    assert_eq!(world.loss(executor), BOND / 2);
    assert_eq!(world.misses, vec![executor]);
    let record = world.record.clone().unwrap();
    assert_eq!(record.payments.executor, Amount::ZERO, "a rejected answer earns nothing");
    assert_eq!(world.gain(world.provider_of(1)), A + F_MAX / 2);
    world.close();
    let steps = Params::MAIN.step_fee.get() * u128::from(world.job.steps);
    assert_eq!(world.gain(REQUESTER), world.job.quote.escrow.get() - 2 * A - steps + F_MAX);
}

#[test]
fn a_verifier_that_concedes_loses_a_quarter() {
    let mut world = World::new(6);
    world.reach_revealing(&[right(), right(), reject()]);
    world.reveal(right());
    world.reveal(reject());
    world.step(Input::Concede { seat: 2 });
    assert!(matches!(world.job.phase, Phase::Sampling { .. }));
    assert_eq!(world.loss(world.provider_of(2)), BOND / 4);
    assert_eq!(world.record.clone().unwrap().payments.executor, Amount::new(F));
    world.close();
}

#[test]
fn the_referee_takes_the_whole_bond_of_every_wrong_seat() {
    let mut world = World::new(6);
    world.reach_revealing(&[reject(), right(), reject()]);
    world.reveal(right());
    world.timeout();
    world.timeout();
    assert!(matches!(world.job.phase, Phase::Refereeing { .. }));
    world.step(Input::Verdict { opening: Some(right()) });
    assert_eq!(world.record.clone().unwrap().verdict, Verdict::Refereed);
    for seat in [0, 2] {
        assert_eq!(world.loss(world.provider_of(seat)), BOND);
    }
    assert_eq!(world.faults.len(), 2);
    assert_eq!(world.loss(world.provider_of(1)), 0, "a right seat never loses");
    world.close();
}

#[test]
fn without_a_verdict_nobody_is_slashed() {
    for verdict in [Some(Input::Verdict { opening: None }), None] {
        let mut world = World::new(6);
        world.reach_revealing(&[reject(), right(), right()]);
        world.timeout();
        world.timeout();
        match verdict {
            Some(input) => world.step(input),
            None => world.timeout(),
        }
        assert_eq!(world.job.phase, Phase::Inconclusive);
        world.close();
        assert!(world.lost.is_empty());
    }
}

#[test]
fn everybody_conceding_ends_without_a_verdict_but_not_without_loss() {
    let mut world = World::new(6);
    world.reach_revealing(&[right(), reject(), reject()]);
    world.timeout();
    for seat in 0..3 {
        world.step(Input::Concede { seat });
    }
    assert_eq!(world.job.phase, Phase::Inconclusive);
    world.close();
    assert_eq!(world.loss(world.provider_of(0)), BOND / 2);
    assert_eq!(world.loss(world.provider_of(1)), BOND / 4);
}

#[test]
fn two_commitments_for_one_seat_convict_it() {
    let mut world = World::new(6);
    world.reach_verifying();
    let seat = world.verifiers()[0];
    world.commit(seat, &right());
    let held = world.job.seats.iter().find(|s| s.index == seat).unwrap().clone();
    let other = world.sign(&held, (Digest32::from_bytes([7; 32]), Digest32::from_bytes([7; 32])), None);
    let forged = SignedCommitment { signature: Signature([1; 64]), ..other };
    let equivocate = |commitment| Input::Equivocate { seat, commitment, claim: None };
    assert_eq!(world.try_step(equivocate(forged)), Err(Refusal::NoEquivocation));
    assert_eq!(world.try_step(equivocate(held.commitment.unwrap())), Err(Refusal::NoEquivocation));
    world.step(equivocate(other));
    assert_eq!(world.loss(held.provider), BOND);
    assert_eq!(world.verifiers().len(), 2, "a standby seat takes its place");
    assert_eq!(world.try_step(equivocate(other)), Err(Refusal::WrongSeat), "convicted once");
    for seat in world.verifiers() {
        world.commit(seat, &right());
    }
    world.reveal(right());
    world.close();
}

#[test]
fn an_equivocating_executor_ends_the_job() {
    let mut world = World::new(6);
    world.reach_verifying();
    let held = world.job.executor().unwrap().clone();
    let claim = Some(World::claim());
    let other = world.sign(&held, (Digest32::from_bytes([7; 32]), Digest32::from_bytes([7; 32])), claim);
    world.step(Input::Equivocate { seat: held.index, commitment: other, claim });
    assert_eq!(world.job.phase, Phase::Inconclusive);
    world.close();
    assert_eq!(world.loss(held.provider), BOND);
}

#[test]
fn deadlines_are_inclusive_and_exact() {
    let mut world = World::new(6);
    world.draw();
    let Phase::Assigned { accept_by } = world.job.phase else { panic!("assigned") };
    world.now = accept_by;
    assert!(matches!(world.try_step(Input::Deadline), Err(Refusal::TooEarly(_))));
    let mut late = World::new(6);
    late.draw();
    late.now = accept_by.plus(Height::new(1)).unwrap();
    assert!(matches!(late.try_step(Input::Accept { seat: 0 }), Err(Refusal::TooLate(_))));
    world.step(Input::Accept { seat: 0 });
}

#[test]
fn the_requester_and_seated_providers_are_never_drawn() {
    let mut world = World::new(6);
    world.job.requester = account(1);
    world.reach_verifying();
    let drawn: Vec<_> = world.job.seats.iter().map(|s| s.provider).collect();
    assert!(!drawn.contains(&account(1)));
    let mut unique = drawn.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), drawn.len());
    assert!(world.job.standby.iter().all(|s| !drawn.contains(&s.provider)));
}

#[test]
fn a_chosen_executor_is_the_only_candidate() {
    let chosen =
        PublicRecord { direct_executor: Some(account(3)), ..record(Policy::Verified { verifiers: 2 }) };
    let mut world = World::with(6, chosen);
    world.draw();
    assert_eq!(world.job.executor().unwrap().provider, account(3));
    assert_eq!(world.job.executor_draw.unwrap().eligible, 1);
}

#[test]
fn a_replicated_request_gets_a_drawn_verifier() {
    for executions in [1, 2] {
        let mut world = World::with(6, record(Policy::Replicated { executions }));
        world.reach_verifying();
        assert_eq!(world.verifiers().len(), 1);
    }
}

#[test]
fn a_claim_beyond_the_request_is_refused() {
    let mut world = World::new(6);
    world.reach_accepted();
    let commitment = SignedCommitment {
        commitment: Digest32::ZERO,
        recheck: Digest32::ZERO,
        signature: Signature([0; 64]),
    };
    for claim in [
        None,
        Some(Claim { n_out: 51, ..World::claim() }),
        Some(Claim { n_out: 0, ..World::claim() }),
        Some(Claim { finish: Finish::Cancelled, ..World::claim() }),
    ] {
        let input = Input::Commit { seat: 0, commitment, claim };
        assert_eq!(world.try_step(input), Err(Refusal::BadClaim));
    }
}

#[test]
fn steps_of_another_phase_change_nothing() {
    let mut world = World::new(6);
    let before = world.job.clone();
    for input in [
        Input::Accept { seat: 0 },
        Input::Decline { seat: 0 },
        Input::Reveal { opening: right() },
        Input::Concede { seat: 0 },
        Input::Verdict { opening: None },
        Input::Deadline,
    ] {
        assert_eq!(world.try_step(input), Err(Refusal::WrongPhase));
    }
    assert_eq!(world.job, before);
}
