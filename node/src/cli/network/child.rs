//! A node of the network: a process, its log, and its end.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{self, ChildStdout, Command};
use tokio::time::timeout;

use super::Part;
use crate::cli::failure::{Exit, Failure};

/// How long a node may take to end when it is told to, before it is killed.
const STOP_MAX: Duration = Duration::from_secs(15);

/// What a node is started with.
pub struct Launch {
    pub part: Part,
    pub name: String,
    /// Where it keeps its things.
    pub base: PathBuf,
    /// Arguments of `assay node`, without what every node gets.
    pub arguments: Vec<String>,
}

/// A node's process.
pub struct Child {
    pub part: Part,
    pub name: String,
    pub pid: u32,
    process: process::Child,
    out: tokio::io::Lines<BufReader<ChildStdout>>,
    rpc: String,
}

/// The line by which a node says that it can be spoken to.
#[derive(Deserialize)]
struct Ready {
    rpc: String,
}

impl Child {
    /// Starts the process. Its log goes line by line to standard error, behind its name.
    ///
    /// # Errors
    /// [`Failure`] when this program cannot be run again.
    pub fn start(launch: Launch) -> Result<Self, Failure> {
        let Launch { part, name, base, arguments } = launch;
        let failed = |cause: &dyn std::fmt::Display| {
            Failure::new(Exit::Internal, format!("starting the node {name}: {cause}"))
        };
        let program = std::env::current_exe().map_err(|error| failed(&error))?;
        let mut command = Command::new(program);
        command.args(["--json", "--no-color", "--base-path"]).arg(&base);
        command.args(["node", "--rpc-port", "0", "--with-parent"]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().map_err(|error| failed(&error))?;
        let gone = || failed(&"it ended at once");
        let pid = process.id().ok_or_else(gone)?;
        let out = process.stdout.take().ok_or_else(gone)?;
        let log = process.stderr.take().ok_or_else(gone)?;
        tokio::spawn(pass_on(name.clone(), log));
        let out = BufReader::new(out).lines();
        Ok(Self { part, name, pid, process, out, rpc: String::new() })
    }

    /// Waits until it can be spoken to; where.
    ///
    /// # Errors
    /// [`Failure`] when it ends before.
    pub async fn ready(&mut self) -> Result<&str, Failure> {
        let failed = |cause: String| Failure::new(Exit::Internal, cause).hint("its log, above, says why");
        let line = self.out.next_line().await.map_err(anyhow::Error::from)?;
        let Some(line) = line else {
            let status = self.process.wait().await.map_err(anyhow::Error::from)?;
            return Err(failed(format!("the node {} ended before it was ready: {status}", self.name)));
        };
        let ready: Ready = serde_json::from_str(&line)
            .map_err(|error| failed(format!("the node {} said {line:?}: {error}", self.name)))?;
        self.rpc = ready.rpc;
        Ok(&self.rpc)
    }

    /// Where it speaks JSON-RPC; nothing before it is ready.
    pub fn rpc(&self) -> &str {
        &self.rpc
    }

    /// Tells it to end, and kills it where it does not.
    ///
    /// # Errors
    /// [`Failure`] when it had to be killed.
    pub async fn stop(mut self) -> Result<(), Failure> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let (Ok(None), Some(pid)) = (self.process.try_wait(), pid) {
            // It may end by itself meanwhile, of the same interrupt.
            let _ = kill_process(pid, Signal::TERM);
        }
        if timeout(STOP_MAX, self.process.wait()).await.is_ok() {
            return Ok(());
        }
        self.process.kill().await.map_err(anyhow::Error::from)?;
        let limit_s = STOP_MAX.as_secs();
        Err(Failure::new(Exit::Internal, format!("the node {} did not end in {limit_s} s", self.name)))
    }
}

/// Writes a node's log line by line.
async fn pass_on(name: String, log: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(log).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        eprintln!("{name:<12} {}", String::from_utf8_lossy(&line));
    }
}
