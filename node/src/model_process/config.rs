//! Where models are run.

use std::path::PathBuf;

/// Where a node runs models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// In the node's own process: whatever ends a model's execution ends the node.
    InProcess,
    /// Each in a process of its own, which is confined.
    Process(ProcessConfig),
}

/// How model processes are started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessConfig {
    /// This program, whose command `worker` runs a model.
    pub program: PathBuf,
    /// Whether models are run where the system confines a process too little.
    pub unconfined: Unconfined,
}

/// What to do where the system confines a process too little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconfined {
    /// Run models, and say so.
    Warned,
    /// Run none.
    Refused,
}

/// The path by which this process's program can be run again, also after its file was replaced.
///
/// # Errors
/// When the system does not tell.
pub fn own_program() -> std::io::Result<PathBuf> {
    let link = PathBuf::from("/proc/self/exe");
    if cfg!(target_os = "linux") && link.exists() { Ok(link) } else { std::env::current_exe() }
}
