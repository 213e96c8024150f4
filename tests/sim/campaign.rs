//! Many runs, of one seed after the other, on every core, until there were enough or the time is over.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::faults::Counts;
use crate::world::{Case, Summary, Until, Violation, run};

/// Seeds that are run when nothing else is asked for: a few seconds without optimisation.
const SEEDS_DEFAULT: u64 = 2;
/// Blocks of each of them.
const BLOCKS_DEFAULT: u32 = 30;
/// Blocks of a run when many are asked for.
const BLOCKS_MANY: u32 = 200;
/// Lines of the log that are shown of a run that broke a rule; the file has all.
const LINES_SHOWN: usize = 60;

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub first_seed: u64,
    seeds: u64,
    time: Option<Duration>,
    pub blocks: u32,
    until: Until,
}

/// What was run.
#[derive(Debug, Default)]
pub struct Done {
    pub seeds: u64,
    first_seed: u64,
    blocks: u64,
    transactions: u64,
    jobs: u64,
    verdicts: BTreeMap<String, u64>,
    virtual_ms: u64,
    counts: Counts,
    elapsed: Duration,
}

impl Plan {
    /// As the environment says.
    pub fn from_environment() -> Self {
        let number = |name: &str| {
            let text = env::var(name).ok()?;
            Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
        };
        let time = number("ASSAY_SIM_SECONDS").map(Duration::from_secs);
        let asked = number("ASSAY_SIM_SEEDS");
        let many = time.is_some() || asked.is_some();
        let blocks = if many { BLOCKS_MANY } else { BLOCKS_DEFAULT };
        Self {
            first_seed: env::var("ASSAY_SIM_SEED").map_or(1, |text| seed(&text)),
            seeds: asked.unwrap_or(if many { u64::MAX } else { SEEDS_DEFAULT }),
            time,
            until: if many { Until::EveryJobHasEnded } else { Until::Blocks },
            blocks: number("ASSAY_SIM_BLOCKS").map_or(blocks, |blocks| blocks as u32),
        }
    }
}

/// A number, or a commit's hash, of which the first sixteen digits count.
fn seed(text: &str) -> u64 {
    let digits = &text[..text.len().min(16)];
    text.parse().or_else(|_| u64::from_str_radix(digits, 16)).expect("ASSAY_SIM_SEED is a number or a hash")
}

/// Runs the plan.
///
/// # Panics
/// When a property does not hold: with what it is, how long it took to find it, and how to see it again.
pub fn campaign(plan: &Plan) -> Done {
    let start = Instant::now();
    let next = AtomicU64::new(0);
    let done = Mutex::new(Done { first_seed: plan.first_seed, ..Done::default() });
    let found = Mutex::new(None::<(Case, Box<Violation>)>);
    let has_time = || plan.time.is_none_or(|time| start.elapsed() < time);
    let work = || {
        while has_time() && found.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            let offset = next.fetch_add(1, Ordering::Relaxed);
            if offset >= plan.seeds {
                return;
            }
            let case =
                Case { seed: plan.first_seed.wrapping_add(offset), blocks: plan.blocks, until: plan.until };
            match play(case) {
                Ok(summary) => done.lock().unwrap_or_else(PoisonError::into_inner).add(&summary),
                Err(violation) => {
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.get_or_insert((case, violation));
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.elapsed = start.elapsed();
    if let Some((case, violation)) = found.into_inner().unwrap_or_else(PoisonError::into_inner) {
        panic!("{}", done.report(case, &violation));
    }
    done
}

/// A run that also may panic, where nothing should.
pub fn play(case: Case) -> Result<Summary, Box<Violation>> {
    catch_unwind(AssertUnwindSafe(|| run(case))).unwrap_or_else(|_| {
        let what = "nothing panics: something did, see above".into();
        Err(Box::new(Violation { what, height: 0, log: Vec::new() }))
    })
}

impl Done {
    fn add(&mut self, summary: &Summary) {
        self.seeds += 1;
        self.blocks += u64::from(summary.blocks);
        self.transactions += summary.transactions;
        self.jobs += summary.jobs;
        for (verdict, count) in &summary.verdicts {
            *self.verdicts.entry(verdict.clone()).or_default() += count;
        }
        self.virtual_ms += summary.time_ms;
        self.counts.add(&summary.counts);
    }

    fn report(&self, case: Case, violation: &Violation) -> String {
        let Case { seed, blocks, .. } = case;
        let file = log_file(seed);
        let kept = fs::write(&file, violation.log.join("\n"));
        let kept = kept.map_or_else(|error| format!("not kept: {error}"), |()| file.display().to_string());
        let shown = &violation.log[violation.log.len().saturating_sub(LINES_SHOWN)..];
        format!(
            "{}\nviolated after {} seeds in {:.1} s, in seed {seed} at height {}: {}\nthe whole log: {kept}\nrun it again: \
             ASSAY_SIM_SEED={seed} ASSAY_SIM_SEEDS=1 ASSAY_SIM_BLOCKS={blocks} cargo test -p assay-node --test sim \
             no_rule -- --nocapture",
            shown.join("\n"),
            self.seeds + 1,
            self.elapsed.as_secs_f64(),
            violation.height,
            violation.what,
        )
    }
}

fn log_file(seed: u64) -> PathBuf {
    env::temp_dir().join(format!("assay-simulation-{seed}.log"))
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, first_seed, blocks, transactions, jobs, verdicts, virtual_ms, counts, elapsed } =
            self;
        write!(
            f,
            "{seeds} seeds from {first_seed}, {blocks} blocks with {transactions} transactions, {jobs} jobs {verdicts:?}, {:.1} h of virtual time in \
             {:.0} s; {counts}",
            *virtual_ms as f64 / 3_600_000.0,
            elapsed.as_secs_f64(),
        )
    }
}
