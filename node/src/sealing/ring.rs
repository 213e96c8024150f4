//! The keys themselves, and their files.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use assay_protocol::party::AccountBytes;
use assay_protocol::seal::{EncryptionKey, SealingSecret};
use codec::{Decode, DecodeAll, Encode};
use rand::RngCore;
use rand::rngs::OsRng;
use zeroize::Zeroizing;

use crate::private_file::{self, FileError, io_error};

/// How a key's file ends.
const ENDING: &str = "key";
/// Version of a key's file.
const VERSION: u8 = 1;
/// Bytes of a key's file; ours have 70.
const FILE_BYTES_MAX: usize = 1_024;

/// A key could not be kept, read or deleted.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The file system refused, or other users may read a key.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file does not hold a key of ours.
    #[error("reading the encryption key {}: it is damaged", .0.display())]
    Damaged(PathBuf),
}

/// What a key was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum KeyUse {
    /// To be published for an account, until the next one is.
    Published,
    /// To ask for data on the ledger once (clause J12).
    Need,
}

/// A key of the ring, without its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldKey {
    /// What others seal to.
    pub key: EncryptionKey,
    /// Whose it is.
    pub account: AccountBytes,
    /// What it was made for.
    pub made_for: KeyUse,
    /// Height at which it was made.
    pub made_at: u32,
}

struct Held {
    about: HeldKey,
    secret: SealingSecret,
}

/// What a file holds.
#[derive(Encode, Decode)]
struct Stored {
    version: u8,
    account: AccountBytes,
    made_for: KeyUse,
    made_at: u32,
    secret: [u8; 32],
}

/// Every key that this node can open with.
pub struct KeyRing {
    dir: PathBuf,
    /// Those that follow from other keys; they are never kept nor deleted.
    derived: BTreeMap<EncryptionKey, SealingSecret>,
    held: RwLock<BTreeMap<EncryptionKey, Held>>,
}

impl KeyRing {
    /// Opens the ring whose files lie in `dir`, which is created for its owner alone; `derived` are the keys that
    /// follow from others.
    ///
    /// # Errors
    /// [`RingError`] when a file cannot be read, or is damaged.
    pub fn open(dir: PathBuf, derived: Vec<SealingSecret>) -> Result<Self, RingError> {
        private_file::create_dir(&dir)?;
        private_file::check_dir(&dir)?;
        let mut held = BTreeMap::new();
        for entry in fs::read_dir(&dir).map_err(io_error("listing encryption keys in", &dir))? {
            let path = entry.map_err(io_error("listing encryption keys in", &dir))?.path();
            if path.extension().is_some_and(|ending| ending == ENDING) {
                let bytes = private_file::read(&path, FILE_BYTES_MAX)?;
                if bytes.iter().all(|byte| *byte == 0) {
                    // Its deletion was cut off between the overwriting and the removal.
                    fs::remove_file(&path).map_err(io_error("deleting the encryption key", &path))?;
                    continue;
                }
                let key = read(&path, &bytes)?;
                held.insert(key.about.key, key);
            }
        }
        let derived = derived.into_iter().map(|secret| (secret.public(), secret)).collect();
        Ok(Self { dir, derived, held: RwLock::new(held) })
    }

    /// The secret of a key, if it is of this ring and was not deleted.
    pub fn secret(&self, key: &EncryptionKey) -> Option<SealingSecret> {
        let held = self.read();
        held.get(key).map(|held| &held.secret).or_else(|| self.derived.get(key)).cloned()
    }

    /// Makes a random key, durable when this returns.
    ///
    /// # Errors
    /// [`RingError`] when its file cannot be written.
    pub fn make(
        &self,
        account: AccountBytes,
        made_for: KeyUse,
        height: u32,
    ) -> Result<EncryptionKey, RingError> {
        let mut bytes = Zeroizing::new([0; 32]);
        OsRng.fill_bytes(bytes.as_mut_slice());
        let secret = SealingSecret::from_bytes(*bytes);
        let about = HeldKey { key: secret.public(), account, made_for, made_at: height };
        write(&self.path(&about.key), &about, &secret)?;
        self.write().insert(about.key, Held { about, secret });
        Ok(about.key)
    }

    /// Every key that can be deleted.
    pub fn held(&self) -> Vec<HeldKey> {
        self.read().values().map(|held| held.about).collect()
    }

    /// Deletes a key: its file is overwritten, then removed. What is sealed to it can never be opened again.
    ///
    /// # Errors
    /// [`RingError`] when its file cannot be changed; the key is forgotten in memory all the same.
    pub fn forget(&self, key: &EncryptionKey) -> Result<(), RingError> {
        if self.write().remove(key).is_none() {
            return Ok(());
        }
        let path = self.path(key);
        let overwrite = || -> std::io::Result<()> {
            let mut file = fs::OpenOptions::new().write(true).open(&path)?;
            let size = usize::try_from(file.metadata()?.len()).unwrap_or_default();
            file.write_all(&vec![0; size])?;
            file.sync_all()?;
            fs::remove_file(&path)
        };
        overwrite().map_err(io_error("deleting the encryption key", &path))?;
        Ok(private_file::sync_dir(&self.dir)?)
    }

    fn path(&self, key: &EncryptionKey) -> PathBuf {
        self.dir.join(hex::encode(key.as_bytes())).with_extension(ENDING)
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<EncryptionKey, Held>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<EncryptionKey, Held>> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path, mut bytes: &[u8]) -> Result<Held, RingError> {
    let damaged = || RingError::Damaged(path.into());
    let stored = Stored::decode_all(&mut bytes).map_err(|_| damaged())?;
    let Stored { version, account, made_for, made_at, secret } = stored;
    let secret = SealingSecret::from_bytes(*Zeroizing::new(secret));
    let key = secret.public();
    let is_named = path.file_stem().is_some_and(|stem| stem == hex::encode(key.as_bytes()).as_str());
    if version != VERSION || !is_named {
        return Err(damaged());
    }
    Ok(Held { about: HeldKey { key, account, made_for, made_at }, secret })
}

fn write(path: &Path, about: &HeldKey, secret: &SealingSecret) -> Result<(), RingError> {
    let HeldKey { account, made_for, made_at, .. } = *about;
    let secret = *secret.as_bytes();
    let stored = Zeroizing::new(Stored { version: VERSION, account, made_for, made_at, secret }.encode());
    Ok(private_file::create(path, &stored)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A directory that only its owner enters.
    fn a_closed_dir() -> tempfile::TempDir {
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir().unwrap()
    }

    #[test]
    fn a_key_opens_until_it_is_forgotten_and_then_never_again() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("sealing");
        let open = || KeyRing::open(dir.clone(), vec![SealingSecret::from_bytes([5; 32])]).unwrap();
        let (kept, gone) = {
            let ring = open();
            let [kept, gone] =
                [KeyUse::Published, KeyUse::Need].map(|made_for| ring.make([1; 32], made_for, 7).unwrap());
            assert_eq!(ring.secret(&gone).unwrap().public(), gone);
            ring.forget(&gone).unwrap();
            assert!(ring.secret(&gone).is_none());
            (kept, gone)
        };
        let ring = open();
        assert_eq!(ring.secret(&kept).unwrap().public(), kept);
        assert!(ring.secret(&gone).is_none());
        let about = HeldKey { key: kept, account: [1; 32], made_for: KeyUse::Published, made_at: 7 };
        assert_eq!(ring.held(), [about]);
        let derived = SealingSecret::from_bytes([5; 32]).public();
        ring.forget(&derived).unwrap();
        assert!(ring.secret(&derived).is_some(), "what follows from another key cannot be deleted");
        let files: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1);
        assert_eq!(fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_deleted_keys_bytes_are_overwritten_where_they_stood() {
        let dir = a_closed_dir();
        let ring = KeyRing::open(dir.path().into(), vec![]).unwrap();
        let key = ring.make([1; 32], KeyUse::Published, 7).unwrap();
        let secret = *ring.secret(&key).unwrap().as_bytes();
        // A second name of the same bytes shows what becomes of them.
        let witness = dir.path().join("witness");
        fs::hard_link(ring.path(&key), &witness).unwrap();
        let holds = || fs::read(&witness).unwrap().windows(32).any(|window| window == secret);
        assert!(holds());
        ring.forget(&key).unwrap();
        assert!(!holds());
    }

    #[test]
    fn a_deletion_that_was_cut_off_is_completed() {
        let dir = a_closed_dir();
        let open = || KeyRing::open(dir.path().into(), vec![]).unwrap();
        let path = {
            let ring = open();
            let key = ring.make([1; 32], KeyUse::Published, 7).unwrap();
            ring.path(&key)
        };
        let size = fs::metadata(&path).unwrap().len() as usize;
        fs::write(&path, vec![0; size]).unwrap();
        assert!(open().held().is_empty());
        assert!(!path.exists());
    }

    #[test]
    fn a_damaged_or_renamed_file_is_refused() {
        let dir = a_closed_dir();
        let key = {
            let ring = KeyRing::open(dir.path().into(), vec![]).unwrap();
            let key = ring.make([1; 32], KeyUse::Published, 7).unwrap();
            ring.path(&key)
        };
        let renamed = dir.path().join("00.key");
        fs::rename(&key, &renamed).unwrap();
        assert!(matches!(KeyRing::open(dir.path().into(), vec![]), Err(RingError::Damaged(_))));
        fs::write(&renamed, [1, 2]).unwrap();
        assert!(matches!(KeyRing::open(dir.path().into(), vec![]), Err(RingError::Damaged(_))));
    }
}
