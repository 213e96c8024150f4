//! Keys of accounts: development URIs and key files, and what is derived from them.
//!
//! Secrets come from files or development URIs, never from the command line itself, and are never printed
//! unless a command exists for just that.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sp_core::crypto::Ss58Codec;
use sp_core::{Pair, sr25519};
use sp_runtime::AccountId32;
use zeroize::Zeroizing;

/// A key could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No key file of this name.
    #[error("finding the key {name:?}: no such file in {}", dir.display())]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// A name that would leave the directory or confuse a shell.
    #[error("naming a key {0:?}: use letters, digits, '-' and '_' only")]
    BadName(String),
    /// A file of this name exists.
    #[error("creating the key {0:?}: it exists, and keys are never overwritten")]
    Exists(String),
    /// A URI that is not a development one, or cannot be derived.
    #[error("deriving the key {0:?}: only development URIs such as //Alice are taken from the command line")]
    BadUri(String),
    /// The file does not hold a mnemonic.
    #[error("reading the key {name:?}: {cause}")]
    Damaged {
        /// The key.
        name: String,
        /// What is wrong.
        cause: String,
    },
    /// Reading or writing failed.
    #[error("accessing {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
}

/// An account's key pair under the name by which it was asked for.
#[derive(Clone)]
pub struct Key {
    /// Name or URI.
    pub name: String,
    /// The account's pair.
    pub pair: sr25519::Pair,
}

impl Key {
    /// A key derived from the public development phrase, such as `//Alice`.
    ///
    /// # Errors
    /// [`KeyError::BadUri`] when the URI is not a plain derivation.
    pub fn development(uri: &str) -> Result<Self, KeyError> {
        let bad = || KeyError::BadUri(uri.into());
        if !uri.starts_with("//") {
            return Err(bad());
        }
        let pair = sr25519::Pair::from_string(uri, None).map_err(|_| bad())?;
        Ok(Self { name: uri.into(), pair })
    }

    /// The account.
    pub fn account(&self) -> AccountId32 {
        self.pair.public().into()
    }

    /// The account's address.
    pub fn address(&self) -> String {
        self.account().to_ss58check()
    }

    /// The key that signs job steps for this account, kept apart from the account's own.
    pub fn work_key(&self) -> sr25519::Pair {
        sr25519::Pair::from_seed(&self.derived("assay/work-key/1"))
    }

    /// The secret of the X25519 key to which inputs are sealed.
    pub fn encryption_secret(&self) -> x25519_dalek::StaticSecret {
        x25519_dalek::StaticSecret::from(self.derived("assay/encryption-key/1"))
    }

    /// The public half of [`Self::encryption_secret`].
    pub fn encryption_key(&self) -> [u8; 32] {
        x25519_dalek::PublicKey::from(&self.encryption_secret()).to_bytes()
    }

    /// A secret of its own for one purpose; it tells nothing of the account's.
    fn derived(&self, purpose: &str) -> [u8; 32] {
        let secret = Zeroizing::new(self.pair.as_ref().secret.to_bytes());
        *assay_manifest::TaggedHash::new(purpose).fixed(secret.as_slice()).finish().as_bytes()
    }
}

/// The directory of key files.
#[derive(Clone, Debug)]
pub struct Keystore {
    dir: PathBuf,
}

impl Keystore {
    /// The store in `dir`, which is created when the first key is.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Creates a key from twelve fresh words and returns both.
    ///
    /// # Errors
    /// [`KeyError`] when the name is taken or the file cannot be written.
    pub fn generate(&self, name: &str) -> Result<(Key, Zeroizing<String>), KeyError> {
        check_name(name)?;
        let (pair, phrase, _) = sr25519::Pair::generate_with_phrase(None);
        let phrase = Zeroizing::new(phrase);
        self.write(name, &phrase)?;
        Ok((Key { name: name.into(), pair }, phrase))
    }

    fn write(&self, name: &str, phrase: &str) -> Result<(), KeyError> {
        let path = self.path(name);
        let io = |source| KeyError::Io { path: path.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(io)?;
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file = match file {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(KeyError::Exists(name.into()));
            }
            other => other.map_err(io)?,
        };
        file.write_all(phrase.as_bytes()).and_then(|()| file.sync_all()).map_err(io)
    }

    /// The key of a name, or of a development URI.
    ///
    /// # Errors
    /// [`KeyError`] saying why there is none.
    pub fn resolve(&self, name: &str) -> Result<Key, KeyError> {
        if name.starts_with("//") {
            return Key::development(name);
        }
        check_name(name)?;
        let path = self.path(name);
        let phrase = match fs::read_to_string(&path) {
            Ok(phrase) => Zeroizing::new(phrase),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(KeyError::Unknown { name: name.into(), dir: self.dir.clone() });
            }
            Err(source) => return Err(KeyError::Io { path, source }),
        };
        let (pair, _) = sr25519::Pair::from_phrase(phrase.trim(), None).map_err(|error| {
            KeyError::Damaged { name: name.into(), cause: format!("it holds no valid mnemonic ({error:?})") }
        })?;
        Ok(Key { name: name.into(), pair })
    }

    /// Names of all keys, sorted.
    ///
    /// # Errors
    /// [`KeyError::Io`] when the directory cannot be read.
    pub fn names(&self) -> Result<Vec<String>, KeyError> {
        let io = |source| KeyError::Io { path: self.dir.clone(), source };
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(io)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = entry.map_err(io)?.file_name();
            if let Some(name) = Path::new(&file).file_stem().and_then(|stem| stem.to_str())
                && Path::new(&file).extension().is_some_and(|extension| extension == EXTENSION)
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name).with_extension(EXTENSION)
    }
}

const EXTENSION: &str = "key";

fn check_name(name: &str) -> Result<(), KeyError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) {
        return Err(KeyError::BadName(name.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_generated_key_resolves_again_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let store = Keystore::new(dir.path().join("chain/keys"));
        let (key, phrase) = store.generate("seller").unwrap();
        assert_eq!(phrase.split_whitespace().count(), 12);
        assert_eq!(store.resolve("seller").unwrap().account(), key.account());
        assert_eq!(store.names().unwrap(), vec!["seller"]);
        for (path, private) in [("chain", 0o700), ("chain/keys", 0o700), ("chain/keys/seller.key", 0o600)] {
            let mode = fs::metadata(dir.path().join(path)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, private, "{path}");
        }
    }

    #[test]
    fn keys_are_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let store = Keystore::new(dir.path());
        store.generate("a").unwrap();
        assert!(matches!(store.generate("a"), Err(KeyError::Exists(_))));
    }

    #[test]
    fn bad_names_and_secrets_on_the_command_line_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Keystore::new(dir.path());
        for name in ["", "../x", "a b", "x/y"] {
            assert!(matches!(store.generate(name), Err(KeyError::BadName(_))), "{name}");
        }
        let phrase = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
        assert!(store.resolve(phrase).is_err());
        assert!(matches!(store.resolve("nobody"), Err(KeyError::Unknown { .. })));
        fs::write(dir.path().join("bad.key"), "not a mnemonic").unwrap();
        assert!(matches!(store.resolve("bad"), Err(KeyError::Damaged { .. })));
    }

    #[test]
    fn derived_keys_differ_from_the_accounts_own() {
        let key = Key::development("//Alice").unwrap();
        assert_eq!(key.address(), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
        assert_ne!(key.work_key().public(), key.pair.public());
        assert!(Key::development("Alice").is_err());
    }
}
