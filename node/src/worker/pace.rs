//! How long this machine needs, measured while it works.

use assay_protocol::job::Job;
use assay_protocol::params::Params;
use assay_protocol::units::Tokens;

use super::state::Task;

/// Blocks per block of the reference machine, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    per_mille: u32,
}

/// A machine that was not measured yet is as slow as the windows allow.
impl Default for Pace {
    fn default() -> Self {
        Self { per_mille: 1_000 }
    }
}

/// Weight of the past against the newest measurement.
const PAST: u32 = 3;
/// The most that one measurement counts: a machine that slept through a job is not slow for ever.
const PER_MILLE_MAX: u32 = 100_000;

impl Pace {
    /// Takes a duty into account that took some blocks.
    pub fn note(&mut self, reference_blocks: u32, took_blocks: u32) {
        if reference_blocks == 0 {
            return;
        }
        let measured = took_blocks.saturating_mul(1_000).div_ceil(reference_blocks).min(PER_MILLE_MAX);
        self.per_mille = self.per_mille.saturating_mul(PAST).saturating_add(measured) / (PAST + 1);
    }

    /// What this machine needs where the reference machine needs so many blocks.
    pub fn blocks(self, reference_blocks: u32) -> u32 {
        let blocks = u64::from(reference_blocks) * u64::from(self.per_mille);
        u32::try_from(blocks.div_ceil(1_000)).unwrap_or(u32::MAX)
    }
}

/// Blocks of a task with so many generated tokens on the reference machine: windows are twice that, and some grace.
pub fn reference_blocks(job: &Job, task: Task, n_out: Tokens, params: &Params) -> u32 {
    let n_in = job.record.n_in;
    let window = match task {
        Task::Accept | Task::Execute => params.execute_window(n_in, n_out),
        Task::Fetch | Task::Verify | Task::Referee => params.verify_window(n_in, n_out),
        Task::Reveal | Task::Hand { .. } | Task::Brief { .. } | Task::Post { .. } => return 0,
    };
    window.map_or(u32::MAX, |window| window.saturating_sub(params.compute_grace) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_is_faster_than_its_windows_takes_more_at_a_time() {
        let mut pace = Pace::default();
        assert_eq!(pace.blocks(40), 40);
        for _ in 0..20 {
            pace.note(40, 2);
        }
        assert_eq!(pace.blocks(40), 3);
        pace.note(0, 9);
        assert_eq!(pace.blocks(40), 3, "what the reference machine does at once tells nothing");
    }

    #[test]
    fn one_bad_moment_does_not_last() {
        let mut pace = Pace::default();
        pace.note(1, u32::MAX);
        assert!(pace.blocks(1) <= 26);
        for _ in 0..40 {
            pace.note(10, 10);
        }
        assert!(pace.blocks(10) <= 11, "{pace:?}");
    }
}
