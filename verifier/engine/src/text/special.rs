//! Finds tokens that stand in text as one whole: control tokens and user-defined ones.

use std::collections::HashMap;

use super::TextError;

/// Longest text of such a token; bounds the work at each byte.
const SPECIAL_BYTES_MAX: usize = 256;

/// A set of token texts, matched leftmost first and, at one place, longest first.
#[derive(Default)]
pub(super) struct Specials {
    ids: HashMap<Box<[u8]>, u32>,
    /// The lengths that occur, longest first.
    lengths: Vec<usize>,
    /// Whether a text begins with this byte; most bytes of a document end here.
    begins: Box<[bool]>,
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    /// Ordinary text, not empty.
    Text(&'t str),
    /// A token of the set.
    Token(u32),
}

impl Specials {
    pub(super) fn new<'v>(tokens: impl IntoIterator<Item = (&'v str, u32)>) -> Result<Self, TextError> {
        let mut set = Self { begins: vec![false; 256].into(), ..Self::default() };
        for (text, id) in tokens {
            let Some(first) = text.bytes().next() else { continue };
            if text.len() > SPECIAL_BYTES_MAX {
                return Err(TextError::TooLarge { what: "a special token's text", limit: SPECIAL_BYTES_MAX });
            }
            if set.ids.insert(text.as_bytes().into(), id).is_some() {
                return Err(TextError::DuplicateToken { text: text.to_owned() });
            }
            set.begins[usize::from(first)] = true;
            set.lengths.push(text.len());
        }
        set.lengths.sort_unstable_by(|a, b| b.cmp(a));
        set.lengths.dedup();
        Ok(set)
    }

    /// The parts of a text, in order; together they are the whole of it.
    pub(super) fn split<'t>(&self, text: &'t str) -> Vec<Piece<'t>> {
        let mut pieces = Vec::new();
        let (mut start, mut at) = (0, 0);
        while at < text.len() {
            let Some((length, id)) = self.match_at(&text.as_bytes()[at..]) else {
                at += 1;
                continue;
            };
            if start < at {
                pieces.push(Piece::Text(&text[start..at]));
            }
            pieces.push(Piece::Token(id));
            at += length;
            start = at;
        }
        if start < text.len() {
            pieces.push(Piece::Text(&text[start..]));
        }
        pieces
    }

    /// The longest token that the bytes begin with. Texts are UTF-8, so matches lie between characters.
    fn match_at(&self, bytes: &[u8]) -> Option<(usize, u32)> {
        if !self.begins[usize::from(*bytes.first()?)] {
            return None;
        }
        self.lengths.iter().find_map(|length| {
            bytes.get(..*length).and_then(|head| self.ids.get(head)).map(|id| (*length, *id))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leftmost_and_then_the_longest_token_is_found() {
        let specials = Specials::new([("<a>", 1), ("<a><b>", 2), ("é", 3), ("b>c", 4)]).unwrap();
        assert_eq!(specials.split("x<a>y"), [Piece::Text("x"), Piece::Token(1), Piece::Text("y")]);
        assert_eq!(specials.split("<a><b>c"), [Piece::Token(2), Piece::Text("c")]);
        assert_eq!(specials.split("<a<a>é"), [Piece::Text("<a"), Piece::Token(1), Piece::Token(3)]);
        assert_eq!(specials.split("ê"), [Piece::Text("ê")]);
        assert_eq!(specials.split(""), []);
    }

    #[test]
    fn tokens_that_cannot_be_told_apart_are_refused() {
        assert!(matches!(Specials::new([("x", 1), ("x", 2)]), Err(TextError::DuplicateToken { .. })));
        let long = "x".repeat(SPECIAL_BYTES_MAX + 1);
        assert!(matches!(Specials::new([(&*long, 1)]), Err(TextError::TooLarge { .. })));
    }
}
