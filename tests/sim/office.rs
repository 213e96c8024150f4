//! What a node's worker does at a block: the node's own reading of its duties, and the node's own shop that performs them,
//! model and all, at once. Only the worker's threads and its agenda are left out.

use std::collections::HashMap;
use std::sync::Arc;

use assay_manifest::{Digest32, JobId, ModelId};
use assay_node::adapters::Board;
use assay_node::worker::{
    Answer, BoardError, Compute, ComputeError, Desk, Done, Duty, Errand, Identity, JobBoard, Outcome,
    Referee, Served, Shop, Step, Task, duties, is_overdue, referee_duty,
};
use assay_protocol::commitment::Finish;
use assay_protocol::job::{Job, NeedState, Party};
use assay_protocol::request::Request;
use tokio::runtime::Runtime as Tokio;

use crate::bound::needs_blocks;
use crate::genesis::PARAMS;
use crate::model::Lab;

/// Blocks after which a duty that still is one is performed again, as the worker's configuration says.
const RETRY_BLOCKS: u32 = 4;

/// How a provider behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Honest,
    /// It answers and judges falsely, each time.
    Lies,
    /// It takes seats and does nothing in half of all jobs.
    Silent,
}

/// Somebody for whom a node works.
#[derive(Clone)]
pub struct Clerk {
    pub manner: Manner,
    pub desk: Desk,
    /// The account that has seats; none for the node's validator.
    pub identity: Option<Identity>,
    pub referee: Option<Referee>,
}

/// Duties by job, round, seat and task.
type DutyKey = (JobId, u8, Option<u8>, Task);

/// Everybody for whom a running node works.
pub struct Office {
    board: Board,
    shops: Vec<(Manner, Shop)>,
    /// When each duty was performed last.
    performed: HashMap<(usize, DutyKey), u32>,
}

impl Office {
    pub fn new(board: Board, lab: &Arc<Lab>, clerks: &[Clerk]) -> Self {
        let shop = |clerk: &Clerk| {
            let compute: Arc<dyn Compute> = match clerk.manner {
                Manner::Lies => Arc::new(Liar {
                    lab: Arc::clone(lab),
                    name: clerk.identity.as_ref().map_or([0; 32], |identity| identity.account),
                }),
                Manner::Honest | Manner::Silent => Arc::clone(lab) as _,
            };
            let identities = clerk.identity.iter().cloned().collect();
            (clerk.manner, Shop::new(compute, clerk.desk.clone(), identities, clerk.referee.clone()))
        };
        Self { board, shops: clerks.iter().map(shop).collect(), performed: HashMap::new() }
    }

    /// Performs what is due at a block, and puts the steps into the pool.
    pub fn work(&mut self, tokio: &Tokio, height: u32) -> Result<(), BoardError> {
        let accounts: Vec<_> = self.shops.iter().flat_map(|(_, shop)| shop.accounts()).collect();
        let jobs = tokio.block_on(self.board.at_hand_and_contested(&accounts))?;
        let judges = match jobs.iter().any(Job::is_contested) {
            true => tokio.block_on(self.board.judges())?,
            false => Vec::new(),
        };
        let mut steps = Vec::new();
        for job in &jobs {
            if is_overdue(job, height) {
                steps.push(Step::Poke { job: job.id });
            }
            for n in 0..self.shops.len() {
                let (manner, shop) = &self.shops[n];
                if *manner == Manner::Silent && job.id.as_bytes()[0].is_multiple_of(2) {
                    continue;
                }
                let mut due = duties(job, &shop.accounts(), &judges);
                due.extend(referee_duty(job).filter(|_| shop.judge().is_some()));
                for duty in due {
                    steps.extend(self.perform(tokio, n, job, duty, height)?);
                }
            }
        }
        for step in steps {
            // The pool says what is known or no longer valid.
            let _ = tokio.block_on(self.board.submit(step));
        }
        Ok(())
    }

    /// Performs a duty of one of the shops, unless it was performed a moment ago.
    fn perform(
        &mut self,
        tokio: &Tokio,
        n: usize,
        job: &Job,
        duty: Duty,
        height: u32,
    ) -> Result<Option<Step>, BoardError> {
        let key = (n, key(job, &duty));
        if self.performed.get(&key).is_some_and(|at| height < at + RETRY_BLOCKS) {
            return Ok(None);
        }
        let errand = self.errand(tokio, job.clone(), duty, height)?;
        let (_, shop) = &self.shops[n];
        let step = match shop.perform(&errand).or_else(|error| shop.give_up(&errand, error)) {
            Ok(Done::Waiting) => return Ok(None),
            Ok(Done::Step(step)) => Some(step),
            // What a shop cannot do, the ledger's deadlines end.
            Ok(Done::Handed) | Err(_) => None,
        };
        self.performed.insert(key, height);
        Ok(step)
    }

    fn errand(&self, tokio: &Tokio, job: Job, duty: Duty, height: u32) -> Result<Errand, BoardError> {
        let party = duty.seat.as_ref().map(|seat| Party::Seat(seat.index));
        let is_posted = |party: &Party| {
            job.need(*party).is_some_and(|need| matches!(need.state, NeedState::Posted { .. }))
        };
        let posted = match party.filter(|_| duty.task.can_decline()).filter(is_posted) {
            Some(party) => tokio.block_on(self.board.package(&job.id, party))?,
            None => None,
        };
        let needs_blocks = match duty.task {
            Task::Fetch => needs_blocks(&PARAMS, &job, duty.task),
            _ => 0,
        };
        Ok(Errand { job, duty, height, posted, needs_blocks, fits_agenda: true })
    }
}

fn key(job: &Job, duty: &Duty) -> DutyKey {
    (job.id, job.round, duty.seat.as_ref().map(|seat| seat.index), duty.task)
}

/// Runs models and says something else than what came of it; no two of them say the same.
struct Liar {
    lab: Arc<Lab>,
    name: [u8; 32],
}

impl Compute for Liar {
    fn served(&self) -> Vec<Served> {
        self.lab.served()
    }

    fn is_given_up(&self, model: &ModelId) -> bool {
        self.lab.is_given_up(model)
    }

    fn fits(&self, model: &ModelId, request: &Request) -> Result<bool, ComputeError> {
        self.lab.fits(model, request)
    }

    fn execute(&self, model: &ModelId, request: &Request, seed: &Digest32) -> Result<Outcome, ComputeError> {
        Ok(match self.lab.execute(model, request, seed)? {
            Outcome::Answer { mut answer, .. } | Outcome::Fail { mut answer, .. } => {
                if answer.finish == Finish::Failed {
                    answer.finish = Finish::Eos;
                }
                match answer.tokens.last_mut() {
                    Some(token) => *token ^= 1,
                    None => answer.tokens.push(1),
                }
                Outcome::Answer { answer, trace_root: Digest32::from_bytes(self.name) }
            }
            other @ Outcome::Reject { .. } => other,
        })
    }

    fn verify(
        &self,
        model: &ModelId,
        request: &Request,
        seed: &Digest32,
        claimed: &Answer,
    ) -> Result<Outcome, ComputeError> {
        Ok(match self.lab.verify(model, request, seed, claimed)? {
            Outcome::Answer { .. } => {
                let trace_root = Digest32::from_bytes(self.name);
                Outcome::Reject { position: 0, right_token: 1, trace_root }
            }
            Outcome::Reject { .. } | Outcome::Fail { .. } => {
                Outcome::Answer { answer: claimed.clone(), trace_root: Digest32::from_bytes(self.name) }
            }
        })
    }
}
