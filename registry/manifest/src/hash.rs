//! 32-byte digests, the tagged hash that every commitment is made with, and the ids built on them.

use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// A 32-byte hash; prints, parses and serialises as `0x` and lowercase hex.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct Digest32([u8; 32]);

/// Text that is not 32 bytes of hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hex digits, with or without 0x")]
pub struct ParseDigestError;

impl Digest32 {
    /// 32 zero bytes: "nothing here", never the hash of something.
    pub const ZERO: Self = Self([0; 32]);

    /// Wraps bytes that are already a hash.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest32 {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let mut bytes = [0; 32];
        let digits = text.strip_prefix("0x").unwrap_or(text);
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| ParseDigestError)?;
        Ok(Self(bytes))
    }
}

impl Serialize for Digest32 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Plain SHA-256.
pub fn sha256(data: &[u8]) -> Digest32 {
    Digest32(Sha256::digest(data).into())
}

/// SHA-256 over `tag ‖ NUL ‖ fields`: integers little-endian at fixed width, variable fields prefixed by
/// their u32 length, so that no two lists of fields give the same bytes.
#[derive(Clone, Debug)]
#[must_use]
pub struct TaggedHash(Sha256);

impl TaggedHash {
    /// Starts a hash in the domain of `tag`, an ASCII name such as `assay/job/1`.
    pub fn new(tag: &str) -> Self {
        debug_assert!(tag.is_ascii() && !tag.contains('\0'), "a tag is ASCII without NUL");
        Self(Sha256::new().chain_update(tag).chain_update([0]))
    }

    /// A field whose length the tag fixes.
    pub fn fixed(self, bytes: &[u8]) -> Self {
        Self(self.0.chain_update(bytes))
    }

    /// A digest field.
    pub fn digest(self, digest: &Digest32) -> Self {
        self.fixed(&digest.0)
    }

    /// One byte.
    pub fn u8(self, value: u8) -> Self {
        self.fixed(&[value])
    }

    /// Two bytes, little-endian.
    pub fn u16(self, value: u16) -> Self {
        self.fixed(&value.to_le_bytes())
    }

    /// Four bytes, little-endian.
    pub fn u32(self, value: u32) -> Self {
        self.fixed(&value.to_le_bytes())
    }

    /// Eight bytes, little-endian.
    pub fn u64(self, value: u64) -> Self {
        self.fixed(&value.to_le_bytes())
    }

    /// Sixteen bytes, little-endian.
    pub fn u128(self, value: u128) -> Self {
        self.fixed(&value.to_le_bytes())
    }

    /// A field of variable length, under 4 GiB.
    pub fn var(self, bytes: &[u8]) -> Self {
        debug_assert!(u32::try_from(bytes.len()).is_ok(), "callers bound their fields far below 4 GiB");
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).fixed(bytes)
    }

    /// The digest.
    pub fn finish(self) -> Digest32 {
        Digest32(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_is_the_standard_one() {
        let empty = "0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b"").to_string(), empty);
    }

    #[test]
    fn text_form_round_trips_with_and_without_prefix() {
        let digest = sha256(b"assay");
        let text = digest.to_string();
        assert_eq!(text.parse(), Ok(digest));
        assert_eq!(text.trim_start_matches("0x").parse(), Ok(digest));
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<Digest32>(&format!("\"{text}\"")).unwrap(), digest);
        for wrong in ["", "0x", "0x00", "zz", &text[..65], &format!("{text}00"), &format!("0x{text}")] {
            assert_eq!(wrong.parse::<Digest32>(), Err(ParseDigestError), "{wrong}");
        }
    }

    #[test]
    fn a_tagged_hash_is_sha256_of_tag_nul_and_fields() {
        let built = TaggedHash::new("assay/t/1").u8(1).u32(2).u64(3).u128(4).var(b"xy").fixed(b"z").finish();
        let mut bytes = b"assay/t/1\0".to_vec();
        bytes.push(1);
        bytes.extend(2u32.to_le_bytes());
        bytes.extend(3u64.to_le_bytes());
        bytes.extend(4u128.to_le_bytes());
        bytes.extend(2u32.to_le_bytes());
        bytes.extend(b"xyz");
        assert_eq!(built, sha256(&bytes));
    }

    #[test]
    fn moving_a_byte_between_variable_fields_changes_the_hash() {
        let split = |a: &[u8], b: &[u8]| TaggedHash::new("assay/t/1").var(a).var(b).finish();
        assert_ne!(split(b"ab", b"c"), split(b"a", b"bc"));
    }
}
