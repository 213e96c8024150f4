//! Compares the stores of the ledger on the same blocks: time of a commit, size on disk, memory, time to open.
//!
//! `cargo run --release -p assay-node --example stores -- [ACCOUNTS]` builds a chain with so many accounts (200,000
//! if not given), keeps the batch of each block, and has a process of its own write them to each store. The table in
//! `docs/STORES.md` is what it prints.

#[path = "../../../runtime/tests/support/mod.rs"]
mod support;

mod batches;
mod record;
mod replay;

use std::error::Error;
use std::path::Path;
use std::process::Command;

use assay_node::data_dir::LedgerStore;

use replay::{Opened, Written};

const ACCOUNTS: u32 = 200_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        // The processes that the first one starts.
        ["write", store, dir, batches] => replay::write(named(store)?, dir.as_ref(), batches.as_ref()),
        ["open", store, dir] => replay::open(named(store)?, dir.as_ref()),
        [] => compare(ACCOUNTS),
        [accounts] => compare(accounts.parse()?),
        _ => Err("give the number of accounts, or nothing".into()),
    }
}

fn compare(accounts: u32) -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let batches = dir.path().join("batches");
    let recorded = record::record(accounts, &batches)?;
    println!(
        "{accounts} accounts; {} blocks with {} and {} with {} transfers: {} and {} keys of a batch in the middle",
        record::TYPICAL_BLOCKS,
        record::TYPICAL_TRANSFERS,
        record::FULL_BLOCKS,
        recorded.full_transfers,
        recorded.typical_keys,
        recorded.full_keys,
    );
    println!(
        "| store | typical commit, median / max | full commit, median / max | disk | memory | opening after a kill / an orderly end |"
    );
    println!("|---|---|---|---|---|---|");
    for store in LedgerStore::ALL {
        let path = dir.path().join(store.name());
        let written: Written = run(&["write", store.name()], &[&path, &batches])?;
        let killed: Opened = run(&["open", store.name()], &[&path])?;
        let orderly: Opened = run(&["open", store.name()], &[&path])?;
        println!("| {} | {} | {} / {} ms |", store.name(), written.row(), killed.ms, orderly.ms);
    }
    Ok(())
}

fn named(name: &str) -> Result<LedgerStore, Box<dyn Error>> {
    LedgerStore::ALL.into_iter().find(|store| store.name() == name).ok_or_else(|| "an unknown store".into())
}

/// What this program prints when it is started like this.
fn run<T: serde::de::DeserializeOwned>(words: &[&str], paths: &[&Path]) -> Result<T, Box<dyn Error>> {
    let output = Command::new(std::env::current_exe()?).args(words).args(paths).output()?;
    if !output.status.success() && output.stdout.is_empty() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
