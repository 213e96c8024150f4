//! SentencePiece BPE: ordinary text to tokens, by the scores of tokens.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use assay_manifest::formats::gguf::{Gguf, KeyError};

use super::TextError;
use super::vocab::{SPACE, Vocab, occurs};

const SCORES_KEY: &str = "tokenizer.ggml.scores";
const PREFIX_KEY: &str = "tokenizer.ggml.add_space_prefix";

/// Characters, of which the two neighbours whose token has the highest score are merged first.
///
/// As llama.cpp merges, whose heap is SentencePiece's (`bpe_model.cc`).
pub(super) struct SentencePieceBpe {
    /// Tokens that merges make.
    pieces: HashMap<Box<str>, Piece>,
    /// The token of each byte; of those that occur in UTF-8, each has one or is a character with a token.
    bytes: Box<[Option<u32>; 256]>,
    /// Bytes of the longest token: longer texts are not looked up.
    longest: usize,
    space_prefix: bool,
}

struct Piece {
    id: u32,
    score: f32,
}

impl SentencePieceBpe {
    pub(super) fn from_gguf(gguf: &Gguf, vocab: &Vocab) -> Result<Self, TextError> {
        let scores = scores(gguf, vocab.len() as usize)?;
        let score = |id: u32| scores.get(id as usize).copied().unwrap_or(0.0);
        let ids = vocab.made_ids()?;
        let pieces: HashMap<Box<str>, Piece> =
            ids.into_iter().map(|(text, id)| (text.into(), Piece { id, score: score(id) })).collect();
        let bytes = vocab.byte_ids()?;
        let is_piece = |byte: u8| byte.is_ascii() && pieces.contains_key(&*char::from(byte).to_string());
        let missing = |byte: u8| occurs(byte) && bytes[usize::from(byte)].is_none() && !is_piece(byte);
        if let Some(byte) = (0..=u8::MAX).find(|byte| missing(*byte)) {
            return Err(TextError::MissingByte { byte });
        }
        let longest = pieces.keys().map(|text| text.len()).max().unwrap_or(0);
        Ok(Self { pieces, bytes, longest, space_prefix: gguf.lookup(PREFIX_KEY)?.unwrap_or(true) })
    }

    /// Whether a text gets a space before it, at the beginning and after special tokens.
    pub(super) fn adds_space_prefix(&self) -> bool {
        self.space_prefix
    }

    /// Appends the tokens of a text in which nothing is special, and which begins the prompt or follows a
    /// special token.
    pub(super) fn encode(&self, text: &str, tokens: &mut Vec<u32>) {
        let prefix = if self.space_prefix { SPACE } else { "" };
        let escaped = [prefix, &text.replace(' ', SPACE)].concat();
        for symbol in Merging::new(self, &escaped).run() {
            match self.pieces.get(symbol) {
                Some(piece) => tokens.push(piece.id),
                // Merges make tokens only, so this is one character.
                None => tokens.extend(symbol.bytes().filter_map(|byte| self.bytes[usize::from(byte)])),
            }
        }
    }
}

/// One score a token, none of them NaN; without scores, all are nought.
fn scores(gguf: &Gguf, tokens: usize) -> Result<Vec<f32>, TextError> {
    let scores = match gguf.lookup::<&[f32]>(SCORES_KEY) {
        Err(KeyError::Type { .. }) => {
            gguf.require::<&[i32]>(SCORES_KEY)?.iter().map(|score| *score as f32).collect()
        }
        found => found?.map_or_else(|| vec![0.0; tokens], <[f32]>::to_vec),
    };
    if scores.len() != tokens {
        return Err(TextError::ScoreCount { tokens, scores: scores.len() });
    }
    match scores.iter().position(|score| score.is_nan()) {
        Some(id) => Err(TextError::Score { id }),
        // The sum makes one nought of the two, which compare as equal.
        None => Ok(scores.into_iter().map(|score| score + 0.0).collect()),
    }
}

/// A text on the way from its characters to its tokens.
struct Merging<'m, 't> {
    model: &'m SentencePieceBpe,
    text: &'t str,
    symbols: Vec<Symbol>,
    heap: BinaryHeap<Pair>,
}

/// A part of the text, empty once it has become part of the one before it.
struct Symbol {
    start: usize,
    end: usize,
    before: Option<usize>,
    after: Option<usize>,
}

impl Symbol {
    const fn len(&self) -> usize {
        self.end - self.start
    }
}

/// Two neighbours that make a token: the highest score first, then the leftmost.
struct Pair {
    score: f32,
    left: Reverse<usize>,
    right: usize,
    /// Bytes of both when this was found.
    len: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.score.total_cmp(&other.score).then(self.left.cmp(&other.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pair {}

impl<'m, 't> Merging<'m, 't> {
    fn new(model: &'m SentencePieceBpe, text: &'t str) -> Self {
        let characters = text.char_indices().enumerate().map(|(index, (start, c))| Symbol {
            start,
            end: start + c.len_utf8(),
            before: index.checked_sub(1),
            after: (start + c.len_utf8() < text.len()).then_some(index + 1),
        });
        Self { model, text, symbols: characters.collect(), heap: BinaryHeap::new() }
    }

    /// The parts of the text that are left when no two neighbours make a token.
    fn run(mut self) -> impl Iterator<Item = &'t str> {
        for left in 0..self.symbols.len() {
            self.find(Some(left), self.symbols[left].after);
        }
        while let Some(pair) = self.heap.pop() {
            self.merge(&pair);
        }
        self.symbols.into_iter().filter(|symbol| symbol.len() > 0).map(|s| &self.text[s.start..s.end])
    }

    fn merge(&mut self, pair: &Pair) {
        let Reverse(left) = pair.left;
        let (left_len, right_len) = (self.symbols[left].len(), self.symbols[pair.right].len());
        // Something of the pair has been merged since it was found.
        if left_len == 0 || right_len == 0 || left_len + right_len != pair.len {
            return;
        }
        let (end, after) = (self.symbols[pair.right].end, self.symbols[pair.right].after);
        self.symbols[pair.right].start = end;
        self.symbols[left].end = end;
        self.symbols[left].after = after;
        if let Some(after) = after {
            self.symbols[after].before = Some(left);
        }
        self.find(self.symbols[left].before, Some(left));
        self.find(Some(left), after);
    }

    /// Remembers two neighbours if they make a token.
    fn find(&mut self, left: Option<usize>, right: Option<usize>) {
        let (Some(left), Some(right)) = (left, right) else { return };
        let (start, end) = (self.symbols[left].start, self.symbols[right].end);
        if end - start > self.model.longest {
            return;
        }
        if let Some(piece) = self.model.pieces.get(&self.text[start..end]) {
            self.heap.push(Pair { score: piece.score, left: Reverse(left), right, len: end - start });
        }
    }
}
