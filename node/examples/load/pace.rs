//! Hands transfers in at a steady pace, and sees when they are final.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use assay_node::client::Client;
use codec::Encode;
use futures::future::join_all;
use jsonrpsee::rpc_params;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

use crate::Result;
use crate::crowd::Crowd;
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
    pub blocks: u32,
    pub transfers: usize,
    /// Those that were taken.
    pub handed_in: usize,
    pub refused: usize,
    /// Transfers of the fullest block.
    pub largest: usize,
    /// From the submission to the news of the block, in ascending order.
    latencies: Vec<Duration>,
    /// The validators' memory, with the seconds since the start.
    memory: Vec<(f64, Vec<f64>)>,
}

impl Driven {
    /// The latency that a share of all transfers did not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((last as f64 * share) as usize).copied().unwrap_or_default()
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

/// Drives a network for a time.
pub async fn drive(town: &Town, watcher: &Client, crowd: Crowd, load: Load) -> Result<Driven> {
    let start = Instant::now();
    let (tell, mut told) = mpsc::channel(1 << 16);
    let handing = hand_in(town, crowd, load, tell).await?;
    let mut driven = Driven {
        passed: Duration::ZERO,
        blocks: 0,
        transfers: 0,
        handed_in: 0,
        refused: 0,
        largest: 0,
        latencies: Vec::new(),
        memory: Vec::new(),
    };
    let (mut waiting, mut heights) = (HashMap::new(), watcher.heights().await?);
    heights.next().await?;
    let end = Duration::from_secs(load.seconds);
    let mut looked = Instant::now();
    while start.elapsed() < end || !waiting.is_empty() {
        let Ok(height) = timeout(LAST_MAX, heights.next()).await else { break };
        let (height, now) = (height?, Instant::now());
        while let Ok(told) = told.try_recv() {
            match told {
                Told::HandedIn(transfer, at) => {
                    driven.handed_in += 1;
                    waiting.insert(transfer, at);
                }
                Told::Refused(transfer) => {
                    driven.refused += 1;
                    waiting.remove(&transfer);
                }
            }
        }
        let hash: String = watcher.request("chain_getBlockHash", rpc_params![height]).await?;
        let block: Value = watcher.request("chain_getBlock", rpc_params![hash]).await?;
        let extrinsics = block["block"]["extrinsics"].as_array().ok_or("no block")?;
        let done = extrinsics.iter().filter_map(|extrinsic| waiting.remove(extrinsic.as_str()?));
        let latencies: Vec<_> = done.map(|at: Instant| now.saturating_duration_since(at)).collect();
        driven.largest = driven.largest.max(latencies.len());
        driven.transfers += latencies.len();
        driven.latencies.extend(latencies);
        driven.blocks += 1;
        driven.passed = start.elapsed();
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            let memory = town.memory_mib()?;
            println!("{:>6.0} s  {:.0?} MiB", start.elapsed().as_secs_f64(), memory);
            driven.memory.push((start.elapsed().as_secs_f64(), memory));
        }
        if start.elapsed() > end + LAST_MAX {
            break;
        }
    }
    handing.abort();
    driven.handed_in -= driven.refused;
    driven.latencies.sort_unstable();
    Ok(driven)
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
