//! Validators as processes on this machine.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use assay_node::chain_spec::ChainSpec;
use serde_json::Value;

use crate::crowd::Crowd;
use crate::process::{Process, free_ports};
use crate::{BLOCK_TIME, Result};

pub struct Town {
    nodes: Vec<Node>,
}

struct Node {
    process: Process,
    rpc: String,
}

impl Town {
    /// Starts the validators of a chain on which a crowd has tokens, and waits until they can be spoken to.
    pub fn start(dir: &Path, validators: u32, crowd: &Crowd) -> Result<Self> {
        let block_time_ms = u64::try_from(BLOCK_TIME.as_millis())?;
        let mut spec = ChainSpec { block_time_ms, ..ChainSpec::local(validators)? };
        spec.genesis = crowd.endowed(spec.genesis);
        let file = dir.join("chain-spec.json");
        std::fs::write(&file, serde_json::to_vec(&spec)?)?;
        let ports = free_ports(2 * validators as usize)?;
        let addresses: Vec<[String; 2]> = ports
            .chunks_exact(2)
            .map(|pair| [pair[0], pair[1]].map(|port| format!("/ip4/127.0.0.1/tcp/{port}")))
            .collect();
        let start = |number: usize| Node::start(dir, &file, number, &addresses);
        let nodes: Vec<Process> = (0..addresses.len()).map(start).collect::<Result<_>>()?;
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
        self.nodes.iter().map(|node| node.process.memory_mib()).collect()
    }

    /// For how long they have had a processor together.
    pub fn busy(&self) -> Result<Duration> {
        self.nodes.iter().map(|node| node.process.busy()).sum()
    }
}

impl Node {
    fn start(dir: &Path, spec: &Path, number: usize, addresses: &[[String; 2]]) -> Result<Process> {
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
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        Ok(Process(command.spawn()?))
    }

    fn ready(mut process: Process) -> Result<Self> {
        let mut line = String::new();
        BufReader::new(process.0.stdout.as_mut().ok_or("no output")?).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line)?;
        let rpc = ready["rpc"].as_str().ok_or("a node did not say where it listens")?.to_owned();
        Ok(Self { process, rpc })
    }
}
