//! `assay network` as a process, and the processes that it has.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use assay_manifest::ModelId;
use serde::Deserialize;

use crate::Result;

/// In which Linux counts the time of processes.
const TICKS_PER_SECOND: u32 = 100;

/// A network; it ends with its owner.
pub struct Network {
    process: Child,
    pub nodes: Vec<Node>,
    pub model: ModelId,
}

/// A line about a node.
#[derive(Deserialize)]
pub struct Node {
    role: String,
    pid: u32,
    pub rpc: String,
}

/// What the network says while it starts.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
enum Line {
    Node(Node),
    Ready { model: ModelId },
}

/// MiB that nodes of one kind hold, the processes of their models included: the largest of them.
pub struct Memory {
    pub validator_mib: f64,
    pub provider_mib: f64,
}

impl Network {
    /// Starts it, and waits until the model can be asked.
    pub fn start(validators: u32, providers: u32) -> Result<Self> {
        let this = std::env::current_exe()?;
        let program = this.parent().and_then(Path::parent).ok_or("no directory of builds")?.join("assay");
        let mut command = Command::new(program);
        command.args(["--json", "network", "--validators", &validators.to_string()]);
        command.args(["--providers", &providers.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let process = command.spawn()?;
        let mut network = Self { process, nodes: Vec::new(), model: ModelId::from_bytes([0; 32]) };
        let out = network.process.stdout.take().ok_or("no output")?;
        for line in BufReader::new(out).lines() {
            match serde_json::from_str(&line?)? {
                Line::Node(node) => network.nodes.push(node),
                Line::Ready { model } => {
                    network.model = model;
                    return Ok(network);
                }
            }
        }
        Err("the network ended before it was ready".into())
    }

    /// For how long its nodes and their models have had a processor together; only Linux tells.
    pub fn busy(&self) -> Result<Duration> {
        let ticks: u32 =
            processes()?.iter().filter(|process| self.has(process)).map(|process| process.ticks).sum();
        Ok(Duration::from_secs(ticks.into()) / TICKS_PER_SECOND)
    }

    /// What they hold in memory; only Linux tells.
    pub fn memory(&self) -> Result<Memory> {
        let processes = processes()?;
        let of = |node: &Node| -> f64 {
            let own = processes.iter().filter(|process| [process.pid, process.parent].contains(&node.pid));
            own.map(|process| process.memory_mib).sum()
        };
        let largest =
            |role: &str| self.nodes.iter().filter(|node| node.role == role).map(of).fold(0.0, f64::max);
        Ok(Memory { validator_mib: largest("validator"), provider_mib: largest("provider") })
    }

    fn has(&self, process: &Process) -> bool {
        self.nodes.iter().any(|node| [process.pid, process.parent].contains(&node.pid))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Its nodes end with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Process {
    pid: u32,
    parent: u32,
    ticks: u32,
    memory_mib: f64,
}

/// All processes of this machine.
fn processes() -> Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that ends meanwhile is not counted.
        found.extend(Process::read(pid));
    }
    Ok(found)
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let number = |name: &str| -> Option<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Its name, in parentheses, may hold anything; user and system time follow eleven fields behind it.
        let (_, fields) = stat.rsplit_once(')')?;
        let ticks =
            fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u32>().ok()).sum();
        // The kernel's own processes hold none.
        let memory_mib = f64::from(number("VmRSS:").unwrap_or(0)) / 1024.0;
        Some(Self { pid, parent: number("PPid:")?, ticks, memory_mib })
    }
}
