//! What goes wrong on this machine: keys, files, the data directory, a node that starts or stops.

use std::error::Error;
use std::io;

use assay_runtime::executor::{ChainError, StoreFault};
use tokio::task::JoinError;

use super::{Exit, Failure};
use crate::chain_spec::SpecFileError;
use crate::consensus::ConsensusError;
use crate::data_dir::DataDirError;
use crate::keys::KeyError;
use crate::ledger::LedgerError;
use crate::model_process::ProbeError;
use crate::network;
use crate::node::StartError;
use crate::private_file::FileError;
use crate::rpc;
use crate::supervisor::TaskError;

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::File(error) => error.into(),
            KeyError::Kdf(_) => Self::new(Exit::Internal, &error).hint("free some memory and try again"),
            KeyError::Damaged { .. } | KeyError::OtherVersion { .. } => {
                Self::new(Exit::Store, &error).hint(key_hint(&error))
            }
            _ => Self::usage(&error).hint(key_hint(&error)),
        }
    }
}

/// What to do about a key that cannot be used.
fn key_hint(error: &KeyError) -> &'static str {
    match error {
        KeyError::Unknown { .. } => {
            "list keys with `assay key list`, or create one with `assay key new NAME`"
        }
        KeyError::BadName(_) => "use up to 64 letters, digits, '-' and '_'",
        KeyError::SecretNamed => {
            "other users may have seen it, and your shell may have kept it: move what it owns to a new key; \
             secrets are read from the terminal, from standard input, or with --mnemonic-file"
        }
        KeyError::BadPath(_) => "derive with //HARD and /SOFT after the key's name, such as seller//2",
        KeyError::BadUri(_) => "name a key of `assay key list`, or a development key such as //Alice",
        KeyError::Exists(_) => "choose another name, or see the key with `assay key show NAME`",
        KeyError::WrongPassphrase(_) => {
            "try again; without its passphrase a key comes back only from its words, with `assay key import`"
        }
        KeyError::BadPassphrase(_) => "choose 8 to 1024 characters; several words are easy to remember",
        KeyError::BadWords(_) => "compare them with what you wrote down, in order",
        KeyError::Damaged { .. } => {
            "put a copy of the file back, or move it away and import the words again with `assay key import`"
        }
        KeyError::OtherVersion { .. } => "use the version of assay that wrote it, or a newer one",
        KeyError::File(_) | KeyError::Kdf(_) => "see `assay key --help`",
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        match &error {
            FileError::Exposed { path, .. } => {
                let mode = if path.is_dir() { "700" } else { "600" };
                let hint = format!("make it yours alone, with `chmod {mode} {}`", path.display());
                Self::usage(&error).hint(hint)
            }
            FileError::Exists(_) => Self::usage(&error).hint("choose another name; it is not overwritten"),
            FileError::TooLong { .. } => Self::usage(&error).hint("name another file"),
            FileError::Io { source, .. } => match system(source.kind()) {
                Some((exit, hint)) => Self::new(exit, &error).hint(hint),
                None => Self::new(Exit::Internal, &error),
            },
        }
    }
}

/// What to do about what the operating system says.
const fn system(kind: io::ErrorKind) -> Option<(Exit, &'static str)> {
    use io::ErrorKind::{
        IsADirectory, NotADirectory, NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem,
        StorageFull,
    };
    match kind {
        NotFound | NotADirectory | IsADirectory => {
            Some((Exit::Usage, "name one that is there; --base-path names the directory of all data"))
        }
        PermissionDenied | ReadOnlyFilesystem => Some((
            Exit::Usage,
            "choose one that you may read and write; --base-path names the directory of all data",
        )),
        StorageFull | QuotaExceeded => Some((Exit::Store, FREE_SPACE)),
        _ => None,
    }
}

const FREE_SPACE: &str = "free some space on the disk and start again; nothing that was acknowledged is lost";
const PUT_BACK: &str = "put a copy of the whole data directory in its place, made while no node ran; or move the \
                        directory away and begin anew. A validator must not go on with a copy: \
                        docs/OPERATING.md, Back up, says how it begins again";
const ANOTHER_DIRECTORY: &str = "choose another directory with --base-path; nothing was changed in this one";

impl From<SpecFileError> for Failure {
    fn from(error: SpecFileError) -> Self {
        Self::usage(error).hint("print the chain with `assay chain spec --json` on a node that has it")
    }
}

impl From<DataDirError> for Failure {
    fn from(error: DataDirError) -> Self {
        match error {
            DataDirError::File(error) => error.into(),
            DataDirError::Damaged { .. } | DataDirError::Lost(_) => {
                Self::new(Exit::Store, error).hint(PUT_BACK)
            }
            DataDirError::OtherVersion { .. } => {
                Self::usage(error).hint("use the version of assay that wrote it, or another --base-path")
            }
            DataDirError::OtherStore { .. } => Self::usage(error).hint(
                "leave --store out to use the store that it has, or choose another directory with --base-path",
            ),
            DataDirError::NoHome(_) => Self::usage(error).hint("name a directory with --base-path"),
            DataDirError::Foreign(_) | DataDirError::OtherChain(_) => {
                Self::usage(error).hint(ANOTHER_DIRECTORY)
            }
        }
    }
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        Self::new(Exit::Internal, format!("running a model: a thread died: {error}"))
            .hint("this is a bug of assay; what it printed before says where")
    }
}

impl From<assay_engine::StartError> for Failure {
    fn from(error: assay_engine::StartError) -> Self {
        Self::new(Exit::Internal, error)
            .hint("ask for fewer --threads, or raise the system's limit on processes")
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let trouble = match &error {
            StartError::DataDir(_) => None,
            StartError::Ledger { source, .. } => chain_trouble(source),
            StartError::Journal { source, .. } => store_trouble(source.fault()),
            StartError::Candidates { source, .. } => store_trouble(source.fault),
            StartError::Keys(_) => Some((
                Exit::Store,
                "put a copy of the file back, or move it away: what was sealed to it is lost then",
            )),
            StartError::Store(source) => store_trouble(artifact_fault(source)),
            StartError::Network(source) => network_trouble(source),
            StartError::Rpc(source) => Some((Exit::Usage, address_hint(source))),
            StartError::Isolation(ProbeError::Unconfined { .. }) => {
                Some((Exit::Usage, "use a kernel with Landlock and seccomp, or leave --require-sandbox out"))
            }
            StartError::Isolation(_) => Some((
                Exit::Internal,
                "let this user run the program again, or run models in the node with --isolation none",
            )),
            StartError::Query(_) | StartError::Engine(_) => None,
        };
        match (error, trouble) {
            (StartError::DataDir(error), _) => error.into(),
            (error, Some((exit, hint))) => Self::new(exit, error).hint(hint),
            (error, None) => Self::new(Exit::Internal, error),
        }
    }
}

const fn network_trouble(error: &network::StartError) -> Option<(Exit, &'static str)> {
    match error {
        network::StartError::Listen { .. } => Some((
            Exit::Usage,
            "choose an address of this machine and a free port with --listen, such as /ip4/0.0.0.0/udp/30334/quic-v1",
        )),
        network::StartError::Key(_) | network::StartError::Build(_) | network::StartError::Protocol(_) => {
            None
        }
    }
}

const fn address_hint(error: &rpc::StartError) -> &'static str {
    match error {
        rpc::StartError::InUse(_) => "stop it, or choose another port with --rpc-port; 0 takes a free one",
        rpc::StartError::Listen { .. } => {
            "choose an address of this machine with --rpc-address, and a port that you may use with --rpc-port"
        }
        rpc::StartError::Methods(_) => "this is a bug of assay",
    }
}

/// The exit code and next step of a ledger's error, where there is one.
fn chain_trouble(error: &ChainError) -> Option<(Exit, &'static str)> {
    match error {
        ChainError::Store(error) => store_trouble(error.fault),
        ChainError::Corrupt(_) => Some((Exit::Store, PUT_BACK)),
        ChainError::ForeignGenesis { .. } => Some((Exit::Usage, ANOTHER_DIRECTORY)),
        ChainError::BadGenesis(_) => Some((Exit::Usage, "correct the chain's chain-spec.json")),
        _ => None,
    }
}

const fn store_trouble(fault: StoreFault) -> Option<(Exit, &'static str)> {
    let hint = match fault {
        StoreFault::Held => {
            "stop the other process that uses the data directory, or choose another with --base-path"
        }
        StoreFault::Damaged => PUT_BACK,
        StoreFault::Full => FREE_SPACE,
        StoreFault::ReadOnly => {
            return Some((Exit::Usage, "choose a directory that you may read and write with --base-path"));
        }
        StoreFault::Other => {
            "see whether another process uses it, and look into the system's log, before you start again"
        }
    };
    Some((Exit::Store, hint))
}

fn artifact_fault(error: &assay_store::StoreError) -> StoreFault {
    use assay_store::StoreError::{Index, Io, Locked};
    match error {
        Locked(_) => StoreFault::Held,
        Io { source, .. } | Index(sled::Error::Io(source)) => StoreFault::of_io(source),
        Index(sled::Error::Corruption { .. }) => StoreFault::Damaged,
        _ => StoreFault::Other,
    }
}

impl From<TaskError> for Failure {
    fn from(error: TaskError) -> Self {
        let trouble = match &error {
            TaskError::Failed { source, .. } => task_trouble(source.as_ref()),
            TaskError::Panicked(_) | TaskError::Stuck(_) => None,
        };
        match trouble {
            Some((exit, hint)) => Self::new(exit, error).hint(hint),
            None => Self::new(Exit::Internal, error),
        }
    }
}

/// What to do when a task could not go on: the ledger's own thread, or one that asked it.
fn task_trouble(cause: &(dyn Error + Send + Sync + 'static)) -> Option<(Exit, &'static str)> {
    let asked = |error: &LedgerError| match error {
        LedgerError::Chain(error) => chain_trouble(error),
        _ => None,
    };
    if let Some(error) = cause.downcast_ref::<ChainError>() {
        return chain_trouble(error);
    }
    match cause.downcast_ref::<ConsensusError>() {
        Some(ConsensusError::Ledger(error)) => asked(error),
        Some(ConsensusError::Listen { .. }) => Some((
            Exit::Usage,
            "choose an address of this machine and a free port with --consensus-listen; port 0 takes a free one",
        )),
        _ => cause.downcast_ref::<LedgerError>().and_then(asked),
    }
}

#[cfg(test)]
mod tests {
    use assay_runtime::executor::StoreError;

    use super::*;

    #[test]
    fn a_full_disk_is_known_whichever_task_finds_out() {
        let store = || StoreError { what: "writing to", cause: "no space".into(), fault: StoreFault::Full };
        let chain = || ChainError::Store(store());
        let causes: [(&str, Box<dyn Error + Send + Sync>); 3] = [
            ("ledger", Box::new(chain())),
            ("consensus", Box::new(ConsensusError::Ledger(LedgerError::Chain(chain())))),
            ("retention", Box::new(LedgerError::Chain(chain()))),
        ];
        for (task, source) in causes {
            let failure = Failure::from(TaskError::Failed { task, source });
            assert_eq!((failure.exit(), failure.next_step()), (Exit::Store, Some(FREE_SPACE)), "{task}");
        }
        let other = Failure::from(TaskError::Failed { task: "mempool", source: "no reason".into() });
        assert_eq!((other.exit(), other.next_step()), (Exit::Internal, None));
    }

    #[test]
    fn what_the_system_refuses_has_a_next_step() {
        let told = |kind: io::ErrorKind| {
            let error = FileError::Io { what: "writing", path: "x".into(), source: kind.into() };
            let failure = Failure::from(DataDirError::File(error));
            (failure.exit(), failure.next_step().is_some())
        };
        assert_eq!(told(io::ErrorKind::StorageFull), (Exit::Store, true));
        assert_eq!(told(io::ErrorKind::ReadOnlyFilesystem), (Exit::Usage, true));
        assert_eq!(told(io::ErrorKind::NotFound), (Exit::Usage, true));
        assert_eq!(told(io::ErrorKind::Interrupted), (Exit::Internal, false));
    }
}
