//! The transitions: one match over phase and input, each arm with its clause.

use assay_manifest::{Digest32, TaggedHash};
use codec::Encode;

use crate::commitment::{Claim, Finish, Opening, ValueKind};
use crate::draw::{self, DrawFacts};
use crate::fees;
use crate::params::{Params, ROUNDS_MAX, SEATS_MAX};
use crate::party::{AccountBytes, Role};
use crate::signature::SeatStep;
use crate::units::{Amount, Height, Tokens};

use super::effect::{Effect, Transition};
use super::input::{Contender, Input, Refusal};
use super::settlement::End;
use super::state::{Job, OpenedValue, Phase, Seat, SeatOutcome, SignedCommitment, Standby};

/// What the validators sign when they referee a job.
pub fn verdict_digest(job: &Job, opening: &Option<Opening>) -> Digest32 {
    TaggedHash::new("assay/verdict/1")
        .digest(&job.genesis)
        .fixed(job.id.as_bytes())
        .u8(job.round)
        .var(&opening.encode())
        .finish()
}

type Done = Result<(), Refusal>;

/// What the machine reads of the ledger while it applies an input.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The chain's parameters.
    pub params: &'a Params,
    /// The height of the block.
    pub now: Height,
    /// Stake that an account could lock for a seat now.
    pub bondable: &'a dyn Fn(&AccountBytes) -> Amount,
}

impl Job {
    /// Applies one input.
    ///
    /// # Errors
    /// [`Refusal`] when the input would change nothing; the job is then untouched.
    pub fn apply(&self, context: &Context<'_>, input: Input) -> Result<Transition, Refusal> {
        let Context { params, now, bondable } = *context;
        let mut run = Run { job: self.clone(), effects: Vec::new(), params, now, bondable };
        let is_step = !matches!(input, Input::Draw { .. } | Input::Deadline);
        if is_step {
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
    pub(super) params: &'a Params,
    pub(super) now: Height,
    bondable: &'a dyn Fn(&AccountBytes) -> Amount,
}

impl Run<'_> {
    fn dispatch(&mut self, input: Input) -> Done {
        match (self.job.phase, input) {
            // J1, J14: the executor is drawn after the request, the verifiers after the commitment.
            (
                Phase::Requested { draw_at } | Phase::Committed { draw_at },
                Input::Draw { randomness, contenders, total_stake },
            ) => {
                self.not_before(draw_at)?;
                self.draw(randomness, &contenders, total_stake)
            }
            // J3: acceptance says that the input is here and opens to its commitment.
            (Phase::Assigned { accept_by }, Input::Accept { seat }) => {
                self.not_after(accept_by)?;
                self.accept(seat)
            }
            // J19: a prompt that does not match is declined before accepting, without fault.
            (Phase::Assigned { accept_by }, Input::Decline { seat }) => {
                self.not_after(accept_by)?;
                self.expect_seat(seat, Role::Executor, SeatOutcome::Pending)?;
                self.drop_executor(SeatOutcome::Declined)
            }
            // J14: an executor that never accepts loses nothing, the input may have been withheld.
            (Phase::Assigned { accept_by }, Input::Deadline) => {
                self.past(accept_by)?;
                self.drop_executor(SeatOutcome::NeverAccepted)
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
            (Phase::Verifying, Input::Commit { seat, commitment, claim }) => {
                self.commit_verifier(seat, commitment, claim)
            }
            // J11: a drawn seat stops counting only by decline or silence.
            (Phase::Verifying, Input::Decline { seat }) => {
                let deadline = self.expect_seat(seat, Role::Verifier, SeatOutcome::Pending)?.deadline;
                self.not_after(deadline)?;
                self.drop_verifier(seat, SeatOutcome::Declined)?;
                self.fill_verifiers()
            }
            (Phase::Verifying, Input::Deadline) => self.expire_verifiers(),
            // J10: anyone opens a value for all seats that hold it.
            (Phase::Revealing { reveal_by }, Input::Reveal { opening }) => {
                self.not_after(reveal_by)?;
                self.reveal(opening)
            }
            (Phase::Disputed { .. }, Input::Reveal { opening }) => self.reveal(opening),
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
                let verdict_by = self.later(self.params.verdict_window)?;
                self.job.phase = Phase::Refereeing { verdict_by };
                Ok(())
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
            // J7: two commitments for one seat convict by themselves.
            (_, Input::Equivocate { seat, commitment, claim }) => self.equivocate(seat, commitment, claim),
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

    fn draw(&mut self, randomness: Digest32, contenders: &[Contender], total_stake: Amount) -> Done {
        let Some(role) = self.job.awaits_draw() else { return Err(Refusal::WrongPhase) };
        let fitting: Vec<&Contender> = contenders.iter().filter(|c| self.may_draw(c, role)).collect();
        let candidates: Vec<_> = fitting.iter().map(|c| c.candidate).collect();
        let facts = DrawFacts::of(self.now, randomness, &candidates, total_stake)?;
        let seed = draw::seed(&randomness, &self.job.id, self.job.round, role);
        let free_seats = (SEATS_MAX as usize).saturating_sub(self.job.seats.len());
        let drawn = draw::draw(&seed, &candidates, if role == Role::Executor { 1 } else { free_seats });
        let in_order: Vec<&Contender> =
            drawn.iter().filter_map(|d| fitting.iter().find(|c| c.candidate == *d).copied()).collect();
        self.effects.push(Effect::Drawn { role, candidates });
        match role {
            Role::Executor => self.seat_executor(facts, in_order.first().copied()),
            Role::Verifier => self.seat_verifiers(facts, &in_order),
        }
    }

    fn may_draw(&self, contender: &Contender, role: Role) -> bool {
        let account = contender.candidate.provider;
        let seated = self.job.seats.iter().any(|seat| seat.provider == account);
        let chosen = self.job.record.direct_executor.is_none_or(|chosen| chosen == account);
        let allowed = role == Role::Verifier || chosen;
        allowed
            && !seated
            && account != self.job.requester
            && contender.fits(role, &self.job.record.prices, self.job.quote.bond)
    }

    fn seat_executor(&mut self, facts: DrawFacts, drawn: Option<&Contender>) -> Done {
        let Some(executor) = drawn else { return self.finish(End::Expired) };
        let accept_by = self.later(self.params.accept_window)?;
        self.job.executor_draw = Some(facts);
        let standby = Standby {
            provider: executor.candidate.provider,
            work_key: executor.work_key,
            price: executor.output,
        };
        self.take_seat(Role::Executor, standby, accept_by)?;
        self.job.phase = Phase::Assigned { accept_by };
        Ok(())
    }

    fn seat_verifiers(&mut self, facts: DrawFacts, drawn: &[&Contender]) -> Done {
        self.job.verifier_draw = Some(facts);
        for contender in drawn {
            let standby = Standby {
                provider: contender.candidate.provider,
                work_key: contender.work_key,
                price: contender.verify,
            };
            self.job.standby.try_push(standby).map_err(|_| Refusal::Full)?;
        }
        self.job.phase = Phase::Verifying;
        self.fill_verifiers()
    }

    fn take_seat(&mut self, role: Role, drawn: Standby, deadline: Height) -> Done {
        let amount = self.job.quote.bond;
        let index = u8::try_from(self.job.seats.len()).map_err(|_| Refusal::Full)?;
        let mut seat = Seat {
            index,
            round: self.job.round,
            role,
            provider: drawn.provider,
            work_key: drawn.work_key,
            price: drawn.price,
            deadline,
            outcome: SeatOutcome::Pending,
            commitment: None,
            value: None,
            bonded: true,
        };
        // A standby's stake may have gone elsewhere since the draw; the record says that it was passed over.
        if (self.bondable)(&drawn.provider) < amount {
            seat.outcome = SeatOutcome::Unbonded;
            seat.bonded = false;
            return self.job.seats.try_push(seat).map_err(|_| Refusal::Full);
        }
        self.job.seats.try_push(seat).map_err(|_| Refusal::Full)?;
        self.effects.push(Effect::LockBond { provider: drawn.provider, amount });
        self.effects.push(Effect::BeginWork { provider: drawn.provider });
        Ok(())
    }

    fn accept(&mut self, index: u8) -> Done {
        let window = self.params.execute_window(self.job.record.n_in, self.job.record.n_max)?;
        let commit_by = self.later(window)?;
        let seat = self.expect_seat(index, Role::Executor, SeatOutcome::Pending)?;
        seat.outcome = SeatOutcome::Accepted;
        seat.deadline = commit_by;
        self.job.phase = Phase::Accepted { commit_by };
        Ok(())
    }

    /// The executor of this round is out: fine it if it had accepted, then draw another or give up.
    fn drop_executor(&mut self, outcome: SeatOutcome) -> Done {
        let Some(index) = self.job.executor().map(|seat| seat.index) else { return Err(Refusal::WrongSeat) };
        let fine = match outcome {
            SeatOutcome::Silent => self.job.quote.job_fee.share_up(1, 10)?,
            _ => Amount::ZERO,
        };
        self.retire(index, outcome, fine)?;
        if self.job.round >= ROUNDS_MAX {
            return self.finish(End::Expired);
        }
        self.job.round = self.job.round.saturating_add(1);
        let draw_at = self.later(self.params.executor_draw_delay)?;
        self.job.phase = Phase::Requested { draw_at };
        Ok(())
    }

    fn commit_executor(&mut self, index: u8, commitment: SignedCommitment, claim: Option<Claim>) -> Done {
        let claim = claim.ok_or(Refusal::BadClaim)?;
        let failed = claim.finish == Finish::Failed;
        let n_max = self.job.record.n_max.get();
        // J19: no step carries a requester's cancellation yet, so nobody may claim one.
        if claim.finish == Finish::Cancelled || claim.n_out > n_max || (claim.n_out == 0 && !failed) {
            return Err(Refusal::BadClaim);
        }
        let draw_at = self.later(self.params.verifier_draw_delay)?;
        let seat = self.expect_seat(index, Role::Executor, SeatOutcome::Accepted)?;
        seat.outcome = SeatOutcome::Committed;
        seat.commitment = Some(commitment);
        let provider = seat.provider;
        self.effects.push(Effect::EndWork { provider });
        self.job.claim = Some(claim);
        self.job.phase = Phase::Committed { draw_at };
        Ok(())
    }

    fn commit_verifier(&mut self, index: u8, commitment: SignedCommitment, claim: Option<Claim>) -> Done {
        if claim.is_some() {
            return Err(Refusal::BadClaim);
        }
        let now = self.now;
        let seat = self.expect_seat(index, Role::Verifier, SeatOutcome::Pending)?;
        if now > seat.deadline {
            return Err(Refusal::TooLate(seat.deadline));
        }
        seat.outcome = SeatOutcome::Committed;
        seat.commitment = Some(commitment);
        let provider = seat.provider;
        self.effects.push(Effect::EndWork { provider });
        self.fill_verifiers()
    }

    fn expire_verifiers(&mut self) -> Done {
        let now = self.now;
        let late: Vec<u8> =
            self.job.pending_verifiers().filter(|seat| now > seat.deadline).map(|seat| seat.index).collect();
        if late.is_empty() {
            return Err(Refusal::TooEarly(self.job.due().unwrap_or(now)));
        }
        for index in late {
            self.drop_verifier(index, SeatOutcome::Silent)?;
        }
        self.fill_verifiers()
    }

    /// J11: half a verification fee for a decline, a whole one for silence.
    fn drop_verifier(&mut self, index: u8, outcome: SeatOutcome) -> Done {
        let fee = self.verification_fee_at(index)?;
        let fine = match outcome {
            SeatOutcome::Declined => fee.share_up(1, 2)?,
            _ => fee,
        };
        self.retire(index, outcome, fine)
    }

    fn verification_fee_at(&self, index: u8) -> Result<Amount, Refusal> {
        let seat = self.seat(index).ok_or(Refusal::WrongSeat)?;
        let n_out = Tokens::new(self.job.claim.map_or(0, |claim| claim.n_out));
        Ok(fees::verification_fee(seat.price, self.job.record.n_in, n_out)?)
    }

    /// Seats standby verifiers until enough count, opens the reveal when all have committed, and gives up
    /// when nobody is left to seat.
    fn fill_verifiers(&mut self) -> Done {
        let wanted = usize::from(self.job.record.policy.verifiers());
        let window = self.params.verify_window(self.job.record.n_in, self.job.record.n_max)?;
        let deadline = self.later(window)?;
        loop {
            let committed = self.job.counted_seats().filter(|seat| seat.role == Role::Verifier).count();
            let pending = self.job.pending_verifiers().count();
            if committed == wanted {
                let reveal_by = self.later(self.params.reveal_window)?;
                self.job.phase = Phase::Revealing { reveal_by };
                return Ok(());
            }
            if committed.saturating_add(pending) >= wanted {
                return Ok(());
            }
            if self.job.standby.is_empty() {
                return self.finish(End::Inconclusive);
            }
            let next = self.job.standby.remove(0);
            self.take_seat(Role::Verifier, next, deadline)?;
        }
    }

    fn reveal(&mut self, opening: Opening) -> Done {
        let claim = self.job.claim.ok_or(Refusal::BadClaim)?;
        let value = opening.value(&self.job.id, self.job.round, &claim);
        let holders: Vec<u8> = self
            .job
            .counted_seats()
            .filter(|seat| seat.value.is_none() && holds(&self.job, seat, &value))
            .map(|seat| seat.index)
            .collect();
        if holders.is_empty() {
            return Err(Refusal::OpensNothing);
        }
        let number = u8::try_from(self.job.values.len()).map_err(|_| Refusal::Full)?;
        self.job.values.try_push(OpenedValue { opening, value }).map_err(|_| Refusal::Full)?;
        for index in holders {
            if let Some(seat) = self.seat_mut(index) {
                seat.value = Some(number);
            }
        }
        self.judge_openings()
    }

    /// Settles when every counted commitment opened to one value; disputes when all opened and differ.
    fn judge_openings(&mut self) -> Done {
        let mut seen: Vec<Option<u8>> = self.job.counted_seats().map(|seat| seat.value).collect();
        seen.dedup();
        match (seen.as_slice(), self.job.phase) {
            ([], _) => self.finish(End::Inconclusive),
            // J5: if one value remains, it is settled, even when only the executor stands by it.
            ([Some(number)], _) => {
                let agreed = self.job.values.get(usize::from(*number)).copied();
                let agreed = agreed.ok_or(Refusal::OpensNothing)?;
                self.finish(End::Agreed(agreed.opening))
            }
            (all, Phase::Revealing { .. }) if all.iter().all(Option::is_some) => self.dispute(),
            _ => Ok(()),
        }
    }

    fn dispute(&mut self) -> Done {
        let concede_by = self.later(self.params.concede_window)?;
        self.job.phase = Phase::Disputed { concede_by };
        Ok(())
    }

    fn concede(&mut self, index: u8) -> Done {
        let seat = self.seat_mut(index).ok_or(Refusal::WrongSeat)?;
        if seat.outcome != SeatOutcome::Committed {
            return Err(Refusal::Repeated);
        }
        seat.outcome = SeatOutcome::Conceded;
        self.judge_openings()
    }

    fn equivocate(&mut self, index: u8, other: SignedCommitment, claim: Option<Claim>) -> Done {
        let job = &self.job;
        let seat = self.seat(index).filter(|seat| seat.bonded).ok_or(Refusal::WrongSeat)?;
        let first = seat.commitment.ok_or(Refusal::WrongSeat)?;
        if first.commitment == other.commitment {
            return Err(Refusal::NoEquivocation);
        }
        let step = SeatStep::Commit { commitment: other.commitment, claim };
        let message = step.digest(&job.genesis, &job.id, seat.round, seat.index);
        if !other.signature.verifies(&seat.work_key, &message) {
            return Err(Refusal::NoEquivocation);
        }
        let role = seat.role;
        self.forfeit_whole(index, SeatOutcome::Equivocated)?;
        match (self.job.phase, role) {
            (Phase::Settled { .. } | Phase::Inconclusive | Phase::Expired, _) => Ok(()),
            (_, Role::Executor) => self.finish(End::Inconclusive),
            (Phase::Verifying, Role::Verifier) => self.fill_verifiers(),
            (_, Role::Verifier) => self.judge_openings(),
        }
    }

    pub(super) fn seat(&self, index: u8) -> Option<&Seat> {
        self.job.round_seats().find(|seat| seat.index == index)
    }

    pub(super) fn seat_mut(&mut self, index: u8) -> Option<&mut Seat> {
        let round = self.job.round;
        self.job.seats.iter_mut().find(|seat| seat.round == round && seat.index == index)
    }

    fn expect_seat(&mut self, index: u8, role: Role, outcome: SeatOutcome) -> Result<&mut Seat, Refusal> {
        let seat = self.seat_mut(index).filter(|seat| seat.role == role).ok_or(Refusal::WrongSeat)?;
        if seat.outcome == outcome { Ok(seat) } else { Err(Refusal::Repeated) }
    }

    fn later(&self, blocks: u32) -> Result<Height, Refusal> {
        Ok(self.now.plus(Height::new(blocks))?)
    }

    fn not_before(&self, height: Height) -> Done {
        if self.now < height { Err(Refusal::TooEarly(height)) } else { Ok(()) }
    }

    fn not_after(&self, deadline: Height) -> Done {
        if self.now > deadline { Err(Refusal::TooLate(deadline)) } else { Ok(()) }
    }

    fn past(&self, deadline: Height) -> Done {
        if self.now > deadline { Ok(()) } else { Err(Refusal::TooEarly(deadline)) }
    }
}

/// Whether a seat's commitment is the one to `value`.
pub(super) fn holds(job: &Job, seat: &Seat, value: &Digest32) -> bool {
    seat.commitment.is_some_and(|signed| signed.commitment == job.seat_id(seat).commit(value))
}

/// Whether a value means that the executor's answer stands.
pub(super) const fn pays_executor(kind: ValueKind) -> bool {
    matches!(kind, ValueKind::Ok | ValueKind::Fail)
}
