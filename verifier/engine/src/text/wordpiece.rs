//! WordPiece: ordinary text to tokens, the longest first.

use std::collections::HashMap;

use assay_manifest::formats::gguf::Gguf;
use tokenizers::utils::SysRegex;
use unicode_normalization::UnicodeNormalization;

use super::TextError;
use super::vocab::{SPACE, Vocab};

const LOWERCASE_KEY: &str = "tokenizer.ggml.normalizer.lowercase";
const STRIP_ACCENTS_KEY: &str = "tokenizer.ggml.normalizer.strip_accents";

/// Longest token; bounds the work at each character. Real ones stay under 60 bytes.
const PIECE_BYTES_MAX: usize = 256;

/// Characters that are words of their own: punctuation, signs of ASCII, and Chinese characters as BERT counts
/// them (`_is_chinese_char` of its `tokenization.py`, but for the gap from U+2B820 that llama.cpp shares with
/// the `tokenizers` library). The other part is what words are made of.
const WORDS: &str = concat!(
    r"[\p{P}$+<=>^`|~\x{4e00}-\x{9fff}\x{3400}-\x{4dbf}\x{20000}-\x{2a6df}\x{2a700}-\x{2b73f}",
    r"\x{2b740}-\x{2b81f}\x{2b920}-\x{2ceaf}\x{f900}-\x{faff}\x{2f800}-\x{2fa1f}]",
    r"|[^\s\p{P}$+<=>^`|~\x{4e00}-\x{9fff}\x{3400}-\x{4dbf}\x{20000}-\x{2a6df}\x{2a700}-\x{2b73f}",
    r"\x{2b740}-\x{2b81f}\x{2b920}-\x{2ceaf}\x{f900}-\x{faff}\x{2f800}-\x{2fa1f}]+"
);
/// What is taken out before: controls, U+FFFD, and accents where they are stripped.
const REMOVED: &str = r"[[\p{Cc}\p{Cf}\p{Co}\x{fffd}]--\s]";
const REMOVED_WITH_ACCENTS: &str = r"[[\p{Cc}\p{Cf}\p{Co}\p{M}\x{fffd}]--\s]";
/// Characters whose decomposition and whose lower case Unicode has fixed for good: those that the pinned
/// tables know (Unicode's stability policy).
const ASSIGNED: &str = r"\P{Cn}+";

/// Words, from whose beginning the longest token is taken again and again.
///
/// As llama.cpp splits and cuts; in its vocabularies a token that begins a word is spelled with U+2581.
pub(super) struct WordPiece {
    /// Sorted: those with one beginning follow one another.
    pieces: Vec<Piece>,
    unknown: u32,
    lowercase: bool,
    strip_accents: bool,
    words: SysRegex,
    removed: SysRegex,
    assigned: SysRegex,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Piece {
    text: Box<[u8]>,
    id: u32,
}

impl WordPiece {
    /// `unknown` stands for words that tokens do not make.
    pub(super) fn from_gguf(gguf: &Gguf, vocab: &Vocab, unknown: u32) -> Result<Self, TextError> {
        let lowercase = gguf.lookup(LOWERCASE_KEY)?.unwrap_or(true);
        let strip_accents = gguf.lookup(STRIP_ACCENTS_KEY)?.unwrap_or(lowercase);
        let compile =
            |expression| SysRegex::new(expression).map_err(|error| TextError::Library(error.to_string()));
        Ok(Self {
            pieces: sorted(vocab.made_ids()?)?,
            unknown,
            lowercase,
            strip_accents,
            words: compile(WORDS)?,
            removed: compile(if strip_accents { REMOVED_WITH_ACCENTS } else { REMOVED })?,
            assigned: compile(ASSIGNED)?,
        })
    }

    /// Appends the tokens of a text in which nothing is special.
    pub(super) fn encode(&self, text: &str, tokens: &mut Vec<u32>) {
        let text = if self.strip_accents { self.map(text, decomposed) } else { text.to_owned() };
        let text = self.without_removed(&text);
        for (start, end) in self.words.find_iter(&text) {
            let word = &text[start..end];
            let word = if self.lowercase { self.map(word, lowered) } else { word.to_owned() };
            self.encode_word(&[SPACE, &word].concat(), tokens);
        }
    }

    fn encode_word(&self, word: &str, tokens: &mut Vec<u32>) {
        let begun = tokens.len();
        let mut rest = word.as_bytes();
        while !rest.is_empty() {
            let Some((len, id)) = self.longest(rest) else {
                tokens.truncate(begun);
                tokens.push(self.unknown);
                return;
            };
            tokens.push(id);
            rest = &rest[len..];
        }
    }

    /// The longest token that the bytes begin with, and its length.
    fn longest(&self, bytes: &[u8]) -> Option<(usize, u32)> {
        let mut candidates = &self.pieces[..];
        let mut found = None;
        for (at, byte) in bytes.iter().enumerate() {
            // The candidates agree in the bytes before `at`; the one that ends there comes first.
            let lower = candidates.partition_point(|piece| piece.text.get(at) < Some(byte));
            let upper = candidates.partition_point(|piece| piece.text.get(at) <= Some(byte));
            candidates = &candidates[lower..upper];
            let Some(piece) = candidates.first() else { break };
            if piece.text.len() == at + 1 {
                found = Some((at + 1, piece.id));
            }
        }
        found
    }

    fn without_removed(&self, text: &str) -> String {
        let mut kept = String::with_capacity(text.len());
        let mut done = 0;
        for (start, end) in self.removed.find_iter(text) {
            kept.push_str(&text[done..start]);
            done = end;
        }
        kept.push_str(&text[done..]);
        kept
    }

    /// A text with its assigned characters replaced.
    fn map(&self, text: &str, replace: impl Fn(char) -> char) -> String {
        let mut mapped = String::with_capacity(text.len());
        let mut done = 0;
        for (start, end) in self.assigned.find_iter(text) {
            mapped.push_str(&text[done..start]);
            mapped.extend(text[start..end].chars().map(&replace));
            done = end;
        }
        mapped.push_str(&text[done..]);
        mapped
    }
}

fn sorted(ids: HashMap<&str, u32>) -> Result<Vec<Piece>, TextError> {
    if ids.keys().any(|text| text.len() > PIECE_BYTES_MAX) {
        return Err(TextError::TooLarge { what: "a token's text", limit: PIECE_BYTES_MAX });
    }
    let mut pieces: Vec<Piece> =
        ids.into_iter().map(|(text, id)| Piece { text: text.as_bytes().into(), id }).collect();
    pieces.sort_unstable();
    Ok(pieces)
}

/// The first character of the canonical decomposition; what follows it are accents, which are removed, or
/// vowels and endings of Hangul, which llama.cpp leaves out too.
fn decomposed(c: char) -> char {
    std::iter::once(c).nfd().next().unwrap_or(c)
}

/// The simple lower case, or the first character of a lower case of several.
fn lowered(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}
