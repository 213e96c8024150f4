//! How a command fails: an exit code, a cause and a next step.

mod local;
mod remote;

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

/// Documented exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Something of ours, or of the system, failed.
    Internal = 1,
    /// What was asked makes no sense.
    Usage = 2,
    /// A receipt, proof or model is not what it should be.
    Verification = 3,
    /// The account cannot pay.
    Payment = 4,
    /// Nobody serves the model at this price.
    NoProvider = 5,
    /// No node answers, or its chain stands still.
    Connect = 6,
    /// A store is damaged, or held by another process.
    Store = 7,
    /// Interrupted by the user.
    Interrupted = 130,
    /// Nobody reads the output any more; what a shell reports of programs that such a pipe ends.
    OutputClosed = 141,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ended without what it should have done.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    cause: anyhow::Error,
    hint: Option<String>,
}

impl Failure {
    /// A failure with this cause.
    pub fn new(exit: Exit, cause: impl Display) -> Self {
        Self { exit, cause: anyhow::anyhow!("{cause}"), hint: None }
    }

    /// What was asked makes no sense.
    pub fn usage(cause: impl Display) -> Self {
        Self::new(Exit::Usage, cause)
    }

    /// The same with a next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The exit code.
    pub const fn exit(&self) -> Exit {
        self.exit
    }

    /// What was attempted and what went wrong.
    pub fn cause(&self) -> String {
        format!("{:#}", self.cause)
    }

    /// What to do next.
    pub fn next_step(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl From<anyhow::Error> for Failure {
    fn from(cause: anyhow::Error) -> Self {
        let is_closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        let closed = cause.chain().filter_map(|error| error.downcast_ref()).any(is_closed);
        let exit = if closed { Exit::OutputClosed } else { Exit::Internal };
        Self { exit, cause, hint: None }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_closed_output_is_known_behind_every_context() {
        let exit = |kind: io::ErrorKind| {
            let printed: Result<(), _> = Err(io::Error::from(kind));
            Failure::from(printed.context("printing the answer").unwrap_err()).exit()
        };
        assert_eq!(exit(io::ErrorKind::BrokenPipe), Exit::OutputClosed);
        assert_eq!(exit(io::ErrorKind::StorageFull), Exit::Internal);
    }
}
