//! Feeless steps: who may take them, where, and how often.

use assay_protocol::signature::{SeatStep, Signature};
use assay_runtime::{GenesisSpec, RuntimeCall, UNIT, UncheckedExtrinsic, general};
use codec::Encode;
use pallet_assay_jobs::Call as JobsCall;
use sp_runtime::transaction_validity::ValidTransaction;

use crate::answers::*;
use crate::market::*;
use crate::support::{Network, alice, genesis, transfer};
use assay_runtime::executor::{MemoryKv, Retention};

fn validity(market: &Market, extrinsic: &UncheckedExtrinsic) -> ValidTransaction {
    market.net.chain.reader().at(None).unwrap().validate(&extrinsic.encode()).unwrap().unwrap()
}

/// The same step with another field changed.
fn altered(
    step: &UncheckedExtrinsic,
    change: impl Fn(&mut JobsCall<assay_runtime::Runtime>),
) -> UncheckedExtrinsic {
    let RuntimeCall::Jobs(mut call) = step.function.clone() else { panic!("a step") };
    change(&mut call);
    general(RuntimeCall::Jobs(call))
}

#[test]
fn a_step_counts_once() {
    let mut market = Market::new();
    let id = market.request(two());
    let executor = market.executor(id);
    let accept = market.step(id, executor.index, SeatStep::Accept);
    market.take(accept.clone());
    assert!(market.refuses(&accept));
    let commitment = market.commitment(id, executor.index, &right(1), claim());
    market.take(commitment.clone());
    assert!(market.refuses(&commitment));
    market.close(id);
    assert!(market.refuses(&accept) && market.refuses(&commitment), "nor after the job");
}

#[test]
fn a_step_for_another_seat_round_job_or_claim_is_refused() {
    let mut market = Market::new();
    let id = market.request(two());
    let (_, verifiers) = market.verifying(id, &right(1), claim());
    let step = market.commitment(id, verifiers[0].index, &right(1), claim());
    let other_job = market.request(two());
    type Change = Box<dyn Fn(&mut JobsCall<assay_runtime::Runtime>)>;
    let other_seat = verifiers[1].index;
    let changes: [(&str, Change); 4] = [
        (
            "seat",
            Box::new(move |call| {
                if let JobsCall::step { seat, .. } = call {
                    *seat = other_seat
                }
            }),
        ),
        (
            "round",
            Box::new(|call| {
                if let JobsCall::step { round, .. } = call {
                    *round = 2
                }
            }),
        ),
        (
            "job",
            Box::new(move |call| {
                if let JobsCall::step { job, .. } = call {
                    *job = other_job
                }
            }),
        ),
        (
            "step",
            Box::new(|call| {
                if let JobsCall::step { step, .. } = call {
                    *step = SeatStep::Decline
                }
            }),
        ),
    ];
    for (what, change) in changes {
        assert!(market.refuses(&altered(&step, change)), "another {what}");
    }
    let forged = altered(&step, |call| {
        if let JobsCall::step { signature, .. } = call {
            *signature = Signature([7; 64])
        }
    });
    assert!(market.refuses(&forged), "another signature");
    assert!(!market.refuses(&step), "the step itself is good");
}

#[test]
fn a_step_of_an_earlier_round_is_refused_in_the_next() {
    let mut market = Market::new();
    let id = market.request(two());
    let first = market.executor(id);
    let accept = market.step(id, first.index, SeatStep::Accept);
    market.wait(id, |phase| matches!(phase, assay_protocol::job::Phase::Requested { .. }));
    assert!(market.refuses(&accept));
    market.executor(id);
    assert!(market.refuses(&accept));
}

#[test]
fn a_step_signed_for_another_chain_is_refused() {
    let mut market = Market::new();
    let id = market.request(two());
    let executor = market.executor(id);
    let spec = GenesisSpec { seed: "another".into(), ..genesis() };
    let other = Network::with(MemoryKv::default(), &spec, Retention::Archive).unwrap();
    let key =
        (0..PROVIDERS).map(work_key).find(|key| sp_core::Pair::public(key).0 == executor.work_key).unwrap();
    let digest = SeatStep::Accept.digest(&other.genesis_digest(), &id, 1, executor.index);
    let signature = Signature(sp_core::Pair::sign(&key, digest.as_bytes()).0);
    let foreign =
        JobsCall::step { job: id, round: 1, seat: executor.index, step: SeatStep::Accept, signature };
    assert!(market.refuses(&general(RuntimeCall::Jobs(foreign))));
    let account_key = market.step(id, executor.index, SeatStep::Accept);
    assert!(!market.refuses(&account_key));
}

#[test]
fn a_seats_phase_has_one_pending_step_above_every_paid_call() {
    let mut market = Market::new();
    let id = market.request(two());
    let executor = market.accepted(id);
    let [one, other] = [right(1), other_weights(1)]
        .map(|opening| validity(&market, &market.commitment(id, executor.index, &opening, claim())));
    assert_eq!(one.provides, other.provides, "the pool keeps one of two commitments");
    let paid = market.net.sign(&alice(), transfer(&crate::support::accounts()[1], UNIT));
    assert!(one.priority > validity(&market, &paid).priority);
    assert!(one.requires.is_empty(), "no nonce can get stuck");
}

#[test]
fn a_feeless_call_is_not_for_signed_transactions() {
    let mut market = Market::new();
    let id = market.request(two());
    let executor = market.executor(id);
    let accept = market.step(id, executor.index, SeatStep::Accept);
    let signed = market.net.sign(&alice(), accept.function.clone());
    let events = market.take(signed);
    assert_eq!(error(&events), Some(sp_runtime::DispatchError::BadOrigin));
    assert!(!market.refuses(&accept));
}

#[test]
fn steps_after_their_deadline_are_refused() {
    let mut market = Market::new();
    let id = market.request(two());
    let executor = market.executor(id);
    let accept = market.step(id, executor.index, SeatStep::Accept);
    while market.height() + 1 < executor.deadline.get() {
        market.net.blocks(1);
    }
    assert!(!market.refuses(&accept), "the deadline's block is in time");
    market.net.blocks(1);
    let proposal = market.net.propose(vec![accept]).unwrap();
    assert!(crate::support::transactions(&proposal.block).is_empty());
}

#[test]
fn requests_that_the_rules_do_not_allow_are_refused() {
    use assay_protocol::record::{Policy, PublicRecord, VerifiedRange};
    use assay_protocol::units::{Height, Price, Tokens};
    let mut market = Market::new();
    let cases: Vec<(&str, PublicRecord)> = vec![
        ("version", PublicRecord { version: 2, ..two() }),
        ("policy", record(Policy::Verified { verifiers: 3 })),
        ("no verifier", record(Policy::Verified { verifiers: 0 })),
        ("replicas", record(Policy::Replicated { executions: 9 })),
        ("no prompt", PublicRecord { n_in: Tokens::ZERO, ..two() }),
        ("no output", PublicRecord { n_max: Tokens::ZERO, ..two() }),
        ("stale", PublicRecord { valid_until: Height::new(1), ..two() }),
        ("eyes", PublicRecord { max_eyes: 3, ..two() }),
        ("parent", PublicRecord { parent: Some(assay_manifest::JobId::from_bytes([1; 32])), ..two() }),
        ("range", PublicRecord { verified_range: Some(VerifiedRange { from: 0, to: 1 }), ..two() }),
        (
            "price",
            PublicRecord {
                prices: assay_protocol::record::Prices { output: Price::new(1), ..two().prices },
                ..two()
            },
        ),
        (
            "a cap for verification under the price of a prompt token",
            PublicRecord {
                prices: assay_protocol::record::Prices { verify_max: Price::ZERO, ..two().prices },
                ..two()
            },
        ),
        ("an answer that no package could hold", PublicRecord { n_max: Tokens::new(65_281), ..two() }),
        ("more tokens than a job may have", PublicRecord { n_max: Tokens::new(1 << 20), ..two() }),
        ("model", PublicRecord { model_id: assay_manifest::ModelId::from_bytes([9; 32]), ..two() }),
    ];
    for (what, asked) in cases {
        let mut want = market.books();
        let asking = market.asking(asked);
        let events = market.take(asking);
        assert!(error(&events).is_some(), "{what}");
        want.of(requester()).free -= fee_paid(&events);
        want.burn(fee_paid(&events));
        assert_eq!(market.books(), want, "{what}: nothing is held");
    }
    let wrong_nonce = RuntimeCall::Jobs(JobsCall::request { nonce: 9, record: two() });
    let wrong_nonce = market.net.sign(&alice(), wrong_nonce);
    assert!(error(&market.take(wrong_nonce)).is_some());
}
