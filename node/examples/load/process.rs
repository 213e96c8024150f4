//! A process that is measured.

use std::net::TcpListener;
use std::process::Child;
use std::time::Duration;

use crate::Result;

/// In which Linux counts the time of processes, on every architecture that it tells of.
const TICKS_PER_SECOND: u32 = 100;

/// Ends with its owner.
pub struct Process(pub Child);

impl Process {
    /// What it holds in memory, in MiB; only Linux tells.
    pub fn memory_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }

    /// For how long it has had a processor, over all threads; only Linux tells.
    pub fn busy(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        // Its name, in parentheses, may hold anything.
        let (_, fields) = stat.rsplit_once(')').ok_or("no name")?;
        let mut times = fields.split_whitespace().skip(11);
        let mut ticks = || -> Result<u32> { Ok(times.next().ok_or("no times")?.parse()?) };
        let (user, system) = (ticks()?, ticks()?);
        Ok(Duration::from_secs((user + system).into()) / TICKS_PER_SECOND)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended needs no killing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ports on which nobody listens.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    // All are held until the last is found, so that they differ.
    let held: Vec<_> =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<std::io::Result<_>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
