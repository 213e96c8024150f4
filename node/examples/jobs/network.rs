//! `assay network` as a process, and the processes that it has.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use assay_manifest::ModelId;
use serde::Deserialize;

use crate::{Result, usage};

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

    /// For how long its nodes and their models have had a processor together.
    pub fn busy(&self) -> Result<Duration> {
        let parents = parents()?;
        let pids = self.nodes.iter().flat_map(|node| node.processes(&parents));
        // One that ends meanwhile is not counted.
        Ok(pids.filter_map(|pid| usage::busy(pid).ok()).sum())
    }

    /// What they hold in memory.
    pub fn memory(&self) -> Result<Memory> {
        let parents = parents()?;
        let of = |node: &Node| -> f64 {
            node.processes(&parents).filter_map(|pid| usage::memory_mib(pid, "VmRSS").ok()).sum()
        };
        let largest =
            |role: &str| self.nodes.iter().filter(|node| node.role == role).map(of).fold(0.0, f64::max);
        Ok(Memory { validator_mib: largest("validator"), provider_mib: largest("provider") })
    }
}

impl Node {
    /// Its own process, and those of its models.
    fn processes(&self, parents: &[(u32, u32)]) -> impl Iterator<Item = u32> {
        parents.iter().filter(|(pid, parent)| [*pid, *parent].contains(&self.pid)).map(|(pid, _)| *pid)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Its nodes end with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// All processes of this machine, each with the one that started it; only Linux tells.
fn parents() -> Result<Vec<(u32, u32)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that ends meanwhile has none.
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
        found.extend(parent.map(|parent| (pid, parent)));
    }
    Ok(found)
}
