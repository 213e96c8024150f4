//! `assay chain snapshot`: a chain at one height as a file.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use assay_runtime::Hash;
use assay_runtime::executor::{
    Chain, ChainError, Retention, Snapshot, SnapshotError, StoreError, export, import, on_big_stack,
};
use clap::Subcommand;
use serde::Serialize;

use crate::adapters::open_ledger;
use crate::chain_spec::ChainSpec;
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::table;
use crate::data_dir::{DataDir, LedgerStore};

/// What is to be done with a snapshot.
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Write the chain of a stopped node, at its height, to a file with which another node can begin.
    Export {
        /// The file; it must not exist.
        file: PathBuf,
    },
    /// Begin a data directory with a snapshot instead of the first block. The file is believed in nothing: it has to
    /// prove itself against the chain's first validators.
    Import {
        /// The file.
        file: PathBuf,
        /// The chain, as `assay chain spec` prints it; that of the data directory, if there is one already.
        #[arg(long, value_name = "FILE")]
        spec: Option<PathBuf>,
        /// What keeps the ledger.
        #[arg(long, value_name = "redb|sled")]
        store: Option<LedgerStore>,
    },
}

impl SnapshotCommand {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure`] when the ledger is in use or damaged, or the file is no snapshot of the chain.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let (done, file, snapshot) = match self {
            Self::Export { file } => {
                let snapshot = write(&context.data_dir()?, &file)?;
                ("written", file, snapshot)
            }
            Self::Import { file, spec, store } => {
                let data = match spec {
                    Some(spec) => DataDir::create(&context.base()?, &ChainSpec::read(&spec)?, store)?,
                    None => context.data_dir()?,
                };
                let snapshot = read(&data, &file)?;
                ("begun with", file, snapshot)
            }
        };
        let Snapshot { height, block, state_keys, log_entries } = snapshot;
        let told = Told { file, height, block, state_keys, log_entries };
        context.output().result(&told, |told| {
            table::fields(&[
                (done, told.file.display().to_string()),
                ("height", format!("{}, {:?}", told.height, told.block)),
                ("state", format!("{} keys", told.state_keys)),
                ("log", super::entries(told.log_entries)),
            ])
        })?;
        Ok(())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    file: PathBuf,
    height: u32,
    block: Hash,
    state_keys: u64,
    log_entries: u64,
}

fn write(data: &DataDir, path: &Path) -> Result<Snapshot, Failure> {
    let spec = data.chain_spec()?;
    let kv = open_ledger(data.store(), &data.ledger()).map_err(in_use)?;
    // Under its own name only when it is whole.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new("."))).map_err(unwritten)?;
    let exported = on_big_stack(|| {
        let chain = Chain::open(kv, &spec.genesis, Retention::Archive)?;
        export(&chain.reader(), chain.genesis(), &mut BufWriter::new(&mut file))
    });
    let snapshot = exported.map_err(SnapshotError::from).flatten().map_err(failed("writing", path))?;
    file.flush().and_then(|()| file.as_file().sync_all()).map_err(unwritten)?;
    file.persist_noclobber(path).map_err(|error| unwritten(error.error))?;
    Ok(snapshot)
}

fn read(data: &DataDir, path: &Path) -> Result<Snapshot, Failure> {
    let spec = data.chain_spec()?;
    let file = File::open(path).map_err(|error| {
        Failure::usage(format!("opening {}: {error}", path.display())).hint("name the snapshot's file")
    })?;
    let kv = open_ledger(data.store(), &data.ledger()).map_err(in_use)?;
    let imported = on_big_stack(|| import(kv, &spec.genesis, &mut BufReader::new(file)));
    imported.map_err(SnapshotError::from).flatten().map_err(failed("reading", path))
}

fn in_use(error: StoreError) -> Failure {
    Failure::new(Exit::Store, error).hint("stop the node that uses the data directory")
}

fn unwritten(error: std::io::Error) -> Failure {
    Failure::new(Exit::Internal, format!("writing the snapshot: {error}"))
        .hint("name a file that does not exist, in a directory that can be written and has space")
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(SnapshotError) -> Failure {
    let what = format!("{doing} {}", path.display());
    move |error| {
        let (exit, hint) = match &error {
            SnapshotError::NotEmpty => {
                (Exit::Usage, "name another directory with --base-path: this one has a chain already")
            }
            SnapshotError::Io(_) => (Exit::Internal, "see that the file is there and the disk has space"),
            SnapshotError::Chain(ChainError::Store(_) | ChainError::Corrupt(_)) => {
                (Exit::Store, "look at the ledger with `assay chain check`")
            }
            _ => (Exit::Verification, "get the snapshot again, or from another node; nothing was kept of it"),
        };
        Failure::new(exit, format!("{what}: {error}")).hint(hint)
    }
}
