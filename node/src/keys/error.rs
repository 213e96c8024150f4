//! Why a key could not be used.

use std::path::PathBuf;

use crate::private_file::FileError;

/// A key could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No key of this name.
    #[error("finding the key {name:?}: no such file in {}", dir.display())]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// A name that would leave the directory or confuse a shell.
    #[error("naming a key {0:?}: not a name")]
    BadName(String),
    /// What was named as a key looks like the secret of one, and is not repeated.
    #[error("naming a key: that looks like a secret, not like the name of one")]
    SecretNamed,
    /// A derivation path that cannot be followed.
    #[error("deriving the key {0:?}: not a path such as //hard or /soft")]
    BadPath(String),
    /// A URI that is not a development one.
    #[error("deriving the key {0:?}: not a development key such as //Alice")]
    BadUri(String),
    /// A key of this name exists.
    #[error("creating the key {0:?}: it exists, and keys are never overwritten")]
    Exists(String),
    /// The passphrase opens nothing.
    #[error("unlocking the key {0:?}: the passphrase is wrong, or somebody has altered the file")]
    WrongPassphrase(String),
    /// The passphrase is empty or too short for a new key, or longer than any.
    #[error("choosing a passphrase: {0}")]
    BadPassphrase(&'static str),
    /// The words are no mnemonic.
    #[error("reading the words: {0}")]
    BadWords(String),
    /// A file does not hold what it should.
    #[error("reading {}: {cause}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// A file of another version of assay.
    #[error("reading {}: its format {found} is not one that this version reads", path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// The version that it states.
        found: u32,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The machine could not do the work of unlocking.
    #[error("deriving a key from the passphrase: {0}")]
    Kdf(String),
}
