//! What a person types to unlock a key.

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::KeyError;

/// A passphrase in one normal form (NFKC), so that it is the same from every keyboard.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Characters that a new one has at least (NIST SP 800-63B, 5.1.1: eight).
    pub const CHARS_MIN: usize = 8;
    /// Bytes that one has at most.
    pub const BYTES_MAX: usize = 1024;
    /// One character becomes at most eighteen in this form (U+FDFA), each of at most three times its bytes.
    const GROWTH_MAX: usize = 11;

    /// A passphrase as it was typed; the line's end is no part of it.
    ///
    /// # Errors
    /// [`KeyError::BadPassphrase`] when it is empty or too long.
    pub fn new(typed: &str) -> Result<Self, KeyError> {
        let typed = typed.trim_end_matches(['\r', '\n']);
        if typed.is_empty() {
            return Err(KeyError::BadPassphrase("it is empty"));
        }
        if typed.len() > Self::BYTES_MAX {
            return Err(KeyError::BadPassphrase("it has more than 1024 bytes"));
        }
        // A string that grows leaves copies behind.
        let room = typed.len().saturating_mul(Self::GROWTH_MAX);
        let mut normal = Zeroizing::new(String::with_capacity(room));
        normal.extend(typed.nfkc());
        Ok(Self(normal))
    }

    /// A passphrase for a new key.
    ///
    /// # Errors
    /// [`KeyError::BadPassphrase`] when it is shorter than [`Self::CHARS_MIN`] characters, or too long.
    pub fn chosen(typed: &str) -> Result<Self, KeyError> {
        let passphrase = Self::new(typed)?;
        if passphrase.0.chars().count() < Self::CHARS_MIN {
            return Err(KeyError::BadPassphrase("it has fewer than 8 characters"));
        }
        Ok(passphrase)
    }

    /// Its bytes in normal form.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_is_one_passphrase_however_it_is_composed() {
        let composed = Passphrase::new("caf\u{e9} au lait\n").unwrap();
        let decomposed = Passphrase::new("cafe\u{301} au lait").unwrap();
        assert_eq!(composed.as_bytes(), decomposed.as_bytes());
        assert_ne!(composed.as_bytes(), Passphrase::new("cafe au lait").unwrap().as_bytes());
    }

    #[test]
    fn the_buffer_never_grows() {
        for widest in ["\u{fdfa}", "\u{1d15e}", "\u{390}", "a"] {
            let typed = widest.repeat(Passphrase::BYTES_MAX / widest.len());
            let room = typed.len() * Passphrase::GROWTH_MAX;
            assert!(Passphrase::new(&typed).unwrap().as_bytes().len() <= room, "{widest}");
        }
    }

    #[test]
    fn a_new_one_has_a_least_length_and_none_is_empty_or_shown() {
        assert!(Passphrase::new("\n").is_err());
        assert!(Passphrase::new(&"x".repeat(1025)).is_err());
        assert!(Passphrase::chosen("seven77").is_err());
        let passphrase = Passphrase::chosen("eight888").unwrap();
        assert_eq!(format!("{passphrase:?}"), "Passphrase");
    }
}
