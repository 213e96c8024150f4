//! Names that accounts give to what they register.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A name within an account: 1 to 64 bytes of `a-z 0-9 . _ -`, beginning and ending with a letter or digit.
///
/// The alphabet holds no letters that only differ by case or script, which no folding tells apart as reliably
/// as leaving them out; what still looks alike is folded by [`ArtifactName::folded`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArtifactName(String);

/// Longest name, in bytes: what fits in a table's column.
pub const NAME_BYTES_MAX: u32 = 64;

/// Longest folded name, in bytes: every character may become two.
pub const FOLDED_BYTES_MAX: u32 = 2 * NAME_BYTES_MAX;

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
    ///
    /// It makes equal whatever UTS #39 makes equal within the alphabet (0 and O, 1 and l, m and rn), and what
    /// common fonts show alike besides.
    pub fn folded(&self) -> String {
        let mut folded = String::with_capacity(self.0.len());
        for character in self.0.chars() {
            match character {
                '0' => folded.push('o'),
                '1' | 'i' => folded.push('l'),
                '5' => folded.push('s'),
                '_' | '.' => folded.push('-'),
                'd' => folded.push_str("cl"),
                'm' => folded.push_str("rn"),
                'w' => folded.push_str("vv"),
                other => folded.push(other),
            }
        }
        folded
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

    fn folded(text: &str) -> String {
        text.parse::<ArtifactName>().unwrap().folded()
    }

    #[test]
    fn look_alikes_fold_to_one() {
        assert_eq!(folded("m0del-v1.i"), folded("rnodel_vl-l"));
        assert_eq!(folded("window"), folded("vvinclow"));
        assert_ne!(folded("model-v2"), folded("model-v3"));
        assert_eq!(folded(&"w".repeat(64)).len(), FOLDED_BYTES_MAX as usize);
    }

    /// Every name of three characters, under the skeleton of UTS #39 in both cases that a font may show.
    #[test]
    fn what_unicode_calls_confusable_folds_to_one() {
        let alphabet: Vec<char> = ('a'..='z').chain('0'..='9').chain(['.', '_', '-']).collect();
        let mut seen = std::collections::HashMap::<String, String>::new();
        let mut names = 0;
        for first in &alphabet {
            for second in &alphabet {
                for third in &alphabet {
                    let Ok(name) = String::from_iter([first, second, third]).parse::<ArtifactName>() else {
                        continue;
                    };
                    names += 1;
                    let skeleton: String =
                        unicode_security::skeleton(name.as_str()).collect::<String>().to_lowercase();
                    let there = seen.entry(skeleton).or_insert_with(|| name.folded());
                    assert_eq!(*there, name.folded(), "{name} looks like another name");
                }
            }
        }
        assert_eq!(names, 36 * 39 * 36);
    }
}
