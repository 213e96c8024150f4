//! The vocabulary: what each token is called, what kind it is, and which bytes it stands for.

use std::collections::HashMap;

use assay_manifest::formats::gguf::Gguf;

use super::TextError;
use super::ends::is_end_text;
use super::family::Family;

/// Most tokens; the largest vocabularies have about 260,000.
pub(crate) const TOKENS_MAX: usize = 1 << 20;
/// Longest token; real ones stay under 300 bytes.
const TOKEN_BYTES_MAX: usize = 1024;

/// What SentencePiece writes for a space, U+2581.
pub(super) const SPACE: &str = "\u{2581}";

/// What a token is for, by `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Made from ordinary text, in the spelling of its family.
    Normal,
    /// Structure of the conversation: never made from ordinary text, renders as nothing.
    Control,
    /// Ordinary text that is always one token.
    UserDefined,
    /// Never made, renders as nothing.
    Unused,
    /// A byte of a character without a token, named `<0xAB>`.
    Byte,
}

impl Kind {
    /// The numbers are `llama_token_type` of llama.cpp. Only SentencePiece has bytes. What is named like an
    /// end of answers is a control token, as llama.cpp has it, although converters call some user-defined.
    fn of(number: i32, text: &str, family: Family) -> Option<Self> {
        match number {
            4 if is_end_text(text) => Some(Self::Control),
            6 if family == Family::SentencePieceBpe => Some(Self::Byte),
            1 => Some(Self::Normal),
            2 | 3 => Some(Self::Control),
            4 => Some(Self::UserDefined),
            5 => Some(Self::Unused),
            _ => None,
        }
    }
}

pub(super) struct Vocab {
    texts: Vec<String>,
    kinds: Vec<Kind>,
    /// What all tokens stand for, one after the other.
    bytes: Vec<u8>,
    /// Where each token's part of `bytes` ends.
    ends: Vec<usize>,
}

impl Vocab {
    pub(super) fn from_gguf(gguf: &Gguf, family: Family) -> Result<Self, TextError> {
        let texts: &[String] = gguf.require("tokenizer.ggml.tokens")?;
        let numbers: &[i32] = gguf.require("tokenizer.ggml.token_type")?;
        if texts.len() > TOKENS_MAX {
            return Err(TextError::TooLarge { what: "the vocabulary", limit: TOKENS_MAX });
        }
        if texts.len() != numbers.len() {
            return Err(TextError::TypeCount { tokens: texts.len(), types: numbers.len() });
        }
        let mut vocab =
            Self { texts: texts.to_vec(), kinds: Vec::new(), bytes: Vec::new(), ends: Vec::new() };
        for (text, number) in texts.iter().zip(numbers) {
            vocab.push(text, *number, family)?;
        }
        Ok(vocab)
    }

    fn push(&mut self, text: &str, number: i32, family: Family) -> Result<(), TextError> {
        let id = self.kinds.len();
        let kind = Kind::of(number, text, family).ok_or(TextError::TokenType { id, number })?;
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TextError::TooLarge { what: "a token's text", limit: TOKEN_BYTES_MAX });
        }
        if text.is_empty() && kind != Kind::Unused {
            return Err(TextError::EmptyToken { id });
        }
        match kind {
            Kind::Normal if family == Family::ByteLevelBpe => self.bytes.extend(spelled_bytes(text)),
            Kind::Normal => self.bytes.extend_from_slice(text.replace(SPACE, " ").as_bytes()),
            Kind::Byte => self.bytes.push(named_byte(text).ok_or(TextError::ByteName { id })?),
            Kind::UserDefined => self.bytes.extend_from_slice(text.as_bytes()),
            Kind::Control | Kind::Unused => {}
        }
        self.kinds.push(kind);
        self.ends.push(self.bytes.len());
        Ok(())
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.texts.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn text(&self, id: u32) -> Option<&str> {
        self.texts.get(id as usize).map(String::as_str)
    }

    /// What a token stands for in text: nothing for control tokens, unused and unknown ids.
    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = id.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(id).copied().unwrap_or(start);
        self.bytes.get(start..end).unwrap_or(&[])
    }

    /// Tokens of one kind, in the order of their ids.
    pub(super) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&str, u32)> {
        let ids = (0u32..).zip(&self.kinds).filter(move |(_, found)| **found == kind).map(|(id, _)| id);
        ids.filter_map(|id| Some((self.text(id)?, id)))
    }

    /// Tokens with one of these texts, in the order of their ids.
    pub(super) fn named<'v>(&'v self, texts: &'v [&str]) -> impl Iterator<Item = (&'v str, u32)> {
        let used = (0u32..).zip(&self.kinds).filter(|(_, kind)| **kind != Kind::Unused);
        let named = used.filter_map(|(id, _)| Some((self.text(id)?, id)));
        named.filter(|(text, _)| texts.contains(text))
    }

    /// Ids by text, of the tokens that are made from ordinary text.
    pub(super) fn made_ids(&self) -> Result<HashMap<&str, u32>, TextError> {
        let mut ids = HashMap::with_capacity(self.texts.len());
        for (text, id) in self.of_kind(Kind::Normal) {
            if ids.insert(text, id).is_some() {
                return Err(TextError::DuplicateToken { text: text.to_owned() });
            }
        }
        Ok(ids)
    }

    /// The token of each byte that has one.
    pub(super) fn byte_ids(&self) -> Result<Box<[Option<u32>; 256]>, TextError> {
        let mut ids = Box::new([None; 256]);
        for (text, id) in self.of_kind(Kind::Byte) {
            let Some(byte) = named_byte(text) else { continue };
            if ids[usize::from(byte)].replace(id).is_some() {
                return Err(TextError::DuplicateToken { text: text.to_owned() });
            }
        }
        Ok(ids)
    }
}

/// Whether a byte occurs in UTF-8.
pub(super) const fn occurs(byte: u8) -> bool {
    !matches!(byte, 0xc0 | 0xc1 | 0xf5..)
}

/// The byte that a token like `<0xAB>` names.
fn named_byte(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_digit = |c: u8| matches!(c, b'0'..=b'9' | b'A'..=b'F');
    let valid = digits.len() == 2 && digits.bytes().all(is_digit);
    u8::from_str_radix(digits, 16).ok().filter(|_| valid)
}

/// GPT-2's printable character for a byte (`bytes_to_unicode` of its `encoder.py`).
pub(super) fn byte_char(byte: u8) -> char {
    // The bytes without a printable Latin-1 character follow one another from U+0100 on.
    let shifted = match byte {
        0x00..=0x20 => 0x100 + u32::from(byte),
        0x7f..=0xa0 => 0x121 + u32::from(byte - 0x7f),
        0xad => 0x143,
        printable => u32::from(printable),
    };
    char::from_u32(shifted).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The byte that a printable character stands for; the inverse of [`byte_char`].
fn char_byte(c: char) -> Option<u8> {
    let byte = match u32::from(c) {
        code @ 0x100..=0x120 => code - 0x100,
        code @ 0x121..=0x142 => code - 0x121 + 0x7f,
        0x143 => 0xad,
        code => code,
    };
    u8::try_from(byte).ok().filter(|byte| byte_char(*byte) == c)
}

/// The bytes that a token's printable text spells; a character outside the spelling stands for itself.
fn spelled_bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match char_byte(c) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_printable_character() {
        let mut seen = std::collections::BTreeSet::new();
        for byte in 0..=u8::MAX {
            let c = byte_char(byte);
            assert!(!c.is_whitespace() && !c.is_control(), "{byte:#x} is spelled {c:?}");
            assert_eq!(char_byte(c), Some(byte));
            assert!(seen.insert(c));
        }
        // Two of the pairs that GPT-2's table is known by.
        assert_eq!((byte_char(b' '), byte_char(b'\n')), ('Ġ', 'Ċ'));
        assert_eq!(char_byte('中'), None);
        assert_eq!(char_byte('\u{a0}'), None);
    }
}
