//! Turns tokens into text as they arrive.

use super::Text;

/// Text from tokens, one at a time, never half a character.
///
/// The pieces put together are what [`Text::decode`](super::Text::decode) gives for all the tokens.
/// Bytes that are not UTF-8 become U+FFFD, one for each maximal invalid sequence (Unicode 3.9, the practice
/// of the WHATWG decoder).
///
/// All tokens are to be of one model's text.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// The beginning of a character that is not complete; at most three bytes.
    pending: Vec<u8>,
    /// Whether a space that the next token begins with is the tokenizer's own.
    strips_space: bool,
}

/// What becomes of a space that the first token begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// It is part of the text.
    Kept,
    /// The tokenizer put it before the text.
    Stripped,
}

impl Decoder {
    pub(super) fn new(space: Space) -> Self {
        Self { pending: Vec::new(), strips_space: space == Space::Stripped }
    }

    /// The text that is certain with this token; empty while a character is incomplete.
    pub fn push(&mut self, text: &Text, token: u32) -> String {
        let bytes = text.vocab.bytes(token);
        let stripped = bytes.strip_prefix(b" ").filter(|_| self.strips_space);
        self.strips_space = false;
        self.pending.extend_from_slice(stripped.unwrap_or(bytes));
        let complete = self.pending.len() - incomplete_tail(&self.pending);
        let read = String::from_utf8_lossy(&self.pending[..complete]).into_owned();
        self.pending.drain(..complete);
        read
    }

    /// What remains when no more tokens come: U+FFFD for an incomplete character, else nothing.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

/// How many bytes at the end may yet become a character.
fn incomplete_tail(bytes: &[u8]) -> usize {
    let tail = bytes.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    // The standard library gives no error length for a sequence that was cut off.
    let cut_off = std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_none());
    if cut_off { tail.len() } else { 0 }
}
