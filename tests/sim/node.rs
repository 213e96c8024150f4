//! A whole node: ledger, pool, application, engine and catching up, over disks that a loss of power tears.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use assay_manifest::JobId;
use assay_node::adapters::{Board, CandidateFile, PoolSource, RedbKv};
use assay_node::consensus::bft::{App, Consensus, Signing, ValidatorKey};
use assay_node::consensus::{self, Clock, Network, Proposer, TransactionSource, ValidatorKeys};
use assay_node::ledger::{self, FinalizedBlock, LedgerHandle};
use assay_node::mempool::{self, Mempool, MempoolHandle, Transaction};
use assay_protocol::vote::Equivocation;
use assay_runtime::{Block, Hash, RuntimeCall, UncheckedExtrinsic, general};
use codec::Encode;
use malachite_core_types::{Timeout, ValueResponse};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::runtime::Runtime;
use tokio::sync::{broadcast, watch};

use crate::disk::Disk;
use crate::engine::{Act, Engine, Msg};
use crate::host::{Blame, Call, Halt, Host};
use crate::office::{Clerk, Office};
use crate::packet::Packet;
use crate::post::Post;
use crate::power::{Drive, Power};
use crate::setting::{Setting, ledger_config};
use crate::sync::{PATIENCE_MS, Sync};
use crate::wal::{Left, Wal};

/// How often nodes tell one another how far they are, in milliseconds, as the node's configuration says.
const STATUS_MS: u64 = 1_000;
/// The longest that the application takes for an answer, in milliseconds.
const ANSWER_MS_MAX: u64 = 15;
/// When virtual time begins, in milliseconds since 1970.
const EPOCH_MS: u64 = 1_800_000_000_000;

/// No transactions.
struct Nothing;

impl TransactionSource for Nothing {
    async fn ready(&self) -> Vec<UncheckedExtrinsic> {
        Vec::new()
    }

    async fn rejected(&self, _hashes: Vec<Hash>) {}

    async fn convict(&self, _proof: Equivocation) {}
}

/// Something that a node does later.
#[derive(Clone, Copy, Debug)]
pub enum Wake {
    Timer(Timeout, u64),
    /// The application answers its next call.
    Turn,
    Status,
    /// The request of this number has waited long enough.
    GiveUp(u64),
}

/// What a node wants of the world.
pub enum Out {
    Send(Option<usize>, Packet),
    After(u64, Wake),
    Committed(Arc<FinalizedBlock>),
}

/// A machine with its disks, which runs or does not.
pub struct Node {
    pub keys: ValidatorKeys,
    setting: Rc<Setting>,
    clerks: Vec<Clerk>,
    post: Arc<Post>,
    clock: Clock,
    dice: StdRng,
    ledger_disk: Disk,
    candidates_disk: Disk,
    wal: Left,
    /// Starts so far: what was meant for an earlier life does not reach a later one.
    pub life: u32,
    running: Option<Running>,
}

struct Running {
    power: Power,
    ledger: LedgerHandle,
    pool: MempoolHandle,
    stop: watch::Sender<bool>,
    blocks: broadcast::Receiver<Arc<FinalizedBlock>>,
    /// Transactions that were handed in here, for the others.
    own: broadcast::Receiver<Transaction>,
    /// Builds other blocks than this validator proposes, as a Byzantine one does.
    rival: Proposer<Nothing>,
    engine: Engine,
    host: Host,
    sync: Sync,
    office: Office,
    /// Whether the application's next turn is on its way.
    turn_is_due: bool,
    probes: u64,
}

impl Node {
    /// A machine whose clock is wrong by so many milliseconds.
    pub fn new(
        (keys, clerks, post): (ValidatorKeys, Vec<Clerk>, Arc<Post>),
        setting: Rc<Setting>,
        dice: StdRng,
        ahead_ms: i64,
    ) -> Self {
        let now_ms = Arc::clone(&setting.now_ms);
        let clock =
            Clock::new(move || (EPOCH_MS + now_ms.load(Ordering::Relaxed)).saturating_add_signed(ahead_ms));
        Self {
            keys,
            clerks,
            post,
            clock,
            dice,
            ledger_disk: Disk::with(setting.first_disk.clone()),
            candidates_disk: Disk::with(Vec::new()),
            wal: Left::default(),
            life: 0,
            running: None,
            setting,
        }
    }

    pub const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The ledger, while the node runs.
    pub fn ledger(&self) -> Option<&LedgerHandle> {
        self.running.as_ref().map(|running| &running.ledger)
    }

    /// The power of the running machine.
    pub fn power(&self) -> Option<&Power> {
        self.running.as_ref().map(|running| &running.power)
    }

    /// Starts the machine; its power may go while it does, after so many writes.
    pub fn start(&mut self, writes: Option<u64>) -> Result<Vec<Out>, Halt> {
        self.life += 1;
        let power = Power::default();
        if let Some(writes) = writes {
            power.goes_after(writes);
        }
        let drive = |disk: &Disk| Drive::new(disk.clone(), power.clone());
        let broken = |cause: &dyn std::fmt::Display| match power.is_lost() {
            true => Halt::PowerLost,
            false => Halt::Broken(format!("starting a node: {cause}")),
        };
        let kv = RedbKv::open_in(drive(&self.ledger_disk)).map_err(|error| broken(&error))?;
        let candidates =
            CandidateFile::open_in(drive(&self.candidates_disk)).map_err(|error| broken(&error))?;
        let opened =
            ledger::open(kv, &self.setting.genesis, ledger_config()).map_err(|error| broken(&error))?;
        let ledger = opened.handle;
        let (stop, stopped) = watch::channel(false);
        let (service, pool) =
            Mempool::new(mempool::Config::default(), ledger.checking(), ledger.head().number);
        self.setting.tokio.spawn(service.run(stopped));
        let signatures = self.setting.signatures();
        let signing = Signing { signatures, key: self.keys.consensus.clone() };
        let source = PoolSource { pool: pool.clone(), ledger: ledger.reserved() };
        let consensus = Consensus {
            config: consensus::Config {
                block_time: self.setting.block_time,
                clock: self.clock.clone(),
                network: Network::alone(),
                write_ahead_log: "/nonexistent".into(),
            },
            ledger: ledger.reserved(),
            proposer: Some(Proposer::new(self.keys.clone(), ledger.reserved(), source)),
            candidates,
        };
        let app = App::new(consensus, signatures, Some(signing.clone()));
        // Who has something to do hears of blocks otherwise.
        let heights = watch::channel(0).1;
        let board = Board { ledger: ledger.reserved(), pool: pool.clone(), heights };
        let wal = Wal::open(std::mem::take(&mut self.wal), power.clone());
        let key = ValidatorKey::from(self.keys.public());
        self.running = Some(Running {
            blocks: ledger.subscribe(),
            own: pool.own(),
            rival: Proposer::new(self.keys.clone(), ledger.reserved(), Nothing),
            host: Host::new(Rc::clone(&self.setting.tokio), power.clone(), app),
            engine: Engine::new(key, Some(signing), self.setting.memo.clone(), wal),
            sync: Sync::default(),
            office: Office::new(board, &self.setting.lab, &self.clerks),
            turn_is_due: false,
            probes: 0,
            power,
            ledger,
            pool,
            stop,
        });
        let mut outs = vec![Out::After(self.dice.gen_range(0..STATUS_MS), Wake::Status)];
        self.settle(&mut outs)?;
        Ok(outs)
    }

    /// The power is gone; what is on the disks stays, torn as the dice say.
    pub fn fall(&mut self, dice: &mut StdRng) {
        // One for each disk: how often they fall for one of them is not the same in two runs of a seed.
        let [mut log, mut ledger, mut candidates] = [(); 3].map(|()| StdRng::seed_from_u64(dice.r#gen()));
        // The power may have gone before anything ran.
        if let Some(running) = self.running.take() {
            running.power.cut();
            // Nobody may be listening any more.
            let _ = running.stop.send(true);
            self.wal = running.engine.into_wal().after_power_loss(&mut log);
        }
        self.ledger_disk = Disk::with(self.ledger_disk.after_power_loss(&mut ledger));
        self.candidates_disk = Disk::with(self.candidates_disk.after_power_loss(&mut candidates));
    }

    /// Something that the node meant to do later is due.
    pub fn wake(&mut self, wake: Wake) -> Result<Vec<Out>, Halt> {
        let mut outs = Vec::new();
        let Some(running) = &mut self.running else { return Ok(outs) };
        match wake {
            Wake::Timer(timeout, number) => self.tell(Msg::Timeout(timeout, number), &mut outs)?,
            Wake::Turn => {
                running.turn_is_due = false;
                self.turn(&mut outs)?;
            }
            Wake::Status => {
                let tip = running.ledger.head().number.into();
                outs.extend([Out::Send(None, Packet::Status(tip)), Out::After(STATUS_MS, Wake::Status)]);
                self.catch_up(&mut outs);
            }
            Wake::GiveUp(number) => {
                running.sync.give_up(number);
                self.catch_up(&mut outs);
            }
        }
        self.settle(&mut outs)?;
        Ok(outs)
    }

    /// A message from another node.
    pub fn receive(&mut self, from: usize, packet: Packet) -> Result<Vec<Out>, Halt> {
        let mut outs = Vec::new();
        let Some(running) = &mut self.running else { return Ok(outs) };
        match packet {
            Packet::Consensus(msg) => self.tell(Msg::Consensus(msg), &mut outs)?,
            Packet::Liveness(msg) => self.tell(Msg::Liveness(msg), &mut outs)?,
            Packet::Part(part) => running.host.ask(Call::Part(self.setting.peers[from], part)),
            Packet::Status(tip) => {
                running.sync.hear(from, tip);
                self.catch_up(&mut outs);
            }
            Packet::Ask { from: height, count } => {
                let values = running.host.decided(height, count)?;
                outs.push(Out::Send(Some(from), Packet::Decided { from: height, values }));
            }
            Packet::Decided { from: height, values } => {
                running.sync.answer(from, height, values);
                self.next_decided(&mut outs)?;
            }
            Packet::Mail(envelope) => self.post.take_in(*envelope),
            Packet::Transaction(bytes) => {
                // What a peer passes on may be known or of no use here, which the pool says.
                let _ = self.setting.tokio.block_on(running.pool.submit_of_peer(bytes));
            }
        }
        self.settle(&mut outs)?;
        Ok(outs)
    }

    /// Hands a transaction in at this node.
    pub fn submit(&mut self, bytes: Vec<u8>) -> Result<Vec<Out>, Halt> {
        let mut outs = Vec::new();
        let Some(running) = &mut self.running else { return Ok(outs) };
        // The pool may have another of this account, and says so.
        let _ = self.setting.tokio.block_on(running.pool.submit(bytes));
        self.settle(&mut outs)?;
        Ok(outs)
    }

    /// Another block than the one that this node proposes, by a clock that is so many milliseconds ahead.
    pub fn rival(&self, ahead_ms: u64) -> Option<Block> {
        let rival = &self.running.as_ref()?.rival;
        self.setting.tokio.block_on(rival.propose_at(self.clock.now_ms() + ahead_ms)).ok()
    }

    fn tell(&mut self, msg: Msg, outs: &mut Vec<Out>) -> Result<(), Halt> {
        let Some(Running { engine, host, .. }) = &mut self.running else { return Ok(()) };
        let acts = engine.take(self.setting.now_ms.load(Ordering::Relaxed), host, msg)?;
        for act in acts {
            match act {
                Act::Publish(packet) => outs.push(Out::Send(None, packet)),
                Act::Timer(timeout, number, after_ms) => {
                    outs.push(Out::After(after_ms, Wake::Timer(timeout, number)));
                }
                Act::Started => self.next_decided(outs)?,
                Act::Rejected(height) => self.refused(height.0, Blame::Sender),
            }
        }
        Ok(())
    }

    fn refused(&mut self, height: u64, blame: Blame) {
        if let Some(running) = &mut self.running {
            running.sync.refused(height, blame);
        }
    }

    fn turn(&mut self, outs: &mut Vec<Out>) -> Result<(), Halt> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let answered = running.host.turn()?;
        outs.extend(answered.publish.into_iter().map(|packet| Out::Send(None, packet)));
        if let (Some(blame), Some(height)) = (answered.refused, running.engine.height()) {
            self.refused(height, blame);
        }
        for msg in answered.msgs {
            self.tell(msg, outs)?;
        }
        Ok(())
    }

    /// The decided block of the engine's height goes to it, if it is here; otherwise it is asked for.
    fn next_decided(&mut self, outs: &mut Vec<Out>) -> Result<(), Halt> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let Some(height) = running.engine.height() else { return Ok(()) };
        let Some((from, value)) = running.sync.take(height) else {
            self.catch_up(outs);
            return Ok(());
        };
        let response = ValueResponse::new(self.setting.peers[from], value.value_bytes, value.certificate);
        self.tell(Msg::Synced(response), outs)
    }

    fn catch_up(&mut self, outs: &mut Vec<Out>) {
        let Some(running) = &mut self.running else { return };
        let Some(height) = running.engine.height() else { return };
        if let Some(request) = running.sync.request(height, &mut self.dice) {
            let ask = Packet::Ask { from: request.from, count: request.count };
            outs.extend([
                Out::Send(Some(request.peer), ask),
                Out::After(PATIENCE_MS, Wake::GiveUp(request.number)),
            ]);
        }
    }
}

impl Node {
    /// Tells the pool of new blocks, and has the application go on.
    fn settle(&mut self, outs: &mut Vec<Out>) -> Result<(), Halt> {
        let Some(running) = &mut self.running else { return Ok(()) };
        while let Ok(block) = running.blocks.try_recv() {
            let (height, included) = (block.header.number, block.extrinsics.clone());
            let told = self.setting.tokio.block_on(running.pool.finalized(height, block.hash, included));
            told.map_err(|error| Halt::Broken(format!("telling the pool of a block: {error}")))?;
            running.wait_for_checks(&self.setting.tokio);
            let worked = running.office.work(&self.setting.tokio, height);
            worked.map_err(|error| Halt::Broken(format!("the worker: {error}")))?;
            outs.push(Out::Committed(block));
        }
        while let Ok(transaction) = running.own.try_recv() {
            outs.push(Out::Send(None, Packet::Transaction(transaction.bytes().to_vec())));
        }
        if running.host.is_waiting() && !running.turn_is_due {
            running.turn_is_due = true;
            outs.push(Out::After(self.dice.gen_range(0..=ANSWER_MS_MAX), Wake::Turn));
        }
        if running.power.is_lost() { Err(Halt::PowerLost) } else { Ok(()) }
    }
}

impl Running {
    /// Waits until the pool has checked again what it checks after a block. It checks one batch after the other, so what
    /// is handed in now is answered after that; it is a step of a job that does not exist, each time of another.
    fn wait_for_checks(&mut self, tokio: &Runtime) {
        self.probes += 1;
        let mut job = [0xee; 32];
        job[..8].copy_from_slice(&self.probes.to_le_bytes());
        let job = JobId::from_bytes(job);
        let probe = general(RuntimeCall::Jobs(pallet_assay_jobs::Call::poke { job })).encode();
        let refused = tokio.block_on(self.pool.submit(probe));
        debug_assert!(refused.is_err(), "no such job can be poked");
    }
}
