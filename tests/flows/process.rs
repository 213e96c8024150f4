//! A node as a process of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use assay_manifest::ModelId;
use assay_node::client::Client;
use assay_node::data_dir::{DataDir, LedgerStore};
use serde::Deserialize;
use serde_json::Value;

/// The binary under test.
pub fn assay() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay"));
    // What the person who runs the tests has set must not change them.
    for name in ["ASSAY_RPC", "ASSAY_KEY", "ASSAY_BASE_PATH", "ASSAY_CHAIN", "ASSAY_PASSWORD_FILE"] {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end.
pub fn run(arguments: &[&str]) -> Output {
    assay().args(arguments).output().expect("the binary runs")
}

/// What a command that succeeds prints with `--json`.
pub fn json(arguments: &[&str]) -> Value {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", told(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a command said on standard error.
pub fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Exit code and message of a command that fails.
pub fn failure(arguments: &[&str]) -> (i32, String) {
    let output = run(arguments);
    (output.status.code().unwrap(), told(&output))
}

/// How a node is to run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where it keeps its things.
    pub base: PathBuf,
    /// The chain that was set up there; none for the development chain.
    pub chain: Option<String>,
    /// What keeps its ledger.
    pub store: LedgerStore,
    /// From one block to the next.
    pub block_time: Duration,
    /// What else it is told.
    pub arguments: Vec<String>,
    /// The program that runs it, and its arguments; none if it is run directly.
    pub through: Vec<String>,
}

impl Setup {
    /// A development node with the default store.
    pub fn in_dir(base: &Path) -> Self {
        let block_time = Duration::from_millis(100);
        Self {
            base: base.into(),
            chain: None,
            store: LedgerStore::default(),
            block_time,
            arguments: vec![],
            through: vec![],
        }
    }

    /// Starts a node and waits until it says that it is ready.
    pub fn start(&self) -> NodeProcess {
        let mut child = self.spawn();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Ready = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("the node said {line:?} ({error}); its log:\n{}", self.log()));
        NodeProcess { setup: self.clone(), child, rpc: ready.rpc, model: ready.model }
    }

    /// Starts a node and kills it after this time, ready or not.
    pub async fn start_and_kill(&self, after: Duration) {
        let mut child = self.spawn();
        // Nothing else happens; the time alone is waited for.
        let _ = tokio::time::timeout(after, std::future::pending::<()>()).await;
        kill(&mut child);
    }

    fn spawn(&self) -> Child {
        let Self { base, chain, store, block_time, arguments, through } = self;
        let mut command = match through.split_first() {
            Some((program, rest)) => {
                let mut command = Command::new(program);
                command.args(rest).arg(env!("CARGO_BIN_EXE_assay"));
                command
            }
            None => assay(),
        };
        command.arg("node");
        match chain {
            Some(id) => command.args(["--chain", id]),
            None => command.arg("--dev"),
        };
        command.args(["--json", "--rpc-port", "0", "--threads", "1"]);
        command.args(["--store", store.name(), "--block-time", &block_time.as_millis().to_string()]);
        command.arg("--base-path").arg(base).args(arguments);
        // Its log would fill a pipe that nobody reads.
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).unwrap();
        command.stdout(Stdio::piped()).stderr(log).spawn().expect("the node starts")
    }

    /// What its nodes have logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.base.join("node.log")
    }
}

/// A running node; killed with SIGKILL when dropped.
pub struct NodeProcess {
    setup: Setup,
    child: Child,
    /// Where it serves JSON-RPC.
    pub rpc: String,
    /// The model that a development node offers.
    model: Option<ModelId>,
}

#[derive(Deserialize)]
struct Ready {
    rpc: String,
    model: Option<ModelId>,
}

impl NodeProcess {
    /// Starts a node in `base` and waits until it says that it is ready.
    pub fn start(base: &Path) -> Self {
        Self::start_with(base, &[])
    }

    /// The same with other arguments, too.
    pub fn start_with(base: &Path, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Setup { arguments, ..Setup::in_dir(base) }.start()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The model that a development node offers.
    pub fn model(&self) -> ModelId {
        self.model.expect("a development node says what it offers")
    }

    /// Its data directory.
    pub fn data_dir(&self) -> DataDir {
        DataDir::open(&self.setup.base.join(self.setup.chain.as_deref().unwrap_or("dev"))).unwrap()
    }

    /// A connection to it.
    pub async fn client(&self) -> Client {
        Client::connect(&self.rpc).await.expect("the node answers")
    }

    /// Waits until it ends by itself; its exit code, and its log.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        (code, self.setup.log())
    }

    /// Kills it, and starts it again on the same data.
    pub fn kill_and_restart(self) -> Self {
        let setup = self.setup.clone();
        drop(self);
        setup.start()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}

fn kill(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}
