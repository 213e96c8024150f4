//! A node as a process of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use assay_manifest::ModelId;
use assay_node::client::Client;
use assay_node::data_dir::DataDir;
use serde::Deserialize;

/// The binary under test.
pub fn assay() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay"));
    // What the person who runs the tests has set must not change them.
    for name in ["ASSAY_RPC", "ASSAY_KEY", "ASSAY_BASE_PATH", "ASSAY_CHAIN"] {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end.
pub fn run(arguments: &[&str]) -> Output {
    assay().args(arguments).output().expect("the binary runs")
}

/// A running development node; killed with SIGKILL when dropped.
pub struct NodeProcess {
    child: Child,
    base: PathBuf,
    /// Where it serves JSON-RPC.
    pub rpc: String,
    /// The model that it offers.
    pub model: ModelId,
}

#[derive(Deserialize)]
struct Ready {
    rpc: String,
    model: ModelId,
}

impl NodeProcess {
    /// Starts a node in `base` and waits until it says that it is ready.
    pub fn start(base: &Path) -> Self {
        Self::start_with(base, &[])
    }

    /// The same with other arguments, too.
    pub fn start_with(base: &Path, arguments: &[&str]) -> Self {
        let mut command = assay();
        command.args(["node", "--dev", "--json", "--rpc-port", "0", "--block-time", "100", "--threads", "1"]);
        command.arg("--base-path").arg(base).args(arguments);
        // Its log would fill a pipe that nobody reads.
        let log = std::fs::File::options().create(true).append(true).open(base.join("node.log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the node starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Ready = serde_json::from_str(&line).unwrap_or_else(|error| {
            let log = std::fs::read_to_string(base.join("node.log")).unwrap_or_default();
            panic!("the node said {line:?} ({error}); its log:\n{log}")
        });
        Self { child, base: base.into(), rpc: ready.rpc, model: ready.model }
    }

    /// Its data directory.
    pub fn data_dir(&self) -> DataDir {
        DataDir::open(&self.base.join("dev")).unwrap()
    }

    /// A connection to it.
    pub async fn client(&self) -> Client {
        Client::connect(&self.rpc).await.expect("the node answers")
    }

    /// Kills it as a power cut would, and starts it again on the same data.
    pub fn kill_and_restart(self) -> Self {
        let base = self.base.clone();
        drop(self);
        Self::start(&base)
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
