//! Many markets, one after the other, until enough jobs were played or the time is over.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::case::Case;
use crate::generate;
use crate::model::Lab;
use crate::shrink::shrink;
use crate::world::{Failure, Tracing, play};

/// Jobs that are played when nothing else is asked for: a few markets.
const JOBS_DEFAULT: usize = 300;

/// What is to be played.
pub struct Plan {
    seed: u64,
    jobs: usize,
    time: Option<Duration>,
    case: Option<Case>,
}

/// What was played.
#[derive(Debug, Default)]
pub struct Done {
    pub jobs: usize,
    markets: usize,
    blocks: u64,
    verdicts: BTreeMap<String, usize>,
    first_seed: u64,
    elapsed: Duration,
}

impl Plan {
    /// As the environment says.
    pub fn from_environment() -> Self {
        let number = |name: &str| {
            let text = env::var(name).ok()?;
            Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
        };
        let time: Option<u64> = number("ASSAY_STRATEGY_SECONDS");
        let jobs: Option<u64> = number("ASSAY_STRATEGY_JOBS");
        let jobs_default = if time.is_some() { usize::MAX } else { JOBS_DEFAULT };
        let case = env::var("ASSAY_STRATEGY_CASE").ok();
        Self {
            seed: env::var("ASSAY_STRATEGY_SEED").map_or(1, |text| seed(&text)),
            jobs: jobs.map_or(jobs_default, |jobs| jobs as usize),
            time: time.map(Duration::from_secs),
            case: case.map(|text| serde_json::from_str(&text).expect("ASSAY_STRATEGY_CASE is a case")),
        }
    }
}

/// A number, or a commit's hash, of which the first sixteen digits count.
fn seed(text: &str) -> u64 {
    let digits = &text[..text.len().min(16)];
    text.parse()
        .or_else(|_| u64::from_str_radix(digits, 16))
        .expect("ASSAY_STRATEGY_SEED is a number or a hash")
}

/// Plays the plan.
///
/// # Panics
/// When a property does not hold, with the smallest case that shows it.
pub fn run(plan: &Plan) -> Done {
    let lab = Lab::new();
    let started = Instant::now();
    let mut done = Done { first_seed: plan.seed, ..Done::default() };
    if let Some(case) = &plan.case {
        let shown = play(case, &lab, Tracing::On);
        let trace = shown.as_ref().map_or_else(|failure| &failure.trace, |summary| &summary.trace);
        println!("{}", trace.join("\n"));
        done.add(case, &lab);
        return done;
    }
    let has_time = || plan.time.is_none_or(|time| started.elapsed() < time);
    for offset in 0.. {
        if done.jobs >= plan.jobs || !has_time() {
            break;
        }
        done.add(&generate::case(plan.seed.wrapping_add(offset)), &lab);
    }
    done.elapsed = started.elapsed();
    done
}

impl Done {
    fn add(&mut self, case: &Case, lab: &Arc<Lab>) {
        match play(case, lab, Tracing::Off) {
            Ok(summary) => {
                self.markets += 1;
                self.jobs += summary.jobs;
                self.blocks += u64::from(summary.blocks);
                for record in summary.records {
                    *self.verdicts.entry(format!("{:?}", record.verdict)).or_default() += 1;
                }
            }
            Err(failure) => panic!("{}", self.report(case, &failure, lab)),
        }
    }

    fn report(&self, case: &Case, failure: &Failure, lab: &Arc<Lab>) -> String {
        let jobs = self.jobs + failure.jobs_before;
        let (smallest, shown) = shrink(case, failure, lab);
        format!(
            "violated after {jobs} jobs, in the market of seed {}: {}\nsmallest case: {}\n{}\nplay it again with \
             ASSAY_STRATEGY_CASE='{}'",
            case.seed,
            failure.what,
            shown.what,
            shown.trace.join("\n"),
            smallest.literal()
        )
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} jobs in {} markets from seed {}, {} blocks, {:.0} s: {:?}",
            self.jobs,
            self.markets,
            self.first_seed,
            self.blocks,
            self.elapsed.as_secs_f64(),
            self.verdicts
        )
    }
}
