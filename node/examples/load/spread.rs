//! How times are spread.

use std::fmt;
use std::time::Duration;

/// Times in ascending order.
#[derive(Default)]
pub struct Spread(Vec<Duration>);

impl FromIterator<Duration> for Spread {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort_unstable();
        Self(times)
    }
}

impl Spread {
    /// The time that a share of all did not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * share) as usize).copied().unwrap_or_default()
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, most, longest] = [0.50, 0.95, 1.0].map(|share| self.quantile(share).as_secs_f64());
        write!(f, "p50 {median:.3} s, p95 {most:.3} s, max {longest:.3} s")
    }
}
