//! Where a node keeps its things.
//!
//! ```text
//! VERSION            layout of this directory, and the ledger's store
//! chain-spec.json    the chain
//! trust.json         its genesis hash and validators: the trust root of receipts
//! ledger.redb        state, blocks, certificates, events, log; or the directory ledger.sled
//! candidates.redb    proposed blocks that are not decided
//! consensus.wal      what consensus said and heard of the present height
//! peers.json         where nodes of the market's network were met
//! jobs.redb          sealed inputs and answers of open jobs; nothing in it can be read without the keys
//! keystore/          accounts' keys, encrypted; below it, roles/ has the keys that the machine works with
//! sealing/           keys that open what is sealed to this node, mode 0600
//! models/            the artifact store
//! orders/            salts and requests of jobs bought from here, mode 0600
//! receipts/          receipts that were fetched
//! commitments/       salts of priority commitments that are not opened, mode 0600
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use assay_protocol::receipt::Trust;
use etcetera::BaseStrategy;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::chain_spec::ChainSpec;
use crate::keys::Keystore;
use crate::private_file::{self, FileError, TEMPORARY, io_error};

/// Layout that this binary reads and writes. A ledger store other than redb is named behind it.
const LAYOUT_VERSION: &str = "1";

/// What keeps the ledger. A directory has one from its creation on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LedgerStore {
    /// One file, written through at every block.
    #[default]
    Redb,
    /// A directory with a log.
    Sled,
}

impl LedgerStore {
    /// Each store.
    pub const ALL: [Self; 2] = [Self::Redb, Self::Sled];

    /// The word on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redb => "redb",
            Self::Sled => "sled",
        }
    }

    /// What `VERSION` says of a directory with this store.
    fn version(self) -> String {
        match self {
            Self::Redb => LAYOUT_VERSION.into(),
            Self::Sled => format!("{LAYOUT_VERSION} {}", self.name()),
        }
    }
}

/// A data directory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Something else lies there.
    #[error("opening the data directory {}: it holds files, but is not one of assay's", .0.display())]
    Foreign(PathBuf),
    /// Another version wrote it.
    #[error(
        "opening the data directory {}: its layout is {found:?}, and this binary reads {LAYOUT_VERSION:?}",
        path.display()
    )]
    OtherVersion {
        /// The directory.
        path: PathBuf,
        /// What `VERSION` says.
        found: String,
    },
    /// Its ledger is kept in the other store.
    #[error(
        "opening the data directory {}: its ledger is kept in {}, not in {}",
        path.display(), found.name(), asked.name()
    )]
    OtherStore {
        /// The directory.
        path: PathBuf,
        /// What it has.
        found: LedgerStore,
        /// What was asked for.
        asked: LedgerStore,
    },
    /// It belongs to another chain.
    #[error("opening the data directory {}: it belongs to another chain", .0.display())]
    OtherChain(PathBuf),
    /// What a node has kept is gone.
    #[error("opening {}: it is missing or empty, though a node has run here", .0.display())]
    Lost(PathBuf),
    /// A file does not hold what it should.
    #[error("reading {}: {cause}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The machine has no place for data.
    #[error("finding the data directory: {0}")]
    NoHome(String),
}

/// An opened data directory.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
    store: LedgerStore,
}

/// The directory under which each chain has its own: `$XDG_DATA_HOME/assay` or what the platform has.
///
/// # Errors
/// [`DataDirError::NoHome`] without a home directory.
pub fn default_base() -> Result<PathBuf, DataDirError> {
    let strategy =
        etcetera::choose_base_strategy().map_err(|error| DataDirError::NoHome(error.to_string()))?;
    Ok(strategy.data_dir().join("assay"))
}

impl DataDir {
    /// The directory of a chain under `base`, created if it is not there, and closed to other users. Its ledger is
    /// kept in `store`; without one, in what it has, or in the default.
    ///
    /// # Errors
    /// [`DataDirError`] when it cannot be written, or is something else.
    pub fn create(base: &Path, spec: &ChainSpec, store: Option<LedgerStore>) -> Result<Self, DataDirError> {
        let root = base.join(&spec.id);
        let version = root.join("VERSION");
        let complete = version.exists();
        if !complete {
            Self::check_free(&root)?;
            private_file::create_dir(&root)?;
        }
        private_file::close_dir(&root)?;
        if !complete {
            write_json(&root.join("chain-spec.json"), spec)?;
            // Last, so that a directory without it was never complete.
            let version_text = format!("{}\n", store.unwrap_or_default().version());
            private_file::replace(&version, version_text.as_bytes())?;
        }
        let dir = Self::open(&root)?;
        dir.expect_store(store)?;
        if dir.chain_spec()? != *spec {
            return Err(DataDirError::OtherChain(root));
        }
        Ok(dir)
    }

    /// Whether a chain can be set up in a directory: nothing lies there but what commands without a node put
    /// there, and what a creation that was cut off has left.
    ///
    /// # Errors
    /// [`DataDirError::Foreign`] when something else does.
    pub fn check_free(root: &Path) -> Result<(), DataDirError> {
        let ours = ["keystore", "orders", "receipts", "commitments", "chain-spec.json"];
        let is_ours = |name: &std::ffi::OsStr| {
            ours.iter().any(|ours| name == *ours) || name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes())
        };
        let foreign =
            |entry: std::io::Result<fs::DirEntry>| entry.map_or(true, |entry| !is_ours(&entry.file_name()));
        if fs::read_dir(root).is_ok_and(|mut entries| entries.any(foreign)) {
            return Err(DataDirError::Foreign(root.into()));
        }
        Ok(())
    }

    /// A directory that was created before.
    ///
    /// # Errors
    /// [`DataDirError`] when it is not there, or another version wrote it.
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        let path = root.join("VERSION");
        let found = fs::read_to_string(&path).map_err(io_error("reading", &path))?;
        let store = LedgerStore::ALL.into_iter().find(|store| store.version() == found.trim());
        let other = || DataDirError::OtherVersion { path: root.into(), found: found.trim().into() };
        Ok(Self { root: root.into(), store: store.ok_or_else(other)? })
    }

    /// Refuses another store than the ledger is kept in, if one was asked for.
    ///
    /// # Errors
    /// [`DataDirError::OtherStore`] when it is another.
    pub fn expect_store(&self, asked: Option<LedgerStore>) -> Result<(), DataDirError> {
        match asked {
            Some(asked) if asked != self.store => {
                Err(DataDirError::OtherStore { path: self.root.clone(), found: self.store, asked })
            }
            _ => Ok(()),
        }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The chain that it belongs to.
    ///
    /// # Errors
    /// [`DataDirError`] when the file is missing or damaged.
    pub fn chain_spec(&self) -> Result<ChainSpec, DataDirError> {
        read_json(&self.root.join("chain-spec.json"))
    }

    /// The trust root that a node of this chain wrote when it first ran here.
    ///
    /// # Errors
    /// [`DataDirError`] when no node ran here yet, or the file is damaged.
    pub fn trust(&self) -> Result<Trust, DataDirError> {
        read_json(&self.root.join("trust.json"))
    }

    /// The trust root, if a node of this chain has run here.
    ///
    /// # Errors
    /// [`DataDirError`] when the file is damaged.
    pub fn kept_trust(&self) -> Result<Option<Trust>, DataDirError> {
        if self.root.join("trust.json").exists() { self.trust().map(Some) } else { Ok(None) }
    }

    /// That what a node has kept here is still here. From an empty ledger the chain would begin again, and this
    /// machine would sign other blocks at heights that it has signed before.
    ///
    /// # Errors
    /// [`DataDirError::Lost`] naming what is gone.
    pub fn check_whole(&self) -> Result<(), DataDirError> {
        if self.kept_trust()?.is_none() {
            return Ok(());
        }
        match [self.ledger(), self.journal()].into_iter().find(|path| is_empty(path)) {
            Some(lost) => Err(DataDirError::Lost(lost)),
            None => Ok(()),
        }
    }

    /// Writes the trust root when a node first runs here; later it must be the same.
    ///
    /// # Errors
    /// [`DataDirError::OtherChain`] when another is kept, or whatever the file system says.
    pub fn keep_trust(&self, trust: &Trust) -> Result<(), DataDirError> {
        match self.kept_trust()? {
            None => write_json(&self.root.join("trust.json"), trust),
            Some(kept) if kept == *trust => Ok(()),
            Some(_) => Err(DataDirError::OtherChain(self.root.clone())),
        }
    }

    /// What keeps the ledger.
    pub const fn store(&self) -> LedgerStore {
        self.store
    }

    /// The ledger's file or directory.
    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger").with_extension(self.store.name())
    }

    /// The journal's file.
    pub fn journal(&self) -> PathBuf {
        self.root.join("jobs.redb")
    }

    /// The file of proposed blocks.
    pub fn candidates(&self) -> PathBuf {
        self.root.join("candidates.redb")
    }

    /// Where nodes of the market's network were met.
    pub fn peers(&self) -> PathBuf {
        self.root.join("peers.json")
    }

    /// The file that consensus writes what it says to before it says it.
    pub fn write_ahead_log(&self) -> PathBuf {
        self.root.join("consensus.wal")
    }

    /// The directory of the keys that open what is sealed to this node.
    pub fn sealing(&self) -> PathBuf {
        self.root.join("sealing")
    }

    /// The artifact store's directory.
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// The keys.
    pub fn keystore(&self) -> Keystore {
        Keystore::new(self.root.join("keystore"))
    }
}

/// Whether a file or directory is missing or has nothing in it.
fn is_empty(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => fs::metadata(path).map_or(true, |file| file.len() == 0),
    }
}

/// Reads a JSON file.
///
/// # Errors
/// [`DataDirError`] when it is missing or does not hold a `T`.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, DataDirError> {
    let bytes = fs::read(path).map_err(io_error("reading", path))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| DataDirError::Damaged { path: path.into(), cause: error.to_string() })
}

/// Writes a JSON file that only its owner reads; it is there whole or not at all.
///
/// # Errors
/// [`DataDirError::File`].
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), DataDirError> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| DataDirError::Damaged { path: path.into(), cause: error.to_string() })?;
    bytes.push(b'\n');
    Ok(private_file::replace(path, &bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_directory_opens_again_for_the_same_chain_only() {
        let base = tempfile::tempdir().unwrap();
        let spec = ChainSpec::development().unwrap();
        let dir = DataDir::create(base.path(), &spec, None).unwrap();
        assert_eq!(DataDir::create(base.path(), &spec, None).unwrap().chain_spec().unwrap(), spec);
        assert_eq!(mode(dir.root()), 0o700);
        let other = ChainSpec { block_time_ms: 7, ..spec };
        assert!(matches!(DataDir::create(base.path(), &other, None), Err(DataDirError::OtherChain(_))));
    }

    #[test]
    fn a_directory_keeps_its_ledger_in_the_store_that_it_was_created_with() {
        let base = tempfile::tempdir().unwrap();
        let spec = ChainSpec::development().unwrap();
        let create = |store| DataDir::create(base.path(), &spec, store);
        let root = create(Some(LedgerStore::Sled)).unwrap().root().to_owned();
        assert_eq!(create(None).unwrap().store(), LedgerStore::Sled);
        let dir = DataDir::open(&root).unwrap();
        assert_eq!(dir.ledger(), root.join("ledger.sled"));
        let refused = create(Some(LedgerStore::Redb)).unwrap_err();
        assert!(refused.to_string().ends_with("its ledger is kept in sled, not in redb"), "{refused}");
        // A directory from before there was a choice.
        fs::write(root.join("VERSION"), "1\n").unwrap();
        assert_eq!(create(Some(LedgerStore::Redb)).unwrap().ledger(), root.join("ledger.redb"));
        assert!(matches!(create(Some(LedgerStore::Sled)), Err(DataDirError::OtherStore { .. })));
    }

    #[test]
    fn a_trust_root_is_written_once() {
        let base = tempfile::tempdir().unwrap();
        let dir = DataDir::create(base.path(), &ChainSpec::development().unwrap(), None).unwrap();
        let nobody = assay_protocol::certificate::ValidatorSet::new(vec![]);
        let trust =
            |byte| Trust::of_genesis(assay_manifest::Digest32::from_bytes([byte; 32]), nobody.clone());
        assert!(dir.trust().is_err());
        dir.keep_trust(&trust(1)).unwrap();
        dir.keep_trust(&trust(1)).unwrap();
        assert!(matches!(dir.keep_trust(&trust(2)), Err(DataDirError::OtherChain(_))));
        assert_eq!(dir.trust().unwrap(), trust(1));
    }

    #[test]
    fn keys_may_be_there_before_the_node() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("dev");
        fs::create_dir_all(root.join("keystore")).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        DataDir::create(base.path(), &ChainSpec::development().unwrap(), None).unwrap();
        assert_eq!(mode(&root), 0o700, "others could read the inputs of jobs");
    }

    #[test]
    fn a_directory_that_others_could_read_is_closed_when_it_is_used_again() {
        let base = tempfile::tempdir().unwrap();
        let spec = ChainSpec::development().unwrap();
        let dir = DataDir::create(base.path(), &spec, None).unwrap();
        fs::set_permissions(dir.root(), fs::Permissions::from_mode(0o755)).unwrap();
        DataDir::create(base.path(), &spec, None).unwrap();
        assert_eq!(mode(dir.root()), 0o700);
    }

    #[test]
    fn a_creation_that_was_cut_off_is_completed() {
        let base = tempfile::tempdir().unwrap();
        let spec = ChainSpec::development().unwrap();
        let root = DataDir::create(base.path(), &spec, None).unwrap().root().to_owned();
        fs::remove_file(root.join("VERSION")).unwrap();
        fs::write(root.join(format!("{TEMPORARY}x")), "1").unwrap();
        assert_eq!(DataDir::create(base.path(), &spec, None).unwrap().chain_spec().unwrap(), spec);
    }

    #[test]
    fn a_file_is_written_for_its_owner_and_beside_all_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/r.json");
        write_json(&path, &1).unwrap();
        fs::write(path.with_extension("new"), "somebody's").unwrap();
        write_json(&path, &2).unwrap();
        assert_eq!(read_json::<u8>(&path).unwrap(), 2);
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_to_string(path.with_extension("new")).unwrap(), "somebody's");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
    }

    #[test]
    fn foreign_directories_and_other_versions_are_left_alone() {
        let base = tempfile::tempdir().unwrap();
        let spec = ChainSpec::development().unwrap();
        fs::create_dir_all(base.path().join("dev/keystore")).unwrap();
        fs::write(base.path().join("dev/thesis.txt"), "important").unwrap();
        assert!(matches!(DataDir::create(base.path(), &spec, None), Err(DataDirError::Foreign(_))));
        fs::write(base.path().join("dev/VERSION"), "9").unwrap();
        assert!(matches!(DataDir::create(base.path(), &spec, None), Err(DataDirError::OtherVersion { .. })));
    }
}
