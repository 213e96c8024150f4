//! How fast an artifact comes from three holders, against a bare copy over the same kind of streams, in one run.
//!
//! `cargo run --release -p assay-node --example blobs -- [MIB] [quic|tcp] [ROUNDS]` (1024, quic and 6 if not given)
//!
//! Three processes hold a file of so many MiB and are reached over loopback. Turn by turn, so many times, and each of the
//! two first every other time, since memory that was freed just before may cost less to write to:
//! 1. *bare*: each holder reads a third of the file and writes it to a libp2p stream; the bytes are written to a file.
//! 2. *fetched*: the same file by its artifact id, as a node fetches it: read and hashed there, hashed and written
//!    here, until every range is verified. What follows, computing all ids anew, stands beside it.
//!
//! Beside the rates stands the time of processors, of all four processes together, which a busy machine changes less.
//! A fetch hashes every byte twice more than a copy. Where the copy keeps all processors busy, it can have no more than
//! `1 / (1 / bare + 2 / hash / processors)` of MiB a second, with `hash` what BLAKE3 does on one thread in the same run;
//! where it does not, hashing may cost less.
//!
//! Then a process fetches, is killed with SIGKILL when half is there, and begins again; and the file is fetched while one
//! of the holders alters a byte now and then and another falls silent half-way through its third.
//!
//! Memory is the most that a process ever held in the rounds: of this one, which fetches, and of the largest holder.

mod bare;
mod fetching;
mod holder;
mod network;
mod rounds;
mod stream;
mod trials;
#[path = "../load/usage.rs"]
mod usage;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fetching::FETCHER;
use holder::{HOLDER, Holder};
use rounds::{First, Round, summary};
use stream::Trouble;

const HOLDERS: usize = 3;

type Failed = Box<dyn Error + Send + Sync>;
type Result<T, E = Failed> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [HOLDER, dir, at, trouble] => holder::run(Path::new(dir), at, trouble.parse()?).await,
        [FETCHER, dir, artifact, holders] => fetching::run(Path::new(dir), artifact, holders).await,
        arguments => measure(arguments).await,
    }
}

async fn measure(arguments: &[&str]) -> Result<()> {
    let mib: u64 = arguments.first().map_or(Ok(1024), |mib| mib.parse())?;
    let at = match arguments.get(1) {
        None | Some(&"quic") => "/ip4/127.0.0.1/udp/0/quic-v1",
        Some(&"tcp") => "/ip4/127.0.0.1/tcp/0",
        Some(other) => return Err(format!("{other} is neither quic nor tcp").into()),
    };
    let rounds: usize = arguments.get(2).map_or(Ok(6), |rounds| rounds.parse())?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("file");
    write_file(&file, mib)?;
    let stores: Vec<PathBuf> = (0..HOLDERS).map(|i| dir.path().join(format!("holder-{i}"))).collect();
    stores.iter().try_for_each(|store| Holder::prepare(store, &file))?;
    let mut holders = start(&stores, at, [Trouble::None; HOLDERS])?;
    let usual_bytes = compare(&mut holders, dir.path(), mib, rounds).await?;
    println!("{}", trials::killed(&mut holders, dir.path(), mib, usual_bytes)?);
    // Their stores are to be opened again.
    drop(holders);
    let half_bytes = (mib << 20) / HOLDERS as u64 / 2;
    let holders = start(&stores, at, [Trouble::None, Trouble::Spoils, Trouble::Stops(half_bytes)])?;
    println!("{}", trials::unsound(&holders, dir.path(), mib).await?);
    Ok(())
}

fn start(stores: &[PathBuf], at: &str, troubles: [Trouble; HOLDERS]) -> Result<Vec<Holder>> {
    stores.iter().zip(troubles).map(|(store, trouble)| Holder::start(store, at, trouble)).collect()
}

/// Copies and fetches by turns, and returns what holders send for a fetch.
async fn compare(holders: &mut [Holder], dir: &Path, mib: u64, rounds: usize) -> Result<u64> {
    let known = network::connect(holders.iter().map(|holder| holder.address.clone()).collect()).await?;
    let known = Arc::new(known);
    let mut done = Vec::new();
    for first in [First::Copy, First::Fetch].into_iter().cycle().take(rounds) {
        let round = Round::run(&known, holders, dir, mib, first).await?;
        println!("{}", round.row(mib));
        done.push(round);
    }
    if let Some(fault) = known.faults().first() {
        return Err(format!("a sound holder was blamed: {fault:?}").into());
    }
    println!("{}", summary(&done, mib)?);
    let peak_mib = |pid| usage::memory_mib(pid, "VmHWM");
    let held = holders.iter().map(|holder| peak_mib(holder.pid())).collect::<Result<Vec<_>>>()?;
    let largest = held.into_iter().fold(0.0, f64::max);
    println!("memory: {:.0} MiB here, {largest:.0} MiB in the largest holder", peak_mib(std::process::id())?);
    Ok(done.last().ok_or("no rounds")?.sent_bytes)
}

fn write_file(path: &Path, mib: u64) -> Result<()> {
    use std::io::Write;
    let mut file = std::fs::File::create(path)?;
    let mut noise = blake3::Hasher::new().finalize_xof();
    let mut bytes = vec![0; 1 << 20];
    for _ in 0..mib {
        noise.fill(&mut bytes);
        file.write_all(&bytes)?;
    }
    Ok(())
}
