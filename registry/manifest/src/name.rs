//! Names that accounts give to what they register.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A name within an account: 1 to 64 bytes of `a-z 0-9 . _ -`, beginning and ending with a letter or digit.
///
/// The alphabet holds no letters that only differ by case or script; what still looks alike is folded by
/// [`ArtifactName::folded`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArtifactName(String);

/// Longest name, in bytes: what fits in a table's column.
pub const NAME_BYTES_MAX: u32 = 64;

/// Text that cannot be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 64 of a-z, 0-9, '.', '_' and '-', with a letter or digit at both ends")]
pub struct NameError;

impl ArtifactName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name with look-alikes made equal; names of one account must differ in this form.
    pub fn folded(&self) -> String {
        let fold = |c| match c {
            '0' => 'o',
            '1' | 'i' => 'l',
            '5' => 's',
            '_' | '.' => '-',
            other => other,
        };
        self.0.chars().map(fold).collect()
    }
}

impl FromStr for ArtifactName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let allowed = |byte: &u8| alphanumeric(byte) || matches!(byte, b'.' | b'_' | b'-');
        let bytes = text.as_bytes();
        let ends = bytes.first().is_some_and(alphanumeric) && bytes.last().is_some_and(alphanumeric);
        if ends && bytes.len() <= NAME_BYTES_MAX as usize && bytes.iter().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError)
        }
    }
}

impl TryFrom<String> for ArtifactName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ArtifactName> for String {
    fn from(name: ArtifactName) -> Self {
        name.0
    }
}

impl fmt::Display for ArtifactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_parse() {
        for good in ["a", "7b", "tiny-reader", "qwen2.5_0.5b", &"x".repeat(64)] {
            assert_eq!(good.parse::<ArtifactName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a.", "A", "a b", "a/b", "ä", "а", &"x".repeat(65)] {
            assert_eq!(bad.parse::<ArtifactName>(), Err(NameError), "{bad}");
        }
    }

    #[test]
    fn look_alikes_fold_to_one() {
        let folded = |text: &str| text.parse::<ArtifactName>().unwrap().folded();
        assert_eq!(folded("m0del-v1.i"), folded("model_vl-l"));
        assert_ne!(folded("model-v2"), folded("model-v3"));
    }
}
