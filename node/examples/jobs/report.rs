//! What came of so many jobs at once.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::buyer::{End, Outcome};
use crate::network::Memory;
use crate::spread::Spread;

pub struct Report {
    at_once: usize,
    passed: Duration,
    right: usize,
    /// How long each took that ended right.
    times: Spread,
    declined: usize,
    silent: usize,
    refused: BTreeMap<String, usize>,
    failed: BTreeMap<String, usize>,
}

impl Report {
    /// Above the rows.
    pub const HEAD: &str = "at once | right refused failed | a minute | median  longest, s | seats declined silent | \
                            processors | validator provider, MiB";

    pub fn of(at_once: usize, passed: Duration, outcomes: Vec<Outcome>) -> Self {
        let mut report = Self {
            at_once,
            passed,
            right: 0,
            times: Spread::default(),
            declined: 0,
            silent: 0,
            refused: BTreeMap::new(),
            failed: BTreeMap::new(),
        };
        let mut times = Vec::new();
        for Outcome { took, end } in outcomes {
            match end {
                End::Right { declined, silent } => {
                    times.push(took);
                    report.declined += declined;
                    report.silent += silent;
                }
                End::Refused(why) => *report.refused.entry(kind(&why)).or_default() += 1,
                End::Failed(why) => *report.failed.entry(kind(&why)).or_default() += 1,
            }
        }
        report.right = times.len();
        report.times = times.into_iter().collect();
        report
    }

    pub fn row(&self, processors: f64, memory: &Memory) -> String {
        let time = |share| self.times.quantile(share).as_secs_f64();
        let sum = |counts: &BTreeMap<String, usize>| counts.values().sum::<usize>();
        format!(
            "{:>7} | {:>5} {:>7} {:>6} | {:>8.1} | {:>6.1} {:>11.1} | {:>14} {:>6} | {:>10.2} | {:>9.0} {:>8.0}",
            self.at_once,
            self.right,
            sum(&self.refused),
            sum(&self.failed),
            self.right as f64 * 60.0 / self.passed.as_secs_f64(),
            time(0.5),
            time(1.0),
            self.declined,
            self.silent,
            processors,
            memory.validator_mib,
            memory.provider_mib,
        )
    }

    /// Why jobs were refused and failed, and how many of each kind.
    pub fn troubles(&self) -> impl Iterator<Item = String> {
        let refused = self.refused.iter().map(|(why, count)| format!("{count} refused: {why}"));
        refused.chain(self.failed.iter().map(|(why, count)| format!("{count} failed: {why}")))
    }
}

/// What happened, without the ids that make each case another.
fn kind(why: &str) -> String {
    let words = why.split_whitespace().map(|word| if word.contains("0x") { "0x…" } else { word });
    words.collect::<Vec<_>>().join(" ")
}
