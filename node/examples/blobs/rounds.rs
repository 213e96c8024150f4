//! Copying and fetching by turns.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use assay_manifest::ArtifactId;

use crate::fetching::fetch;
use crate::holder::Holder;
use crate::network::Known;
use crate::{Result, bare, usage};

/// Bytes that are hashed again and again to find out how fast that is: they stay in a processor's cache, as what a
/// transfer hashes.
const HASHED_BYTES: usize = 256 << 10;
/// Passes over them, of which the fastest counts, and how often each hashes them.
const PASSES: u32 = 9;
const TIMES: u32 = 400;

/// One after the other: a bare copy and a fetch.
pub struct Round {
    bare: Cost,
    fetched: Cost,
    /// Until the artifact was in the store.
    whole: Duration,
    /// What holders sent for the fetch.
    pub sent_bytes: u64,
}

/// What something took.
#[derive(Clone, Copy)]
struct Cost {
    passed: Duration,
    /// Time of processors, of this process and of all holders.
    busy: Duration,
}

/// What a round begins with.
#[derive(Clone, Copy)]
pub enum First {
    Copy,
    Fetch,
}

impl Round {
    /// Copies and fetches a file of so many MiB.
    pub async fn run(
        known: &Arc<Known>,
        holders: &mut [Holder],
        dir: &Path,
        mib: u64,
        first: First,
    ) -> Result<Self> {
        let pids: Vec<_> = holders.iter().map(Holder::pid).chain([std::process::id()]).collect();
        let busy = || pids.iter().map(|pid| usage::busy(*pid)).sum::<Result<Duration>>();
        let artifact: ArtifactId = holders.first().ok_or("no holders")?.artifact;
        let copied = match first {
            First::Copy => Some(copy(known, dir, mib, &busy).await?),
            First::Fetch => None,
        };
        let (sent_before, before, sink) = (sent_bytes(holders)?, busy()?, dir.join("sink"));
        let fetched = fetch(known, &sink, artifact, busy).await?;
        std::fs::remove_dir_all(sink)?;
        let cost = Cost { passed: fetched.verified, busy: fetched.then?.saturating_sub(before) };
        let sent_bytes = sent_bytes(holders)? - sent_before;
        let bare = match copied {
            Some(bare) => bare,
            None => copy(known, dir, mib, &busy).await?,
        };
        Ok(Self { bare, fetched: cost, whole: fetched.whole, sent_bytes })
    }

    /// In words, for a file of so many MiB.
    pub fn row(&self, mib: u64) -> String {
        let rate = |time: Duration| mib as f64 / time.as_secs_f64();
        let busy = |cost: Cost| cost.busy.as_secs_f64() * 1024.0 / mib as f64;
        format!(
            "bare {:>5.0} MiB/s, {:.2} s of processors a GiB | fetched {:>5.0} MiB/s, {:.2} of it, {:.2} s | in the \
             store {:>5.0} MiB/s | sent {:.3} of the file",
            rate(self.bare.passed),
            busy(self.bare),
            rate(self.fetched.passed),
            self.ratio(),
            busy(self.fetched),
            rate(self.whole),
            self.sent_bytes as f64 / (mib << 20) as f64,
        )
    }

    /// The rate of the fetch by that of the copy.
    fn ratio(&self) -> f64 {
        self.bare.passed.as_secs_f64() / self.fetched.passed.as_secs_f64()
    }
}

async fn copy(
    known: &Arc<Known>,
    dir: &Path,
    mib: u64,
    busy: &impl Fn() -> Result<Duration>,
) -> Result<Cost> {
    let (to, before) = (dir.join("copy"), busy()?);
    let passed = Duration::from_secs_f64(bare::copy(known, &to, mib << 20).await?);
    let cost = Cost { passed, busy: busy()?.saturating_sub(before) };
    std::fs::remove_file(to)?;
    Ok(cost)
}

/// The medians of rounds, and what hashing alone would make of the copy.
pub fn summary(rounds: &[Round], mib: u64) -> Result<String> {
    let of = |value: &dyn Fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    let rate = |passed: f64| mib as f64 / passed;
    let bare = rate(of(&|round| round.bare.passed.as_secs_f64()));
    let fetched = rate(of(&|round| round.fetched.passed.as_secs_f64()));
    let busy = of(&|round| round.fetched.busy.as_secs_f64() / round.bare.busy.as_secs_f64());
    let (hashed, cores) = (hash_rate(), std::thread::available_parallelism()?.get());
    let bound = 1.0 / (1.0 / bare + 2.0 / hashed / cores as f64);
    Ok(format!(
        "medians: bare {bare:.0} MiB/s, fetched {fetched:.0} MiB/s; of a round {:.2} of its rate and {busy:.2} times its \
         processors' time\nBLAKE3 on one thread {hashed:.0} MiB/s: at both ends of the copy, on {cores} processors that \
         it keeps busy, {bound:.0} MiB/s, {:.2} of it",
        of(&Round::ratio),
        bound / bare,
    ))
}

/// What all holders have sent.
pub fn sent_bytes(holders: &mut [Holder]) -> Result<u64> {
    holders.iter_mut().map(Holder::sent_bytes).sum()
}

/// MiB a second of BLAKE3 on one thread.
fn hash_rate() -> f64 {
    let bytes = vec![7; HASHED_BYTES];
    let pass = |_| {
        let begun = Instant::now();
        for _ in 0..TIMES {
            std::hint::black_box(blake3::hash(std::hint::black_box(&bytes)));
        }
        begun.elapsed()
    };
    let fastest = (0..PASSES).map(pass).min().unwrap_or(Duration::MAX);
    (HASHED_BYTES as f64 * f64::from(TIMES)) / f64::from(1 << 20) / fastest.as_secs_f64()
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}
