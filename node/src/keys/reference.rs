//! How a key is named: `seller`, or one derived from it such as `seller//2`.

use std::fmt;

use super::KeyError;

/// A key of the store and a derivation path below it, empty for the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRef {
    name: String,
    path: String,
}

/// Characters of a name.
const NAME_CHARS_MAX: usize = 64;
/// Hex digits of a seed, in which a name is not told from a secret.
const SEED_DIGITS: usize = 64;

impl KeyRef {
    /// Reads a name with a path, such as `seller//2/soft`.
    ///
    /// # Errors
    /// [`KeyError::SecretNamed`] for what looks like words or a seed, which is not repeated; otherwise
    /// [`KeyError::BadName`] or [`KeyError::BadPath`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if looks_secret(text) {
            return Err(KeyError::SecretNamed);
        }
        let (name, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(allowed) {
            return Err(KeyError::BadName(text.into()));
        }
        if !is_path(path) {
            return Err(KeyError::BadPath(text.into()));
        }
        Ok(Self { name: name.into(), path: path.into() })
    }

    /// Reads a name alone.
    ///
    /// # Errors
    /// As [`Self::parse`]; [`KeyError::BadName`] when a path follows.
    pub fn plain(text: &str) -> Result<Self, KeyError> {
        let parsed = Self::parse(text)?;
        if parsed.path.is_empty() { Ok(parsed) } else { Err(KeyError::BadName(text.into())) }
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path below it, as Substrate writes it: `//hard` and `/soft` junctions.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, self.path)
    }
}

/// Words have spaces between them, and a seed is 64 hex digits.
fn looks_secret(text: &str) -> bool {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let is_seed = digits.len() == SEED_DIGITS && digits.chars().all(|c| c.is_ascii_hexdigit());
    is_seed || text.contains(char::is_whitespace)
}

/// Whether it is a sequence of junctions, none of them empty: three slashes would begin a password.
pub fn is_path(path: &str) -> bool {
    path.is_empty() || (path.starts_with('/') && !path.contains("///") && !path.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_a_path() {
        let parts = |text: &str| {
            let parsed = KeyRef::parse(text).unwrap();
            assert_eq!(parsed.to_string(), text);
            (parsed.name.clone(), parsed.path)
        };
        assert_eq!(parts("seller"), ("seller".into(), String::new()));
        assert_eq!(parts("seller//2/soft"), ("seller".into(), "//2/soft".into()));
        assert!(KeyRef::plain("seller").is_ok());
        assert!(KeyRef::plain("seller//2").is_err());
    }

    #[test]
    fn names_that_leave_the_directory_and_paths_with_passwords_are_refused() {
        for bad in ["", "../x", "a.b", "x\u{e9}", "/x", &"x".repeat(65)] {
            assert!(matches!(KeyRef::parse(bad), Err(KeyError::BadName(_))), "{bad}");
        }
        for bad in ["x/", "x//", "x///secret", "x//a///secret"] {
            assert!(matches!(KeyRef::parse(bad), Err(KeyError::BadPath(_))), "{bad}");
        }
    }

    #[test]
    fn secrets_are_refused_and_not_repeated() {
        let seed = "ab".repeat(32);
        for secret in ["bottom drive obey", &seed, &format!("0x{seed}")] {
            let error = KeyRef::parse(secret).unwrap_err();
            assert!(matches!(error, KeyError::SecretNamed));
            assert!(!error.to_string().contains(secret) && !format!("{error:?}").contains(secret));
        }
    }
}
