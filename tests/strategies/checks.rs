//! What must hold after every block, and at the end of every job.

use std::collections::{BTreeMap, BTreeSet};

use assay_manifest::{Digest32, JobId};
use assay_protocol::job::{Job, Party, Phase, SeatOutcome, SettlementRecord, Verdict};
use assay_protocol::party::{AccountBytes, Role};
use assay_protocol::receipt::Receipt;
use assay_runtime::{Balance, RuntimeEvent};
use pallet_assay_jobs::Event;
use pallet_assay_providers::Event as Provided;

use crate::act::short;
use crate::books::{Forfeit, forfeits};
use crate::bound;
use crate::chain::{Made, PARAMS};
use crate::lies::{is_claimed, truth};
use crate::world::{Origin, World};

/// What the market has seen of a job.
#[derive(Clone, Debug, Default)]
pub struct Tracked {
    pub requested_at: u32,
    /// Seats that have committed, by round.
    committed: BTreeSet<(u8, u8)>,
    /// Height of the executor's commitment, by round.
    executor_committed: Option<(u8, u32)>,
    /// The settlement, and what was said of it later.
    pub records: Vec<SettlementRecord>,
    /// What each seat has got, once the job is settled.
    pub paid: BTreeMap<u8, Balance>,
}

type Holds = Result<(), String>;

impl World {
    /// Follows a block and checks every property.
    pub fn observe(&mut self, made: &Made) -> Holds {
        let height = made.block.header.number;
        self.note(|| format!("block {height}: {} left out", made.refused.len()));
        self.open = self.net.query("JobsApi_open_jobs", ());
        let records = self.follow(made)?;
        let invariants: Result<(), Vec<u8>> = self.net.query("LedgerApi_check_invariants", ());
        invariants
            .map_err(|broken| format!("the runtime's invariants: {}", String::from_utf8_lossy(&broken)))?;
        self.check_money(&made.block, &records)?;
        self.check_stakes(made)?;
        for record in &records {
            self.check_judgement(record)?;
        }
        for settlement in self.firsts(&records) {
            self.check_requester(settlement)?;
        }
        for job in &self.open {
            self.check_job(job, height)?;
        }
        Ok(())
    }

    /// Reads the block's events in order; answers the records of jobs that came to their end.
    fn follow(&mut self, made: &Made) -> Result<Vec<SettlementRecord>, String> {
        let height = made.block.header.number;
        let mut records = Vec::new();
        for event in made.block.events.iter().map(|record| &record.event) {
            let RuntimeEvent::Jobs(event) = event else { continue };
            self.note(|| format!("  {}", line(event)));
            match event {
                Event::Requested { job, .. } => {
                    self.tracked.insert(*job, Tracked { requested_at: height, ..Tracked::default() });
                }
                Event::Committed { job, round, seat, claim, .. } => {
                    let tracked = self.tracked(job)?;
                    tracked.committed.insert((*round, *seat));
                    if claim.is_some() {
                        tracked.executor_committed = Some((*round, height));
                    }
                }
                Event::Drawn { job, round, role: Role::Verifier | Role::AtLarge, .. } => {
                    self.check_draw(job, *round, height)?
                }
                Event::Revealed { job, round, .. } => self.check_reveal(job, *round)?,
                Event::Settled { job, log_index, .. } => records.push(self.settled(job, *log_index)?),
                Event::Paused { spec, .. } => self.paused.push((*spec, height)),
                Event::Stuck { job } => return Err(format!("no automatic step fails: {job} is stuck")),
                _ => {}
            }
        }
        Ok(records)
    }

    /// Takes a record from the log: a job's first one settles it, later ones move no escrow.
    fn settled(&mut self, job: &JobId, log_index: u64) -> Result<SettlementRecord, String> {
        let entry = self.net.log_from(log_index).into_iter().next();
        let record = entry.and_then(|leaf| SettlementRecord::from_leaf(&leaf));
        let record = record.ok_or_else(|| format!("{job} has no record in the log"))?;
        let records = &mut self.tracked(job)?.records;
        if records.first().is_some_and(|first| first.payments != record.payments) {
            return Err(format!("payments happen once: {job} is settled twice"));
        }
        records.push(record.clone());
        Ok(record)
    }

    fn check_draw(&mut self, job: &JobId, round: u8, height: u32) -> Holds {
        let tracked = self.tracked(job)?;
        let again = tracked.records.last().map(|record| record.settled_at.get());
        let of_round = tracked.executor_committed.filter(|(in_round, _)| *in_round == round);
        let after = again.or(of_round.map(|(_, at)| at));
        if after.is_none_or(|after| height < after + PARAMS.verifier_draw_delay) {
            return Err(format!("verifiers are drawn after the executor's commitment: {job}"));
        }
        Ok(())
    }

    fn tracked(&mut self, job: &JobId) -> Result<&mut Tracked, String> {
        self.tracked.get_mut(job).ok_or_else(|| format!("{job} was never requested"))
    }

    fn check_reveal(&mut self, job: &JobId, round: u8) -> Holds {
        let verifiers = usize::from(self.orders[job].record.policy.verifiers());
        let tracked = self.tracked(job)?;
        // After the settlement a fresh verifier stands alone.
        let wanted = if tracked.records.is_empty() { verifiers + 1 } else { 1 };
        let committed = tracked.committed.iter().filter(|(r, _)| *r == round).count();
        if committed < wanted {
            return Err(format!("no reveal before all have committed: {job}, {committed} of {wanted}"));
        }
        Ok(())
    }

    /// No honest provider loses stake, score or its place in the draws.
    fn check_stakes(&self, made: &Made) -> Holds {
        let honest = |account: &AccountBytes| {
            self.by_account.get(account).is_some_and(|n| self.case.parties[*n].is_honest())
        };
        for forfeit in forfeits(&made.block) {
            if honest(&forfeit.provider) && !self.is_charge(&forfeit, made) {
                let who = self.by_account[&forfeit.provider];
                return Err(format!("no honest stake is lost: party {who} lost {}", forfeit.amount));
            }
        }
        for record in &made.block.events {
            if let RuntimeEvent::Providers(Provided::Missed { provider } | Provided::Faulted { provider, .. }) =
                &record.event
                && honest(&provider.clone().into())
            {
                let who = self.by_account[&AccountBytes::from(provider.clone())];
                return Err(format!("no honest provider is at fault: party {who}"));
            }
        }
        Ok(())
    }

    /// Whether it is the price of a package that the provider asked for (J12).
    fn is_charge(&self, forfeit: &Forfeit, made: &Made) -> bool {
        let who = forfeit.provider;
        // A job that ended in this block is not open any more; its record knows the seats, too.
        let seat_of = |id: &JobId| {
            let open = self.open.iter().filter(|open| open.id == *id).flat_map(|job| &job.seats);
            let ended = self.tracked.get(id).and_then(|tracked| tracked.records.last());
            let open = open.map(|seat| (seat.provider, seat.index));
            let ended = ended.into_iter().flat_map(|record| &record.seats);
            let mut seats = open.chain(ended.map(|seat| (seat.provider, seat.index)));
            seats.find(|(provider, _)| *provider == who).map(|(_, index)| index)
        };
        let price = |event: &RuntimeEvent| match event {
            RuntimeEvent::Jobs(Event::Posted { job, party: Party::Seat(index), bytes })
                if seat_of(job) == Some(*index) =>
            {
                PARAMS.post_fee(*bytes).ok()
            }
            _ => None,
        };
        let charged = made.block.events.iter().filter_map(|record| price(&record.event));
        charged.map(|price| price.get()).any(|price| price == forfeit.amount)
    }

    /// A settled value is the right one, or everyone who stands by it belongs to one coalition; and whoever is
    /// called right has computed, or belongs to it.
    fn check_judgement(&self, record: &SettlementRecord) -> Holds {
        let Some(value) = record.value else { return Ok(()) };
        let right: Vec<_> = record.seats.iter().filter(|seat| seat.outcome == SeatOutcome::Right).collect();
        let parties: Vec<usize> = right.iter().map(|seat| self.by_account[&seat.provider]).collect();
        let one_ring = parties.iter().all(|n| self.case.is_friend(parties[0], *n));
        for seat in &right {
            let origin = self.stands.get(&(record.job, seat.round, seat.index)).map(|stand| stand.origin);
            let earned = match origin {
                Some(Origin::Computed) => true,
                Some(Origin::Lied) => one_ring,
                Some(Origin::Copied) | None => false,
            };
            if !earned {
                let job = record.job;
                return Err(format!(
                    "who is judged right has computed: seat {} of {job}, {origin:?}",
                    seat.index
                ));
            }
        }
        let called_right = !matches!(record.verdict, Verdict::Committed | Verdict::Inconclusive);
        let wrong = self.true_values(record).is_some_and(|truths| !truths.contains(&value));
        let excused = one_ring && record.verdict != Verdict::Refereed;
        if called_right && wrong && !excused {
            return Err(format!("no wrong answer is called right: {} is {:?}", record.job, record.verdict));
        }
        Ok(())
    }

    /// The values that honest work gives, in the round of the answer and in that of a later look, where the claim
    /// is known.
    fn true_values(&self, record: &SettlementRecord) -> Option<[Digest32; 2]> {
        let (order, answer) = (self.orders.get(&record.job)?, self.answers.get(&record.job)?);
        let claim = record.claim.filter(|claim| is_claimed(claim, order, answer))?;
        let truth = truth(&self.lab, order, (&claim, answer), record.round)?;
        let later = record.round + 1;
        let value = truth.opening.value(&record.job, record.round, &claim);
        Some([value, truth.later.value(&record.job, later, &claim)])
    }

    /// An honest buyer pays for steps, for what was settled, and otherwise only where no executor accepted. What is
    /// found out after the settlement takes back the verdict of a job, and no payment.
    fn check_requester(&self, record: &SettlementRecord) -> Holds {
        let paid = record.payments;
        let job_fee = assay_protocol::fees::job_fee(&record.request, record.request.n_max);
        let job_fee = job_fee.map_err(|error| error.to_string())?.get();
        let steps = PARAMS.step_fee.get() * u128::from(assay_protocol::fees::STEPS_PREPAID);
        let bought = record.verdict != Verdict::Inconclusive;
        let by = self.by_account[&record.requester];
        let fine =
            if self.case.parties[by].is_honest() { job_fee.div_ceil(100) } else { job_fee.div_ceil(10) };
        let most = if bought { steps + job_fee.div_ceil(50) } else { steps + fine };
        if paid.burned.get() > most {
            return Err(format!("a buyer's burned share is bounded: {} burned {}", record.job, paid.burned));
        }
        // An executor gets back what it paid for a package that was not what the requester had committed to.
        let misled =
            !self.case.parties[by].is_honest() && paid.executor <= PARAMS.need_deposit().unwrap_or_default();
        if !bought && (paid.verifiers.get() + paid.pot.get() > 0 || paid.executor.get() > 0 && !misled) {
            return Err(format!("nobody is paid without a verdict: {}", record.job));
        }
        Ok(())
    }

    fn check_job(&self, job: &Job, height: u32) -> Holds {
        let early = matches!(
            job.phase,
            Phase::Requested { .. }
                | Phase::Assigned { .. }
                | Phase::Accepted { .. }
                | Phase::Committed { .. }
        );
        let verifiers: Vec<_> = job.round_seats().filter(|seat| seat.role.verifies()).collect();
        if early && !(verifiers.is_empty() && job.standby.is_empty()) {
            return Err(format!("verifiers are unknown when the executor commits: {}", short(job)));
        }
        let gave_up = |seat: &&&assay_protocol::job::Seat| {
            use SeatOutcome::{Declined, Equivocated, FalseComplaint, Silent, Unbonded};
            matches!(seat.outcome, Declined | Silent | Unbonded | Equivocated | FalseComplaint)
        };
        let wanted = usize::from(job.record.policy.verifiers());
        if verifiers.len() > wanted + verifiers.iter().filter(gave_up).count() {
            return Err(format!(
                "a standby counts only after a fault: {} of {}",
                verifiers.len(),
                short(job)
            ));
        }
        let ends_by = self
            .tracked
            .get(&job.id)
            .map(|tracked| tracked.requested_at + bound::blocks(&PARAMS, &job.record));
        if ends_by.is_none_or(|ends_by| height > ends_by) {
            return Err(format!("every job ends within its bound: {} is {:?}", short(job), job.phase));
        }
        Ok(())
    }

    /// Every job that ended has a receipt that verifies, in its public form and with all opened.
    pub fn check_receipts(&self) -> Holds {
        let trust = self.net.trust();
        for (id, tracked) in &self.tracked {
            let failed = |cause: &dyn std::fmt::Display| format!("every receipt verifies: {id}: {cause}");
            let record = tracked.records.last().ok_or_else(|| failed(&"the job has no record"))?;
            let receipt = self.net.receipt(id).map_err(|cause| failed(&cause))?;
            let text = serde_json::to_string(&receipt).map_err(|error| failed(&error))?;
            let read: Receipt = serde_json::from_str(&text).map_err(|error| failed(&error))?;
            let report = read.verify(&trust).map_err(|failure| failed(&failure))?;
            if !tracked.records.iter().any(|record| record.verdict == report.verdict) {
                return Err(failed(&"its verdict is not the record's"));
            }
            if let Some(opened) = self.opened(id, record, receipt) {
                opened.verify(&trust).map_err(|failure| failed(&failure))?;
            }
        }
        Ok(())
    }
}

/// An event in a line; of a draw only the number of candidates.
fn line(event: &Event<assay_runtime::Runtime>) -> String {
    match event {
        Event::Drawn { job, round, role, candidates } => {
            format!("drawn {role:?} of {job}, round {round}, from {}", candidates.len())
        }
        other => format!("{other:?}"),
    }
}
