//! Time that passed, and time that this program had a processor: they differ on a busy machine.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What something cost.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    pub passed: Duration,
    /// Of all threads.
    pub processor: Duration,
}

impl Cost {
    pub fn of<R>(act: impl FnOnce() -> R) -> (R, Self) {
        let start = Start::now();
        let result = act();
        (result, start.cost())
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.processor += other.processor;
    }
}

/// Where a measurement begins.
pub struct Start {
    at: Instant,
    processor: Duration,
}

impl Start {
    pub fn now() -> Self {
        Self { at: Instant::now(), processor: processor() }
    }

    pub fn cost(&self) -> Cost {
        Cost { passed: self.at.elapsed(), processor: processor().saturating_sub(self.processor) }
    }
}

/// User and system time of all threads of this process.
fn processor() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}
