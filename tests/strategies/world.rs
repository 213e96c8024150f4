//! A market that is played block by block: many jobs at once, honest parties that run the node's own code,
//! and others that follow their scripts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use assay_manifest::{JobId, SpecId};
use assay_node::adapters::step_call;
use assay_node::client::Order;
use assay_node::worker::{Answer, Desk, Identity, Judge, Outcome, Referee, Shop, Step};
use assay_protocol::job::{Job, Party, SettlementRecord};
use assay_protocol::params::FETCHED_BYTES_PER_BLOCK;
use assay_protocol::party::AccountBytes;
use assay_protocol::seal::SealingSecret;
use assay_protocol::units::Price;
use assay_runtime::{Endowment, RuntimeCall, UNIT, UncheckedExtrinsic, general};
use codec::Encode;
use pallet_assay_providers::{AtLarge, Call as ProvidersCall, HardwareClass, ModelOffer, Offer};
use sp_core::{Pair, sr25519};
use tempfile::TempDir;

use crate::books::Books;
use crate::case::{Case, When};
use crate::chain::{Net, PARAMS, pot};
use crate::checks::Tracked;
use crate::mail::{Mail, desk};
use crate::model::Lab;
use crate::random::{Random, bytes};

/// Base units of a prompt token; a generated one costs twice as much.
pub const P_IN: u64 = 2_000_000_000;
/// The size of the model that requests state.
pub const WEIGHTS_BYTES: u64 = FETCHED_BYTES_PER_BLOCK;
/// Blocks after which a market that is still open is broken: far past every job's own bound.
const BLOCKS_MAX: u32 = 4_000;

/// Tokens in the pot from the beginning, so that it pays for later verifications.
const GIFT: u128 = 100;

/// A party with its keys, and the node's code that works for it.
pub struct Actor {
    pub account: AccountBytes,
    pub pair: sr25519::Pair,
    pub work: sr25519::Pair,
    pub seal: SealingSecret,
    pub shop: Shop,
}

/// Where a committed value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Computed,
    /// A falsehood that its coalition agreed on.
    Lied,
    /// Taken from what others committed to or opened.
    Copied,
}

/// What a seat stands for.
#[derive(Clone, Debug)]
pub struct Stand {
    pub origin: Origin,
    /// The false result, where there is one.
    pub outcome: Option<Outcome>,
}

/// The market.
pub struct World {
    pub case: Case,
    pub lab: Arc<Lab>,
    pub net: Net,
    pub mail: Arc<Mail>,
    pub actors: Vec<Actor>,
    pub by_account: HashMap<AccountBytes, usize>,
    pub referee: Shop,
    pub random: Random,
    /// Jobs that are not closed, as of the head.
    pub open: Vec<Job>,
    pub orders: BTreeMap<JobId, Order>,
    pub tracked: BTreeMap<JobId, Tracked>,
    pub books: Books,
    /// What was committed to, by job, round and seat.
    pub stands: HashMap<(JobId, u8, u8), Stand>,
    /// The answers that executors have claimed last.
    pub answers: HashMap<JobId, Answer>,
    /// Executors to whom the input was handed.
    pub handed: HashSet<(JobId, u8)>,
    /// Parties for whom something was posted, or who have asked.
    pub asked: HashSet<(JobId, Party)>,
    /// Definitions whose verdicts were paused in the last block, and when.
    pub paused: Vec<(SpecId, u32)>,
    pub judges: Vec<Judge>,
    /// Calls that came up on the way.
    pub extra: Vec<RuntimeCall>,
    /// Transactions that each party has signed for the next block.
    pub signed: HashMap<usize, u32>,
    /// When a script's act was last tried.
    pub tried: HashMap<(JobId, u8, u8, When), u32>,
    pub started_at: u32,
    pub trace: Option<Vec<String>>,
    /// Where the keys lie while the market is open.
    _dir: TempDir,
}

/// What is told of a market that broke a rule.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The property, and how it was violated.
    pub what: String,
    /// Jobs that had ended before.
    pub jobs_before: usize,
    /// The blocks that led to it, if they were traced.
    pub trace: Vec<String>,
}

impl Failure {
    /// The property, without the circumstances.
    pub fn property(&self) -> &str {
        self.what.split(':').next().unwrap_or_default()
    }
}

/// What came of a market that broke none.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub jobs: usize,
    pub blocks: u32,
    /// The parties' accounts.
    pub accounts: Vec<AccountBytes>,
    /// How the jobs ended.
    pub records: Vec<SettlementRecord>,
    /// What each party owns at the end more than at the beginning, without the fees of its transactions.
    pub profits: Vec<i128>,
    /// The blocks, if they were traced.
    pub trace: Vec<String>,
}

/// Whether the blocks are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracing {
    Off,
    On,
}

/// Plays a case to its end.
///
/// # Errors
/// [`Failure`] with the first property that does not hold.
pub fn play(case: &Case, lab: &Arc<Lab>, tracing: Tracing) -> Result<Summary, Failure> {
    let mut world = World::open(case.clone(), Arc::clone(lab), tracing);
    let run = catch_unwind(AssertUnwindSafe(|| world.run()));
    let result = run.unwrap_or_else(|_| Err("nothing panics: somebody did".into()));
    let jobs_before = world.tracked.values().filter(|job| !job.records.is_empty()).count();
    let mut trace = world.trace.take().unwrap_or_default();
    let is_block = |line: &String| line.starts_with("block");
    let empty: Vec<bool> = trace.windows(2).map(|pair| is_block(&pair[0]) && is_block(&pair[1])).collect();
    let mut empty = empty.into_iter();
    trace.retain(|_| !empty.next().unwrap_or(false));
    match result {
        Ok(()) => Ok(Summary { trace, ..world.summary() }),
        Err(what) => Err(Failure { what, jobs_before, trace }),
    }
}

impl World {
    fn open(case: Case, lab: Arc<Lab>, tracing: Tracing) -> Self {
        let mail = Arc::new(Mail::default());
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: String| dir.path().join(name);
        let actors: Vec<Actor> = (0..case.parties.len())
            .map(|n| actor(case.seed, n, &lab, |seal| desk(&mail, &at(n.to_string()), seal)))
            .collect();
        let endowments =
            actors.iter().map(|actor| Endowment { account: actor.account.into(), amount: 1_000_000 * UNIT });
        let net = Net::open(case.seed, case.lying_validators, endowments.collect());
        let key = net.consensus_key.clone();
        let office = desk(&mail, &at("referee".into()), net.judge_secret.clone());
        let referee = Shop::new(Arc::clone(&lab) as _, office, Vec::new(), Some(Referee { key }));
        let by_account = actors.iter().enumerate().map(|(n, actor)| (actor.account, n)).collect();
        let mut world = Self {
            random: Random::new(case.seed),
            books: Books::default(),
            started_at: 0,
            trace: (tracing == Tracing::On).then(Vec::new),
            judges: net.judges(),
            open: Vec::new(),
            orders: BTreeMap::new(),
            tracked: BTreeMap::new(),
            stands: HashMap::new(),
            answers: HashMap::new(),
            handed: HashSet::new(),
            asked: HashSet::new(),
            paused: Vec::new(),
            extra: Vec::new(),
            signed: HashMap::new(),
            tried: HashMap::new(),
            case,
            lab,
            net,
            mail,
            actors,
            by_account,
            referee,
            _dir: dir,
        };
        world.enter();
        world
    }

    /// Everyone with stake becomes a provider.
    fn enter(&mut self) {
        let mut transactions = Vec::new();
        for (n, actor) in self.actors.iter().enumerate() {
            let stake = self.case.parties[n].stake;
            if stake == 0 {
                continue;
            }
            let calls = [
                ProvidersCall::stake {
                    amount: u128::from(stake) * UNIT,
                    work_key: actor.work.public().0,
                    encryption_key: actor.seal.public(),
                },
                ProvidersCall::set_offer { offer: self.offer(n) },
            ];
            let calls = calls.map(RuntimeCall::Providers);
            transactions
                .extend((0..).zip(calls).map(|(nonce, call)| self.net.sign(&actor.pair, nonce, call)));
        }
        transactions.push(self.gift());
        self.net.block(transactions);
        for _ in 0..=PARAMS.offer_delay {
            self.net.block(Vec::new());
        }
        self.started_at = self.net.height();
        self.books = Books::of(self);
    }

    /// The last party fills the pot.
    fn gift(&self) -> UncheckedExtrinsic {
        let last = self.actors.len() - 1;
        let nonce = if self.case.parties[last].stake == 0 { 0 } else { 2 };
        let dest = assay_runtime::Address::Id(pot());
        let gift = pallet_balances::Call::transfer_keep_alive { dest, value: GIFT * UNIT };
        self.net.sign(&self.actors[last].pair, nonce, RuntimeCall::Balances(gift))
    }

    fn offer(&self, n: usize) -> Offer {
        let price = |per_token: u64| Price::new(u128::from(per_token) * 1_000_000);
        let terms = ModelOffer {
            model_id: self.lab.served.model_id,
            spec_id: self.lab.served.spec_id,
            input: price(P_IN),
            output: price(2 * P_IN),
            verify: price(P_IN * u64::from(self.case.parties[n].verify_percent) / 100),
        };
        let at_large = AtLarge { verify: terms.verify, weights_max_bytes: WEIGHTS_BYTES };
        let (models, at_large) = match self.case.parties[n].at_large {
            true => (Vec::new(), Some(at_large)),
            false => (vec![terms], None),
        };
        let models = models.try_into().expect("a model at most");
        Offer { models, hardware: HardwareClass::CpuSmall, capacity: 10_000, at_large }
    }

    fn run(&mut self) -> Result<(), String> {
        let last_request = self.case.jobs.iter().map(|asked| asked.at).max().unwrap_or(0);
        loop {
            let age = self.net.height() - self.started_at;
            if age > last_request && self.open.is_empty() {
                return self.check_receipts();
            }
            if age > BLOCKS_MAX {
                return Err(format!("every job ends: {} are open after {age} blocks", self.open.len()));
            }
            self.signed.clear();
            let mut transactions = self.requests(age);
            transactions.extend(self.steps());
            let made = self.net.block(transactions);
            self.observe(&made)?;
        }
    }

    /// The transactions of everyone who has something to do or to spoil, in an order that chance gives, but for
    /// those of one account.
    fn steps(&mut self) -> Vec<UncheckedExtrinsic> {
        let mut paid = Vec::new();
        let mut free: Vec<UncheckedExtrinsic> = self.rulings().into_iter().map(general).collect();
        for job in std::mem::take(&mut self.open) {
            paid.extend(self.requester(&job));
            let seats = self.seats(&job);
            let (own, steps): (Vec<_>, Vec<_>) = seats.into_iter().partition(UncheckedExtrinsic::is_signed);
            paid.extend(own);
            free.extend(steps);
            free.extend(self.referees(&job).into_iter().map(general));
            self.open.push(job);
        }
        free.extend(std::mem::take(&mut self.extra).into_iter().map(general));
        let mut seen = HashSet::new();
        free.retain(|transaction| seen.insert(transaction.encode()));
        self.random.shuffle(&mut free);
        paid.extend(free);
        paid
    }

    /// A party's own transaction.
    pub fn signed_by(
        &mut self,
        n: usize,
        call: pallet_assay_jobs::Call<assay_runtime::Runtime>,
    ) -> UncheckedExtrinsic {
        let pair = &self.actors[n].pair;
        let before = self.signed.entry(n).or_default();
        let nonce = self.net.nonce(pair) + *before;
        *before += 1;
        self.net.sign(pair, nonce, RuntimeCall::Jobs(call))
    }

    /// Puts a line into the trace.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(line());
        }
    }

    fn summary(&self) -> Summary {
        let profit = |actor: &Actor| self.books.profit(&actor.account);
        Summary {
            jobs: self.tracked.len(),
            blocks: self.net.height(),
            accounts: self.actors.iter().map(|actor| actor.account).collect(),
            records: self.tracked.values().filter_map(|tracked| tracked.records.last().cloned()).collect(),
            profits: self.actors.iter().map(profit).collect(),
            trace: Vec::new(),
        }
    }
}

/// The node's step as a call.
pub fn call(step: Step) -> RuntimeCall {
    RuntimeCall::Jobs(step_call(step).expect("a step is a call"))
}

fn endowments(actors: &[Actor]) -> Vec<Endowment> {
    let of = |actor: &Actor| Endowment { account: actor.account.into(), amount: 1_000_000 * UNIT };
    actors.iter().map(of).collect()
}

fn actor(seed: u64, n: usize, lab: &Arc<Lab>, desk: impl FnOnce(SealingSecret) -> Desk) -> Actor {
    let pair = sr25519::Pair::from_seed(&bytes(seed, "account", n as u64));
    let work = sr25519::Pair::from_seed(&bytes(seed, "work", n as u64));
    let seal = SealingSecret::from_bytes(bytes(seed, "seal", n as u64));
    let account = pair.public().0;
    let identity = Identity { account, work_key: work.clone() };
    let shop = Shop::new(Arc::clone(lab) as _, desk(seal.clone()), vec![identity], None);
    Actor { account, pair, work, seal, shop }
}
