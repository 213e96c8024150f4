//! The file of an encrypted key: a mnemonic's entropy under Argon2id and XChaCha20-Poly1305.
//!
//! ```text
//! key        = Argon2id v1.3 (passphrase in NFKC as UTF-8, salt, memory, passes, lanes), 32 bytes
//! header     = H("assay/key-file/1", account, memoryKib u32, passes u32, lanes u32, salt, nonce)
//! ciphertext = XChaCha20-Poly1305 (key, nonce, additional data = header, plaintext = entropy)
//! checksum   = H("assay/key-file-checksum/1", header, ciphertext)
//! ```
//! `H` is SHA-256 over the tag, a zero byte and the fields; integers are little-endian. The account is public, so
//! that an address can be looked up without a passphrase, and bound to the secret, so that it cannot be changed.
//! The checksum tells damage from a wrong passphrase; against whoever can write the file, the header protects.

use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use assay_manifest::{Digest32, TaggedHash};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rand::RngCore;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sp_core::crypto::Ss58Codec;
use sp_runtime::AccountId32;
use zeroize::Zeroizing;

use super::{Key, KeyError, KeyRef, Passphrase, Words};

const FORMAT: &str = "assay-key";
const VERSION: u32 = 1;
const KDF: &str = "argon2id";
const CIPHER: &str = "xchacha20-poly1305";
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;

/// What trying one passphrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes, which may be computed side by side.
    pub lanes: u32,
}

impl Cost {
    /// The second choice of RFC 9106 with one lane, since we compute one after another: three passes over 64 MiB,
    /// five times the least that OWASP recommends (19 MiB, two passes).
    pub const DEFAULT: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
    /// The most that a file may ask of this machine.
    const MAX: Self = Self { memory_kib: 1024 * 1024, passes: 64, lanes: 16 };

    fn argon2(self) -> Result<Argon2<'static>, String> {
        let Self { memory_kib, passes, lanes } = self;
        if memory_kib > Self::MAX.memory_kib || passes > Self::MAX.passes || lanes > Self::MAX.lanes {
            return Err("it asks for more memory or time than any key of ours".into());
        }
        let params = Params::new(memory_kib, passes, lanes, None).map_err(|error| error.to_string())?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

/// The text of a key file; its fields are those of the module's table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeyFile {
    format: String,
    version: u32,
    address: String,
    kdf: Kdf,
    cipher: Cipher,
    checksum: Digest32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kdf {
    name: String,
    cost: Cost,
    salt: Hex,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cipher {
    name: String,
    nonce: Hex,
    ciphertext: Hex,
}

/// What every version of the format begins with.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
}

/// A key whose file is sound, and whose secret is still encrypted.
#[derive(Clone, Debug)]
pub struct LockedKey {
    name: KeyRef,
    account: AccountId32,
    cost: Cost,
    salt: [u8; SALT_BYTES],
    nonce: [u8; NONCE_BYTES],
    ciphertext: Vec<u8>,
}

impl LockedKey {
    /// Encrypts words under a passphrase, with fresh randomness.
    ///
    /// # Errors
    /// [`KeyError::Kdf`] when the machine lacks the memory.
    pub fn seal(name: KeyRef, words: &Words, passphrase: &Passphrase) -> Result<Self, KeyError> {
        let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_BYTES]);
        rand::rngs::OsRng.fill_bytes(&mut salt);
        rand::rngs::OsRng.fill_bytes(&mut nonce);
        let account = Key::derive(name.to_string(), words, "")?.account();
        let empty = Self { name, account, cost: Cost::DEFAULT, salt, nonce, ciphertext: Vec::new() };
        let header = empty.header();
        let payload = Payload { msg: words.entropy(), aad: header.as_bytes() };
        let sealed = empty.cipher(passphrase)?.encrypt(&XNonce::from(nonce), payload);
        let ciphertext = sealed.map_err(|_| KeyError::Kdf("encrypting failed".into()))?;
        Ok(Self { ciphertext, ..empty })
    }

    /// Reads the text of a file; `path` is for messages.
    ///
    /// # Errors
    /// [`KeyError::Damaged`] or [`KeyError::OtherVersion`].
    pub fn parse(name: KeyRef, path: &Path, text: &[u8]) -> Result<Self, KeyError> {
        let damaged = |cause: String| KeyError::Damaged { path: path.into(), cause };
        let head: Head = serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
        if head.format != FORMAT {
            return Err(damaged(format!("it is not a key file, but {:?}", head.format)));
        }
        if head.version != VERSION {
            return Err(KeyError::OtherVersion { path: path.into(), found: head.version });
        }
        let file: KeyFile = serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
        Self::check(name, file).map_err(damaged)
    }

    fn check(name: KeyRef, file: KeyFile) -> Result<Self, String> {
        if (file.kdf.name.as_str(), file.cipher.name.as_str()) != (KDF, CIPHER) {
            return Err(format!(
                "{} with {} is not what this version computes",
                file.kdf.name, file.cipher.name
            ));
        }
        file.kdf.cost.argon2()?;
        let account = AccountId32::from_ss58check(&file.address);
        let read = Self {
            name,
            account: account.map_err(|error| format!("its address is malformed: {error}"))?,
            cost: file.kdf.cost,
            salt: file.kdf.salt.fixed("salt")?,
            nonce: file.cipher.nonce.fixed("nonce")?,
            ciphertext: file.cipher.ciphertext.0,
        };
        if read.checksum() != file.checksum {
            return Err("its checksum is wrong".into());
        }
        Ok(read)
    }

    /// The text of the file.
    ///
    /// # Errors
    /// Never in practice: every field has a JSON form.
    pub fn text(&self) -> Result<Vec<u8>, serde_json::Error> {
        let hex = |bytes: &[u8]| Hex(bytes.to_vec());
        let file = KeyFile {
            format: FORMAT.into(),
            version: VERSION,
            address: self.account.to_ss58check(),
            kdf: Kdf { name: KDF.into(), cost: self.cost, salt: hex(&self.salt) },
            cipher: Cipher {
                name: CIPHER.into(),
                nonce: hex(&self.nonce),
                ciphertext: hex(&self.ciphertext),
            },
            checksum: self.checksum(),
        };
        let mut text = serde_json::to_vec_pretty(&file)?;
        text.push(b'\n');
        Ok(text)
    }

    /// The name by which it was asked for.
    pub const fn name(&self) -> &KeyRef {
        &self.name
    }

    /// The account of the words themselves, without the path of the name.
    pub const fn account(&self) -> &AccountId32 {
        &self.account
    }

    /// What a guess of the passphrase costs.
    pub const fn cost(&self) -> Cost {
        self.cost
    }

    /// Decrypts the key, or the one that the name derives from it.
    ///
    /// # Errors
    /// [`KeyError::WrongPassphrase`]; [`KeyError::BadPath`] when the path cannot be followed.
    pub fn unlock(&self, passphrase: &Passphrase) -> Result<Key, KeyError> {
        Key::derive(self.name.to_string(), &self.words(passphrase)?, self.name.path())
    }

    /// Decrypts the words.
    ///
    /// # Errors
    /// [`KeyError::WrongPassphrase`].
    pub fn words(&self, passphrase: &Passphrase) -> Result<Words, KeyError> {
        let wrong = || KeyError::WrongPassphrase(self.name.name().into());
        let header = self.header();
        let payload = Payload { msg: &self.ciphertext, aad: header.as_bytes() };
        let opened = self.cipher(passphrase)?.decrypt(&XNonce::from(self.nonce), payload);
        let entropy = Zeroizing::new(opened.map_err(|_| wrong())?);
        Words::from_entropy(entropy)
    }

    fn cipher(&self, passphrase: &Passphrase) -> Result<XChaCha20Poly1305, KeyError> {
        let mut key = Zeroizing::new([0; 32]);
        let kdf = self.cost.argon2().map_err(KeyError::Kdf)?;
        kdf.hash_password_into(passphrase.as_bytes(), &self.salt, &mut *key)
            .map_err(|error| KeyError::Kdf(error.to_string()))?;
        Ok(XChaCha20Poly1305::new((&*key).into()))
    }

    fn header(&self) -> Digest32 {
        let Cost { memory_kib, passes, lanes } = self.cost;
        TaggedHash::new("assay/key-file/1")
            .fixed(self.account.as_ref())
            .u32(memory_kib)
            .u32(passes)
            .u32(lanes)
            .fixed(&self.salt)
            .fixed(&self.nonce)
            .finish()
    }

    fn checksum(&self) -> Digest32 {
        let tagged = TaggedHash::new("assay/key-file-checksum/1");
        tagged.digest(&self.header()).fixed(&self.ciphertext).finish()
    }
}

/// Bytes as `0x` and hex digits.
#[derive(Clone, Debug)]
struct Hex(Vec<u8>);

impl Hex {
    fn fixed<const N: usize>(self, what: &str) -> Result<[u8; N], String> {
        <[u8; N]>::try_from(self.0).map_err(|bytes| format!("its {what} has {} bytes, not {N}", bytes.len()))
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("0x{}", hex::encode(&self.0)))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("0x").ok_or_else(|| serde::de::Error::custom("hex begins with 0x"))?;
        hex::decode(digits).map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
