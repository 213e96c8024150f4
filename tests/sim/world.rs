//! One run: nodes, the network between them, what goes wrong, and what people send; event by event.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use assay_node::consensus::bft::{Signing, ValidatorKey};
use assay_node::ledger::{FinalizedBlock, LedgerError, LedgerHandle};
use assay_protocol::job::Job;
use assay_runtime::{AccountId, own_extrinsics};
use malachite_core_consensus::{LivenessMsg, SignedConsensusMsg};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use sp_core::Pair;
use sp_runtime::traits::{BlakeTwo256, Hash as _};
use tokio::runtime::Runtime as Tokio;

use crate::checks::Checks;
use crate::faults::{Counts, Fault, Plan};
use crate::genesis::{BLOCK_TIME, founder, genesis, keys};
use crate::host::Halt;
use crate::log::Log;
use crate::market::{self, Market};
use crate::mischief::Mischief;
use crate::model::Lab;
use crate::network::Network;
use crate::node::{Node, Out, Wake};
use crate::packet::Packet;
use crate::queue::Queue;
use crate::random::bytes;
use crate::setting::Setting;
use crate::stake;
use crate::traffic::PACE_MS;

/// Blocks at the end of a run in which nothing goes wrong any more.
pub const CALM_BLOCKS: u32 = 10;
/// The longest that a run takes for a block on average while things go wrong, in milliseconds.
const BLOCK_MS_MAX: u64 = 30_000;
/// The longest that nodes take to come together when nothing goes wrong any more, in milliseconds.
const CALM_MS_MAX: u64 = 180_000;
/// By how much the clocks of two nodes may differ, in milliseconds: less than what a block's time may be ahead.
const CLOCKS_APART_MS: i64 = 20_000;

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub seed: u64,
    /// Decided blocks at the end.
    pub blocks: u32,
    pub until: Until,
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When every honest node has so many blocks.
    Blocks,
    /// When, besides, every job has ended.
    EveryJobHasEnded,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub blocks: u32,
    pub transactions: u64,
    pub jobs: u64,
    pub verdicts: BTreeMap<String, u64>,
    pub counts: Counts,
    /// Virtual time, in milliseconds.
    pub time_ms: u64,
    pub digest: String,
    /// The last lines of the log.
    pub log: Vec<String>,
}

/// A property that does not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    pub what: String,
    pub height: u32,
    /// The last lines of the log.
    pub log: Vec<String>,
}

pub enum Event {
    Deliver {
        to: usize,
        from: usize,
        packet: Packet,
    },
    Wake {
        node: usize,
        life: u32,
        wake: Wake,
    },
    /// A machine gets power again, maybe for so many writes only.
    Start {
        node: usize,
        writes: Option<u64>,
    },
    Fault(Fault, u64),
    Over(Fault),
    Pay,
    Stake,
    Ask,
}

pub struct World {
    pub case: Case,
    pub setting: Rc<Setting>,
    pub nodes: Vec<Node>,
    /// The nodes that are Byzantine, less than a third.
    pub mischief: BTreeMap<usize, Mischief>,
    pub queue: Queue<Event>,
    pub network: Network,
    pub plan: Plan,
    /// What a node's next loss of power is followed by: darkness of so many milliseconds, and maybe another loss.
    pub armed: Vec<Option<(u64, Option<u64>)>>,
    /// Losses of power so far: each tears disks in its own way.
    pub falls: u64,
    pub people: StdRng,
    pub market: Market,
    /// Jobs that are open after the highest block.
    pub open: usize,
    pub calm: bool,
    pub log: Log,
    pub checks: Checks,
    pub counts: Counts,
    pub transactions: u64,
}

/// Runs a case.
///
/// # Errors
/// [`Violation`]: the first property that does not hold.
pub fn run(case: Case) -> Result<Summary, Box<Violation>> {
    let mut world = World::new(case);
    match world.run() {
        Ok(()) => Ok(world.summary()),
        Err(what) => {
            let (height, log) = (world.checks.height(), world.log.lines().map(String::from).collect());
            Err(Box::new(Violation { what, height, log }))
        }
    }
}

impl World {
    fn new(case: Case) -> Self {
        let dice = |name: &str, number: u64| StdRng::from_seed(bytes(case.seed, name, number));
        let mut size = dice("size", 0);
        // Of few validators each decides more, and a run of them costs less.
        let validators = *[4, 4, 4, 5, 5, 6, 7].choose(&mut size).expect("a number");
        let nodes = validators + 1;
        let byzantine = size.gen_range(0..=(validators - 1) / 3);
        let lab = lab();
        let market = Market::new(case.seed, &mut dice("market", 0), Arc::clone(&lab), nodes);
        let genesis = genesis(case.seed, validators, nodes);
        let setting = Rc::new(Setting::new(genesis, BLOCK_TIME, nodes, lab));
        let node = |number: usize| {
            let mut dice = dice("node", number as u64);
            let ahead_ms = dice.gen_range(-CLOCKS_APART_MS / 2..=CLOCKS_APART_MS / 2);
            let parts = (keys(number), market.clerks(number), Arc::clone(market.post(number)));
            Node::new(parts, Rc::clone(&setting), dice, ahead_ms)
        };
        let signatures = setting.signatures();
        let names: Vec<ValidatorKey> = (0..nodes).map(|number| keys(number).public().into()).collect();
        let mind = |number: usize| {
            let signing = Signing { signatures, key: keys(number).consensus };
            (number, Mischief::new(dice("mischief", number as u64), signing, names.clone(), nodes))
        };
        let account = |number: usize| AccountId::from(founder(case.seed, number).public().0);
        let checks = Checks::new((0..byzantine).map(account).collect(), market.honest());
        Self {
            mischief: (0..byzantine).map(mind).collect(),
            nodes: (0..nodes).map(node).collect(),
            queue: Queue::default(),
            network: Network::new(dice("network", 0), nodes),
            plan: Plan::new(dice("faults", 0), nodes),
            armed: vec![None; nodes],
            falls: 0,
            people: dice("people", 0),
            market,
            open: 0,
            calm: false,
            log: Log::default(),
            checks,
            counts: Counts::default(),
            transactions: 0,
            case,
            setting,
        }
    }

    fn run(&mut self) -> Result<(), String> {
        for node in 0..self.nodes.len() {
            self.queue.after(0, Event::Start { node, writes: None });
        }
        self.plan_fault();
        self.queue.after(PACE_MS.start, Event::Pay);
        self.queue.after(stake::PACE_MS.start, Event::Stake);
        self.queue.after(market::PACE_MS.start, Event::Ask);
        let stormy = self.case.blocks.saturating_sub(CALM_BLOCKS);
        let until_ms = u64::from(self.case.blocks) * BLOCK_MS_MAX;
        while self.checks.height() < stormy {
            self.step()?;
            if self.queue.now_ms() > until_ms {
                return Err(format!("the chain goes on: {stormy} blocks are not decided in time"));
            }
        }
        self.calm_down();
        let until_ms = self.queue.now_ms() + CALM_MS_MAX;
        let honest: Vec<usize> =
            (0..self.nodes.len()).filter(|node| !self.mischief.contains_key(node)).collect();
        let waits = self.case.until == Until::EveryJobHasEnded;
        while waits && self.open > 0
            || honest.iter().any(|node| self.checks.head_of(*node) < self.case.blocks)
        {
            self.step()?;
            if self.queue.now_ms() > until_ms {
                let heads: Vec<u32> = (0..self.nodes.len()).map(|node| self.checks.head_of(node)).collect();
                return Err(format!("honest nodes come together: they are at {heads:?}"));
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        let event = self.queue.next().ok_or("something happens next: nothing does")?;
        self.setting.now_ms.store(self.queue.now_ms(), Ordering::Relaxed);
        match event {
            Event::Deliver { to, from, packet } => {
                if self.nodes[to].is_running() {
                    let line = packet.line(&mut self.log);
                    self.log.note(self.queue.now_ms(), format_args!("{from} -> {to}: {line}"));
                    let outs = self.nodes[to].receive(from, packet);
                    self.follow(to, outs)?;
                }
            }
            Event::Wake { node, life, wake } => {
                if self.nodes[node].life == life && self.nodes[node].is_running() {
                    let outs = self.nodes[node].wake(wake);
                    self.follow(node, outs)?;
                }
            }
            Event::Start { node, writes } => self.start(node, writes)?,
            Event::Fault(fault, lasts_ms) => self.go_wrong(fault, lasts_ms),
            Event::Over(fault) => self.over(fault),
            Event::Pay => self.pay()?,
            Event::Stake => self.stake()?,
            Event::Ask => self.ask()?,
        }
        Ok(())
    }

    fn start(&mut self, node: usize, writes: Option<u64>) -> Result<(), String> {
        if self.nodes[node].is_running() {
            return Ok(());
        }
        let outs = self.nodes[node].start(writes);
        let height = self.nodes[node].ledger().map(|ledger| ledger.head().number);
        self.log.note(self.queue.now_ms(), format_args!("{node} starts at {height:?}"));
        if let Some(ledger) = self.nodes[node].ledger() {
            self.checks.started(node, ledger, &self.setting.tokio)?;
        }
        self.follow(node, outs)
    }

    /// Carries out what a node wants, or lets it fall.
    pub fn follow(&mut self, node: usize, outs: Result<Vec<Out>, Halt>) -> Result<(), String> {
        let outs = match outs {
            Ok(outs) => outs,
            Err(Halt::PowerLost) => {
                self.fall(node);
                return Ok(());
            }
            // What a Byzantine node does to itself is its own affair.
            Err(Halt::Broken(_)) if self.mischief.contains_key(&node) => {
                self.fall(node);
                return Ok(());
            }
            Err(Halt::Broken(what)) => return Err(format!("no node breaks: node {node}: {what}")),
        };
        let outs = match self.mischief.get_mut(&node) {
            Some(mischief) => mischief.distort(&self.nodes[node], outs),
            None => outs,
        };
        for out in outs {
            match out {
                Out::Send(to, packet) => {
                    if !self.mischief.contains_key(&node) {
                        self.look_at(&packet)?;
                    }
                    self.post(node, to, packet);
                }
                Out::After(after_ms, wake) => {
                    let life = self.nodes[node].life;
                    self.queue.after(after_ms, Event::Wake { node, life, wake });
                }
                Out::Committed(block) => self.committed(node, &block)?,
            }
        }
        Ok(())
    }

    fn committed(&mut self, node: usize, block: &FinalizedBlock) -> Result<(), String> {
        let name = self.log.name(block.hash.0);
        let height = block.header.number;
        let count = block.extrinsics.len() - own_extrinsics(height);
        let line = format_args!("{node} commits {height}: {name} with {count} transactions");
        self.log.note(self.queue.now_ms(), line);
        let Some(ledger) = self.nodes[node].ledger().cloned() else { return Ok(()) };
        let tokio = Rc::clone(&self.setting.tokio);
        let read = |hash| {
            let open = tokio.block_on(ledger.query::<Vec<Job>>(Some(hash), "JobsApi_open_jobs", ()));
            open.map_err(|error| format!("the ledger answers: {error}"))
        };
        let mut open = None;
        for missed in self.checks.followed() + 1..=height {
            // A node that lost its power after it had committed has told of nothing.
            let before = (missed < height).then(|| told_again(missed, &ledger, &tokio)).transpose()?;
            let block = before.as_ref().unwrap_or(block);
            let jobs = read(block.hash)?;
            self.checks.follow(block, &jobs, &ledger, &tokio)?;
            let own = own_extrinsics(block.header.number);
            self.transactions += (block.extrinsics.len() - own) as u64;
            for note in std::mem::take(&mut self.checks.jobs.notes) {
                self.log.note(self.queue.now_ms(), format_args!("{note}"));
            }
            self.open = jobs.len();
            open = Some(jobs);
        }
        self.checks.committed(node, &block.header)?;
        let open = match open {
            Some(open) => open,
            None if self.market.has_buyers(node) => read(block.hash)?,
            None => Vec::new(),
        };
        for (to, envelope) in self.market.mail(node) {
            self.post(node, Some(to), Packet::Mail(Box::new(envelope)));
        }
        let mut transactions = self.market.enter(node, &ledger, &tokio);
        transactions.extend(self.rulings(node, height));
        transactions.extend(self.market.serve_buyers(node, &open, &ledger, &tokio));
        for bytes in transactions {
            let outs = self.nodes[node].submit(bytes);
            self.follow(node, outs)?;
        }
        Ok(())
    }

    fn look_at(&mut self, packet: &Packet) -> Result<(), String> {
        match packet {
            Packet::Consensus(SignedConsensusMsg::Vote(vote)) | Packet::Liveness(LivenessMsg::Vote(vote)) => {
                self.checks.vote(&vote.message)
            }
            Packet::Consensus(SignedConsensusMsg::Proposal(proposal)) => {
                self.checks.proposal(&proposal.message)
            }
            _ => Ok(()),
        }
    }

    fn post(&mut self, from: usize, to: Option<usize>, packet: Packet) {
        let all = 0..self.nodes.len();
        for to in all.filter(|other| *other != from && to.is_none_or(|to| to == *other)) {
            for after_ms in self.network.deliveries(from, to) {
                self.queue.after(after_ms, Event::Deliver { to, from, packet: packet.clone() });
            }
        }
    }

    fn summary(&self) -> Summary {
        let mut counts = Counts {
            messages_lost: self.network.lost,
            messages_doubled: self.network.doubled,
            messages_cut_off: self.network.cut_off,
            convicted: self.checks.convicted,
            successions: self.checks.successions,
            ..self.counts.clone()
        };
        for mischief in self.mischief.values() {
            counts.departures.add(&mischief.done);
        }
        Summary {
            blocks: self.checks.height(),
            transactions: self.transactions,
            jobs: self.checks.jobs.ended(),
            verdicts: self.checks.jobs.verdicts.clone(),
            counts,
            time_ms: self.queue.now_ms(),
            digest: self.log.digest(),
            log: self.log.lines().map(String::from).collect(),
        }
    }
}

/// A block as its node would have told of it.
fn told_again(height: u32, ledger: &LedgerHandle, tokio: &Tokio) -> Result<FinalizedBlock, String> {
    let read = async {
        let hash = ledger.hash_of(height).await?.unwrap_or_default();
        let (block, certificate) = (ledger.block(hash).await?, ledger.certificate(hash).await?);
        Ok::<_, LedgerError>((hash, block.zip(certificate), ledger.events(hash).await?))
    };
    let (hash, found, events) =
        tokio.block_on(read).map_err(|error| format!("the ledger answers: {error}"))?;
    let (block, certificate) = found.ok_or_else(|| format!("no decided block is lost: {height} is"))?;
    let extrinsics = block.extrinsics.iter().map(BlakeTwo256::hash_of).collect();
    Ok(FinalizedBlock { header: block.header, hash, extrinsics, events, changes: Vec::new(), certificate })
}

/// The models, which all runs share: what they compute follows from what is asked alone.
fn lab() -> Arc<Lab> {
    static LAB: OnceLock<Arc<Lab>> = OnceLock::new();
    Arc::clone(LAB.get_or_init(Lab::new))
}
