//! Whether confinement holds: a process confines itself and tries what it must not be able to do.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::config::{ProcessConfig, Unconfined};
use super::sandbox::{self, Confinement, Descriptors, Layers, SandboxError};

/// What a confined process could do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probed {
    /// What it says of itself.
    pub confinement: Confinement,
    /// What it tried and could do, in words; nothing where confinement is whole.
    pub possible: Vec<String>,
}

/// Confines this process and tries.
///
/// # Errors
/// [`SandboxError`] when it cannot be confined as far as the kernel can.
pub fn probe(layers: Layers) -> Result<Probed, SandboxError> {
    let output = [io::stdout().as_raw_fd(), io::stderr().as_raw_fd()];
    let descriptors = Descriptors { read: Vec::new(), read_at: Vec::new(), write: output.into() };
    let confinement = sandbox::apply(layers, None, &descriptors)?;
    let possible = ATTEMPTS.iter().filter(|(_, attempt)| !is_denied(&attempt()));
    Ok(Probed { confinement, possible: possible.map(|(what, _)| (*what).to_owned()).collect() })
}

/// Runs the probe in a process of its own.
///
/// # Errors
/// When the program cannot be run, or does not say what it could do.
pub fn probe_with(program: &Path) -> Result<Probed, ProbeError> {
    let mut command = Command::new(program);
    command.args(["worker", "--probe", "all"]).env_clear().current_dir("/").stdin(Stdio::null());
    let output = command.output().map_err(ProbeError::Run)?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(ProbeError::Ended { status: output.status.to_string(), told });
    }
    serde_json::from_slice(&output.stdout).map_err(ProbeError::Output)
}

/// The probe did not tell anything.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It could not be run.
    #[error("trying whether models can be confined: running this program: {0}")]
    Run(io::Error),
    /// It failed.
    #[error("trying whether models can be confined: {status}: {told}")]
    Ended {
        /// How.
        status: String,
        /// What it said.
        told: String,
    },
    /// Its output is not what it should be.
    #[error("trying whether models can be confined: reading what the trial says: {0}")]
    Output(serde_json::Error),
    /// Less than was asked for.
    #[error("confining models: this system gives {confinement}; still possible: {possible:?}")]
    Unconfined {
        /// How it is.
        confinement: Confinement,
        /// What a confined process could do.
        possible: String,
    },
}

/// How models will be confined, found out by trying; told to the log where that is too little.
///
/// # Errors
/// [`ProbeError`] when it cannot be found out, or is too little for the configuration.
pub fn confined(config: &ProcessConfig) -> Result<Probed, ProbeError> {
    let probed = probe_with(&config.program)?;
    let (confinement, possible) = (probed.confinement, probed.possible.join(", "));
    if confinement.is_whole() && possible.is_empty() {
        info!(%confinement, "models run in confined processes");
        return Ok(probed);
    }
    if config.unconfined == Unconfined::Refused {
        return Err(ProbeError::Unconfined { confinement, possible });
    }
    warn!(
        %confinement,
        possible,
        "this system confines the processes that run models too little: a flaw that a model file finds may reach \
         what this user may; use a kernel with Landlock and seccomp, or refuse such with --require-sandbox"
    );
    Ok(probed)
}

type Attempt = (&'static str, fn() -> io::Result<()>);

/// Port 9 of this machine, where hardly anything listens: to be refused there is to have been heard.
const DISCARD: (&str, u16) = ("127.0.0.1", 9);

const ATTEMPTS: [Attempt; 8] = [
    ("read /etc/passwd", || File::open("/etc/passwd").map(drop)),
    ("list /", || std::fs::read_dir("/").map(drop)),
    ("create a file", || {
        let path = std::env::temp_dir().join(format!("assay-probe-{}", std::process::id()));
        File::create_new(&path)?;
        std::fs::remove_file(&path)
    }),
    ("connect a TCP socket", || TcpStream::connect(DISCARD).map(drop)),
    ("listen on a TCP socket", || TcpListener::bind(("127.0.0.1", 0)).map(drop)),
    ("send from a UDP socket", || {
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        socket.send_to(b"assay", DISCARD).map(drop)
    }),
    ("make a Unix socket", || UnixDatagram::unbound().map(drop)),
    ("start a program", || {
        Command::new("/bin/true").stdin(Stdio::null()).stdout(Stdio::null()).status().map(drop)
    }),
];

/// Whether the system did not even try; a refusal by somebody else means that it did.
fn is_denied(tried: &io::Result<()>) -> bool {
    let denied =
        |error: &io::Error| matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported);
    tried.as_ref().is_err_and(denied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_may_do_is_possible_and_what_is_refused_elsewhere_too() {
        for (what, attempt) in &ATTEMPTS {
            assert!(!is_denied(&attempt()), "{what}");
        }
        assert!(is_denied(&Err(ErrorKind::PermissionDenied.into())));
        assert!(!is_denied(&Err(ErrorKind::ConnectionRefused.into())));
    }
}
