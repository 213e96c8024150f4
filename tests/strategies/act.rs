//! What each seat does in a block: its duties, or what its script says instead.

use assay_manifest::Digest32;
use assay_node::worker::{Committed, Done, Duty, Errand, Outcome, Step, Task, duties};
use assay_protocol::commitment::{Claim, FailCode, Opening, ValueKind};
use assay_protocol::job::{Job, NeedState, Party, Phase, Seat, SeatOutcome, SignedCommitment};
use assay_protocol::party::{AccountBytes, Role};
use assay_protocol::signature::{SeatStep, Signature};
use assay_runtime::{RuntimeCall, UncheckedExtrinsic, general};
use pallet_assay_jobs::Call;
use sp_core::Pair;

use crate::bound::needs_blocks;
use crate::case::{Lie, Only, Parcel, To, What, When};
use crate::chain::PARAMS;
use crate::lies;
use crate::random::bytes;
use crate::world::{Origin, Stand, World, call};

/// Blocks after which a script tries again what the ledger did not take.
const RETRY_BLOCKS: u32 = 4;

impl World {
    /// What the seats of a job do.
    pub fn seats(&mut self, job: &Job) -> Vec<UncheckedExtrinsic> {
        let seats: Vec<Seat> = job.seats.iter().cloned().collect();
        let mut done = Vec::new();
        for seat in seats {
            let n = self.by_account[&seat.provider];
            let departure = moment(job, &seat).and_then(|when| Some((when, self.rule(n, job, when)?)));
            match departure {
                Some(act) => done.extend(self.depart(n, job, &seat, act)),
                None => done.extend(self.lied(job, &seat).map(general)),
            }
            for duty in duties(job, &[seat.provider], &self.judges) {
                let hands_on =
                    matches!(duty.task, Task::Hand { .. } | Task::Brief { .. } | Task::Post { .. });
                let replaced =
                    if hands_on { self.misdeliver(n, job, &seat, &duty) } else { departure.is_some() };
                if !replaced {
                    done.extend(self.duty(n, job, &seat, duty).map(general));
                }
            }
        }
        done
    }

    /// What the party's script says about this moment, if anything.
    pub fn rule(&self, n: usize, job: &Job, when: When) -> Option<What> {
        let script = &self.case.parties[n].script;
        script.iter().find(|rule| rule.when == when && self.holds(n, job, rule.only)).map(|rule| rule.what)
    }

    fn holds(&self, n: usize, job: &Job, only: Only) -> bool {
        let friend =
            |account: &AccountBytes| self.by_account.get(account).is_some_and(|m| self.case.is_friend(n, *m));
        let counts = |seat: &&Seat| {
            use SeatOutcome::{Accepted, Committed, Pending, Right, Wrong};
            matches!(seat.outcome, Pending | Accepted | Committed | Right | Wrong)
        };
        let all_friends = job.seats.iter().filter(counts).all(|seat| friend(&seat.provider));
        let executor = job.answerer().map(|seat| seat.provider);
        match only {
            Only::Always => true,
            Only::AllFriends => all_friends,
            Only::SomeStranger => !all_friends,
            Only::FriendExecutes => executor.is_some_and(|account| friend(&account)),
            Only::StrangerExecutes => executor.is_some_and(|account| !friend(&account)),
            Only::FriendAsks => friend(&job.requester),
            Only::Percent(share) => job.id.as_bytes()[0] % 100 < share,
        }
    }

    /// Whoever has lied opens its own value; the node would compute the true one.
    fn lied(&self, job: &Job, seat: &Seat) -> Option<RuntimeCall> {
        let opens = matches!(
            job.phase,
            Phase::Revealing { .. } | Phase::Disputed { .. } | Phase::RecheckRevealing { .. }
        );
        let stand = self.stands.get(&(job.id, seat.round, seat.index))?;
        let lies = opens && seat.value.is_none() && stand.origin != Origin::Computed;
        let opening = self.opening(job, seat).filter(|_| lies)?;
        Some(call(Step::Reveal { job: job.id, opening }))
    }

    /// What the node does for a party that keeps to the rules.
    fn duty(&mut self, n: usize, job: &Job, seat: &Seat, duty: Duty) -> Option<RuntimeCall> {
        let shop = &self.actors[n].shop;
        let needs_blocks = needs_blocks(&PARAMS, job, duty.task);
        let party = Party::Seat(seat.index);
        let posted = job.need(party).and_then(|_| self.net.package(&job.id, party));
        let height = self.net.height();
        let errand = Errand { job: job.clone(), duty, height, posted, needs_blocks, fits_agenda: true };
        let done = match shop.perform(&errand).or_else(|error| shop.give_up(&errand, error)) {
            Ok(Done::Step(step)) => step,
            Ok(Done::Handed | Done::Waiting) => return None,
            Err(error) => {
                self.note(|| format!("  party {n} cannot do {:?}: {error}", errand.duty.task));
                return None;
            }
        };
        if let Step::Seat { step: SeatStep::Commit { claim, .. }, .. } = done {
            self.remember(job, seat, Origin::Computed, None);
            if let Some(claim) = claim {
                self.note_honest_answer(job, &claim);
            }
        }
        Some(call(done))
    }

    fn depart(&mut self, n: usize, job: &Job, seat: &Seat, act: (When, What)) -> Option<UncheckedExtrinsic> {
        let (when, what) = act;
        let height = self.net.height();
        let key = (job.id, seat.round, seat.index, when);
        // The moment in which a value could be opened early lasts a block.
        let retry_blocks = if what == What::RevealEarly { 1 } else { RETRY_BLOCKS };
        if self.tried.get(&key).is_some_and(|tried| height < tried + retry_blocks) {
            return None;
        }
        self.tried.insert(key, height);
        self.note(|| format!("  party {n}, seat {} of {}: {when:?}, {what:?}", seat.index, short(job)));
        if what == What::Challenge {
            return Some(self.signed_by(n, Call::challenge { job: job.id }));
        }
        self.free_step(n, job, seat, what).map(general)
    }

    fn free_step(&mut self, n: usize, job: &Job, seat: &Seat, what: What) -> Option<RuntimeCall> {
        match what {
            What::Decline => Some(self.signed(n, job, seat, SeatStep::Decline)),
            What::AcceptBlind => Some(self.signed(n, job, seat, SeatStep::Accept)),
            What::Concede => Some(self.signed(n, job, seat, SeatStep::Concede)),
            What::Need => {
                let key = self.needed_secret(n).public();
                Some(self.signed(n, job, seat, SeatStep::Need { key }))
            }
            What::Complain => {
                let secret = Digest32::from_bytes(*self.needed_secret(n).as_bytes());
                Some(self.signed(n, job, seat, SeatStep::Complain { secret }))
            }
            What::Commit(lie) => self.false_commitment(n, job, seat, lie),
            What::Agree => self.agree(n, job, seat),
            What::CopyCommitment => self.copy_commitment(n, job, seat),
            What::CopyOpened => self.copy_opened(n, job, seat),
            What::BadRecheck => self.bad_recheck(n, job, seat),
            What::RevealEarly => {
                let opening = self.opening(job, seat)?;
                Some(call(Step::Reveal { job: job.id, opening }))
            }
            What::RevealGarbage => {
                let blind = Digest32::from_bytes(bytes(self.case.seed, "reveal", n as u64));
                let opening = Opening { kind: ValueKind::Ok, position: 0, code: FailCode::None, blind };
                Some(call(Step::Reveal { job: job.id, opening }))
            }
            What::Equivocate => Some(self.equivocation(n, job, seat)),
            What::Silent | What::Challenge | What::Hand(..) | What::Broke | What::Misfit => None,
        }
    }

    /// Where the value comes from that a seat is about to commit to; later tries change nothing.
    fn remember(&mut self, job: &Job, seat: &Seat, origin: Origin, outcome: Option<Outcome>) {
        if seat.commitment.is_none() {
            self.stands.insert((job.id, seat.round, seat.index), Stand { origin, outcome });
        }
    }

    fn signed(&self, n: usize, job: &Job, seat: &Seat, step: SeatStep) -> RuntimeCall {
        let digest = step.digest(&job.genesis, &job.id, seat.round, seat.index);
        let signature = Signature(self.actors[n].work.sign(digest.as_bytes()).0);
        call(Step::Seat { job: job.id, round: seat.round, seat: seat.index, step, signature })
    }

    /// A commitment to a result, of whose claim the executor speaks.
    fn commit(&mut self, n: usize, job: &Job, seat: &Seat, outcome: Outcome) -> Option<RuntimeCall> {
        let claim = job.claim?;
        let committed = Committed::about(claim, &self.orders[&job.id].salt, seat.round, &outcome);
        self.remember(job, seat, Origin::Lied, Some(outcome));
        Some(self.signed(n, job, seat, committed.step(job, seat)))
    }

    fn false_commitment(&mut self, n: usize, job: &Job, seat: &Seat, lie: Lie) -> Option<RuntimeCall> {
        let order = &self.orders[&job.id];
        if seat.role.verifies() {
            let outcome = lies::judgement(&self.lab, job, order, lie);
            return self.commit(n, job, seat, outcome);
        }
        let (answer, outcome) = lies::answer(&self.lab, job, order, lie);
        let claim = Claim::of(&order.salt, &answer.tokens, answer.finish);
        let committed = Committed::about(claim, &order.salt, seat.round, &outcome);
        let step = committed.step(job, seat);
        self.put_answer(n, job, seat, (&answer, &outcome));
        self.remember(job, seat, Origin::Lied, Some(outcome));
        self.answers.insert(job.id, answer);
        Some(self.signed(n, job, seat, step))
    }

    /// Stands by what the friend that executes committed to falsely; checks where it told the truth.
    fn agree(&mut self, n: usize, job: &Job, seat: &Seat) -> Option<RuntimeCall> {
        let executor = job.answerer()?;
        let friend = self.case.is_friend(n, self.by_account[&executor.provider]);
        let stand = self.stands.get(&(job.id, executor.round, executor.index))?.clone();
        match stand.outcome {
            Some(outcome) if friend => self.commit(n, job, seat, outcome),
            _ => self.duty(n, job, seat, Duty { task: Task::Verify, seat: Some(seat.clone()) }),
        }
    }

    fn copy_commitment(&mut self, n: usize, job: &Job, seat: &Seat) -> Option<RuntimeCall> {
        let others = job.seats.iter().filter(|other| other.index != seat.index);
        let copied = others.filter_map(|other| other.commitment).next_back()?;
        self.remember(job, seat, Origin::Copied, None);
        let (commitment, recheck) = (copied.commitment, copied.recheck);
        Some(self.signed(n, job, seat, SeatStep::Commit { commitment, recheck, claim: None }))
    }

    /// Commits to what the last opening of the job would give in this round.
    fn copy_opened(&mut self, n: usize, job: &Job, seat: &Seat) -> Option<RuntimeCall> {
        let (opened, claim) = (job.values.last()?.opening, job.claim?);
        self.remember(job, seat, Origin::Copied, None);
        let commitment = job.seat_id(seat).commit(&opened.value(&job.id, seat.round, &claim));
        Some(self.signed(n, job, seat, SeatStep::Commit { commitment, recheck: commitment, claim: None }))
    }

    fn bad_recheck(&mut self, n: usize, job: &Job, seat: &Seat) -> Option<RuntimeCall> {
        let order = &self.orders[&job.id];
        let honest = match seat.role {
            Role::Executor => {
                let seed = order.request.seed(&order.salt, &job.id);
                let outcome = assay_node::worker::Compute::execute(
                    &*self.lab,
                    &job.record.model_id,
                    &order.request,
                    &seed,
                );
                let outcome = outcome.ok()?;
                let Outcome::Answer { answer, .. } = &outcome else { return None };
                let answer = answer.clone();
                self.put_answer(n, job, seat, (&answer, &outcome));
                self.answers.insert(job.id, answer);
                Committed::by_executor(&order.salt, seat.round, &outcome)
            }
            Role::Verifier | Role::AtLarge => {
                lies::truth(&self.lab, order, (&job.claim?, self.answers.get(&job.id)?), seat.round)?
            }
        };
        self.remember(job, seat, Origin::Computed, None);
        let SeatStep::Commit { commitment, claim, .. } = honest.step(job, seat) else { return None };
        Some(self.signed(n, job, seat, SeatStep::Commit { commitment, recheck: commitment, claim }))
    }

    fn equivocation(&self, n: usize, job: &Job, seat: &Seat) -> RuntimeCall {
        let commitment = Digest32::from_bytes(bytes(self.case.seed, "second", n as u64));
        let recheck = commitment;
        let claim = if seat.role == Role::Executor { job.claim } else { None };
        let step = SeatStep::Commit { commitment, recheck, claim };
        let digest = step.digest(&job.genesis, &job.id, seat.round, seat.index);
        let signature = Signature(self.actors[n].work.sign(digest.as_bytes()).0);
        let other = SignedCommitment { commitment, recheck, signature };
        RuntimeCall::Jobs(Call::equivocation { job: job.id, seat: seat.index, other, claim })
    }

    /// The opening of a seat's own commitment.
    fn opening(&self, job: &Job, seat: &Seat) -> Option<Opening> {
        let stand = self.stands.get(&(job.id, seat.round, seat.index))?;
        let (order, claim) = (&self.orders[&job.id], job.claim?);
        match (&stand.outcome, stand.origin) {
            (Some(outcome), _) => Some(Committed::about(claim, &order.salt, seat.round, outcome).opening),
            (None, Origin::Computed) => {
                let answer = self.answers.get(&job.id)?;
                lies::truth(&self.lab, order, (&claim, answer), seat.round).map(|truth| truth.opening)
            }
            (None, _) if matches!(job.phase, Phase::RecheckRevealing { .. }) => {
                Some(job.values.last()?.opening)
            }
            (None, _) => None,
        }
    }

    /// Keeps what an honest executor has answered, which others can only read sealed.
    fn note_honest_answer(&mut self, job: &Job, claim: &Claim) {
        let order = &self.orders[&job.id];
        let seed = order.request.seed(&order.salt, &job.id);
        let outcome =
            assay_node::worker::Compute::execute(&*self.lab, &job.record.model_id, &order.request, &seed);
        if let Ok(Outcome::Answer { answer, .. } | Outcome::Fail { answer, .. }) = outcome
            && lies::is_claimed(claim, order, &answer)
        {
            self.answers.insert(job.id, answer);
        }
    }

    /// Whether the script keeps a parcel from somebody, or sends another instead.
    fn misdeliver(&mut self, n: usize, job: &Job, seat: &Seat, duty: &Duty) -> bool {
        let Some(What::Hand(parcel, to)) = self.rule(n, job, When::Delivering) else { return false };
        let recipient = match duty.task {
            Task::Hand { seat } | Task::Post { party: Party::Seat(seat) } => {
                job.seats.iter().find(|other| other.index == seat).map(|other| other.provider)
            }
            _ => None,
        };
        let reached = match recipient.and_then(|account| self.by_account.get(&account)) {
            Some(m) => self.reaches(n, *m, to),
            // Validators and the requester.
            None => to != To::Half,
        };
        if reached && parcel != Parcel::Nothing {
            self.put_false_work(n, job, seat, duty);
        }
        reached
    }

    pub fn reaches(&self, from: usize, to: usize, whom: To) -> bool {
        match whom {
            To::Everyone => true,
            To::Strangers => !self.case.is_friend(from, to),
            To::Half => to % 2 == 1,
        }
    }
}

/// The moment in which a seat is.
fn moment(job: &Job, seat: &Seat) -> Option<When> {
    use SeatOutcome::{Accepted, Committed, Pending};
    let posted =
        job.need(Party::Seat(seat.index)).is_some_and(|need| matches!(need.state, NeedState::Posted { .. }));
    if seat.round != job.round {
        return job.phase.is_paid().then_some(When::Settled);
    }
    match (job.phase, seat.role, seat.outcome) {
        (Phase::Assigned { .. } | Phase::Verifying, _, Pending) if posted => Some(When::Asked),
        (Phase::Assigned { .. }, Role::Executor, Pending) => Some(When::Accepting),
        (Phase::Accepted { .. }, Role::Executor, Accepted) => Some(When::Executing),
        (Phase::Verifying | Phase::Rechecking { .. }, Role::Verifier | Role::AtLarge, Pending) => {
            Some(When::Verifying)
        }
        (Phase::Committed { .. } | Phase::Verifying, _, Committed) => Some(When::Waiting),
        (Phase::Revealing { .. } | Phase::RecheckRevealing { .. }, _, Committed) => Some(When::Revealing),
        (Phase::Disputed { .. }, _, Committed) => Some(When::Disputed),
        (phase, ..) => phase.is_paid().then_some(When::Settled),
    }
}

/// The beginning of a job's id.
pub fn short(job: &Job) -> String {
    hex::encode(&job.id.as_bytes()[..3])
}
