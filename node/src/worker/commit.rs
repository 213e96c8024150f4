//! From a result to the bytes of the protocol: claim, opening, commitments, signed step.

use assay_protocol::commitment::{Claim, FailCode, Finish, Opening, Salt, ValueKind, trace_blind};
use assay_protocol::job::{Job, Seat};
use assay_protocol::party::Role;
use assay_protocol::signature::{SeatStep, Signature};
use sp_core::{Pair, sr25519};

use super::ports::Outcome;

/// A result as one seat commits to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// What the reveal will publish.
    pub opening: Opening,
    /// The same one round later, for a fresh verifier to be compared with.
    pub later: Opening,
    /// The claim that the value is about.
    pub claim: Claim,
}

impl Committed {
    /// The executor's: its own answer is the claim.
    pub fn by_executor(salt: &Salt, round: u8, outcome: &Outcome) -> Self {
        let claim = match outcome {
            Outcome::Answer { answer, .. } | Outcome::Fail { answer, .. } => {
                Claim::of(salt, &answer.tokens, answer.finish)
            }
            Outcome::Reject { .. } => Claim::of(salt, &[], Finish::Failed),
        };
        Self::about(claim, salt, round, outcome)
    }

    /// A verifier's or referee's: about the claim on the ledger.
    pub fn about(claim: Claim, salt: &Salt, round: u8, outcome: &Outcome) -> Self {
        let later = opening(salt, round.saturating_add(1), outcome);
        Self { opening: opening(salt, round, outcome), later, claim }
    }

    /// The step by which `seat` commits to it.
    pub fn step(&self, job: &Job, seat: &Seat) -> SeatStep {
        let mut id = job.seat_id(seat);
        let commitment = id.commit(&self.opening.value(&job.id, id.round, &self.claim));
        id.round = id.round.saturating_add(1);
        let recheck = id.commit(&self.later.value(&job.id, id.round, &self.claim));
        let claim = (seat.role == Role::Executor).then_some(self.claim);
        SeatStep::Commit { commitment, recheck, claim }
    }
}

fn opening(salt: &Salt, round: u8, outcome: &Outcome) -> Opening {
    let (kind, position, code, trace_root, right_token) = match outcome {
        Outcome::Answer { trace_root, .. } => (ValueKind::Ok, 0, FailCode::None, trace_root, 0),
        Outcome::Reject { position, right_token, trace_root } => {
            (ValueKind::Reject, *position, FailCode::None, trace_root, *right_token)
        }
        Outcome::Fail { code, position, trace_root, .. } => {
            (ValueKind::Fail, *position, *code, trace_root, 0)
        }
    };
    Opening { kind, position, code, blind: trace_blind(salt, round, trace_root, right_token) }
}

/// Signs a seat's step with its work key.
pub fn sign(job: &Job, seat: &Seat, step: &SeatStep, work_key: &sr25519::Pair) -> Signature {
    let digest = step.digest(&job.genesis, &job.id, seat.round, seat.index);
    Signature(work_key.sign(digest.as_bytes()).0)
}
