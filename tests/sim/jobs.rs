//! What must hold of jobs, block by block.

use std::collections::{BTreeMap, BTreeSet};

use assay_manifest::{JobId, SpecId};
use assay_node::ledger::{FinalizedBlock, LedgerHandle};
use assay_protocol::job::{Job, Phase, SeatOutcome, SettlementRecord, Verdict};
use assay_protocol::party::{AccountBytes, Role};
use assay_runtime::{Balance, RuntimeEvent};
use pallet_assay_jobs::Event;
use tokio::runtime::Runtime as Tokio;

use crate::bound;
use crate::genesis::PARAMS;

/// What has been seen of the jobs of a run.
#[derive(Default)]
pub struct Jobs {
    /// Providers that tell the truth, whenever they say something.
    honest: BTreeSet<AccountBytes>,
    tracked: BTreeMap<JobId, Tracked>,
    pub verdicts: BTreeMap<String, u64>,
    /// Definitions whose verdicts were paused, and when: validators are to rule on them.
    pub paused: Vec<(SpecId, u32)>,
    /// What is to be written down.
    pub notes: Vec<String>,
}

#[derive(Default)]
struct Tracked {
    requested_at: u32,
    /// The round in which an executor has committed, and when.
    committed: Option<(u8, u32)>,
    records: Vec<SettlementRecord>,
}

impl Jobs {
    pub fn new(honest: BTreeSet<AccountBytes>) -> Self {
        Self { honest, ..Self::default() }
    }

    /// Jobs that have ended.
    pub fn ended(&self) -> u64 {
        self.tracked.values().filter(|job| !job.records.is_empty()).count() as u64
    }

    /// Follows a new block; gives what settlements have burned.
    pub fn follow(
        &mut self,
        block: &FinalizedBlock,
        open: &[Job],
        ledger: &LedgerHandle,
        tokio: &Tokio,
    ) -> Result<Balance, String> {
        let height = block.header.number;
        let mut burned = 0;
        for record in &block.events {
            let RuntimeEvent::Jobs(event) = &record.event else { continue };
            match event {
                Event::Requested { job, .. } => {
                    self.tracked.entry(*job).or_default().requested_at = height;
                }
                Event::Committed { job, round, claim: Some(_), .. } => {
                    self.tracked.entry(*job).or_default().committed = Some((*round, height));
                }
                Event::Drawn { job, round, role: Role::Verifier | Role::AtLarge, .. } => {
                    self.drawn(job, *round, height)?
                }
                Event::Settled { job, log_index, .. } => {
                    let entries = tokio.block_on(ledger.log_entries(*log_index, 1));
                    let entry = entries.map_err(|error| error.to_string())?.into_iter().next();
                    let record = entry.and_then(|leaf| SettlementRecord::from_leaf(&leaf));
                    burned +=
                        self.settled(record.ok_or_else(|| format!("{job} has no record in the log"))?)?;
                }
                Event::Paused { spec, .. } => self.paused.push((*spec, height)),
                Event::Stuck { job } => return Err(format!("no job is stuck: {job} is, at {height}")),
                _ => {}
            }
        }
        open.iter().try_for_each(|job| self.check(job, height))?;
        Ok(burned)
    }

    fn drawn(&self, job: &JobId, round: u8, height: u32) -> Result<(), String> {
        let tracked = self.tracked.get(job);
        let again = tracked.and_then(|tracked| tracked.records.last()).map(|record| record.settled_at.get());
        let committed =
            tracked.and_then(|tracked| tracked.committed).filter(|(in_round, _)| *in_round == round);
        let after = again.or(committed.map(|(_, at)| at));
        if after.is_none_or(|after| height < after + PARAMS.verifier_draw_delay) {
            return Err(format!(
                "verifiers are drawn after the executor's commitment: those of {job} at {height}"
            ));
        }
        Ok(())
    }

    fn settled(&mut self, record: SettlementRecord) -> Result<Balance, String> {
        let called_right = !matches!(record.verdict, Verdict::Committed | Verdict::Inconclusive);
        for seat in record.seats.iter() {
            let honest = self.honest.contains(&seat.provider);
            match seat.outcome {
                SeatOutcome::Right if called_right && !honest => {
                    return Err(format!(
                        "no wrong answer is called right: {} is {:?}",
                        record.job, record.verdict
                    ));
                }
                SeatOutcome::Wrong | SeatOutcome::Equivocated if honest => {
                    return Err(format!(
                        "no honest provider is convicted: in {}, {:?}",
                        record.job, seat.outcome
                    ));
                }
                _ => {}
            }
        }
        let seats: Vec<_> = record.seats.iter().map(|seat| (seat.role, seat.outcome)).collect();
        self.notes.push(format!("{} is {:?}: {seats:?}", record.job, record.verdict));
        let tracked = self.tracked.entry(record.job).or_default();
        if tracked.records.first().is_some_and(|first| first.payments != record.payments) {
            return Err(format!("payments happen once: {} is settled twice", record.job));
        }
        *self.verdicts.entry(format!("{:?}", record.verdict)).or_default() += 1;
        // What is said of it later moves no money of the job.
        let burned = if tracked.records.is_empty() { record.payments.burned.get() } else { 0 };
        tracked.records.push(record);
        Ok(burned)
    }

    fn check(&self, job: &Job, height: u32) -> Result<(), String> {
        let early = matches!(
            job.phase,
            Phase::Requested { .. }
                | Phase::Assigned { .. }
                | Phase::Accepted { .. }
                | Phase::Committed { .. }
        );
        let seated = job.round_seats().any(|seat| seat.role.verifies());
        if early && (seated || !job.standby.is_empty()) {
            return Err(format!("verifiers are unknown when the executor commits: {}", job.id));
        }
        let requested_at = self.tracked.get(&job.id).map(|tracked| tracked.requested_at);
        let ends_by = requested_at.map(|at| at + bound::blocks(&PARAMS, &job.record));
        if ends_by.is_none_or(|ends_by| height > ends_by) {
            return Err(format!(
                "every job ends within its bound: {} is {:?} at {height}",
                job.id, job.phase
            ));
        }
        Ok(())
    }
}
