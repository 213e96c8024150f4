//! The same strategies played on the ledger: what a coalition's accounts hold, against honest play by them.

use std::sync::Arc;

use assay_protocol::job::SettlementRecord;
use assay_protocol::party::Role;
use assay_protocol::units::Tokens;

use super::payoffs::{Entry, From};
use super::terms::{Deal, Draw, Terms};
use crate::case::{Asked, Case, Party, Rule};
use crate::chain::PARAMS;
use crate::model::Lab;
use crate::strategies;
use crate::world::{P_IN, Summary, Tracing, play};

/// Providers of each market, of equal stake.
pub const PROVIDERS: usize = 30;
/// Jobs of each market, asked for in one block: the first conviction comes after the last draw.
const JOBS: usize = 24;
/// The request of every job; its answer has exactly as many tokens as it may have.
const PROMPT: usize = 0;

/// What was seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Seats from which the coalition acted.
    pub acts: usize,
    /// Mean change of its accounts an act, in F.
    pub mean: f64,
    /// What the formula says for this market.
    pub expected: f64,
    /// The most that an honest party lost in the whole sample, in F.
    pub honest_loss: f64,
}

/// Plays a strategy in so many markets; nothing where it is not one of a provider's.
pub fn sample(lab: &Arc<Lab>, entry: &Entry, members: usize, markets: u64) -> Option<Sample> {
    let known = strategies::of_providers();
    let script = &known.iter().find(|strategy| strategy.name == entry.name)?.script;
    let role = match entry.from {
        From::Executor => Role::Executor,
        From::Verifier => Role::Verifier,
        From::BesideExecutor | From::Requester => return None,
    };
    let (mut acts, mut change, mut fee, mut honest_loss) = (0, 0i128, 0, 0i128);
    for seed in 0..markets {
        let honest = run(lab, seed, members, &[]);
        let played = run(lab, seed, members, script);
        acts += seats(&honest, members, role);
        change += gains(&played, members) - gains(&honest, members);
        honest_loss = honest_loss.max(loss(&played, members));
        fee = honest.records.iter().find_map(job_fee).unwrap_or(fee);
    }
    let deal = deal(lab);
    let draw = Draw::Few { all: PROVIDERS, members };
    let terms = Terms::of(&deal, &PARAMS);
    Some(Sample {
        acts,
        mean: change as f64 / fee as f64 / acts.max(1) as f64,
        // The pot of a young market pays for no later verification.
        expected: entry.expected(&terms, draw, 0.0).ledger,
        honest_loss: honest_loss as f64 / fee as f64,
    })
}

/// F of a job that came to an answer; a newcomer is paid part of it only after the fresh look.
fn job_fee(record: &SettlementRecord) -> Option<u128> {
    let fee = assay_protocol::fees::job_fee(&record.request, Tokens::new(record.claim?.n_out));
    Some(fee.expect("a fee in range").get())
}

fn run(lab: &Arc<Lab>, seed: u64, members: usize, script: &[Rule]) -> Summary {
    let provider = |n| Party {
        stake: 1_000,
        verify_percent: 50,
        at_large: false,
        ring: (n < members).then_some(0),
        script: if n < members { script.to_vec() } else { Vec::new() },
    };
    let mut parties: Vec<Party> = (0..PROVIDERS).map(provider).collect();
    parties.push(Party::default());
    let asked =
        Asked { at: 0, by: PROVIDERS, prompt: PROMPT, verifiers: 2, at_large: false, direct: None, price: 1 };
    let case = Case { seed, lying_validators: 0, parties, jobs: vec![asked; JOBS] };
    play(&case, lab, Tracing::Off).unwrap_or_else(|failure| panic!("seed {seed}: {}", failure.what))
}

fn deal(lab: &Lab) -> Deal {
    let request = lab.request(PROMPT, &assay_protocol::commitment::Salt::from_bytes([0; 32]));
    Deal {
        n_in: request.n_in,
        n_out: request.max_tokens,
        p_in: P_IN,
        p_out: 2 * P_IN,
        p_verify: P_IN / 2,
        verifiers: 2,
        validators: 1,
    }
}

/// Seats of a role that members got; their accounts are the first.
fn seats(summary: &Summary, members: usize, role: Role) -> usize {
    let accounts = &summary.accounts[..members];
    let of = |record: &SettlementRecord| {
        record.seats.iter().filter(|seat| seat.role == role && accounts.contains(&seat.provider)).count()
    };
    summary.records.iter().map(of).sum()
}

fn gains(summary: &Summary, members: usize) -> i128 {
    summary.profits[..members].iter().sum()
}

/// The most that an honest provider has less than before.
fn loss(summary: &Summary, members: usize) -> i128 {
    summary.profits[members..PROVIDERS].iter().map(|profit| -profit).max().unwrap_or(0)
}
