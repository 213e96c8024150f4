//! Transfers per second: executed, in blocks, and from the pool to the disk, in one run.
//!
//! `cargo run --release -p assay-node --example transfers`
//!
//! 1. *Executed*: a block of transfers whose signatures are known, run through the runtime once.
//! 2. *Built* and *imported*: the same blocks by chains that see the signatures for the first time; importing
//!    ends with the durable write.
//! 3. *End to end*: every transfer goes through the pool's check into blocks of the authority, which builds,
//!    executes and commits them one after the other; from the first submission to the last finality.
//!
//! The store is redb, as a node has it. What a block may hold is what the chain's weights allow. Rates are by the
//! time that passed; beside them stands the processor time of a transfer, over all threads, which a busy machine
//! changes less.

mod blocks;
mod cost;
mod crowd;
mod whole;

use cost::Cost;
use crowd::Crowd;

/// Accounts with a balance; each sends.
const ACCOUNTS: u32 = 20_000;
/// Blocks of the first two measurements.
const BLOCKS: usize = 7;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let crowd = Crowd::new(ACCOUNTS);
    let dir = tempfile::tempdir()?;
    let blocks = blocks::measure(&crowd, dir.path(), BLOCKS)?;
    let whole = whole::measure(&crowd, dir.path())?;
    let cores = std::thread::available_parallelism()?;
    let whole_count = ACCOUNTS as usize;
    println!("{ACCOUNTS} accounts, {cores} cores, {} transfers fit into a block", blocks.per_block);
    let bare = rate(blocks.transfers, blocks.executed);
    let rows = [
        ("executed, signatures known", blocks.transfers, blocks.executed),
        ("built, signatures unknown", blocks.transfers, blocks.built),
        ("imported, signatures unknown", blocks.transfers, blocks.imported),
        ("imported, signatures known", blocks.transfers, blocks.imported_known),
        ("end to end", whole_count, whole.cost),
    ];
    for (what, transfers, cost) in rows {
        let rate = rate(transfers, cost);
        let processor_us = cost.processor.as_secs_f64() * 1e6 / transfers as f64;
        println!(
            "{what:>30} {rate:>8.0} transfers/s {:>6.2} of bare {processor_us:>8.0} us of processor time each",
            rate / bare,
        );
    }
    println!("end to end took {} blocks", whole.blocks);
    Ok(())
}

fn rate(transfers: usize, cost: Cost) -> f64 {
    transfers as f64 / cost.passed.as_secs_f64()
}
