//! The words that an account's secret is written down as (BIP-39, English).

use bip39::{Language, Mnemonic};
use rand::RngCore;
use zeroize::Zeroizing;

use super::KeyError;

/// How many words a new key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordCount {
    /// 128 bits of entropy.
    Twelve,
    /// 256 bits of entropy.
    TwentyFour,
}

impl WordCount {
    const fn entropy_bytes(self) -> usize {
        match self {
            Self::Twelve => 16,
            Self::TwentyFour => 32,
        }
    }
}

/// A mnemonic, as the entropy that it encodes; its memory is overwritten when it is dropped.
///
/// The libraries that turn words into a key and back leave copies on the stack for a moment.
#[derive(Clone)]
pub struct Words(Zeroizing<Vec<u8>>);

/// The longest English word has eight letters, and the longest mnemonic 24 words.
const PHRASE_BYTES_MAX: usize = 24 * 9;

impl Words {
    /// Fresh words from the operating system's randomness.
    pub fn generate(count: WordCount) -> Self {
        let mut entropy = Zeroizing::new(vec![0; count.entropy_bytes()]);
        rand::rngs::OsRng.fill_bytes(&mut entropy);
        Self(entropy)
    }

    /// Words as somebody typed or kept them: any case, any white space.
    ///
    /// # Errors
    /// [`KeyError::BadWords`] saying which word is wrong, without repeating it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut normal = Zeroizing::new(String::with_capacity(text.len().saturating_add(1)));
        for word in text.split_whitespace() {
            let gap = if normal.is_empty() { "" } else { " " };
            normal.push_str(gap);
            normal.extend(word.chars().map(|c| c.to_ascii_lowercase()));
        }
        let parsed = Mnemonic::parse_in_normalized(Language::English, &normal).map_err(bad)?;
        Ok(Self(Zeroizing::new(parsed.to_entropy())))
    }

    /// The words of an entropy of 16 to 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::BadWords`] when it has another length.
    pub fn from_entropy(entropy: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        Mnemonic::from_entropy_in(Language::English, &entropy).map_err(bad)?;
        Ok(Self(entropy))
    }

    /// What the words encode.
    pub fn entropy(&self) -> &[u8] {
        &self.0
    }

    /// The words with a space between each two.
    ///
    /// # Errors
    /// [`KeyError::BadWords`] never: only entropy that has words is kept.
    pub fn phrase(&self) -> Result<Zeroizing<String>, KeyError> {
        let mut phrase = Zeroizing::new(String::with_capacity(PHRASE_BYTES_MAX));
        for word in Mnemonic::from_entropy_in(Language::English, &self.0).map_err(bad)?.words() {
            let gap = if phrase.is_empty() { "" } else { " " };
            phrase.push_str(gap);
            phrase.push_str(word);
        }
        Ok(phrase)
    }
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Words")
    }
}

fn bad(error: bip39::Error) -> KeyError {
    KeyError::BadWords(match error {
        bip39::Error::BadWordCount(count) => {
            format!("there are {count}, and a key has 12, 15, 18, 21 or 24")
        }
        bip39::Error::UnknownWord(index) => {
            format!("word {} is not in the English list of BIP-39", index.saturating_add(1))
        }
        bip39::Error::InvalidChecksum => {
            "their checksum is wrong: a word is mistaken or in another place".into()
        }
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVELOPMENT: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";

    #[test]
    fn words_read_as_they_were_written_however_they_are_set() {
        let typed = format!("  {}\n", DEVELOPMENT.to_uppercase().replace(' ', "\n\t"));
        assert_eq!(Words::parse(&typed).unwrap().phrase().unwrap().as_str(), DEVELOPMENT);
        for (count, number) in [(WordCount::Twelve, 12), (WordCount::TwentyFour, 24)] {
            let words = Words::generate(count);
            let phrase = words.phrase().unwrap();
            assert_eq!(phrase.split(' ').count(), number);
            assert!(phrase.len() <= PHRASE_BYTES_MAX);
            assert_eq!(Words::parse(&phrase).unwrap().entropy(), words.entropy());
            assert_ne!(Words::generate(count).entropy(), words.entropy());
        }
        assert!(Words::from_entropy(Zeroizing::new(vec![0; 15])).is_err());
    }

    #[test]
    fn a_mistake_is_told_by_its_place_and_never_repeated() {
        let told = |text: &str| Words::parse(text).unwrap_err().to_string();
        assert!(told("bottom drive").contains("there are 2"));
        let mistaken = told(&DEVELOPMENT.replace("obey", "obye"));
        assert!(mistaken.contains("word 3") && !mistaken.contains("obye"), "{mistaken}");
        assert!(told(&DEVELOPMENT.replace("bottom drive", "drive bottom")).contains("checksum"));
        assert_eq!(format!("{:?}", Words::parse(DEVELOPMENT).unwrap()), "Words");
    }
}
