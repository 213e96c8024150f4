//! How long a job can take: the sum of its longest phases.

use assay_node::worker::{Task, reference_blocks};
use assay_protocol::job::Job;
use assay_protocol::params::{Params, ROUNDS_MAX, SEATS_MAX};
use assay_protocol::record::PublicRecord;

/// Heights that a full queue may put a deadline off, and the block that a poke takes.
const QUEUE_SLACK: u32 = 10;
/// Verdicts that the validators may have to give again while they rule on a definition.
const RULINGS: u32 = 4;

/// Most blocks from the request until the job has left the state.
pub fn blocks(p: &Params, record: &PublicRecord) -> u32 {
    let execute = p.execute_window(record.n_in, record.n_max).expect("a window");
    let weights_bytes = record.policy.at_large().unwrap_or(0);
    let verify = p.verify_at_large_window(record.n_in, record.n_max, weights_bytes).expect("a window");
    let asked = p.data_window + QUEUE_SLACK;
    let accept = 2 * p.accept_window + asked;
    let check = 2 * verify + asked + QUEUE_SLACK;
    let verdict = RULINGS * (p.verdict_window + QUEUE_SLACK);
    let round = p.executor_draw_delay + accept + execute + 3 * QUEUE_SLACK;
    let judged = p.verifier_draw_delay + SEATS_MAX * check + p.reveal_window + p.concede_window + verdict;
    let later = p.verifier_draw_delay
        + check
        + p.reveal_window
        + verdict
        + p.challenge_window
        + p.answer_window
        + 3 * asked;
    u32::from(ROUNDS_MAX) * round + judged + later + 6 * QUEUE_SLACK
}

/// What a duty takes on the machine for which windows are made.
pub fn needs_blocks(p: &Params, job: &Job, task: Task) -> u32 {
    reference_blocks(job, task, job.record.n_max, p)
}
