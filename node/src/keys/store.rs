//! The directory of keys.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Key, KeyError, KeyRef, LockedKey, Passphrase, RoleKeys, Words};
use crate::private_file::{self, FileError};

/// The directory of keys.
#[derive(Clone, Debug)]
pub struct Keystore {
    dir: PathBuf,
}

const EXTENSION: &str = "json";
/// Bytes of a key file; ours have about 600.
const FILE_BYTES_MAX: usize = 16 * 1024;

impl Keystore {
    /// The store in `dir`, which is created when the first key is.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Keeps words under a name and a passphrase; durable when it returns.
    ///
    /// # Errors
    /// [`KeyError`] when the name is bad or taken, or the file cannot be written.
    pub fn add(&self, name: &str, words: &Words, passphrase: &Passphrase) -> Result<Key, KeyError> {
        let name = self.free_name(name)?;
        let locked = LockedKey::seal(name.clone(), words, passphrase)?;
        let path = self.path(&name);
        private_file::create(&path, &text(&path, &locked)?).map_err(|error| match error {
            FileError::Exists(_) => KeyError::Exists(name.to_string()),
            other => other.into(),
        })?;
        Key::derive(name.to_string(), words, "")
    }

    /// That a key can be kept under a name, before anybody is asked for a passphrase.
    ///
    /// # Errors
    /// [`KeyError`] when it is bad or taken.
    pub fn free_name(&self, name: &str) -> Result<KeyRef, KeyError> {
        let name = KeyRef::plain(name)?;
        private_file::check_dir(&self.dir)?;
        if self.path(&name).exists() { Err(KeyError::Exists(name.to_string())) } else { Ok(name) }
    }

    /// The key of a name, with or without a path; still locked.
    ///
    /// # Errors
    /// [`KeyError`] when there is none, others may read it, or its file is damaged.
    pub fn find(&self, name: &str) -> Result<LockedKey, KeyError> {
        let name = KeyRef::parse(name)?;
        let path = self.path(&name);
        private_file::check_dir(&self.dir)?;
        let text = private_file::read(&path, FILE_BYTES_MAX).map_err(|error| match error {
            FileError::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
                KeyError::Unknown { name: name.name().into(), dir: self.dir.clone() }
            }
            other => other.into(),
        })?;
        LockedKey::parse(name, &path, &text)
    }

    /// Encrypts the words of a key anew. The old file is there until the new one is durable.
    ///
    /// # Errors
    /// [`KeyError::WrongPassphrase`] for the old one, or what the file system says.
    pub fn change_passphrase(&self, name: &str, old: &Passphrase, new: &Passphrase) -> Result<(), KeyError> {
        let name = KeyRef::plain(name)?;
        let words = self.find(name.name())?.words(old)?;
        let path = self.path(&name);
        let locked = LockedKey::seal(name, &words, new)?;
        Ok(private_file::replace(&path, &text(&path, &locked)?)?)
    }

    /// Names of all keys, sorted.
    ///
    /// # Errors
    /// [`KeyError::File`] when the directory cannot be read.
    pub fn names(&self) -> Result<Vec<String>, KeyError> {
        let io = |source| private_file::io_error("reading", &self.dir)(source);
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(io)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = PathBuf::from(entry.map_err(io)?.file_name());
            let is_key = file.extension().is_some_and(|extension| extension == EXTENSION);
            let name = file.file_stem().and_then(|stem| stem.to_str());
            names.extend(name.filter(|name| is_key && KeyRef::plain(name).is_ok()).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// The keys that a machine works with.
    pub fn roles(&self) -> RoleKeys {
        RoleKeys::new(self.dir.join("roles"))
    }

    /// The file of a key, whether or not it is there.
    pub fn path(&self, name: &KeyRef) -> PathBuf {
        self.dir.join(name.name()).with_extension(EXTENSION)
    }
}

fn text(path: &Path, key: &LockedKey) -> Result<Vec<u8>, KeyError> {
    key.text().map_err(|error| KeyError::Damaged { path: path.into(), cause: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::WordCount;
    use std::os::unix::fs::PermissionsExt;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::chosen(text).unwrap()
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_key_unlocks_again_with_its_passphrase_only_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let store = Keystore::new(dir.path().join("chain/keys"));
        let words = Words::generate(WordCount::TwentyFour);
        let right = passphrase("correct horse");
        let key = store.add("seller", &words, &right).unwrap();
        let found = store.find("seller").unwrap();
        assert_eq!(*found.account(), key.account());
        assert_eq!(found.unlock(&right).unwrap().account(), key.account());
        assert_eq!(found.words(&right).unwrap().entropy(), words.entropy());
        let wrong = found.unlock(&passphrase("correct house"));
        assert!(matches!(wrong, Err(KeyError::WrongPassphrase(_))));
        let derived = store.find("seller//2").unwrap().unlock(&right).unwrap();
        assert_eq!(derived.account(), Key::derive(String::new(), &words, "//2").unwrap().account());
        assert_eq!(store.names().unwrap(), ["seller"]);
        for (path, private) in [("chain", 0o700), ("chain/keys", 0o700), ("chain/keys/seller.json", 0o600)] {
            let mode = fs::metadata(dir.path().join(path)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, private, "{path}");
        }
    }

    #[test]
    fn keys_are_never_overwritten_and_a_changed_passphrase_replaces_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("keys");
        let store = Keystore::new(&dir);
        let (words, old) = (Words::generate(WordCount::Twelve), passphrase("the old one"));
        let key = store.add("a", &words, &old).unwrap();
        assert!(matches!(store.add("a", &words, &old), Err(KeyError::Exists(_))));
        let new = passphrase("the new one");
        assert!(matches!(store.change_passphrase("a", &new, &new), Err(KeyError::WrongPassphrase(_))));
        store.change_passphrase("a", &old, &new).unwrap();
        assert!(store.find("a").unwrap().unlock(&old).is_err());
        assert_eq!(store.find("a").unwrap().unlock(&new).unwrap().account(), key.account());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    }

    #[test]
    fn keys_that_others_may_read_are_refused_before_a_passphrase_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("keys");
        let store = Keystore::new(&dir);
        let words = Words::generate(WordCount::Twelve);
        store.add("a", &words, &passphrase("passphrase")).unwrap();
        set_mode(&dir.join("a.json"), 0o644);
        assert!(matches!(store.find("a"), Err(KeyError::File(FileError::Exposed { mode: 0o644, .. }))));
        set_mode(&dir.join("a.json"), 0o400);
        store.find("a").unwrap();
        set_mode(&dir, 0o755);
        assert!(matches!(store.find("a"), Err(KeyError::File(FileError::Exposed { mode: 0o755, .. }))));
        assert!(matches!(store.free_name("b"), Err(KeyError::File(FileError::Exposed { .. }))));
    }

    #[test]
    fn what_is_no_key_is_neither_found_nor_listed() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("keys");
        let store = Keystore::new(&dir);
        assert!(matches!(store.find("nobody"), Err(KeyError::Unknown { .. })));
        private_file::create(&dir.join("bad.json"), b"not a key").unwrap();
        private_file::create(&dir.join("a.b.json"), b"{}").unwrap();
        private_file::create(&dir.join("note.txt"), b"{}").unwrap();
        assert!(matches!(store.find("bad"), Err(KeyError::Damaged { .. })));
        assert_eq!(store.names().unwrap(), ["bad"]);
    }
}
