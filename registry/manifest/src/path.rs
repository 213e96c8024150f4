//! Paths inside an artifact.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use unicode_normalization::is_nfc;

/// A path relative to the artifact's root that means the same file on every system: components separated
/// by `/`, none empty, `.` or `..`, in Unicode NFC, without backslash, colon or control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelativePath(String);

/// Longest path, in bytes: `PATH_MAX` of the strictest common system, macOS.
pub const PATH_BYTES_MAX: u32 = 1024;
/// Longest component, in bytes: `NAME_MAX` of common file systems.
const COMPONENT_BYTES_MAX: usize = 255;

/// Why text is not a path of an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Empty, over 1024 bytes, or with a component over 255.
    #[error("checking a path: empty or too long")]
    Length,
    /// An empty component, `.` or `..`; also of absolute paths.
    #[error("checking a path: a component is empty, '.' or '..'")]
    Component,
    /// A backslash, a colon or a control character.
    #[error("checking a path: backslash, colon or control character")]
    Character,
    /// Not in Unicode normalization form C.
    #[error("checking a path: not in Unicode form NFC")]
    NotNormal,
}

impl RelativePath {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// Whether the path stands in the artifact's root.
    pub fn is_top_level(&self) -> bool {
        !self.0.contains('/')
    }

    /// The form in which no two paths of an artifact may agree, for systems that ignore case.
    pub(crate) fn folded(&self) -> String {
        self.0.to_lowercase()
    }
}

impl FromStr for RelativePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.is_empty() || text.len() > PATH_BYTES_MAX as usize {
            return Err(PathError::Length);
        }
        if text.contains(|c: char| matches!(c, '\\' | ':') || c.is_control()) {
            return Err(PathError::Character);
        }
        for component in text.split('/') {
            if matches!(component, "" | "." | "..") {
                return Err(PathError::Component);
            }
            if component.len() > COMPONENT_BYTES_MAX {
                return Err(PathError::Length);
            }
        }
        if !is_nfc(text) {
            return Err(PathError::NotNormal);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for RelativePath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        text.parse()
    }
}

impl From<RelativePath> for String {
    fn from(path: RelativePath) -> Self {
        path.0
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_mean_one_file_everywhere_parse() {
        for good in ["a", "a/b.c", ".gitattributes", "dir/größe", "a..b", &"x".repeat(255)] {
            assert_eq!(good.parse::<RelativePath>().unwrap().as_str(), good);
        }
        let cases = [
            ("", PathError::Length),
            (&"x".repeat(256), PathError::Length),
            (&"x/".repeat(513), PathError::Length),
            ("/a", PathError::Component),
            ("a/", PathError::Component),
            ("a//b", PathError::Component),
            ("./a", PathError::Component),
            ("a/../b", PathError::Component),
            ("a\\b", PathError::Character),
            ("C:a", PathError::Character),
            ("a\0", PathError::Character),
            ("a\n", PathError::Character),
            ("gro\u{308}sse", PathError::NotNormal),
        ];
        for (bad, expected) in cases {
            assert_eq!(bad.parse::<RelativePath>(), Err(expected), "{bad:?}");
        }
    }
}
