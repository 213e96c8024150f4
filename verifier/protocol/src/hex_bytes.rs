//! Byte arrays as `0x` hex in JSON, for serde's `with`.

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Writes `0x` and lowercase hex.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer, const N: usize>(bytes: &[u8; N], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("0x{}", hex::encode(bytes)))
}

/// Reads hex with or without `0x`.
///
/// # Errors
/// When the text is not hex of exactly `N` bytes.
pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u8; N], D::Error> {
    let text = String::deserialize(deserializer)?;
    let mut bytes = [0; N];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(&text), &mut bytes).map_err(D::Error::custom)?;
    Ok(bytes)
}

/// The same for an optional array.
pub mod option {
    use super::{Deserialize, Deserializer, Serializer};

    struct Hex<'a, const N: usize>(&'a [u8; N]);

    impl<const N: usize> serde::Serialize for Hex<'_, N> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            super::serialize(self.0, serializer)
        }
    }

    /// Writes null or hex.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer, const N: usize>(
        bytes: &Option<[u8; N]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => serializer.serialize_some(&Hex(bytes)),
            None => serializer.serialize_none(),
        }
    }

    /// Reads null or hex.
    ///
    /// # Errors
    /// When the text is not hex of exactly `N` bytes.
    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<Option<[u8; N]>, D::Error> {
        #[derive(Deserialize)]
        #[serde(transparent)]
        struct Read<const N: usize>(#[serde(with = "super")] [u8; N]);
        Ok(Option::<Read<N>>::deserialize(deserializer)?.map(|read| read.0))
    }
}

/// The same for a list of bytes.
pub mod list {
    use super::{Deserialize, Deserializer, Error, Serializer};

    /// Writes `0x` and lowercase hex.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("0x{}", hex::encode(bytes)))
    }

    /// Reads hex with or without `0x`.
    ///
    /// # Errors
    /// When the text is not hex.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text.strip_prefix("0x").unwrap_or(&text)).map_err(D::Error::custom)
    }
}
