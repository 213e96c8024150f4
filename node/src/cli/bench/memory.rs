//! The memory of this process, and how fast this machine reads its own.

use std::fmt::Display;
use std::time::Duration;

use assay_kernels::Pool;
use assay_kernels::stream::Stream;

use crate::cli::failure::{Exit, Failure};
use crate::cli::machine::Machine;

/// Reads of the memory, of which the best counts.
const PASSES: usize = 5;

/// Memory that all threads read together.
pub struct Memory {
    pool: Pool,
    stream: Stream,
}

impl Memory {
    /// Takes as many bytes, which are to be much more than the caches hold.
    ///
    /// # Errors
    /// [`Failure`] when there is not so much memory, or no more threads.
    pub fn new(machine: &Machine, size_bytes: usize) -> Result<Self, Failure> {
        let failed = |cause: &dyn Display| {
            Failure::new(Exit::Internal, format!("measuring the speed of memory: {cause}"))
                .hint("choose a smaller buffer with --stream-mib")
        };
        let pool = Pool::new(machine.settings().threads, machine.cpu()?).map_err(|error| failed(&error))?;
        let stream = Stream::new(&pool, size_bytes).map_err(|error| failed(&error))?;
        Ok(Self { pool, stream })
    }

    /// Bytes a nanosecond.
    pub fn gbps(&self) -> f64 {
        let time = (0..PASSES).map(|_| self.stream.pass(&self.pool)).min().unwrap_or(Duration::MAX);
        self.stream.size_bytes() as f64 / time.as_secs_f64() / 1e9
    }
}

/// The most that it has had at once, if the system tells: `VmHWM` of Linux.
pub fn peak_bytes() -> Option<u64> {
    parse_peak(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse_peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_as_linux_writes_it() {
        assert_eq!(parse_peak("Name:\tassay\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), Some(2 << 20));
        assert_eq!(parse_peak("Name:\tassay\n"), None);
        assert_eq!(peak_bytes().is_some(), cfg!(target_os = "linux"));
    }
}
