//! The transitions: one match over phase and input, each arm with its clause.

use assay_manifest::{Digest32, TaggedHash};
use codec::Encode;

use crate::commitment::Opening;
use crate::params::Params;
use crate::party::{AccountBytes, Role};
use crate::units::{Amount, Height};

use super::effect::{Effect, Transition};
use super::input::{Input, Refusal};
use super::payout::End;
use super::state::{Job, Phase, Seat, SeatOutcome};

/// What the validators sign when they referee a job.
pub fn verdict_digest(job: &Job, opening: &Option<Opening>) -> Digest32 {
    TaggedHash::new("assay/verdict/1")
        .digest(&job.genesis)
        .fixed(job.id.as_bytes())
        .u8(job.round)
        .var(&opening.encode())
        .finish()
}

pub(super) type Done = Result<(), Refusal>;

/// What the machine reads of the ledger while it applies an input.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The chain's parameters.
    pub params: &'a Params,
    /// The height of the block.
    pub now: Height,
    /// How many validators there are.
    pub validators: u32,
    /// What the pot holds that nothing is reserved for.
    pub pot: Amount,
    /// The accounts' books.
    pub books: &'a dyn Books,
}

/// What the machine reads of providers.
pub trait Books {
    /// Stake that an account could lock for a seat now.
    fn bondable(&self, account: &AccountBytes) -> Amount;
    /// An account's score now.
    fn score(&self, account: &AccountBytes) -> Amount;
}

impl Job {
    /// Applies one input.
    ///
    /// # Errors
    /// [`Refusal`] when the input would change nothing; the job is then untouched.
    pub fn apply(&self, context: &Context<'_>, input: Input) -> Result<Transition, Refusal> {
        let mut run = Run { job: self.clone(), effects: Vec::new(), context: *context };
        if input.is_prepaid() && !self.phase.is_paid() {
            run.job.steps = run.job.steps.saturating_add(1);
        }
        run.dispatch(input)?;
        Ok(Transition { job: run.job, effects: run.effects })
    }
}

/// One application of an input: the job being changed and the effects so far.
pub(super) struct Run<'a> {
    pub(super) job: Job,
    pub(super) effects: Vec<Effect>,
    pub(super) context: Context<'a>,
}

impl Run<'_> {
    fn dispatch(&mut self, input: Input) -> Done {
        match (self.job.phase, input) {
            // J12: whoever lacks data says so on the ledger; whoever has it answers there.
            (_, Input::Need { party, key }) => self.need(party, key),
            (_, Input::Post { party, bytes }) => self.post(party, bytes),
            // J13: the ledger opens a package of which somebody complains.
            (_, Input::Complain { party, package }) => self.complain(party, package),
            (_, Input::Deadline) if self.job.is_answer_overdue(self.context.now) => self.expire_answer(),
            // J7: two commitments for one seat convict by themselves.
            (_, Input::Equivocate { seat, commitment, claim }) => self.equivocate(seat, commitment, claim),
            (Phase::Requested { .. } | Phase::Assigned { .. } | Phase::Accepted { .. }, input) => {
                self.execution(input)
            }
            (Phase::Committed { .. } | Phase::Verifying, input) => self.verification(input),
            (Phase::Revealing { .. } | Phase::Disputed { .. } | Phase::Refereeing { .. }, input) => {
                self.agreement(input)
            }
            (phase, input) => match phase.closes_at() {
                Some(closes_at) => self.settled(closes_at, input),
                None => Err(Refusal::WrongPhase),
            },
        }
    }

    /// From the request to the executor's commitment.
    fn execution(&mut self, input: Input) -> Done {
        match (self.job.phase, input) {
            // J1, J14: the executor is drawn after the request, and again after one that dropped out.
            (Phase::Requested { draw_at }, Input::Draw { randomness, contenders, total_stake }) => {
                self.not_before(draw_at)?;
                self.draw_executor(randomness, &contenders, total_stake)
            }
            // J3: acceptance says that the input is here and opens to its commitment.
            (Phase::Assigned { accept_by }, Input::Accept { seat }) => {
                self.not_after(accept_by)?;
                self.accept(seat)
            }
            // J19: a prompt that does not match is declined before accepting, without fault.
            (Phase::Assigned { accept_by }, Input::Decline { seat }) => {
                self.not_after(accept_by)?;
                self.expect_executor(seat, SeatOutcome::Pending)?;
                self.must_not_be_starved(seat)?;
                self.drop_executor(SeatOutcome::Declined)
            }
            // J12, J14: an executor that never accepts loses nothing, unless it got what it had asked for.
            (Phase::Assigned { accept_by }, Input::Deadline) => {
                self.past(accept_by)?;
                self.expire_assignment()
            }
            (Phase::Accepted { commit_by }, Input::Commit { seat, commitment, claim }) => {
                self.not_after(commit_by)?;
                self.commit_executor(seat, commitment, claim)
            }
            // J3: silence between acceptance and commitment.
            (Phase::Accepted { commit_by }, Input::Deadline) => {
                self.past(commit_by)?;
                self.drop_executor(SeatOutcome::Silent)
            }
            _ => Err(Refusal::WrongPhase),
        }
    }

    /// From the executor's commitment to the last verifier's.
    fn verification(&mut self, input: Input) -> Done {
        match (self.job.phase, input) {
            // J1: verifiers are drawn after the executor has committed.
            (Phase::Committed { draw_at }, Input::Draw { randomness, contenders, total_stake }) => {
                self.not_before(draw_at)?;
                self.draw_verifiers(randomness, &contenders, total_stake)
            }
            (Phase::Verifying, Input::Commit { seat, commitment, claim }) => {
                self.commit_verifier(seat, commitment, claim)?;
                self.fill_verifiers()
            }
            // J11: a drawn seat stops counting only by decline or silence.
            (Phase::Verifying, Input::Decline { seat }) => {
                self.decline_verifier(seat)?;
                self.fill_verifiers()
            }
            (Phase::Verifying, Input::Deadline) => self.expire_verifiers(),
            _ => Err(Refusal::WrongPhase),
        }
    }

    /// From the last commitment to the settlement.
    fn agreement(&mut self, input: Input) -> Done {
        match (self.job.phase, input) {
            // J10: anyone opens a value for all seats that hold it.
            (Phase::Revealing { reveal_by }, Input::Reveal { opening }) => {
                self.not_after(reveal_by)?;
                self.reveal(opening)?;
                self.judge_openings()
            }
            (Phase::Disputed { .. }, Input::Reveal { opening }) => {
                self.reveal(opening)?;
                self.judge_openings()
            }
            // J4: commitments that do not all open to one value are a dispute.
            (Phase::Revealing { reveal_by }, Input::Deadline) => {
                self.past(reveal_by)?;
                self.dispute()
            }
            // J5: conceding is cheaper than being found wrong.
            (Phase::Disputed { concede_by }, Input::Concede { seat }) => {
                self.not_after(concede_by)?;
                self.concede(seat)
            }
            (Phase::Disputed { concede_by }, Input::Deadline) => {
                self.past(concede_by)?;
                self.refer_to_validators()
            }
            // J6: the validators decide what nobody conceded.
            (Phase::Refereeing { verdict_by }, Input::Verdict { opening }) => {
                self.not_after(verdict_by)?;
                match opening {
                    Some(opening) => self.finish(End::Refereed(opening)),
                    None => self.finish(End::Inconclusive),
                }
            }
            (Phase::Refereeing { verdict_by }, Input::Deadline) => {
                self.past(verdict_by)?;
                self.finish(End::Inconclusive)
            }
            // While the definition itself is in doubt, time does not run against anybody.
            (Phase::Refereeing { verdict_by }, Input::PutOff) => {
                self.past(verdict_by)?;
                self.refer_to_validators()
            }
            _ => Err(Refusal::WrongPhase),
        }
    }

    /// From the settlement to the end of the challenge window.
    fn settled(&mut self, closes_at: Height, input: Input) -> Done {
        match (self.job.phase, input) {
            (Phase::Sampling { draw_at, .. }, Input::Draw { randomness, contenders, total_stake }) => {
                self.not_before(draw_at)?;
                self.sample(closes_at, randomness, &contenders, total_stake)
            }
            (Phase::Rechecking { .. }, Input::Commit { seat, commitment, claim }) => {
                self.commit_verifier(seat, commitment, claim)?;
                self.reveal_recheck(closes_at)
            }
            (Phase::Rechecking { .. }, Input::Decline { seat }) => {
                self.decline_verifier(seat)?;
                self.end_recheck(closes_at, None)
            }
            (Phase::Rechecking { .. }, Input::Deadline) => self.expire_recheck(closes_at),
            (Phase::RecheckRevealing { reveal_by, .. }, Input::Reveal { opening }) => {
                self.not_after(reveal_by)?;
                self.reveal(opening)?;
                self.compare_recheck(closes_at)
            }
            // J3: a committed value that nobody opens counts as different.
            (Phase::RecheckRevealing { reveal_by, .. }, Input::Deadline) => {
                self.past(reveal_by)?;
                self.rejudge(closes_at)
            }
            // J8: whoever stands for the referee's cost may contest what was agreed.
            (Phase::Settled { .. }, Input::Challenge { challenger }) => self.challenge(closes_at, challenger),
            (Phase::Rejudging { verdict_by, .. }, Input::Verdict { opening }) => {
                self.not_after(verdict_by)?;
                self.replace_settlement(closes_at, opening)
            }
            (Phase::Rejudging { verdict_by, .. }, Input::Deadline) => {
                self.past(verdict_by)?;
                self.replace_settlement(closes_at, None)
            }
            (Phase::Rejudging { verdict_by, .. }, Input::PutOff) => {
                self.past(verdict_by)?;
                self.rejudge(closes_at)
            }
            // J8: the challenge window closes, bonds are free again.
            (Phase::Settled { closes_at }, Input::Deadline) => {
                self.not_before(closes_at)?;
                self.release_all_bonds();
                self.effects.push(Effect::Close);
                Ok(())
            }
            _ => Err(Refusal::WrongPhase),
        }
    }

    pub(super) fn seat(&self, index: u8) -> Result<&Seat, Refusal> {
        self.job.seats.iter().find(|seat| seat.index == index).ok_or(Refusal::WrongSeat)
    }

    pub(super) fn seat_mut(&mut self, index: u8) -> Result<&mut Seat, Refusal> {
        self.job.seats.iter_mut().find(|seat| seat.index == index).ok_or(Refusal::WrongSeat)
    }

    /// The executor of the round at hand, where it may take its next step.
    pub(super) fn expect_executor(&mut self, index: u8, outcome: SeatOutcome) -> Result<&mut Seat, Refusal> {
        self.expect_seat(index, |role| !role.verifies(), outcome)
    }

    /// A verifier of the round at hand that may take its next step.
    pub(super) fn expect_verifier(&mut self, index: u8, outcome: SeatOutcome) -> Result<&mut Seat, Refusal> {
        self.expect_seat(index, Role::verifies, outcome)
    }

    fn expect_seat(
        &mut self,
        index: u8,
        is_of_role: impl Fn(Role) -> bool,
        outcome: SeatOutcome,
    ) -> Result<&mut Seat, Refusal> {
        let round = self.job.round;
        let seat = self.seat_mut(index)?;
        if !is_of_role(seat.role) || seat.round != round {
            return Err(Refusal::WrongSeat);
        }
        if seat.outcome == outcome { Ok(seat) } else { Err(Refusal::Repeated) }
    }

    pub(super) fn later(&self, blocks: u32) -> Result<Height, Refusal> {
        Ok(self.context.now.plus(Height::new(blocks))?)
    }

    pub(super) fn not_before(&self, height: Height) -> Done {
        if self.context.now < height { Err(Refusal::TooEarly(height)) } else { Ok(()) }
    }

    pub(super) fn not_after(&self, deadline: Height) -> Done {
        if self.context.now > deadline { Err(Refusal::TooLate(deadline)) } else { Ok(()) }
    }

    pub(super) fn past(&self, deadline: Height) -> Done {
        if self.context.now > deadline { Ok(()) } else { Err(Refusal::TooEarly(deadline)) }
    }
}
