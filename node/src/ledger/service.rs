//! The ledger's threads.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use assay_protocol::certificate::CommitCertificate;
use assay_runtime::executor::{Chain, ChainError, Executed, Kv, Reader, Retention, STACK_BYTES};
use assay_runtime::{Block, GenesisSpec, Hash};
use sp_runtime::traits::{BlakeTwo256, Hash as _};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tracing::error;

use super::handle::{AnyKv, Command, FinalizedBlock, LedgerHandle, Proposed, Read, decode_events};

/// How the ledger is kept.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How many states stay readable.
    pub retention: Retention,
    /// Threads that serve reads.
    pub readers: usize,
    /// Reads that may wait for each of them; more are refused as busy.
    pub reads_waiting_max: usize,
    /// Blocks that a slow subscriber may lag behind before it misses some.
    pub subscriber_lag_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            retention: Retention::Window(256),
            readers: 2,
            reads_waiting_max: 256,
            subscriber_lag_max: 256,
        }
    }
}

/// The running ledger.
pub struct Ledger {
    /// For everyone else.
    pub handle: LedgerHandle,
    /// Resolves when the writer ends: with the reason, if it had to.
    pub ended: oneshot::Receiver<Result<(), ChainError>>,
}

/// Opens the chain and starts its threads. They end when the last handle is gone, or the store fails.
///
/// # Errors
/// [`ChainError`] when the chain cannot be opened or a thread cannot be started.
pub fn open(kv: impl Kv, genesis: &GenesisSpec, config: Config) -> Result<Ledger, ChainError> {
    let kv: AnyKv = Arc::new(kv);
    let chain = Chain::open(kv, genesis, config.retention)?;
    let (commands, inbox) = mpsc::channel(16);
    let (blocks, _) = broadcast::channel(config.subscriber_lag_max);
    let (head, heads) = watch::channel(chain.head());
    let readers = (0..config.readers)
        .map(|_| start_reader(chain.reader(), config.reads_waiting_max))
        .collect::<Result<_, _>>()?;
    let reserved = start_reader(chain.reader(), config.reads_waiting_max)?;
    let checking = start_reader(chain.reader(), config.reads_waiting_max)?;
    let handle = LedgerHandle {
        commands,
        readers,
        reserved,
        checking,
        waits: false,
        turn: Arc::new(AtomicUsize::new(0)),
        head: heads,
        blocks: blocks.clone(),
        genesis: chain.genesis(),
        base: chain.reader().base(),
    };
    let (report, ended) = oneshot::channel();
    let writer = Writer { chain, verified: VecDeque::new(), head, blocks };
    // The receiver may be gone already; the writer's end then concerns nobody.
    spawn("ledger", move || drop(report.send(writer.run(inbox))))?;
    Ok(Ledger { handle, ended })
}

fn start_reader(reader: Reader<AnyKv>, waiting_max: usize) -> Result<mpsc::Sender<Read>, ChainError> {
    let (sender, mut inbox) = mpsc::channel::<Read>(waiting_max);
    spawn("ledger-reader", move || {
        while let Some(read) = inbox.blocking_recv() {
            // Whoever asked is told by the end of its channel; the thread serves the others.
            if catch_unwind(AssertUnwindSafe(|| read(&reader))).is_err() {
                error!("a read of the ledger panicked");
            }
        }
    })?;
    Ok(sender)
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), ChainError> {
    std::thread::Builder::new()
        .name(name.into())
        .stack_size(STACK_BYTES)
        .spawn(run)
        .map(drop)
        .map_err(|error| ChainError::Panicked(format!("starting the thread {name}: {error}")))
}

/// Blocks of one height whose execution is kept until one of them is decided: one a round of consensus.
const VERIFIED_MAX: usize = 4;

struct Writer {
    chain: Chain<AnyKv>,
    /// What executing the candidates for the next block changed.
    verified: VecDeque<(Hash, Executed)>,
    head: watch::Sender<assay_runtime::Header>,
    blocks: broadcast::Sender<Arc<FinalizedBlock>>,
}

impl Writer {
    /// Carries out commands until nobody can send any, or the store fails.
    fn run(mut self, mut inbox: mpsc::Receiver<Command>) -> Result<(), ChainError> {
        while let Some(command) = inbox.blocking_recv() {
            let failure = match command {
                Command::Propose { now_ms, pre_runtime, extrinsics, reply } => {
                    let proposed = self.chain.propose(now_ms, pre_runtime, extrinsics);
                    let proposed = proposed.map(|p| Proposed { block: p.block, rejected: p.rejected });
                    answer(reply, proposed)
                }
                Command::Verify { block, reply } => {
                    let verified = self.verify(&block);
                    answer(reply, verified)
                }
                Command::Import { block, certificate, reply } => {
                    let imported = self.import(&block, certificate);
                    answer(reply, imported)
                }
                Command::AddVotes { certificate, reply } => {
                    let added = self.chain.add_votes(certificate);
                    answer(reply, added)
                }
            };
            if let Some(failure) = failure {
                return Err(failure);
            }
        }
        Ok(())
    }

    fn verify(&mut self, block: &Block) -> Result<(), ChainError> {
        let hash = block.header.hash();
        if !self.verified.iter().any(|(verified, _)| *verified == hash) {
            let executed = self.chain.verify(block)?;
            if self.verified.len() == VERIFIED_MAX {
                self.verified.pop_front();
            }
            self.verified.push_back((hash, executed));
        }
        Ok(())
    }

    fn import(&mut self, block: &Block, certificate: CommitCertificate) -> Result<(), ChainError> {
        self.chain.check_certificate(&block.header, &certificate)?;
        self.verify(block)?;
        let hash = block.header.hash();
        let candidates = std::mem::take(&mut self.verified);
        let executed = candidates.into_iter().find(|(verified, _)| *verified == hash);
        let (_, executed) =
            executed.ok_or_else(|| ChainError::Panicked("a verified block is gone".into()))?;
        let changes = executed.storage_changes();
        let events = decode_events(&executed.events())?;
        self.chain.commit(block, executed, &certificate)?;
        let extrinsics = block.extrinsics.iter().map(BlakeTwo256::hash_of).collect();
        let header = block.header.clone();
        let finalized =
            FinalizedBlock { hash, header: header.clone(), extrinsics, events, changes, certificate };
        self.head.send_replace(header);
        // Without subscribers there is nobody to tell.
        drop(self.blocks.send(Arc::new(finalized)));
        Ok(())
    }
}

/// Answers, and says whether the failure ends the ledger. Whoever asked may have gone.
fn answer<T>(
    reply: oneshot::Sender<Result<T, ChainError>>,
    result: Result<T, ChainError>,
) -> Option<ChainError> {
    let fatal = result.as_ref().err().filter(|error| error.is_fatal()).cloned();
    drop(reply.send(result));
    fatal
}
