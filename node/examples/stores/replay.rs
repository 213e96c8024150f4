//! The processes that write batches to a store and open it again.

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use assay_node::adapters::open_ledger;
use assay_node::data_dir::LedgerStore;
use serde::{Deserialize, Serialize};

use crate::batches::{Kind, Reader, Recorded};

/// What writing all batches took.
#[derive(Serialize, Deserialize)]
pub struct Written {
    typical: Times,
    full: Times,
    disk_mib: u64,
    memory_mib: u64,
}

/// In tenths of a millisecond.
#[derive(Serialize, Deserialize)]
struct Times {
    median: u128,
    max: u128,
}

/// What opening took.
#[derive(Serialize, Deserialize)]
pub struct Opened {
    pub ms: u128,
}

impl Written {
    pub fn row(&self) -> String {
        let Self { typical, full, disk_mib, memory_mib } = self;
        format!("{} | {} | {disk_mib} MiB | {memory_mib} MiB", typical.row(), full.row())
    }
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let tenths = |time: Option<&Duration>| time.map_or(0, |time| time.as_micros() / 100);
        Self { median: tenths(times.get(times.len() / 2)), max: tenths(times.last()) }
    }

    fn row(&self) -> String {
        let ms = |tenths: u128| format!("{}.{}", tenths / 10, tenths % 10);
        format!("{} / {} ms", ms(self.median), ms(self.max))
    }
}

/// Commits every batch, says what it took, and dies without closing the store.
pub fn write(store: LedgerStore, dir: &Path, batches: &Path) -> Result<(), Box<dyn Error>> {
    let kv = open_ledger(store, dir)?;
    let (mut typical, mut full) = (Vec::new(), Vec::new());
    for recorded in Reader::open(batches)? {
        let Recorded { kind, batch } = recorded?;
        let start = Instant::now();
        kv.commit(batch)?;
        match kind {
            Kind::Genesis => {}
            Kind::Typical => typical.push(start.elapsed()),
            Kind::Full => full.push(start.elapsed()),
        }
    }
    let written = Written {
        typical: Times::of(typical),
        full: Times::of(full),
        disk_mib: size(dir)? >> 20,
        memory_mib: peak_memory_kib()? >> 10,
    };
    println!("{}", serde_json::to_string(&written)?);
    std::process::abort()
}

/// Opens the store, reads its head, and closes it in order.
pub fn open(store: LedgerStore, dir: &Path) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let kv = open_ledger(store, dir)?;
    kv.get(b"mhead")?.ok_or("there is no head")?;
    println!("{}", serde_json::to_string(&Opened { ms: start.elapsed().as_millis() })?);
    Ok(())
}

fn size(path: &Path) -> io::Result<u64> {
    if path.is_file() {
        return Ok(fs::metadata(path)?.len());
    }
    fs::read_dir(path)?.map(|entry| size(&entry?.path())).sum()
}

/// The most memory that this process has held, as Linux counts it.
fn peak_memory_kib() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kib.ok_or_else(|| io::Error::other("the system does not say how much memory a process has held"))
}
