//! Deadlines fire by themselves; what a full queue put off, anyone may poke.

use assay_manifest::JobId;
use assay_protocol::job::{Job, Phase, Verdict};
use assay_protocol::params::Params;
use assay_protocol::signature::SeatStep;
use assay_runtime::{Runtime, RuntimeCall, RuntimeEvent};
use codec::DecodeAll;
use pallet_assay_jobs::{Call as JobsCall, DUE_PER_BLOCK_MAX, Due, Event};

use crate::market::*;
use crate::support::alice;

#[test]
fn a_poke_before_its_time_is_refused() {
    let mut market = Market::new();
    let id = market.request(two());
    assert!(market.refuses(&market.poke(id)));
    market.executor(id);
    assert!(market.refuses(&market.poke(id)));
}

/// Windows that let requests fill the heights on which the deadlines of accepted jobs fall, long before those of jobs
/// that wait to be accepted.
fn crowded() -> Params {
    Params {
        executor_draw_delay: 10,
        accept_window: 2,
        compute_grace: 5,
        prefill_tokens_per_block: 1_000,
        decode_tokens_per_block: 1_000,
        ..params()
    }
}

/// Requests and acceptances, as many a block as fit, until the deadline of an accepted job is put off; answers that job.
fn crowd(market: &mut Market) -> JobId {
    for _ in 0..40 {
        let nonce: u64 = market.net.call("JobsApi_next_nonce", requester());
        let first: u32 = market.net.call("AccountNonceApi_account_nonce", requester());
        let open: Vec<Job> = market.net.call("JobsApi_open_jobs", ());
        let assigned = open.iter().filter(|job| matches!(job.phase, Phase::Assigned { .. })).take(4);
        let accepts = assigned.map(|job| market.step(job.id, 0, SeatStep::Accept));
        let requests = (0..2 * DUE_PER_BLOCK_MAX).map(|n| {
            let call = JobsCall::request { nonce: nonce + u64::from(n), record: two() };
            market.net.sign_at(&alice(), first + n, RuntimeCall::Jobs(call))
        });
        let proposal = market.net.propose(accepts.chain(requests).collect()).unwrap();
        let executed = market.net.chain.verify(&proposal.block).unwrap();
        market.net.commit(&proposal.block, executed).unwrap();
        let is_accepted = |id: &JobId| matches!(market.job(*id).phase, Phase::Accepted { .. });
        let put_off = market.net.events().into_iter().find_map(|event| match event {
            RuntimeEvent::Jobs(Event::PutOff { job }) => Some(job).filter(is_accepted),
            _ => None,
        });
        if let Some(job) = put_off {
            return job;
        }
    }
    panic!("the queue never fills");
}

/// Whether another accepted job of the same executor may come to its deadline in the next block.
fn ends_next(market: &Market, id: JobId) -> bool {
    let executor = |job: &Job| job.executor().map(|seat| seat.provider);
    let mine = executor(&market.job(id));
    let near = |job: &Job| job.due().is_some_and(|due| due.get() + 8 > market.height());
    let open: Vec<Job> = market.net.call("JobsApi_open_jobs", ());
    open.iter().any(|job| {
        job.id != id && matches!(job.phase, Phase::Accepted { .. }) && executor(job) == mine && near(job)
    })
}

#[test]
fn a_full_queue_refuses_new_requests_but_no_step_and_a_poke_does_what_it_put_off() {
    let mut market = Market::with(PROVIDERS, crowded());
    let id = crowd(&mut market);
    assert!(matches!(market.job(id).phase, Phase::Accepted { .. }), "the seat's step counted");
    assert!(error(&market.net.events()).is_some(), "there is no room for all requests");

    let due = market.job(id).due().expect("it is open").get();
    // By chance the executor is silent in other jobs too: none of them may end in the block of the poke.
    while market.height() <= due || ends_next(&market, id) {
        market.net.blocks(1);
    }
    assert!(matches!(market.job(id).phase, Phase::Accepted { .. }), "nothing happens by itself");
    let mut want = market.books();
    let executor = market.job(id).executor().unwrap().provider;
    let poke = market.poke(id);
    market.take(poke.clone());
    assert!(matches!(market.job(id).phase, Phase::Requested { .. }), "the silent executor is out");
    assert!(market.refuses(&poke), "it is done");
    let fine = F_MAX / 10;
    want.of(executor).held -= fine;
    want.of(executor).stake -= fine;
    assert_eq!(market.books().of(executor).held, want.of(executor).held);
    assert_eq!(market.books().of(executor).stake, want.of(executor).stake);
}

/// The jobs in the queue of a height.
fn queue(market: &Market, height: u32) -> Vec<JobId> {
    let lease = market.net.chain.reader().at(None).unwrap();
    let queue = lease.storage(&Due::<Runtime>::hashed_key_for(height)).unwrap();
    queue.map_or_else(Vec::new, |ids| Vec::decode_all(&mut ids.as_slice()).unwrap())
}

#[test]
fn a_job_that_moves_on_leaves_its_place_in_the_queue() {
    let mut market = Market::new();
    let id = market.request(two());
    let due = |market: &Market| market.job(id).due().expect("it is open").get();
    assert_eq!(queue(&market, due(&market)), [id], "for the draw");
    market.executor(id);
    let accept_by = due(&market);
    assert_eq!(queue(&market, accept_by), [id]);
    market.take(market.step(id, 0, SeatStep::Accept));
    assert_eq!(queue(&market, due(&market)), [id], "for the answer");
    assert!(market.height() < accept_by && due(&market) > accept_by);
    assert_eq!(queue(&market, accept_by), []);
}

#[test]
fn a_job_that_nobody_touches_comes_to_its_end_by_itself() {
    let mut market = Market::new();
    let id = market.request(two());
    market.close(id);
    assert_eq!(market.settlement(id).verdict, Verdict::Inconclusive);
}
