//! A network of processes, of which some are killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// `assay network`, and what it said of its nodes.
struct Network {
    process: Child,
    nodes: Vec<Value>,
    dir: TempDir,
}

impl Network {
    fn start(validators: u32, providers: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut process = assay(&dir.path().join("network"))
            .args(["network", "--validators", &validators.to_string()])
            .args(["--providers", &providers.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut nodes = Vec::new();
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if line["event"] == "ready" {
                return Self { process, nodes, dir };
            }
            nodes.push(line);
        }
        panic!("the network ended before it was ready: {:?}", process.wait());
    }

    fn rpc(&self, name: &str) -> &str {
        self.node(name)["rpc"].as_str().unwrap()
    }

    fn node(&self, name: &str) -> &Value {
        self.nodes.iter().find(|node| node["name"] == name).unwrap()
    }

    fn kill(&self, name: &str) {
        let pid = i32::try_from(self.node(name)["pid"].as_i64().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }

    /// Begins to buy an answer at a node.
    fn buy(&self, url: &str, prompt: &str) -> Child {
        assay(&self.dir.path().join("buyer"))
            .args(["--rpc", url, "--key", "//Alice", "job", "submit", "--model", "demo", "--wait"])
            .args(["--max-tokens", "16", "--prompt", prompt])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn stop(mut self) -> Option<i32> {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, Signal::TERM).unwrap();
        self.process.wait().unwrap().code()
    }
}

fn assay(base: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay"));
    command.args(["--json", "--base-path"]).arg(base).stdin(Stdio::null());
    command
}

/// What a purchase came to.
fn bought(buying: Child) -> Value {
    let output = buying.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let bought: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&bought["state"], &bought["right"]), (&Value::from("settled"), &Value::from(true)));
    bought
}

#[test]
fn jobs_end_right_though_a_validator_and_a_provider_are_killed_in_the_middle() {
    let network = Network::start(4, 4);
    assert_eq!(network.nodes.len(), 8);
    // At a validator, which has to bring the model first, and over HTTP.
    let url = network.rpc("validator-1").replace("ws://", "http://");
    let first = bought(network.buy(&url, "What is 67 + 27?"));
    assert_eq!(first["output"], "94.");
    let buying = network.buy(network.rpc("provider-1"), "What is 12 + 30?");
    network.kill("validator-4");
    network.kill("provider-4");
    assert_eq!(bought(buying)["output"], "42.");
    assert_eq!(network.stop(), Some(0));
}
