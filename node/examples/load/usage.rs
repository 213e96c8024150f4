//! What a process takes of the machine; only Linux tells.

use std::fs::read_to_string;
use std::time::Duration;

use crate::Result;

/// In which Linux counts the time of processes, on every architecture that it tells of.
const TICKS_PER_SECOND: u32 = 100;

/// What it holds in memory, in MiB: now (`VmRSS`), or at the most ever (`VmHWM`).
pub fn memory_mib(pid: u32, field: &str) -> Result<f64> {
    let status = read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
    let kib: f64 = line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

/// For how long it has had a processor, over all threads.
pub fn busy(pid: u32) -> Result<Duration> {
    let stat = read_to_string(format!("/proc/{pid}/stat"))?;
    // Its name, in parentheses, may hold anything; user and system time follow eleven fields behind it.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name")?;
    let mut times = fields.split_whitespace().skip(11);
    let mut ticks = || -> Result<u32> { Ok(times.next().ok_or("no times")?.parse()?) };
    let (user, system) = (ticks()?, ticks()?);
    Ok(Duration::from_secs((user + system).into()) / TICKS_PER_SECOND)
}
