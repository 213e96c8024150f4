//! How fast an artifact comes from three holders, against a bare copy over the same kind of streams, in one run.
//!
//! `cargo run --release -p assay-node --example blobs -- [MIB] [quic|tcp]` (1024 and quic if not given)
//!
//! Three processes hold a file of so many MiB and are reached over loopback. Turn by turn, three times each:
//! 1. *bare*: each holder reads a third of the file and writes it to a libp2p stream; the bytes are written to a file.
//! 2. *fetched*: the same file by its artifact id, as a node fetches it: read and hashed there, hashed and written
//!    here, until every range is verified. What follows, computing all ids anew, stands beside it.
//!
//! Memory is the most that a process ever held: of this one, which fetches, and of the largest holder.

mod bare;
mod holder;
mod network;

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use assay_manifest::{ArtifactId, ArtifactKind};
use assay_node::blobs::{Fetch, FetchConfig, Fetcher, Progress, Stage, Uploads, Want};
use assay_store::Store;
use libp2p::Multiaddr;

use network::Known;

/// What this program calls itself when it is to hold the file.
const HOLDER: &str = "holder";
const HOLDERS: usize = 3;
const ROUNDS: usize = 3;

type Failed = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [role, dir, at] = arguments.as_slice()
        && role == HOLDER
    {
        return holder::run(Path::new(dir), at).await;
    }
    let mib: u64 = arguments.first().map_or(Ok(1024), |mib| mib.parse())?;
    let at = match arguments.get(1).map(String::as_str) {
        None | Some("quic") => "/ip4/127.0.0.1/udp/0/quic-v1",
        Some("tcp") => "/ip4/127.0.0.1/tcp/0",
        Some(other) => return Err(format!("{other} is neither quic nor tcp").into()),
    };
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("file");
    write_file(&path, mib)?;
    let mut holders = Vec::new();
    for number in 0..HOLDERS {
        holders.push(Holder::start(dir.path(), number, at)?);
    }
    let artifact = holders[0].artifact;
    let known = network::connect(holders.iter().map(|holder| holder.address.clone()).collect()).await?;
    measure(&Arc::new(known), dir.path(), artifact, mib).await?;
    let largest = holders.iter().filter_map(|holder| peak_mib(&holder.process.id().to_string())).max();
    println!(
        "memory: {} MiB here, {} MiB in the largest holder",
        peak_mib("self").unwrap_or(0),
        largest.unwrap_or(0)
    );
    Ok(())
}

async fn measure(known: &Arc<Known>, dir: &Path, artifact: ArtifactId, mib: u64) -> Result<(), Failed> {
    let rate = |seconds: f64| mib as f64 / seconds;
    let (mut bare_s, mut fetched_s) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let bare = bare::copy(known, &dir.join("copy"), mib << 20).await?;
        std::fs::remove_file(dir.join("copy"))?;
        let (fetched, whole) = fetch(known, &dir.join(format!("sink-{round}")), artifact).await?;
        std::fs::remove_dir_all(dir.join(format!("sink-{round}")))?;
        println!(
            "bare {:>6.0} MiB/s  fetched {:>6.0} MiB/s, {:.2} of it  until it is in the store {:>6.0} MiB/s",
            rate(bare),
            rate(fetched),
            bare / fetched,
            rate(whole),
        );
        bare_s.push(bare);
        fetched_s.push(fetched);
    }
    let (bare, fetched) = (median(bare_s), median(fetched_s));
    println!(
        "median of {ROUNDS}: bare {:.0} MiB/s, fetched {:.0} MiB/s, {:.2} of it",
        rate(bare),
        rate(fetched),
        bare / fetched
    );
    Ok(())
}

/// Seconds until every range was verified, and until the artifact was in the store.
async fn fetch(known: &Arc<Known>, dir: &Path, artifact: ArtifactId) -> Result<(f64, f64), Failed> {
    let store = Arc::new(Store::open(dir)?);
    let fetcher = Fetcher::new(Arc::clone(known), store, FetchConfig::default(), Uploads::default());
    let start = Instant::now();
    let verified = Mutex::new(None);
    let watch = |now: Progress| {
        if now.stage == Stage::Checking
            && let Ok(mut verified) = verified.lock()
        {
            verified.get_or_insert(start.elapsed());
        }
    };
    fetcher.fetch(Want { artifact, kind: Some(ArtifactKind::Dataset) }, &watch).await?;
    let whole = start.elapsed();
    let verified = verified.into_inner().map_err(|_| "a thread panicked")?.unwrap_or(whole);
    Ok((verified.as_secs_f64(), whole.as_secs_f64()))
}

/// A process that holds the file; it ends with this one.
struct Holder {
    process: Child,
    address: Multiaddr,
    artifact: ArtifactId,
}

impl Holder {
    fn start(dir: &Path, number: usize, at: &str) -> Result<Self, Failed> {
        let store = dir.join(format!("holder-{number}"));
        Store::open(&store)?.import(&dir.join("file"), ArtifactKind::Dataset, &mut |_| {})?;
        let mut process = Command::new(std::env::current_exe()?)
            .args([HOLDER.as_ref(), store.as_os_str(), at.as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("a holder without output")?;
        let mut lines = BufReader::new(output).lines();
        let mut line = || lines.next().ok_or("a holder said nothing");
        let (address, artifact) = (line()??.parse()?, line()??.parse()?);
        Ok(Self { process, address, artifact })
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn write_file(path: &Path, mib: u64) -> Result<(), Failed> {
    let mut file = std::fs::File::create(path)?;
    let mut noise = blake3::Hasher::new().finalize_xof();
    let mut bytes = vec![0; 1 << 20];
    for _ in 0..mib {
        noise.fill(&mut bytes);
        file.write_all(&bytes)?;
    }
    Ok(())
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// The most memory that a process ever held, in MiB; only Linux tells.
fn peak_mib(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}
