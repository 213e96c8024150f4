//! Fetching the artifact, here or in a process that is killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use assay_manifest::{ArtifactId, ArtifactKind};
use assay_node::blobs::{Fetch, FetchConfig, Fetcher, Progress, Stage, Want};
use assay_store::Store;
use libp2p::Multiaddr;

use crate::Failed;
use crate::network::{Known, connect};

/// What this program calls itself when it is to fetch the file.
pub const FETCHER: &str = "fetcher";

/// How long a fetch took.
pub struct Fetched<T> {
    /// Until every range was verified.
    pub verified: Duration,
    /// What was measured then.
    pub then: T,
    /// Until the artifact was in the store.
    pub whole: Duration,
}

/// Fetches into a new store, which is open before time counts, as a node's is, and calls `measure` when every range is
/// verified.
pub async fn fetch<T: Send>(
    known: &Arc<Known>,
    dir: &Path,
    artifact: ArtifactId,
    measure: impl Fn() -> T + Send + Sync,
) -> Result<Fetched<T>, Failed> {
    let store = Arc::new(Store::open(dir)?);
    let start = Instant::now();
    let verified = Mutex::new(None);
    let watch = |now: Progress| {
        if now.stage == Stage::Checking
            && let Ok(mut verified) = verified.lock()
        {
            verified.get_or_insert_with(|| (start.elapsed(), measure()));
        }
    };
    into_store(known, store, artifact, &watch).await?;
    let whole = start.elapsed();
    let verified = verified.into_inner().map_err(|_| "a thread panicked")?;
    let (verified, then) = verified.ok_or("nothing was checked")?;
    Ok(Fetched { verified, then, whole })
}

async fn into_store(
    known: &Arc<Known>,
    store: Arc<Store>,
    artifact: ArtifactId,
    watch: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(), Failed> {
    let fetcher = Fetcher::new(Arc::clone(known), store, FetchConfig::default());
    fetcher.fetch(Want { artifact, kind: Some(ArtifactKind::Dataset) }, watch).await?;
    Ok(())
}

/// Fetches, and says all the time how many bytes are there.
pub async fn run(dir: &Path, artifact: &str, holders: &str) -> Result<(), Failed> {
    let holders = holders.split(',').map(str::parse).collect::<Result<Vec<Multiaddr>, _>>()?;
    let known = Arc::new(connect(holders).await?);
    let tell = |now: Progress| {
        if now.stage == Stage::Fetching {
            println!("{}", now.done_bytes);
        }
    };
    into_store(&known, Arc::new(Store::open(dir)?), artifact.parse()?, &tell).await
}

/// That process, as whoever started it sees it.
pub struct Process {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    pub fn start(dir: &Path, artifact: ArtifactId, holders: &[Multiaddr]) -> Result<Self, Failed> {
        let holders: Vec<_> = holders.iter().map(Multiaddr::to_string).collect();
        let arguments = [artifact.to_string(), holders.join(",")];
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(FETCHER).arg(dir).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let output = BufReader::new(process.stdout.take().ok_or("a fetcher without output")?);
        Ok(Self { process, output })
    }

    /// The bytes that it says are there next; nothing when it has ended.
    pub fn done_bytes(&mut self) -> Result<Option<u64>, Failed> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        Ok(Some(line.trim_end().parse()?))
    }

    /// Kills it; on Unix with SIGKILL.
    pub fn kill(mut self) -> Result<(), Failed> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Result<(), Failed> {
        while self.done_bytes()?.is_some() {}
        match self.process.wait()? {
            status if status.success() => Ok(()),
            status => Err(format!("a fetcher ended: {status}").into()),
        }
    }
}
