//! Hands transfers in at a steady pace, and sees when they are final.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use assay_node::client::{Client, Heights};
use assay_runtime::{RuntimeCall, UncheckedExtrinsic};
use codec::{DecodeAll, Encode};
use futures::future::join_all;
use jsonrpsee::rpc_params;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

use crate::Result;
use crate::crowd::Crowd;
use crate::spread::Spread;
use crate::town::Town;

/// Times a second that transfers are handed in.
const TICKS: usize = 10;
/// How long the last ones may take.
const LAST_MAX: Duration = Duration::from_secs(60);
/// From one look at the memory to the next.
const LOOK: Duration = Duration::from_secs(60);

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Load {
    pub seconds: u64,
    /// Transfers per second.
    pub rate: usize,
}

/// What came of it.
pub struct Driven {
    /// From the first transfer to the last block that was counted.
    pub passed: Duration,
    pub blocks: usize,
    pub transfers: usize,
    /// Those that were taken.
    pub handed_in: usize,
    pub refused: usize,
    /// Transfers of the fullest block.
    pub largest: usize,
    /// Bytes of the transactions of an average block.
    pub block_bytes: usize,
    /// Processors that all validators kept busy.
    pub processors: f64,
    /// From the submission of each transfer to the news of its block.
    pub finality: Spread,
    /// From the moment when its proposer began with a block to the news of it.
    pub decisions: Spread,
    /// The validators' memory, with the seconds since the start.
    memory: Vec<(f64, Vec<f64>)>,
}

impl Driven {
    /// Blocks a second.
    pub fn rate(&self) -> f64 {
        self.blocks as f64 / self.passed.as_secs_f64()
    }

    /// MiB an hour by which the memory of each validator grew, by least squares over the second half.
    pub fn slopes(&self) -> impl Iterator<Item = f64> {
        let half = &self.memory[self.memory.len() / 2..];
        let validators = half.first().map_or(0, |(_, memory)| memory.len());
        (0..validators).map(|number| {
            let points: Vec<_> = half.iter().map(|(at, memory)| (*at, memory[number])).collect();
            let count = points.len() as f64;
            let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
            let (x, y) = (x / count, y / count);
            let above: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
            let below: f64 = points.iter().map(|point| (point.0 - x) * (point.0 - x)).sum();
            if below > 0.0 { above / below * 3_600.0 } else { 0.0 }
        })
    }
}

/// A block, as it is told of.
pub struct Block {
    /// In hexadecimal digits.
    extrinsics: Vec<String>,
    /// From the moment when its proposer began with it.
    pub took: Duration,
}

impl Block {
    /// Waits for the next one.
    pub async fn next(client: &Client, heights: &mut Heights) -> Result<Self> {
        let height = heights.next().await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let hash: String = client.request("chain_getBlockHash", rpc_params![height]).await?;
        let block: Value = client.request("chain_getBlock", rpc_params![hash]).await?;
        let extrinsics: Vec<String> = serde_json::from_value(block["block"]["extrinsics"].clone())?;
        let stated_ms = extrinsics.iter().find_map(|extrinsic| stated_ms(extrinsic));
        let stated_ms = stated_ms.ok_or("a block states no time")?;
        Ok(Self { extrinsics, took: now.saturating_sub(Duration::from_millis(stated_ms)) })
    }

    /// Bytes of its transactions.
    fn size_bytes(&self) -> usize {
        self.extrinsics.iter().map(|extrinsic| extrinsic.len() / 2 - 1).sum()
    }
}

/// The time that a block states, if this is where.
fn stated_ms(extrinsic: &str) -> Option<u64> {
    let bytes = hex::decode(extrinsic.strip_prefix("0x")?).ok()?;
    match UncheckedExtrinsic::decode_all(&mut bytes.as_slice()).ok()?.function {
        RuntimeCall::Timestamp(pallet_timestamp::Call::set { now }) => Some(now),
        _ => None,
    }
}

/// Drives a network for a time.
pub async fn drive(town: &Town, watcher: &Client, crowd: Crowd, load: Load) -> Result<Driven> {
    let (tell, told) = mpsc::channel(1 << 16);
    let mut heights = watcher.heights().await?;
    // The first is the one that is there already.
    heights.next().await?;
    let handing = hand_in(town, crowd, load, tell).await?;
    let (start, busy) = (Instant::now(), town.busy()?);
    let mut tally = Tally::new(start, told);
    let end = Duration::from_secs(load.seconds);
    let mut looked = Instant::now();
    while start.elapsed() < end || !tally.waiting.is_empty() {
        let Ok(block) = timeout(LAST_MAX, Block::next(watcher, &mut heights)).await else { break };
        tally.count(&block?);
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            let memory = town.memory_mib()?;
            println!("{:>6.0} s  {:.0?} MiB", start.elapsed().as_secs_f64(), memory);
            tally.memory.push((start.elapsed().as_secs_f64(), memory));
        }
        if start.elapsed() > end + LAST_MAX {
            break;
        }
    }
    handing.abort();
    Ok(tally.driven(town.busy()? - busy))
}

/// What is counted.
struct Tally {
    start: Instant,
    told: mpsc::Receiver<Told>,
    /// Transfers that are in no block yet.
    waiting: HashMap<String, Instant>,
    passed: Duration,
    handed_in: usize,
    refused: usize,
    largest: usize,
    bytes: usize,
    latencies: Vec<Duration>,
    decisions: Vec<Duration>,
    memory: Vec<(f64, Vec<f64>)>,
}

impl Tally {
    fn new(start: Instant, told: mpsc::Receiver<Told>) -> Self {
        Self {
            start,
            told,
            waiting: HashMap::new(),
            passed: Duration::ZERO,
            handed_in: 0,
            refused: 0,
            largest: 0,
            bytes: 0,
            latencies: Vec::new(),
            decisions: Vec::new(),
            memory: Vec::new(),
        }
    }

    fn count(&mut self, block: &Block) {
        let now = Instant::now();
        while let Ok(told) = self.told.try_recv() {
            match told {
                Told::HandedIn(transfer, at) => {
                    self.handed_in += 1;
                    self.waiting.insert(transfer, at);
                }
                Told::Refused(transfer) => {
                    self.refused += 1;
                    self.waiting.remove(&transfer);
                }
            }
        }
        let done = block.extrinsics.iter().filter_map(|extrinsic| self.waiting.remove(extrinsic));
        let latencies: Vec<_> = done.map(|at| now.saturating_duration_since(at)).collect();
        self.largest = self.largest.max(latencies.len());
        self.latencies.extend(latencies);
        self.decisions.push(block.took);
        self.bytes += block.size_bytes();
        self.passed = self.start.elapsed();
    }

    fn driven(self, busy: Duration) -> Driven {
        let blocks = self.decisions.len();
        Driven {
            passed: self.passed,
            blocks,
            transfers: self.latencies.len(),
            handed_in: self.handed_in - self.refused,
            refused: self.refused,
            largest: self.largest,
            block_bytes: self.bytes / blocks.max(1),
            processors: busy.as_secs_f64() / self.start.elapsed().as_secs_f64(),
            finality: self.latencies.into_iter().collect(),
            decisions: self.decisions.into_iter().collect(),
            memory: self.memory,
        }
    }
}

/// What becomes of a transfer before it is in a block.
enum Told {
    HandedIn(String, Instant),
    Refused(String),
}

/// Signs and hands in transfers on a task of its own, a few times a second, and tells of each.
async fn hand_in(
    town: &Town,
    crowd: Crowd,
    load: Load,
    tell: mpsc::Sender<Told>,
) -> Result<tokio::task::JoinHandle<()>> {
    let mut clients = Vec::new();
    for number in 0..town.len() {
        clients.push(Client::connect(town.rpc(number)).await?);
    }
    let genesis = clients[0].genesis();
    Ok(tokio::spawn(async move {
        let mut ticks = interval(Duration::from_secs(1) / TICKS as u32);
        let (mut next, mut nonce) = (0, 0);
        for tick in 0..load.seconds as usize * TICKS {
            ticks.tick().await;
            let count = load.rate * (tick + 1) / TICKS - load.rate * tick / TICKS;
            if next + count > crowd.len() {
                (next, nonce) = (0, nonce + 1);
            }
            let transfers = crowd.transfers(genesis, nonce, next..next + count);
            next += count;
            let encoded: Vec<_> =
                transfers.iter().map(|one| format!("0x{}", hex::encode(one.encode()))).collect();
            // Not to the validator that is watched, unless it is alone.
            let others = (clients.len() - 1).max(1);
            let submissions = encoded.iter().enumerate().map(|(number, transfer)| {
                let client = &clients[clients.len() - 1 - number % others];
                let tell = &tell;
                async move {
                    // Told before: its block may come sooner than the answer. Nobody listens once the time is over.
                    let _ = tell.send(Told::HandedIn(transfer.clone(), Instant::now())).await;
                    let params = rpc_params![transfer];
                    if client.request::<String>("author_submitExtrinsic", params).await.is_err() {
                        let _ = tell.send(Told::Refused(transfer.clone())).await;
                    }
                }
            });
            join_all(submissions).await;
        }
    }))
}
