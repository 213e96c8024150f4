//! How a command fails: an exit code, a cause and a next step.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use crate::client::{ClientError, SubmitError};
use crate::data_dir::DataDirError;
use crate::development::SetupError;
use crate::keys::KeyError;
use crate::node::StartError;
use crate::supervisor::TaskError;

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
    /// No node answers.
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

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let hint = match &error {
            KeyError::Unknown { .. } => {
                "list keys with `assay key list`, or create one with `assay key generate`"
            }
            KeyError::Io { .. } | KeyError::Damaged { .. } => return Self::new(Exit::Internal, error),
            _ => "see `assay key --help`",
        };
        Self::usage(error).hint(hint)
    }
}

impl From<DataDirError> for Failure {
    fn from(error: DataDirError) -> Self {
        let hint = match &error {
            DataDirError::Io { .. } => "choose a directory that you can write to with --base-path",
            DataDirError::Damaged { .. } => return Self::new(Exit::Store, error),
            DataDirError::OtherStore { .. } => {
                "leave --store out to use the store that it has, or choose another directory with --base-path"
            }
            _ => "choose another directory with --base-path",
        };
        Self::usage(error).hint(hint)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match &error {
            ClientError::Connect { .. } => Self::new(Exit::Connect, error)
                .hint("start a node with `assay node --dev`, or name one with --rpc ws://HOST:PORT"),
            ClientError::Refused { code, hint, .. } => {
                let (exit, hint) = (refusal(*code, &error.to_string()), hint.clone());
                let failure = Self::new(exit, error);
                match hint {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            }
            ClientError::Transport { .. } => Self::new(Exit::Connect, error),
            ClientError::Foreign { .. } => Self::new(Exit::Internal, error).hint(
                "the node may be of another version; compare `assay --version` with `assay chain info`",
            ),
        }
    }
}

/// The exit code of a JSON-RPC error: 1010 stands for every invalid transaction, payment among them; of our
/// own codes, those that end in 1 and 2 say that something is unknown or refused.
fn refusal(code: i32, message: &str) -> Exit {
    match (code, code % 1000) {
        (1010, _) if message.contains("pay") => Exit::Payment,
        (1010..=1016 | -32_602, _) | (20_000..=23_999, 1 | 2) => Exit::Usage,
        _ => Exit::Internal,
    }
}

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Client(error) => error.into(),
            SubmitError::Dropped { .. } => Self::new(Exit::Internal, error),
            SubmitError::Seal(_) => {
                Self::usage(error).hint("ask for less at once: what is sealed has 256 KiB at most")
            }
            SubmitError::NobodyAccepted(job) => Self::new(Exit::NoProvider, error)
                .hint(format!("see what it cost with `assay job show {job}`, and ask again")),
            SubmitError::Failed { ref cause, .. } => {
                let no_provider = cause.contains("NoProvider") || cause.contains("TooFewVerifiers");
                let unpaid = ["InsufficientBalance", "FundsUnavailable", "Token("];
                if no_provider {
                    Self::new(Exit::NoProvider, error).hint(
                        "see who serves the model with `assay provider list`, or raise the price limits",
                    )
                } else if unpaid.iter().any(|word| cause.contains(word)) {
                    Self::new(Exit::Payment, error).hint("the account's free balance is too small")
                } else {
                    let hint = refused_by_the_ledger(cause);
                    Self::usage(error).hint(hint)
                }
            }
        }
    }
}

/// What to do when the ledger refuses a call with this error.
fn refused_by_the_ledger(cause: &str) -> &'static str {
    const HINTS: [(&str, &str); 9] = [
        ("Providers(NotAProvider)", "stake first, with `assay provider stake AMOUNT`"),
        (
            "Providers(StakeTooSmall)",
            "see the smallest stake with `assay chain info`; all of it can be taken out",
        ),
        (
            "Providers(NotFree)",
            "see what is free with `assay provider show`; stake is locked while jobs are open",
        ),
        ("Providers(TooManyUnbonding)", "take out what is released first, with `assay provider withdraw`"),
        ("Providers(NothingToWithdraw)", "see when stake is released with `assay provider show`"),
        ("Artifacts(NameTaken)", "choose another --name; names that look alike count as the same"),
        ("Artifacts(EdgeExists)", "nothing is to be done; see the edges with `assay model show`"),
        (
            "Artifacts(BadEdge)",
            "an artifact is not made from itself; lower the evidence, or name another parent",
        ),
        ("Artifacts(NotRegistered)", "register the artifact first, with `assay model register`"),
    ];
    let found = HINTS.iter().find(|(error, _)| cause.contains(error));
    found.map_or("nothing but the fee was taken; see the arguments with --help", |(_, hint)| hint)
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::Client(error) => error.into(),
            SetupError::Submit(error) => error.into(),
            SetupError::Files(_) | SetupError::Dataset(_) | SetupError::Inconsistent(_) => {
                Self::new(Exit::Internal, error)
            }
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::DataDir(error) => error.into(),
            StartError::Keys(_) => Self::new(Exit::Store, error)
                .hint("put a copy of the file back, or move it away: what was sealed to it is lost then"),
            StartError::Ledger(_) | StartError::Journal(_) | StartError::Store(_) => Self::new(
                Exit::Store,
                error,
            )
            .hint(
                "another node may be using the data directory; stop it, or choose another with --base-path",
            ),
            StartError::Rpc(_) => Self::usage(error)
                .hint("choose another address with --rpc-address or another port with --rpc-port; 0 takes a free one"),
            StartError::Query(_) | StartError::Engine(_) => Self::new(Exit::Internal, error),
        }
    }
}

impl From<TaskError> for Failure {
    fn from(error: TaskError) -> Self {
        Self::new(Exit::Internal, error)
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

    #[test]
    fn money_and_markets_have_exit_codes_of_their_own() {
        let failed = |cause: &str| {
            let block = assay_runtime::Hash::zero();
            Failure::from(SubmitError::Failed { call: "job request", block, cause: cause.into() }).exit()
        };
        assert_eq!(failed("Jobs(NoProvider)"), Exit::NoProvider);
        assert_eq!(failed("Token(FundsUnavailable)"), Exit::Payment);
        assert_eq!(failed("Jobs(Stale)"), Exit::Usage);
        assert!(refused_by_the_ledger("Providers(NotFree)").contains("assay provider show"));
        assert_eq!(refusal(1010, "Inability to pay some fees"), Exit::Payment);
        assert_eq!(refusal(20_002, "refused"), Exit::Usage);
        assert_eq!(refusal(22_003, "busy"), Exit::Internal);
    }
}
