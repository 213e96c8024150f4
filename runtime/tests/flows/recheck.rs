//! After the settlement: fresh verifiers, challenges, and what they cost, to the unit.

use assay_manifest::JobId;
use assay_protocol::commitment::{Claim, Opening};
use assay_protocol::job::{Phase, Seat, SeatOutcome, Verdict};
use assay_protocol::params::Params;
use assay_runtime::RuntimeCall;
use pallet_assay_jobs::{Call as JobsCall, Ruling};
use sp_keyring::Sr25519Keyring;

use crate::answers::*;
use crate::market::*;
use crate::pausing::pause;

/// Steps of a fresh look.
fn look_steps() -> u128 {
    4 * step_fee()
}

/// A market of providers without a record.
fn of_newcomers(providers: u8) -> Market {
    let newcomer_score = Params::DEVELOPMENT.newcomer_score;
    Market::with(providers, Params { newcomer_score, ..params() })
}

/// A job that all seats settled by one value, at the draw of its fresh verifier.
struct Settled {
    market: Market,
    id: JobId,
    seats: Vec<Seat>,
    fresh: Seat,
}

impl Settled {
    fn by(value: Opening, claimed: Claim) -> Self {
        let mut market = of_newcomers(8);
        let (id, executor, verifiers) = market.revealing(&[value; 3], claimed);
        let reveal = market.reveal(id, value);
        market.take(reveal);
        market.wait(id, |phase| matches!(phase, Phase::Rechecking { .. }));
        let seats = verifiers.into_iter().chain([executor]).collect();
        let fresh = market.pending(id).remove(0);
        Self { market, id, seats, fresh }
    }

    /// The fresh verifier commits to a value of round 2 and opens it.
    fn look_again(&mut self, value: Opening) {
        let fresh = self.fresh.clone();
        self.market.commit(self.id, &fresh, &value);
        let reveal = self.market.reveal(self.id, value);
        self.market.take(reveal);
    }

    fn verdict(&mut self, value: Opening) {
        convict(&mut self.market, self.id, value);
    }
}

/// A verdict about three wrong seats pauses their definition; the validators confirm it, and decide again.
fn convict(market: &mut Market, id: JobId, value: Opening) {
    let verdict = market.verdict(id, Some(value));
    market.take(verdict.clone());
    if matches!(market.job(id).phase, Phase::Rejudging { .. }) {
        let confirm = market.rule(Ruling::Confirm, market.height());
        market.take(confirm);
        market.take(verdict);
    }
    assert!(matches!(market.job(id).phase, Phase::Settled { .. }));
}

#[test]
fn a_newcomers_answer_is_looked_at_again_and_the_newcomer_pays_for_it() {
    let mut settled = Settled::by(right(1), claim());
    let executor = settled.seats.pop().unwrap();
    let withheld = F * 60 / 100 + look_steps();
    let paid = settled.market.settlement(settled.id).payments;
    assert_eq!((paid.executor.get(), paid.pot.get()), (F - withheld, F * 3 / 100 + withheld));
    let mut want = settled.market.books();
    settled.look_again(right(2));
    want.of(pot()).free -= withheld;
    want.of(settled.fresh.provider).free += A;
    want.of(executor.provider).free += withheld - A - look_steps();
    want.burn(look_steps());
    assert_eq!(settled.market.books(), want);
    let records = settled.market.records(settled.id);
    assert_eq!(records.len(), 2);
    assert_eq!(records[1].verdict, Verdict::RetroVerified);
    settled.market.close(settled.id);
    for seat in settled.seats.iter().chain([&settled.fresh, &executor]) {
        want.unlock(seat.provider, B);
    }
    assert_eq!(settled.market.books(), want, "nobody lost anything");
}

#[test]
fn seats_that_agreed_on_wrong_tokens_forfeit_everything_to_the_unit() {
    let mut settled = Settled::by(right(1), flipped_claim());
    let mut want = settled.market.books();
    settled.look_again(reject(2));
    settled.verdict(reject(2));
    // Each bond: F_max to the requester, F_max/2 to the fresh seat, of the first the referee's cost.
    for seat in &settled.seats {
        want.forfeit(seat.provider, B);
        want.of(requester()).free += F_MAX;
        want.of(settled.fresh.provider).free += F_MAX / 2;
    }
    want.of(pot()).free += A_MAX;
    want.burn(3 * (B - F_MAX - F_MAX / 2) - A_MAX);
    // What was kept of the executor's fee and not needed stays in the pot.
    want.of(pot()).free -= A + look_steps();
    want.of(settled.fresh.provider).free += A;
    want.burn(look_steps());
    assert_eq!(settled.market.books(), want);
    let record = settled.market.records(settled.id).pop().unwrap();
    assert_eq!((record.verdict, record.opening), (Verdict::Refereed, Some(reject(2))));
    let wrong = record.seats.iter().filter(|seat| seat.outcome == SeatOutcome::Wrong).count();
    assert_eq!(wrong, 3);
    settled.market.close(settled.id);
    want.unlock(settled.fresh.provider, B);
    assert_eq!(settled.market.books(), want);
}

#[test]
fn a_copier_in_the_next_round_is_found_wrong() {
    let mut settled = Settled::by(right(1), claim());
    let mut want = settled.market.books();
    // It knows the opened value of round 1 and did no work: the blind of round 2 is another.
    settled.look_again(right(1));
    settled.verdict(right(2));
    want.forfeit(settled.fresh.provider, B);
    want.of(requester()).free += F_MAX;
    for seat in &settled.seats {
        want.of(seat.provider).free += F_MAX / 2;
    }
    want.of(pot()).free += A_MAX;
    want.burn(B - F_MAX - 3 * (F_MAX / 2) - A_MAX);
    let withheld = F * 60 / 100 + look_steps();
    want.of(pot()).free -= withheld;
    want.of(settled.seats[2].provider).free += withheld;
    assert_eq!(settled.market.books(), want);
    settled.market.close(settled.id);
}

fn challenge(market: &Market, id: JobId) -> assay_runtime::UncheckedExtrinsic {
    let call = RuntimeCall::Jobs(JobsCall::challenge { job: id });
    market.net.sign(&Sr25519Keyring::Bob.pair(), call)
}

fn bob() -> [u8; 32] {
    Sr25519Keyring::Bob.to_account_id().into()
}

#[test]
fn a_lost_challenge_pays_the_referee_and_touches_no_seat() {
    let mut market = Market::new();
    let (id, ..) = market.honest_job();
    market.wait(id, |phase| matches!(phase, Phase::Settled { .. }));
    let mut want = market.books();
    let contested = challenge(&market, id);
    let fee = fee_paid(&market.take(contested));
    want.of(bob()).free -= fee + A_MAX;
    want.of(bob()).held += A_MAX;
    want.burn(fee);
    assert_eq!(market.books(), want, "the deposit is the referee's cost");
    let verdict = market.verdict(id, Some(right(1)));
    market.take(verdict);
    want.of(bob()).held -= A_MAX;
    want.of(pot()).free += A_MAX;
    assert_eq!(market.books(), want);
    let again = challenge(&market, id);
    let refused = market.take(again);
    assert!(error(&refused).is_some(), "the validators have spoken");
    market.close(id);
}

#[test]
fn a_won_challenge_returns_the_deposit_and_takes_every_bond() {
    let mut market = Market::new();
    let (id, executor, verifiers) = market.revealing(&[right(1); 3], flipped_claim());
    let reveal = market.reveal(id, right(1));
    market.take(reveal);
    market.wait(id, |phase| matches!(phase, Phase::Settled { .. }));
    let mut want = market.books();
    let contested = challenge(&market, id);
    let fee = fee_paid(&market.take(contested));
    convict(&mut market, id, reject(1));
    want.of(bob()).free -= fee;
    want.burn(fee);
    for seat in verifiers.iter().chain([&executor]) {
        want.forfeit(seat.provider, B);
        want.of(requester()).free += F_MAX;
    }
    want.of(pot()).free += A_MAX;
    want.burn(3 * (B - F_MAX) - A_MAX);
    assert_eq!(market.books(), want);
    market.close(id);
}

#[test]
fn a_challenge_that_nobody_decides_returns_its_deposit() {
    let mut market = Market::new();
    let (id, executor, verifiers) = market.honest_job();
    market.wait(id, |phase| matches!(phase, Phase::Settled { .. }));
    let mut want = market.books();
    let contested = challenge(&market, id);
    let fee = fee_paid(&market.take(contested));
    market.close(id);
    want.of(bob()).free -= fee;
    want.burn(fee);
    for seat in verifiers.iter().chain([&executor]) {
        want.unlock(seat.provider, B);
    }
    assert_eq!(market.books(), want);
}

#[test]
fn a_challenge_of_a_suspended_definition_is_refused() {
    let mut market = Market::with(9, Params { challenge_window: 500, unbonding_window: 600, ..params() });
    let (id, ..) = market.honest_job();
    pause(&mut market);
    let closes_at = market.job(id).phase.closes_at().unwrap();
    assert!(market.height() + 1 < closes_at.get(), "its window is open");
    let contested = challenge(&market, id);
    let events = market.take(contested);
    assert!(error(&events).is_some(), "nobody could decide it, and its bonds would wait");
}

#[test]
fn a_request_that_shows_its_input_to_too_few_is_refused() {
    let mut market = Market::new();
    // Executor, two verifiers, one validator.
    for (max_eyes, taken) in [(3, false), (4, true)] {
        let asked = market.asking(assay_protocol::record::PublicRecord { max_eyes, ..two() });
        let events = market.take(asked);
        assert_eq!(error(&events).is_none(), taken, "{max_eyes} eyes");
    }
}
