//! The keys that a machine works with while nobody watches it, one file each.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use assay_manifest::{Digest32, TaggedHash};
use assay_protocol::seal::{EncryptionKey, SealingSecret};
use ed25519_dalek::SigningKey;
use rand::RngCore;
use serde::{Deserialize, Serialize};
use sp_core::crypto::Ss58Codec;
use sp_core::{Pair, sr25519};
use sp_runtime::AccountId32;
use zeroize::Zeroizing;

use super::{Key, KeyError};
use crate::private_file::{self, FileError};

const FORMAT: &str = "assay-role-key";
const VERSION: u32 = 1;
/// Bytes of a role file; ours have about 300.
const FILE_BYTES_MAX: usize = 16 * 1024;

/// What a key is for. One is never used for another's purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Signs the job steps of this account.
    Work(AccountId32),
    /// Signs a validator's blocks and verdicts.
    Consensus,
    /// Evaluates a validator's part of the beacon.
    Vrf,
    /// Opens what is sealed to a validator that referees.
    Encryption,
    /// Signs receipts of models that are run here.
    Receipts,
    /// By which nodes know this one on the network.
    Network,
}

impl Role {
    const fn name(&self) -> &'static str {
        match self {
            Self::Work(_) => "work",
            Self::Consensus => "consensus",
            Self::Vrf => "vrf",
            Self::Encryption => "encryption",
            Self::Receipts => "receipts",
            Self::Network => "network",
        }
    }

    fn address(&self) -> Option<String> {
        match self {
            Self::Work(account) => Some(account.to_ss58check()),
            Self::Consensus | Self::Vrf | Self::Encryption | Self::Receipts | Self::Network => None,
        }
    }

    fn file_name(&self) -> String {
        match self.address() {
            Some(address) => format!("{}-{address}.json", self.name()),
            None => format!("{}.json", self.name()),
        }
    }

    fn public(&self, seed: &Seed) -> Digest32 {
        match self {
            Self::Consensus | Self::Network => {
                Digest32::from_bytes(seed.ed25519().verifying_key().to_bytes())
            }
            Self::Encryption => seed.sealing().public(),
            Self::Work(_) | Self::Vrf | Self::Receipts => Digest32::from_bytes(seed.sr25519().public().0),
        }
    }
}

/// The secret of a role key; its memory is overwritten when it is dropped.
pub struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    /// A fresh one from the operating system's randomness.
    fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::rngs::OsRng.fill_bytes(&mut *bytes);
        Self(bytes)
    }

    /// As a key of the curve of accounts and job steps.
    pub fn sr25519(&self) -> sr25519::Pair {
        sr25519::Pair::from_seed(&self.0)
    }

    /// As a key that opens what is sealed to it.
    pub fn sealing(&self) -> SealingSecret {
        SealingSecret::from_bytes(*self.0)
    }

    /// As a key of the curve of validators' signatures and of nodes' names.
    pub fn ed25519(&self) -> SigningKey {
        SigningKey::from_bytes(&self.0)
    }
}

/// The text of a role file. The secret is borrowed from a buffer that is overwritten.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleFile<'a> {
    format: &'a str,
    version: u32,
    role: &'a str,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    address: Option<String>,
    public: Digest32,
    secret: &'a str,
}

/// What every version of the format begins with.
#[derive(Deserialize)]
struct Head<'a> {
    format: &'a str,
    version: u32,
}

/// The directory of role keys.
#[derive(Clone, Debug)]
pub struct RoleKeys {
    dir: PathBuf,
}

impl RoleKeys {
    /// The keys in `dir`, which is created when the first key is.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Where they lie.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The key of a role, if this machine has it.
    ///
    /// # Errors
    /// [`KeyError`] when others may read it, or its file is damaged.
    pub fn load(&self, role: &Role) -> Result<Option<Seed>, KeyError> {
        let path = self.path(role);
        private_file::check_dir(&self.dir)?;
        match private_file::read(&path, FILE_BYTES_MAX) {
            Ok(text) => parse(role, &path, &text).map(Some),
            Err(FileError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The key of a role; a fresh one, durable when this returns, if there was none.
    ///
    /// # Errors
    /// As [`Self::load`], or what the file system says.
    pub fn load_or_create(&self, role: &Role) -> Result<Seed, KeyError> {
        if let Some(there) = self.load(role)? {
            return Ok(there);
        }
        let (path, seed) = (self.path(role), Seed::generate());
        match private_file::create(&path, &text(role, &path, &seed)?) {
            Ok(()) => Ok(seed),
            // Another process was faster: its key is the key.
            Err(FileError::Exists(_)) => parse(role, &path, &private_file::read(&path, FILE_BYTES_MAX)?),
            Err(error) => Err(error.into()),
        }
    }

    /// What sells compute as an account, if this machine may.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn seller(&self, account: &AccountId32) -> Result<Option<Seller>, KeyError> {
        let seed = self.load(&Role::Work(account.clone()))?;
        Ok(seed.map(|seed| Seller { account: account.clone(), work: seed.sr25519() }))
    }

    /// The same, with a fresh work key if there was none.
    ///
    /// # Errors
    /// As [`Self::load_or_create`].
    pub fn seller_or_create(&self, account: &AccountId32) -> Result<Seller, KeyError> {
        let seed = self.load_or_create(&Role::Work(account.clone()))?;
        Ok(Seller { account: account.clone(), work: seed.sr25519() })
    }

    /// The file of a role, whether or not it is there.
    pub fn path(&self, role: &Role) -> PathBuf {
        self.dir.join(role.file_name())
    }
}

fn text(role: &Role, path: &Path, seed: &Seed) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let mut secret = Zeroizing::new([0; 66]);
    secret[..2].copy_from_slice(b"0x");
    let damaged = |cause: String| KeyError::Damaged { path: path.into(), cause };
    hex::encode_to_slice(seed.0.as_slice(), &mut secret[2..]).map_err(|error| damaged(error.to_string()))?;
    let file = RoleFile {
        format: FORMAT,
        version: VERSION,
        role: role.name(),
        address: role.address(),
        public: role.public(seed),
        secret: std::str::from_utf8(&*secret).map_err(|error| damaged(error.to_string()))?,
    };
    // A vector that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX));
    serde_json::to_writer_pretty(&mut *text, &file).map_err(|error| damaged(error.to_string()))?;
    text.push(b'\n');
    Ok(text)
}

fn parse(role: &Role, path: &Path, text: &[u8]) -> Result<Seed, KeyError> {
    let damaged = |cause: &str| KeyError::Damaged { path: path.into(), cause: cause.into() };
    let head: Head<'_> = serde_json::from_slice(text).map_err(|error| damaged(&error.to_string()))?;
    if head.format != FORMAT {
        return Err(damaged("it is not the file of a role's key"));
    }
    if head.version != VERSION {
        return Err(KeyError::OtherVersion { path: path.into(), found: head.version });
    }
    // The parser's messages may repeat what they found, so a malformed secret is not passed to them.
    let file: RoleFile<'_> =
        serde_json::from_slice(text).map_err(|_| damaged("its fields are not a role key's"))?;
    if file.role != role.name() || file.address != role.address() {
        return Err(damaged("it is the key of another role or account"));
    }
    let mut seed = Seed(Zeroizing::new([0; 32]));
    let digits = file.secret.strip_prefix("0x").unwrap_or_default();
    hex::decode_to_slice(digits, &mut *seed.0).map_err(|_| damaged("its secret is not 64 hex digits"))?;
    if role.public(&seed) != file.public {
        return Err(damaged("its secret is not that of its public key"));
    }
    Ok(seed)
}

/// What a machine needs to sell compute as an account; the account's own secret is not among it.
#[derive(Clone)]
pub struct Seller {
    /// The account that is paid, and whose stake stands for the answers.
    pub account: AccountId32,
    /// Signs its job steps.
    pub work: sr25519::Pair,
}

/// The keys that a provider's account names on the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedKeys {
    /// Its job steps are signed by this one.
    pub work_key: Digest32,
    /// Inputs are sealed to this one.
    pub encryption_key: EncryptionKey,
}

impl Seller {
    /// A seller with keys that anybody can derive.
    ///
    /// # Errors
    /// [`KeyError::BadUri`] when the URI is not a plain derivation.
    pub fn development(uri: &str) -> Result<Self, KeyError> {
        let work = Key::development(&format!("{uri}//work"))?;
        Ok(Self { account: Key::development(uri)?.account(), work: work.pair })
    }

    /// What the account has to publish before a node works for it.
    pub fn published(&self) -> PublishedKeys {
        PublishedKeys {
            work_key: Digest32::from_bytes(self.work.public().0),
            encryption_key: self.first_sealing_secret().public(),
        }
    }

    /// Opens what is sealed to the account until its first rotation. It follows from the work key, so that it can
    /// be published before a node runs.
    pub fn first_sealing_secret(&self) -> SealingSecret {
        let secret = Zeroizing::new(self.work.as_ref().secret.to_bytes());
        let seed = TaggedHash::new("assay/encryption-key/1").fixed(secret.as_slice()).finish();
        SealingSecret::from_bytes(*seed.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn account() -> AccountId32 {
        Key::development("//Alice").unwrap().account()
    }

    fn all() -> [Role; 6] {
        [Role::Work(account()), Role::Consensus, Role::Vrf, Role::Encryption, Role::Receipts, Role::Network]
    }

    #[test]
    fn a_role_key_is_made_once_private_and_no_other_roles() {
        let dir = tempfile::tempdir().unwrap();
        let keys = RoleKeys::new(dir.path().join("roles"));
        let mut seeds = Vec::new();
        for role in all() {
            assert!(keys.load(&role).unwrap().is_none(), "{role:?}");
            let seed = keys.load_or_create(&role).unwrap();
            assert_eq!(*keys.load(&role).unwrap().unwrap().0, *seed.0, "{role:?}");
            assert_eq!(*keys.load_or_create(&role).unwrap().0, *seed.0, "{role:?}");
            let mode = fs::metadata(keys.path(&role)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{role:?}");
            seeds.push(*seed.0);
        }
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 6, "no two roles share a key");
        let other = Key::development("//Bob").unwrap().account();
        assert!(keys.seller(&other).unwrap().is_none());
        assert_ne!(
            keys.seller(&account()).unwrap().unwrap().work.public(),
            keys.seller_or_create(&other).unwrap().work.public()
        );
    }

    #[test]
    fn a_role_file_that_was_changed_moved_or_opened_to_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let keys = RoleKeys::new(dir.path().join("roles"));
        keys.load_or_create(&Role::Vrf).unwrap();
        let (path, consensus) = (keys.path(&Role::Vrf), keys.path(&Role::Consensus));
        let text = fs::read_to_string(&path).unwrap();
        fs::copy(&path, &consensus).unwrap();
        let refused = |role: Role| keys.load(&role).err().map(|error| error.to_string()).unwrap();
        assert!(refused(Role::Consensus).contains("another role"));
        let cases = [
            (text.replace("\"secret\": \"0x", "\"secret\": \"0xz"), "not 64 hex digits"),
            (text.replace("\"version\": 1", "\"version\": 2"), "format 2"),
            (text.replace(FORMAT, "other"), "not the file of a role"),
            (text.replace("\"role\"", "\"rule\""), "fields"),
            (
                text.replacen("\"public\": \"0x", "\"public\": \"0x00", 1).replacen(
                    "00\",\n  \"secret",
                    "\",\n  \"secret",
                    1,
                ),
                "fields",
            ),
            (text[..text.len() / 2].into(), "EOF"),
        ];
        for (altered, reason) in cases {
            fs::write(&path, &altered).unwrap();
            let told = refused(Role::Vrf);
            assert!(told.contains(reason), "{reason}: {told}");
        }
        let digit = if text.contains("\"secret\": \"0x0") { "1" } else { "0" };
        let at = text.find("\"secret\": \"0x").unwrap() + "\"secret\": \"0x".len();
        fs::write(&path, [&text[..at], digit, &text[at + 1..]].concat()).unwrap();
        assert!(refused(Role::Vrf).contains("not that of its public key"));
        fs::write(&path, &text).unwrap();
        keys.load(&Role::Vrf).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(refused(Role::Vrf).contains("640"));
    }

    #[test]
    fn a_seller_works_with_keys_that_are_not_the_accounts_own() {
        let alice = Seller::development("//Alice").unwrap();
        let published = alice.published();
        assert_eq!(alice.account, account());
        assert_ne!(published.work_key.as_bytes(), <AccountId32 as AsRef<[u8; 32]>>::as_ref(&alice.account));
        assert_ne!(published.work_key, published.encryption_key);
        assert!(Seller::development("Alice").is_err());
    }
}
