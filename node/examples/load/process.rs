//! A process that is measured.

use std::net::TcpListener;
use std::process::Child;
use std::time::Duration;

use crate::{Result, usage};

/// Ends with its owner.
pub struct Process(pub Child);

impl Process {
    /// What it holds in memory, in MiB.
    pub fn memory_mib(&self) -> Result<f64> {
        usage::memory_mib(self.0.id(), "VmRSS")
    }

    /// For how long it has had a processor.
    pub fn busy(&self) -> Result<Duration> {
        usage::busy(self.0.id())
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
