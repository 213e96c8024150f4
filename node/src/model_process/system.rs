//! Starting a model's process, and saying how it ended.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::connection::Connection;
use super::log::pass_on;
use super::process::Plan;

/// Starts a process with the model file and a socket, and logs what it says.
///
/// # Errors
/// What the system says; then there is no process.
pub fn start(plan: &Plan) -> io::Result<(Child, Connection)> {
    let Plan { config, model, file, .. } = plan;
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(&config.program);
    command.arg0("assay").arg("worker").env_clear().current_dir("/");
    // Not in the group to which a terminal sends its interrupts: the node ends it when it has ended its work.
    command.process_group(0);
    command.stdin(OwnedFd::from(theirs)).stdout(file.try_clone()?).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let (stderr, model) = (child.stderr.take(), *model);
    let connected = Connection::new(ours).map_err(|error| io::Error::other(error.to_string()));
    let logging = stderr.map_or(Ok(()), |stderr| {
        let log = std::thread::Builder::new().name("model-log".into());
        log.spawn(move || pass_on(model, stderr)).map(drop)
    });
    match (connected, logging) {
        (Ok(connection), Ok(())) => Ok((child, connection)),
        (Err(error), _) | (_, Err(error)) => {
            child.kill()?;
            child.wait()?;
            Err(error)
        }
    }
}

/// How a process ended.
pub fn in_words(status: io::Result<ExitStatus>) -> String {
    match status {
        Err(error) => format!("ended, and how cannot be told: {error}"),
        Ok(status) => match (status.code(), status.signal()) {
            (_, Some(signal)) => format!("was killed by the signal {}", signal_name(signal)),
            (Some(code), None) => format!("ended with the code {code}"),
            (None, None) => "ended".to_owned(),
        },
    }
}

fn signal_name(number: i32) -> String {
    let name = match number {
        4 => "SIGILL",
        6 => "SIGABRT, as without memory",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL, as by the system when memory is short",
        11 => "SIGSEGV",
        15 => "SIGTERM",
        31 => "SIGSYS",
        _ => return number.to_string(),
    };
    format!("{number} ({name})")
}
