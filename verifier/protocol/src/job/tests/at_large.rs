//! A verifier that does not serve the model (clause J16).

use super::*;

fn served() -> PublicRecord {
    record(Policy::Verified { verifiers: 2 })
}

fn at_large(world: &World) -> &Seat {
    world.job.seats.iter().rev().find(|seat| seat.role == Role::AtLarge).unwrap()
}

#[test]
fn one_of_the_verifiers_does_not_serve_the_model_and_is_paid_like_another() {
    let mut world = World::at_large(6, 4, served());
    world.reach_revealing(&[right(), right(), right()]);
    let roles: Vec<_> = world.job.seats.iter().map(|seat| seat.role).collect();
    assert_eq!(roles, [Role::Executor, Role::Verifier, Role::AtLarge]);
    world.reveal(right());
    let record = world.record.clone().unwrap();
    assert_eq!(record.verdict, Verdict::VerifiedThin);
    assert_eq!(record.verifier_draw.unwrap().eligible, 5);
    assert_eq!(record.at_large_draw.unwrap().eligible, 4);
    assert_eq!(record.payments.verifiers, Amount::new(2 * A));
    assert_eq!(world.gain(at_large(&world).provider), A);
    assert!(world.drawn.iter().all(|(role, _, candidates)| {
        candidates.iter().all(|candidate| (candidate.provider[0] > STRANGER) == (*role == Role::AtLarge))
    }));
    world.close();
}

#[test]
fn it_has_the_time_that_fetching_the_model_takes() {
    let mut world = World::at_large(6, 4, served());
    world.reach_verifying();
    let [verifier, stranger] = [1, 2].map(|seat: usize| world.job.seats[seat].deadline.get());
    assert_eq!(stranger - verifier, 60 + 5);
}

#[test]
fn whoever_cannot_have_the_model_loses_nothing_and_the_third_ends_the_job() {
    let mut world = World::at_large(6, 9, served());
    world.reach_verifying();
    let mut gone = Vec::new();
    for _ in 0..3 {
        let Seat { index, provider, .. } = *at_large(&world);
        assert!(!gone.contains(&provider));
        gone.push(provider);
        world.step(Input::Decline { seat: index });
    }
    assert_eq!(world.job.phase, Phase::Inconclusive);
    world.close();
    assert!(world.lost.is_empty() && world.misses.is_empty());
    let step_fee = Params::MAIN.step_fee.get();
    assert_eq!(world.burned, 5 * step_fee, "acceptance, commitment and three declines");
}

#[test]
fn its_silence_costs_what_that_of_another_does() {
    let mut world = World::at_large(6, 4, served());
    world.reach_verifying();
    world.commit(1, &right());
    let silent = at_large(&world).provider;
    world.timeout();
    assert_eq!(world.misses, [silent]);
    assert!(world.loss(silent) > 0);
    let next = at_large(&world).index;
    assert_ne!(world.provider_of(next), silent);
    world.commit(next, &right());
    world.reveal(right());
    world.close();
}

#[test]
fn nobody_who_serves_the_model_takes_its_place() {
    let mut world = World::at_large(9, 1, served());
    world.reach_verifying();
    world.commit(1, &right());
    let seat = at_large(&world).index;
    world.step(Input::Decline { seat });
    assert_eq!(world.job.phase, Phase::Inconclusive);
    world.close();
}

#[test]
fn a_lie_that_all_who_serve_the_model_tell_is_found_by_one_who_does_not() {
    let mut world = World::at_large(6, 4, served());
    world.reach_revealing(&[right(), right(), reject()]);
    world.reveal(right());
    world.reveal(reject());
    assert!(matches!(world.job.phase, Phase::Disputed { .. }));
    world.timeout();
    world.step(Input::Verdict { opening: Some(reject()) });
    let (executor, verifier) = (world.provider_of(0), world.provider_of(1));
    let stranger = at_large(&world).provider;
    assert_eq!((world.loss(executor), world.loss(verifier), world.loss(stranger)), (BOND, BOND, 0));
    world.close();
}
