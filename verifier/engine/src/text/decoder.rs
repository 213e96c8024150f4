//! Turns tokens into text as they arrive.

use super::Text;

/// Text from tokens, one at a time, never half a character.
///
/// The pieces put together are what [`Text::decode`](super::Text::decode) gives for all the tokens.
/// Bytes that are not UTF-8 become U+FFFD, one for each maximal invalid sequence (Unicode 3.9, the practice
/// of the WHATWG decoder).
///
/// All tokens are to be of one model's text.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    /// The beginning of a character that is not complete; at most three bytes.
    pending: Vec<u8>,
}

impl Decoder {
    /// The text that is certain with this token; empty while a character is incomplete.
    pub fn push(&mut self, text: &Text, token: u32) -> String {
        self.pending.extend_from_slice(text.vocab.bytes(token));
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
