//! Four validators with equal votes decide disputes and rule on definitions, each with a signature of its own.

use assay_manifest::JobId;
use assay_protocol::commitment::Opening;
use assay_protocol::job::{Phase, SeatOutcome, Verdict};
use assay_protocol::params::Params;
use assay_runtime::executor::{Kv, MemoryKv};
use assay_runtime::{GenesisSpec, Runtime, RuntimeCall, RuntimeEvent, UNIT, UncheckedExtrinsic, general};
use codec::{Decode, Encode};
use pallet_assay_jobs::{Call as JobsCall, Event, Ruling, RulingVotes, VerdictVotes, Votes};
use pallet_assay_validators::Call as ValidatorsCall;

use crate::answers::*;
use crate::market::*;
use crate::pausing::pause;
use crate::support::{founder_of, town, validator_key};

fn market(providers: u8) -> Market {
    market_with(providers, params())
}

fn market_with(providers: u8, params: Params) -> Market {
    Market::kept_in(MemoryKv::default(), providers, &GenesisSpec { params, ..town() })
}

/// A job of which the validators are asked, and its liar.
fn disputed() -> (Market, JobId, [u8; 32]) {
    let mut market = market(PROVIDERS);
    let (id, _, verifiers) = market.revealing(&[right(1), right(1), reject(1)], claim());
    market.wait(id, |phase| matches!(phase, Phase::Refereeing { .. }));
    (market, id, verifiers[1].provider)
}

fn vote(market: &mut Market, voters: &[u8], id: JobId, opening: Opening) -> Vec<RuntimeEvent> {
    let verdict = market.verdict_of(voters, id, Some(opening));
    market.take(verdict)
}

fn refuses_vote(market: &Market, voters: &[u8], id: JobId, opening: Opening) -> bool {
    market.refuses(&market.verdict_of(voters, id, Some(opening)))
}

fn votes<K: Kv>(market: &Market<K>, key: &[u8]) -> Option<Votes> {
    let bytes = market.net.chain.reader().at(None).unwrap().storage(key).unwrap()?;
    Some(Votes::decode(&mut bytes.as_slice()).unwrap())
}

fn verdict_votes(market: &Market, id: JobId) -> usize {
    votes(market, &VerdictVotes::<Runtime>::hashed_key_for(id)).map_or(0, |votes| votes.len())
}

fn ruling_votes(market: &Market) -> usize {
    votes(market, &RulingVotes::<Runtime>::hashed_key_for(spec())).map_or(0, |votes| votes.len())
}

fn is_open(market: &Market, id: JobId) -> bool {
    matches!(market.job(id).phase, Phase::Refereeing { .. })
}

/// The jobs to which a validator's verdict would add something.
fn unjudged(market: &Market, n: u8) -> Vec<JobId> {
    market.net.call("JobsApi_unjudged", validator_key(n))
}

/// Takes all stake of validators back, and waits until they are none.
fn leave(market: &mut Market, leaving: &[u8]) {
    for n in leaving {
        let unbond = RuntimeCall::Validators(ValidatorsCall::unbond { amount: UNIT });
        let unbond = market.net.sign(&founder_of(*n), unbond);
        assert!(error(&market.take(unbond)).is_none());
    }
    for _ in 0..=params().session_length {
        if !leaving.iter().any(|n| market.net.sitting().contains(n)) {
            return;
        }
        market.net.blocks(1);
    }
    panic!("they stay");
}

#[test]
fn one_vote_and_a_second_change_nothing_and_the_third_decides() {
    let (mut market, id, liar) = disputed();
    let before = market.books();
    for n in 0..2 {
        assert_eq!(unjudged(&market, n), [id]);
        let events = vote(&mut market, &[n], id, right(1));
        let own = RuntimeEvent::Jobs(Event::Judged {
            job: id,
            validator: validator_key(n),
            opening: Some(right(1)),
        });
        assert!(events.contains(&own));
        assert!(unjudged(&market, n).is_empty());
        assert!(is_open(&market, id));
        assert_eq!((verdict_votes(&market, id), market.books()), (usize::from(n) + 1, before.clone()));
    }
    vote(&mut market, &[2], id, right(1));
    let record = market.settlement(id);
    assert_eq!(record.verdict, Verdict::Refereed);
    let wrong = record.seats.iter().filter(|seat| seat.outcome == SeatOutcome::Wrong);
    assert_eq!(wrong.map(|seat| seat.provider).collect::<Vec<_>>(), [liar]);
    assert_eq!(market.provider(liar).stake, STAKE - B);
    assert_eq!(verdict_votes(&market, id), 0);
    assert!(unjudged(&market, 3).is_empty());
    assert!(refuses_vote(&market, &[3], id, right(1)), "it is decided");
}

#[test]
fn a_validator_has_one_vote_in_a_question() {
    let (mut market, id, _) = disputed();
    vote(&mut market, &[0], id, right(1));
    assert!(refuses_vote(&market, &[0], id, right(1)), "once more");
    assert!(refuses_vote(&market, &[0], id, reject(1)), "the other way");
    assert!(refuses_vote(&market, &[1, 1], id, right(1)), "twice in a step");
    assert!(refuses_vote(&market, &[], id, right(1)), "nobody's");
    vote(&mut market, &[0, 1], id, right(1));
    assert_eq!(verdict_votes(&market, id), 2, "beside one that is counted, the other counts");
    assert!(is_open(&market, id));
}

#[test]
fn a_step_with_a_signature_that_is_nobodys_brings_no_vote() {
    let (market, id, _) = disputed();
    let RuntimeCall::Jobs(JobsCall::verdict { mut signatures, .. }) =
        market.verdict_of(&[0, 1, 2], id, Some(right(1))).function
    else {
        panic!("a verdict")
    };
    signatures[1].signature = signatures[0].signature;
    let call = JobsCall::verdict { job: id, opening: Some(right(1)), signatures };
    assert!(market.refuses(&general(RuntimeCall::Jobs(call))));
}

#[test]
fn all_who_decide_may_sign_one_step() {
    let (mut market, id, _) = disputed();
    vote(&mut market, &[1, 2, 3], id, right(1));
    assert_eq!(market.settlement(id).verdict, Verdict::Refereed);
}

#[test]
fn votes_of_several_wait_side_by_side() {
    let (market, id, _) = disputed();
    let lease = market.net.chain.reader().at(None).unwrap();
    let provides = |extrinsic: UncheckedExtrinsic| {
        lease.validate(&extrinsic.encode()).unwrap().expect("a step that counts").provides
    };
    let by = |voters: &[u8]| provides(market.verdict_of(voters, id, Some(right(1))));
    let (first, second) = (by(&[0]), by(&[1]));
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first, second);
    assert_eq!(by(&[0, 1]), [first.clone(), second].concat());
    assert_eq!(provides(market.verdict_of(&[0], id, Some(reject(1)))), first, "one a validator");
}

#[test]
fn whoever_is_no_validator_any_more_does_not_count() {
    let (mut market, id, _) = disputed();
    vote(&mut market, &[0], id, right(1));
    vote(&mut market, &[1], id, right(1));
    leave(&mut market, &[1]);
    assert!(refuses_vote(&market, &[1], id, right(1)));
    assert!(unjudged(&market, 1).is_empty());
    vote(&mut market, &[2], id, right(1));
    assert!(is_open(&market, id), "two of three are not more than two thirds");
    assert_eq!(verdict_votes(&market, id), 2, "its vote is not kept");
    vote(&mut market, &[3], id, right(1));
    assert_eq!(market.settlement(id).verdict, Verdict::Refereed);
}

#[test]
fn votes_that_decide_because_others_left_count_when_one_is_repeated() {
    let (mut market, id, _) = disputed();
    vote(&mut market, &[0], id, right(1));
    vote(&mut market, &[1], id, right(1));
    leave(&mut market, &[2, 3]);
    assert!(is_open(&market, id));
    assert_eq!(unjudged(&market, 0), [id]);
    assert!(refuses_vote(&market, &[0], id, reject(1)), "nobody said that");
    vote(&mut market, &[0], id, right(1));
    assert_eq!(market.settlement(id).verdict, Verdict::Refereed);
    assert_eq!(verdict_votes(&market, id), 0);
}

#[test]
fn two_against_two_end_in_time_without_a_verdict() {
    let (mut market, id, liar) = disputed();
    for (n, opening) in [(0, right(1)), (1, reject(1)), (2, right(1)), (3, reject(1))] {
        vote(&mut market, &[n], id, opening);
    }
    assert!(is_open(&market, id));
    assert_eq!(verdict_votes(&market, id), 4);
    market.close(id);
    assert_eq!(market.settlement(id).verdict, Verdict::Inconclusive);
    assert_eq!((market.provider(liar).stake, market.provider(liar).locked), (STAKE, 0));
    assert_eq!(verdict_votes(&market, id), 0);
}

#[test]
fn a_ruling_needs_the_third_vote_for_the_same_answer() {
    let mut market = market(9);
    let (id, liar) = pause(&mut market);
    assert_eq!(verdict_votes(&market, id), 0, "after the pause the job is a new question");
    assert!(unjudged(&market, 0).is_empty(), "and waits with its definition");
    let since = market.height();
    for (n, ruling) in [(0, Ruling::Confirm), (1, Ruling::Annul), (2, Ruling::Confirm)] {
        let vote = market.rule_of(&[n], ruling, since);
        market.take(vote.clone());
        assert!(market.refuses(&vote), "one vote each");
        assert!(market.refuses(&market.rule_of(&[n], Ruling::Confirm, since)), "in one question");
        assert!(market.refuses(&market.verdict(id, Some(right(1)))), "it is still paused");
        assert_eq!(ruling_votes(&market), usize::from(n) + 1);
    }
    let last = market.rule_of(&[3], Ruling::Confirm, since);
    let events = market.take(last);
    let ruled = RuntimeEvent::Jobs(Event::Ruled { spec: spec(), ruling: Ruling::Confirm });
    assert!(events.contains(&ruled));
    assert_eq!(ruling_votes(&market), 0);
    assert_eq!(unjudged(&market, 0), [id]);
    for n in 0..3 {
        vote(&mut market, &[n], id, right(1));
    }
    assert_eq!(market.provider(liar).stake, STAKE - B);
}

#[test]
fn a_verdict_that_was_voted_on_before_a_pause_waits_for_the_ruling() {
    // Long enough for three disputes.
    let mut market = market_with(9, Params { verdict_window: 400, ..params() });
    let (early, ..) = market.revealing(&[right(1); 3], claim());
    let reveal = market.reveal(early, right(1));
    market.take(reveal);
    market.wait(early, |phase| matches!(phase, Phase::Settled { .. }));
    let challenge =
        market.net.sign(&crate::support::alice(), RuntimeCall::Jobs(JobsCall::challenge { job: early }));
    assert!(error(&market.take(challenge)).is_none());
    for n in 0..2 {
        vote(&mut market, &[n], early, right(1));
    }
    let (disputed, _) = pause(&mut market);
    assert!(refuses_vote(&market, &[2], early, right(1)));
    let since = market.height();
    let confirm = market.rule(Ruling::Confirm, since);
    market.take(confirm);
    assert_eq!(verdict_votes(&market, early), 2);
    vote(&mut market, &[2], early, right(1));
    assert_eq!(verdict_votes(&market, early), 0);
    assert!(market.records(early).last().is_some_and(|record| record.verdict == Verdict::Refereed));
    assert!(is_open(&market, disputed));
}
