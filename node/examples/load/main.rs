//! Transfers through a network of validators at a steady pace: how many are final, how soon, and what it takes.
//!
//! `cargo build --release && cargo run --release -p assay-node --example load -- [SECONDS [TRANSFERS_PER_SECOND]]`
//!
//! Every validator is a process on this machine and aims at a block a second. First the network decides empty blocks,
//! then transfers come at the pace that was asked for, each at one validator after the other, from accounts of which
//! none has two on their way. A transfer is final when the node that it was not handed to tells of its block. Beside the
//! rates stand the validators' memory every minute, and its slope over the second half.
//!
//! Then as many processes with nothing but the engine of consensus decide blocks of the same size at the same pace
//! (`bare`), for a minute at the most. What a block takes is counted from when its proposer began with it: until one
//! node tells of it over JSON-RPC, or until one engine has decided.

mod bare;
#[path = "../transfers/crowd.rs"]
mod crowd;
mod engines;
mod pace;
mod process;
mod spread;
mod town;
mod usage;

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use assay_node::client::Client;

use bare::Bare;
use crowd::Crowd;
use pace::{Block, Driven, Load, drive};
use spread::Spread;
use town::Town;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What this program calls itself when it is to be one of the engines.
const BARE: &str = "bare";
/// Validators of the network.
const VALIDATORS: u32 = 4;
/// From one block to the next.
const BLOCK_TIME: Duration = Duration::from_secs(1);
/// Accounts that send.
const ACCOUNTS: u32 = 12_000;
/// Blocks without transfers that are measured first.
const EMPTY_BLOCKS: u32 = 30;
/// Blocks of the engines alone that are measured at the most.
const BARE_BLOCKS_MAX: u64 = 60;
/// Transfers a second unless others are asked for.
const RATE: usize = 690;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new()?;
    if let [role, bare, dir] = arguments.as_slice()
        && role == BARE
    {
        let bare: Bare = serde_json::from_str(bare)?;
        let ended = runtime.block_on(bare.run(Path::new(dir)));
        // The thread that reads its input does not end before that does.
        runtime.shutdown_background();
        return ended;
    }
    let seconds = arguments.first().map_or(Ok(120), |seconds| seconds.parse())?;
    let rate = arguments.get(1).map_or(Ok(RATE), |rate| rate.parse())?;
    let crowd = Crowd::new(ACCOUNTS);
    let dir = tempfile::tempdir()?;
    let town = Town::start(dir.path(), VALIDATORS, &crowd)?;
    let driven = runtime.block_on(measure(&town, crowd, Load { seconds, rate }))?;
    drop(town);
    beside(&driven, dir.path(), u32::try_from(seconds.min(BARE_BLOCKS_MAX))?)
}

async fn measure(town: &Town, crowd: Crowd, load: Load) -> Result<Driven> {
    let watcher = Client::connect(town.rpc(0)).await?;
    let (empty, took) = empty_blocks(&watcher).await?;
    println!("{VALIDATORS} validators, empty: {empty:.2} blocks/s, a block {took}");
    let driven = drive(town, &watcher, crowd, load).await?;
    let Load { seconds, rate } = load;
    let blocks = driven.rate();
    println!("for {seconds} s, {rate} transfers/s handed in, {} refused", driven.refused);
    println!(
        "loaded: {:.0} transfers/s final, {blocks:.2} blocks/s ({:.2} of empty ones), {} transfers in the largest",
        driven.transfers as f64 / driven.passed.as_secs_f64(),
        blocks / empty,
        driven.largest,
    );
    let Driven { finality, transfers, handed_in, .. } = &driven;
    println!("final after {finality}; {transfers} of {handed_in} are final");
    println!("a block {}; {:.2} processors busy", driven.decisions, driven.processors);
    for (number, slope) in driven.slopes().enumerate() {
        println!("validator {}: {slope:+.1} MiB an hour over the second half", number + 1);
    }
    Ok(driven)
}

/// Blocks per second without anything in them, and what each took.
async fn empty_blocks(client: &Client) -> Result<(f64, Spread)> {
    let mut heights = client.heights().await?;
    heights.next().await?;
    let (start, mut took) = (Instant::now(), Vec::new());
    for _ in 0..EMPTY_BLOCKS {
        took.push(Block::next(client, &mut heights).await?.took);
    }
    Ok((f64::from(EMPTY_BLOCKS) / start.elapsed().as_secs_f64(), took.into_iter().collect()))
}

/// Measures the engines alone, and compares.
fn beside(driven: &Driven, dir: &Path, blocks: u32) -> Result<()> {
    let bare = engines::measure(dir, VALIDATORS, driven.block_bytes, blocks)?;
    println!(
        "the engine alone, {} bytes a block: {:.2} blocks/s, a block {}; {} of {blocks} took another round; {:.2} \
         processors busy",
        driven.block_bytes, bare.rate, bare.decisions, bare.again, bare.processors,
    );
    let [ours, alone] = [&driven.decisions, &bare.decisions].map(|spread| spread.quantile(0.5).as_secs_f64());
    println!(
        "against it: {:.3} of its blocks a second, {:.1} times its time for a block at the median",
        driven.rate() / bare.rate,
        ours / alone.max(0.001),
    );
    Ok(())
}
