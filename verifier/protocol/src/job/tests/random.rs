//! Random moves of random parties: every job ends, and no unit is lost.

use proptest::prelude::*;

use super::*;

/// What a random party does next.
#[derive(Clone, Copy, Debug)]
enum Move {
    Draw,
    Timeout,
    Accept,
    Decline(u8),
    CommitRight(u8),
    CommitWrong(u8),
    RevealRight,
    RevealWrong,
    Concede(u8),
    Verdict(bool),
    Equivocate(u8),
    Wait(u8),
    StakeGoes(u8),
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => Just(Move::Draw),
        1 => Just(Move::Timeout),
        4 => Just(Move::Accept),
        1 => (0u8..12).prop_map(Move::Decline),
        8 => (0u8..12).prop_map(Move::CommitRight),
        3 => (0u8..12).prop_map(Move::CommitWrong),
        3 => Just(Move::RevealRight),
        2 => Just(Move::RevealWrong),
        2 => (0u8..12).prop_map(Move::Concede),
        1 => any::<bool>().prop_map(Move::Verdict),
        1 => (0u8..12).prop_map(Move::Equivocate),
        1 => (1u8..30).prop_map(Move::Wait),
        1 => (0u8..12).prop_map(Move::StakeGoes),
    ]
}

impl World {
    fn random(&mut self, mv: Move) {
        let has_seat = |world: &Self, seat: u8| world.job.seats.iter().any(|s| s.index == seat);
        let refused_or_done = |_: Result<(), Refusal>| ();
        match mv {
            Move::Draw if self.job.awaits_draw().is_some() => self.draw(),
            Move::Timeout if self.job.awaits_draw().is_none() && self.job.due().is_some() => self.timeout(),
            Move::Accept => {
                let seat = self.job.executor().map_or(0, |s| s.index);
                refused_or_done(self.try_step(Input::Accept { seat }));
            }
            Move::Decline(seat) => refused_or_done(self.try_step(Input::Decline { seat })),
            Move::CommitRight(seat) if has_seat(self, seat) => {
                let input = self.commit_input(seat, &right());
                refused_or_done(self.try_step(input));
            }
            Move::CommitWrong(seat) if has_seat(self, seat) => {
                let input = self.commit_input(seat, &reject());
                refused_or_done(self.try_step(input));
            }
            Move::RevealRight => refused_or_done(self.try_step(Input::Reveal { opening: right() })),
            Move::RevealWrong => refused_or_done(self.try_step(Input::Reveal { opening: reject() })),
            Move::Concede(seat) => refused_or_done(self.try_step(Input::Concede { seat })),
            Move::Verdict(some) => {
                let opening = some.then(right);
                refused_or_done(self.try_step(Input::Verdict { opening }));
            }
            Move::Equivocate(index) if has_seat(self, index) => {
                let seat = self.job.seats.iter().find(|s| s.index == index).unwrap().clone();
                let claim = (seat.role == Role::Executor).then(World::claim);
                let commitment =
                    self.sign(&seat, (Digest32::from_bytes([7; 32]), Digest32::from_bytes([7; 32])), claim);
                refused_or_done(self.try_step(Input::Equivocate { seat: index, commitment, claim }));
            }
            Move::StakeGoes(index) if usize::from(index) < self.job.standby.len() => {
                let provider = self.job.standby[usize::from(index)].provider;
                self.elsewhere.insert(provider, self.free_stake(&provider));
            }
            Move::Wait(blocks) => self.now = self.now.plus(Height::new(blocks.into())).unwrap(),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_job_ends_and_no_unit_is_lost(
        providers in 0u8..9,
        strangers in prop::option::of(0u8..5),
        moves in prop::collection::vec(any_move(), 0..60),
    ) {
        let mut world = match strangers {
            Some(strangers) => World::at_large(providers, strangers, record(Policy::Verified { verifiers: 2 })),
            None => World::new(providers),
        };
        for mv in moves {
            if world.closed {
                break;
            }
            world.random(mv);
        }
        world.run_out();
        world.close();
        let record = world.record.clone().unwrap();
        let p = record.payments;
        let parts = [p.executor, p.verifiers, p.pot, p.burned, p.refunded];
        prop_assert_eq!(parts.iter().map(|part| part.get()).sum::<u128>(), world.job.quote.escrow.get());
    }
}
