//! How often a process may end before it is not started again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Ends that are remembered, and for how long: a file that ends every process is given up after five, and a machine
/// that ends one a day never.
const ENDS_MAX: usize = 5;
const REMEMBERED: Duration = Duration::from_secs(600);

/// Before the second start in a row; doubled for each further one. The first comes at once, for the sake of whoever
/// waits.
const PAUSE: Duration = Duration::from_secs(1);

/// The ends of one model's processes.
#[derive(Default)]
pub struct Crashes {
    ends: VecDeque<Instant>,
}

impl Crashes {
    /// Notes an end; how long to wait before the next start, or nothing when there is to be none.
    pub fn note(&mut self, now: Instant) -> Option<Duration> {
        self.ends.retain(|end| now.saturating_duration_since(*end) < REMEMBERED);
        self.ends.push_back(now);
        match self.ends.len() {
            ENDS_MAX.. => None,
            1 => Some(Duration::ZERO),
            ends => Some(PAUSE * (1 << (ends - 2))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_it_is_given_up_and_old_ends_are_forgotten() {
        let (mut crashes, now) = (Crashes::default(), Instant::now());
        let seconds = [Some(0), Some(1), Some(2), Some(4), None];
        let pauses = seconds.map(|_| crashes.note(now));
        assert_eq!(pauses, seconds.map(|seconds| seconds.map(Duration::from_secs)));
        assert_eq!(crashes.note(now + REMEMBERED), Some(Duration::ZERO));
    }
}
