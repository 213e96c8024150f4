//! What Linux says of processes.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// Sends a signal to a process.
pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// The processes that a process has started and that run models.
pub fn workers_of(parent: u32) -> Vec<u32> {
    let numbers = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str().and_then(|name| name.parse().ok()));
    numbers.filter(|pid| parent_of(*pid) == Some(parent) && is_worker(*pid)).collect()
}

/// Whether a process runs models, and has not ended.
pub fn is_worker(pid: u32) -> bool {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    command.split(|byte| *byte == 0).any(|word| word == b"worker")
}

fn parent_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}

/// Lets others run until something has come true, which takes a moment.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed().as_secs() < 120, "it never came true: {what}");
        std::thread::yield_now();
    }
}
