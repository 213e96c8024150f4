//! Transfers through a network of validators at a steady pace: how many are final, how soon, and what it takes.
//!
//! `cargo build --release && cargo run --release -p assay-node --example load -- [SECONDS [TRANSFERS_PER_SECOND]]`
//!
//! Every validator is a process on this machine and aims at a block a second. First the network decides empty blocks,
//! then transfers come at the pace that was asked for, each at one validator after the other, from accounts of which
//! none has two on their way. A transfer is final when the node that it was not handed to tells of its block. Beside the
//! rates stand the validators' memory every minute, and its slope over the second half.

#[path = "../transfers/crowd.rs"]
mod crowd;
mod pace;
mod town;

use std::error::Error;
use std::time::{Duration, Instant};

use assay_node::client::Client;

use crowd::Crowd;
use pace::{Load, drive};
use town::Town;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Validators of the network.
const VALIDATORS: u32 = 4;
/// Accounts that send.
const ACCOUNTS: u32 = 12_000;
/// Blocks without transfers that are measured first.
const EMPTY_BLOCKS: u32 = 30;
/// What a block takes of transfers, by their weights.
const PER_BLOCK: usize = 690;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(120), |seconds| seconds.parse())?;
    let rate = arguments.next().map_or(Ok(PER_BLOCK), |rate| rate.parse())?;
    let crowd = Crowd::new(ACCOUNTS);
    let dir = tempfile::tempdir()?;
    let town = Town::start(dir.path(), VALIDATORS, &crowd)?;
    tokio::runtime::Runtime::new()?.block_on(measure(&town, crowd, Load { seconds, rate }))
}

async fn measure(town: &Town, crowd: Crowd, load: Load) -> Result<()> {
    let watcher = Client::connect(town.rpc(0)).await?;
    let empty = pace_of_empty_blocks(&watcher).await?;
    println!("{VALIDATORS} validators, empty: {empty:.2} blocks/s");
    let driven = drive(town, &watcher, crowd, load).await?;
    let Load { seconds, rate } = load;
    let blocks = f64::from(driven.blocks) / driven.passed.as_secs_f64();
    println!("for {seconds} s, {rate} transfers/s handed in, {} refused", driven.refused);
    println!(
        "loaded: {:.0} transfers/s final, {blocks:.2} blocks/s ({:.2} of empty ones), {} transfers in the largest",
        driven.transfers as f64 / driven.passed.as_secs_f64(),
        blocks / empty,
        driven.largest,
    );
    println!(
        "final after p50 {:.2} s, p95 {:.2} s, max {:.2} s; {} of {} are final",
        driven.quantile(0.50).as_secs_f64(),
        driven.quantile(0.95).as_secs_f64(),
        driven.quantile(1.0).as_secs_f64(),
        driven.transfers,
        driven.handed_in,
    );
    for (number, slope) in driven.slopes().enumerate() {
        println!("validator {}: {slope:+.1} MiB an hour over the second half", number + 1);
    }
    Ok(())
}

/// Blocks per second, without anything in them.
async fn pace_of_empty_blocks(client: &Client) -> Result<f64> {
    let mut heights = client.heights().await?;
    let first = heights.next().await?;
    let start = Instant::now();
    while heights.next().await? < first + EMPTY_BLOCKS {}
    Ok(f64::from(EMPTY_BLOCKS) / start.elapsed().max(Duration::from_millis(1)).as_secs_f64())
}
