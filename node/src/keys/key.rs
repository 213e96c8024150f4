//! An unlocked account.

use sp_core::crypto::Ss58Codec;
use sp_core::{Pair, sr25519};
use sp_runtime::AccountId32;
use zeroize::Zeroizing;

use super::reference::is_path;
use super::{KeyError, Words};

/// An account's key pair under the name by which it was asked for.
#[derive(Clone)]
pub struct Key {
    /// Name or URI.
    pub name: String,
    /// The account's pair; its memory is overwritten when it is dropped.
    pub pair: sr25519::Pair,
}

impl Key {
    /// A key derived from the public development phrase, such as `//Alice`.
    ///
    /// # Errors
    /// [`KeyError::BadUri`] when the URI is not a plain derivation.
    pub fn development(uri: &str) -> Result<Self, KeyError> {
        let derived = Some(uri).filter(|uri| uri.starts_with("//") && is_path(uri));
        let pair = derived.and_then(|uri| sr25519::Pair::from_string(uri, None).ok());
        let pair = pair.ok_or_else(|| KeyError::BadUri(uri.into()))?;
        Ok(Self { name: uri.into(), pair })
    }

    /// The key of these words and of a path below them, as Substrate's tools derive it.
    ///
    /// # Errors
    /// [`KeyError::BadPath`] when the path cannot be followed.
    pub fn derive(name: String, words: &Words, path: &str) -> Result<Self, KeyError> {
        let phrase = words.phrase()?;
        let mut uri = Zeroizing::new(String::with_capacity(phrase.len().saturating_add(path.len())));
        uri.push_str(&phrase);
        uri.push_str(path);
        match sr25519::Pair::from_string(&uri, None) {
            Ok(pair) => Ok(Self { name, pair }),
            Err(_) => Err(KeyError::BadPath(name)),
        }
    }

    /// The account.
    pub fn account(&self) -> AccountId32 {
        self.pair.public().into()
    }

    /// The account's address.
    pub fn address(&self) -> String {
        self.account().to_ss58check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVELOPMENT: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";

    #[test]
    fn paths_are_followed_as_substrate_does() {
        let words = Words::parse(DEVELOPMENT).unwrap();
        for path in ["//Alice", "//Bob//2/soft", "/0"] {
            let derived = Key::derive("x".into(), &words, path).unwrap();
            let reference = sr25519::Pair::from_string(&format!("{DEVELOPMENT}{path}"), None).unwrap();
            assert_eq!(derived.pair.public(), reference.public(), "{path}");
        }
        let alice = Key::derive("x".into(), &words, "//Alice").unwrap();
        assert_eq!(alice.address(), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
        assert_eq!(alice.account(), Key::development("//Alice").unwrap().account());
    }

    #[test]
    fn only_plain_development_paths_are_taken() {
        for bad in ["Alice", "/Alice", "//", "///password", "//Alice///password", "//Alice/", DEVELOPMENT] {
            assert!(matches!(Key::development(bad), Err(KeyError::BadUri(_))), "{bad}");
        }
    }
}
