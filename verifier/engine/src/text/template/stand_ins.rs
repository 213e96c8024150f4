//! Characters that stand for control tokens while a template runs.

use super::super::TextError;
use super::super::special::{Piece, Specials};

/// Most control tokens that one template names: there are 66 noncharacters.
const STAND_INS_MAX: usize = 66;

/// Control tokens that a template spells out, each replaced by one noncharacter of Unicode.
///
/// Messages that contain a noncharacter are refused, so a stand-in in the output comes from the template,
/// and everything else is ordinary text, whatever it looks like.
#[derive(Default)]
pub(super) struct StandIns {
    /// The token of each stand-in.
    tokens: Vec<u32>,
}

impl StandIns {
    /// The stand-in of a token, the same at each call.
    pub(super) fn of(&mut self, token: u32) -> Result<char, TextError> {
        let known = self.tokens.iter().position(|other| *other == token);
        let index = known.unwrap_or(self.tokens.len());
        if index == STAND_INS_MAX {
            return Err(TextError::TooLarge { what: "control tokens of a template", limit: STAND_INS_MAX });
        }
        if known.is_none() {
            self.tokens.push(token);
        }
        Ok(noncharacter(index))
    }

    /// A text with the control tokens that it spells out replaced.
    pub(super) fn replace(&mut self, text: &str, controls: &Specials) -> Result<String, TextError> {
        let mut replaced = String::with_capacity(text.len());
        for piece in controls.split(text) {
            match piece {
                Piece::Text(plain) => replaced.push_str(plain),
                Piece::Token(token) => replaced.push(self.of(token)?),
            }
        }
        Ok(replaced)
    }

    /// The parts of a rendered text: tokens where stand-ins are, ordinary text between them.
    pub(super) fn split<'t>(&self, text: &'t str) -> Vec<Piece<'t>> {
        let mut pieces = Vec::new();
        let mut start = 0;
        for (at, c) in text.char_indices() {
            let Some(token) = index(c).and_then(|index| self.tokens.get(index)) else { continue };
            if start < at {
                pieces.push(Piece::Text(&text[start..at]));
            }
            pieces.push(Piece::Token(*token));
            start = at + c.len_utf8();
        }
        if start < text.len() {
            pieces.push(Piece::Text(&text[start..]));
        }
        pieces
    }
}

/// The first noncharacter of a text.
pub(super) fn find_noncharacter(text: &str) -> Option<char> {
    text.chars().find(|c| index(*c).is_some())
}

/// The noncharacters (Unicode 23.7): U+FDD0 to U+FDEF, then the last two of each of the 17 planes.
fn noncharacter(index: usize) -> char {
    let index = index as u32;
    let code = match index.checked_sub(32) {
        None => 0xfdd0 + index,
        Some(rest) => ((rest / 2) << 16) | 0xfffe | (rest % 2),
    };
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Which noncharacter this is; the inverse of [`noncharacter`].
fn index(c: char) -> Option<usize> {
    let code = u32::from(c);
    match code {
        0xfdd0..=0xfdef => Some((code - 0xfdd0) as usize),
        _ if code & 0xfffe == 0xfffe => Some((32 + (code >> 16) * 2 + code % 2) as usize),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noncharacters_are_numbered_one_to_one() {
        let all: Vec<char> = ('\0'..=char::MAX).filter(|c| index(*c).is_some()).collect();
        assert_eq!(all.len(), STAND_INS_MAX);
        for number in 0..STAND_INS_MAX {
            assert_eq!(index(noncharacter(number)), Some(number));
        }
        assert_eq!((noncharacter(0), noncharacter(65)), ('\u{fdd0}', '\u{10ffff}'));
    }

    #[test]
    fn more_control_tokens_than_noncharacters_are_refused() {
        let mut stand_ins = StandIns::default();
        for token in 0..STAND_INS_MAX as u32 {
            assert_eq!(stand_ins.of(token).unwrap(), stand_ins.of(token).unwrap());
        }
        assert!(matches!(stand_ins.of(1000), Err(TextError::TooLarge { .. })));
    }
}
