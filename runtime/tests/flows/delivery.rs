//! Data on the ledger: sealed packages are posted, opened and judged for real (clauses J12 and J13).

use assay_manifest::{Digest32, JobId};
use assay_protocol::commitment::{Claim, Finish, Opening, input_commit};
use assay_protocol::job::{Party, Phase, Seat, SeatOutcome, Verdict};
use assay_protocol::record::PublicRecord;
use assay_protocol::request::{Prompt, Request};
use assay_protocol::seal::{
    AnswerParcel, Content, Delivery, Entropy, InputParcel, Parcel, SealingSecret, WorkParcel, package_hash,
};
use assay_protocol::signature::{SeatStep, Signature};
use assay_runtime::{RuntimeCall, UncheckedExtrinsic, general};
use pallet_assay_jobs::Call as JobsCall;
use sp_core::Pair;

use crate::answers::*;
use crate::market::*;
use crate::support::alice;

fn secret(n: u8) -> SealingSecret {
    SealingSecret::from_bytes([n; 32])
}

fn entropy() -> Entropy {
    Entropy::from_bytes([77; 32])
}

fn sealed_record() -> PublicRecord {
    PublicRecord { input_commit: input_commit(&salt(), &question(N_MAX as u32).to_bytes()), ..two() }
}

fn input_parcel(request: Request) -> InputParcel {
    InputParcel { salt: salt(), request, reply_key: secret(90).public() }
}

fn work_parcel(tokens: &[u32]) -> Parcel {
    Parcel::Work(WorkParcel::of(&input_parcel(question(N_MAX as u32)), tokens, Finish::Eos))
}

fn post_fee(package: &[u8]) -> u128 {
    params().byte_fee.get() * package.len() as u128 + 3 * step_fee()
}

/// A verifier's package from the executor, of these tokens.
fn work_package(market: &Market, id: JobId, seat: &Seat, key: &SealingSecret, tokens: &[u32]) -> Vec<u8> {
    let job = market.job(id);
    let claim = job.claim.unwrap();
    let delivery = Delivery {
        genesis: job.genesis,
        job: id,
        sender: job.answerer().unwrap().provider,
        recipient: seat.provider,
        seat: seat.index,
        content: Content::Work(&job.record, &claim),
    };
    delivery.seal(&work_parcel(tokens), &key.public(), entropy()).unwrap()
}

fn post(market: &Market, id: JobId, party: Party, package: Vec<u8>) -> UncheckedExtrinsic {
    let job = market.job(id);
    let executor = job.answerer().unwrap();
    let step = SeatStep::Post { party, package_hash: package_hash(&package) };
    let digest = step.digest(&job.genesis, &id, executor.round, executor.index);
    let key = work_key_of(executor);
    let signature = Signature(key.sign(digest.as_bytes()).0);
    let package = package.try_into().unwrap();
    general(RuntimeCall::Jobs(JobsCall::post { job: id, party, package, signature }))
}

fn need(market: &Market, id: JobId, seat: &Seat, key: &SealingSecret) -> UncheckedExtrinsic {
    market.step(id, seat.index, SeatStep::Need { key: key.public() })
}

fn complain(market: &Market, id: JobId, seat: &Seat, key: &SealingSecret) -> UncheckedExtrinsic {
    let secret = Digest32::from_bytes(*key.as_bytes());
    market.step(id, seat.index, SeatStep::Complain { secret })
}

/// A job whose first verifier has asked for its data.
fn starved(claimed: Claim, value: &Opening) -> (Market, JobId, Seat, [Seat; 2]) {
    let mut market = Market::new();
    let id = market.request(sealed_record());
    let (executor, verifiers) = market.verifying(id, value, claimed);
    let asks = need(&market, id, &verifiers[0], &secret(50));
    market.take(asks);
    (market, id, executor, verifiers.try_into().unwrap())
}

#[test]
fn a_starved_seat_gets_its_package_pays_its_bytes_and_is_right() {
    let (mut market, id, executor, [starved, other]) = starved(claim(), &right(1));
    let mut want = market.books();
    let package = work_package(&market, id, &starved, &secret(50), &TOKENS);
    let fee = post_fee(&package);
    let posted = post(&market, id, Party::Seat(starved.index), package.clone());
    market.take(posted.clone());
    assert!(market.refuses(&posted), "posted once");
    want.forfeit(starved.provider, fee);
    want.burn(fee);
    assert_eq!(
        market.books(),
        want,
        "the bytes are burned from its bond, and the executor posts for nothing"
    );
    assert!(market.refuses(&market.step(id, starved.index, SeatStep::Decline)), "it must work now");
    // The seat opens what the ledger holds, and finds what it is owed.
    let job = market.job(id);
    let owed = Delivery {
        genesis: job.genesis,
        job: id,
        sender: executor.provider,
        recipient: starved.provider,
        seat: starved.index,
        content: Content::Work(&job.record, &job.claim.unwrap()),
    };
    assert!(owed.open(&package, &secret(50)).unwrap() == work_parcel(&TOKENS));
    for seat in [&starved, &other] {
        market.commit(id, seat, &right(1));
    }
    let reveal = market.reveal(id, right(1));
    market.take(reveal);
    assert_eq!(market.settlement(id).verdict, Verdict::VerifiedThin);
    market.close(id);
    assert_eq!(market.provider(starved.provider).stake, STAKE - fee);
    assert_eq!(market.provider(executor.provider).stake, STAKE);
}

#[test]
fn an_executor_that_starves_a_verifier_forfeits_its_bond_and_nobody_else_loses() {
    let (mut market, id, executor, [starved, other]) = starved(claim(), &right(1));
    market.commit(id, &other, &right(1));
    let mut want = market.books();
    for seat in [&starved, &other] {
        want.unlock(seat.provider, B);
    }
    market.close(id);
    let record = market.settlement(id);
    assert_eq!((record.verdict, record.seats[0].outcome), (Verdict::Inconclusive, SeatOutcome::Withheld));
    want.forfeit(executor.provider, B);
    want.of(requester()).free += F_MAX;
    want.burn(B - F_MAX);
    let steps = 3 * step_fee(); // accept and two commitments
    want.burn(steps);
    want.end_escrow(requester(), escrow(2), steps);
    assert_eq!(market.books(), want);
}

#[test]
fn a_package_of_other_tokens_costs_the_executor_its_bond() {
    // The executor gives this verifier other tokens than it committed to.
    let (mut market, id, executor, [starved, other]) = starved(claim(), &right(1));
    let package = work_package(&market, id, &starved, &secret(50), &FLIPPED);
    let fee = post_fee(&package);
    let posted = post(&market, id, Party::Seat(starved.index), package);
    market.take(posted);
    let mut want = market.books();
    assert!(market.refuses(&complain(&market, id, &starved, &secret(51))), "another secret shows nothing");
    assert!(market.refuses(&complain(&market, id, &other, &secret(50))), "nor does another seat");
    let complaint = complain(&market, id, &starved, &secret(50));
    market.take(complaint);
    want.forfeit(executor.provider, B);
    want.of(requester()).free += F_MAX;
    want.of(starved.provider).free += fee; // what it paid for the package
    want.burn(B - F_MAX - fee);
    want.unlock(starved.provider, B - fee);
    want.unlock(other.provider, B);
    let steps = 2 * step_fee(); // accept and the commitment
    want.burn(steps);
    want.end_escrow(requester(), escrow(2), steps);
    assert_eq!(market.books(), want);
}

#[test]
fn an_envelope_replayed_from_another_job_is_a_bad_package() {
    let (mut market, id, executor, [starved, _]) = starved(claim(), &right(1));
    // The same bytes sealed for another job of the same content: bound to that one, it opens nothing here.
    let job = market.job(id);
    let claimed = job.claim.unwrap();
    let elsewhere = Delivery {
        genesis: job.genesis,
        job: JobId::from_bytes([9; 32]),
        sender: executor.provider,
        recipient: starved.provider,
        seat: starved.index,
        content: Content::Work(&job.record, &claimed),
    };
    let package = elsewhere.seal(&work_parcel(&TOKENS), &secret(50).public(), entropy()).unwrap();
    let posted = post(&market, id, Party::Seat(starved.index), package);
    market.take(posted);
    let complaint = complain(&market, id, &starved, &secret(50));
    market.take(complaint);
    assert_eq!(market.provider(executor.provider).stake, STAKE - B);
}

#[test]
fn a_complaint_of_a_good_package_costs_the_seat_its_bond_and_it_is_replaced() {
    let (mut market, id, executor, [liar, other]) = starved(claim(), &right(1));
    let package = work_package(&market, id, &liar, &secret(50), &TOKENS);
    let fee = post_fee(&package);
    let posted = post(&market, id, Party::Seat(liar.index), package);
    market.take(posted);
    let mut want = market.books();
    let complaint = complain(&market, id, &liar, &secret(50));
    market.take(complaint);
    let rest = B - fee;
    want.forfeit(liar.provider, rest);
    want.of(requester()).free += F_MAX;
    want.burn(rest - F_MAX);
    let standby = market.pending(id).into_iter().find(|seat| seat.index > other.index).unwrap();
    want.lock(standby.provider, B);
    assert_eq!(market.books(), want);
    for seat in [&other, &standby] {
        market.commit(id, seat, &right(1));
    }
    let reveal = market.reveal(id, right(1));
    market.take(reveal);
    market.close(id);
    assert_eq!(market.provider(executor.provider).stake, STAKE);
}

#[test]
fn a_requester_that_withholds_its_input_pays_a_hundredth() {
    let mut market = Market::new();
    let id = market.request(sealed_record());
    let executor = market.executor(id);
    let asks = need(&market, id, &executor, &secret(60));
    market.take(asks);
    let mut want = market.books();
    market.close(id);
    want.unlock(executor.provider, B);
    want.burn(F_MAX / 100);
    want.end_escrow(requester(), escrow(2), F_MAX / 100);
    assert_eq!(market.books(), want);
    assert_eq!(market.settlement(id).verdict, Verdict::Inconclusive);
}

fn post_input(market: &Market, id: JobId, seat: &Seat, package: Vec<u8>) -> UncheckedExtrinsic {
    let package = package.try_into().unwrap();
    market.net.sign(&alice(), RuntimeCall::Jobs(JobsCall::post_input { job: id, seat: seat.index, package }))
}

fn input_package(market: &Market, id: JobId, seat: &Seat, parcel: InputParcel) -> Vec<u8> {
    let job = market.job(id);
    let delivery = Delivery {
        genesis: job.genesis,
        job: id,
        sender: requester(),
        recipient: seat.provider,
        seat: seat.index,
        content: Content::Input(&job.record),
    };
    delivery.seal(&Parcel::Input(parcel), &secret(60).public(), entropy()).unwrap()
}

#[test]
fn a_requester_that_posts_another_input_pays_a_tenth() {
    let mut market = Market::new();
    let id = market.request(sealed_record());
    let executor = market.executor(id);
    let asks = need(&market, id, &executor, &secret(60));
    market.take(asks);
    let other = Request { prompt: Prompt::Text("two and two?".into()), ..question(N_MAX as u32) };
    let package = input_package(&market, id, &executor, input_parcel(other));
    let fee = post_fee(&package);
    let posted = post_input(&market, id, &executor, package);
    market.take(posted);
    let mut want = market.books();
    let complaint = complain(&market, id, &executor, &secret(60));
    market.take(complaint);
    want.unlock(executor.provider, B - fee);
    want.of(executor.provider).free += fee; // what it paid for the package
    want.burn(F_MAX / 10);
    want.end_escrow(requester(), escrow(2), F_MAX / 10 + fee);
    assert_eq!(market.books(), want);
}

#[test]
fn an_executor_that_gets_its_input_on_the_ledger_accepts_and_answers() {
    let mut market = Market::new();
    let id = market.request(sealed_record());
    let executor = market.executor(id);
    let asks = need(&market, id, &executor, &secret(60));
    market.take(asks);
    assert!(
        market.refuses(&post(&market, id, Party::Seat(executor.index), vec![0; 256])),
        "an executor does not answer to itself"
    );
    let package = input_package(&market, id, &executor, input_parcel(question(N_MAX as u32)));
    let posted = post_input(&market, id, &executor, package);
    market.take(posted);
    let accept = market.step(id, executor.index, SeatStep::Accept);
    market.take(accept);
    assert!(matches!(market.job(id).phase, Phase::Accepted { .. }));
}

#[test]
fn nobody_can_be_asked_to_seal_to_a_key_of_small_order() {
    let mut market = Market::new();
    let id = market.request(sealed_record());
    let (_, verifiers) = market.verifying(id, &right(1), claim());
    let key = Digest32::ZERO;
    assert!(market.refuses(&market.step(id, verifiers[0].index, SeatStep::Need { key })));
}

#[test]
fn a_requester_gets_its_answer_on_the_ledger_or_the_executors_bond() {
    for answers in [true, false] {
        let mut market = Market::new();
        let id = market.request(sealed_record());
        let (executor, verifiers) = market.verifying(id, &right(1), claim());
        for seat in &verifiers {
            market.commit(id, seat, &right(1));
        }
        let reveal = market.reveal(id, right(1));
        market.take(reveal);
        let key = secret(70).public();
        let asks = market.net.sign(&alice(), RuntimeCall::Jobs(JobsCall::need_answer { job: id, key }));
        let mut want = market.books();
        let events = market.take(asks);
        let fee = fee_paid(&events);
        want.of(requester()).free -= fee;
        want.burn(fee);
        let deposit = params().need_deposit().unwrap().get();
        want.of(requester()).free -= deposit;
        want.of(requester()).held += deposit;
        assert_eq!(market.books(), want);
        if answers {
            let job = market.job(id);
            let claimed = job.claim.unwrap();
            let delivery = Delivery {
                genesis: job.genesis,
                job: id,
                sender: executor.provider,
                recipient: requester(),
                seat: executor.index,
                content: Content::Answer(&claimed),
            };
            let parcel = Parcel::Answer(AnswerParcel::of(&salt(), &TOKENS, Finish::Eos, Digest32::ZERO));
            let package = delivery.seal(&parcel, &key, entropy()).unwrap();
            let burned = post_fee(&package);
            let posted = post(&market, id, Party::Requester, package);
            market.take(posted);
            want.burn(burned);
            want.of(requester()).free += deposit - burned;
        } else {
            want.forfeit(executor.provider, B);
            want.lock(executor.provider, B); // it is unlocked below with the others
            want.of(requester()).free += deposit + F_MAX;
            for seat in &verifiers {
                want.of(seat.provider).free += F_MAX / 2;
            }
            want.burn(B - 2 * F_MAX);
        }
        want.of(requester()).held -= deposit;
        market.close(id);
        for seat in verifiers.iter().chain([&executor]) {
            want.unlock(seat.provider, B);
        }
        assert_eq!(market.books(), want, "answered: {answers}");
    }
}
