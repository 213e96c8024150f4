//! Validators as processes on this machine.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use assay_node::chain_spec::ChainSpec;
use serde_json::Value;

use crate::Result;
use crate::crowd::Crowd;

pub struct Town {
    nodes: Vec<Node>,
}

struct Node {
    process: Child,
    rpc: String,
}

impl Town {
    /// Starts the validators of a chain on which a crowd has tokens, and waits until they can be spoken to.
    pub fn start(dir: &Path, validators: u32, crowd: &Crowd) -> Result<Self> {
        let mut spec = ChainSpec { block_time_ms: 1_000, ..ChainSpec::local(validators)? };
        spec.genesis = crowd.endowed(spec.genesis);
        let file = dir.join("chain-spec.json");
        std::fs::write(&file, serde_json::to_vec(&spec)?)?;
        // All are held until the last is found, so that they differ.
        let held: Vec<_> = (0..2 * validators)
            .map(|_| TcpListener::bind(("127.0.0.1", 0)))
            .collect::<std::io::Result<_>>()?;
        let ports: Vec<u16> =
            held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<std::io::Result<_>>()?;
        drop(held);
        let addresses: Vec<[String; 2]> = ports
            .chunks_exact(2)
            .map(|pair| [pair[0], pair[1]].map(|port| format!("/ip4/127.0.0.1/tcp/{port}")))
            .collect();
        let start = |number: usize| Node::start(dir, &file, number, &addresses);
        let nodes: Vec<Child> = (0..addresses.len()).map(start).collect::<Result<_>>()?;
        Ok(Self { nodes: nodes.into_iter().map(Node::ready).collect::<Result<_>>()? })
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Where a validator speaks JSON-RPC.
    pub fn rpc(&self, number: usize) -> &str {
        &self.nodes[number].rpc
    }

    /// What each holds in memory, in MiB; only Linux tells.
    pub fn memory_mib(&self) -> Result<Vec<f64>> {
        self.nodes.iter().map(Node::memory_mib).collect()
    }
}

impl Node {
    fn start(dir: &Path, spec: &Path, number: usize, addresses: &[[String; 2]]) -> Result<Child> {
        let this = std::env::current_exe()?;
        let program = this.parent().and_then(Path::parent).ok_or("no directory of builds")?.join("assay");
        let mut command = Command::new(program);
        command.args(["--json", "--base-path"]).arg(dir.join(format!("validator-{number}")));
        command.args(["node", "--rpc-port", "0", "--with-parent", "--spec"]).arg(spec);
        command.arg(format!("--development-validator={}", number + 1));
        for (other, [consensus, market]) in addresses.iter().enumerate() {
            let flags = match other == number {
                true => ["--consensus-listen", "--listen"],
                false => ["--consensus-peer", "--peer"],
            };
            command.args([format!("{}={consensus}", flags[0]), format!("{}={market}", flags[1])]);
        }
        Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?)
    }

    fn ready(mut process: Child) -> Result<Self> {
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().ok_or("no output")?).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line)?;
        let rpc = ready["rpc"].as_str().ok_or("a node did not say where it listens")?.to_owned();
        Ok(Self { process, rpc })
    }

    fn memory_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // One that has ended needs no killing.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
