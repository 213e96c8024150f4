//! Byte-level BPE: ordinary text to tokens.

use std::collections::HashSet;

use assay_manifest::formats::gguf::Gguf;
use tokenizers::Model;
use tokenizers::models::bpe::{self, BPE};

use super::split::Splitter;
use super::vocab::{Vocab, byte_char};
use super::{RenderError, TextError};

/// Most merges; the largest tokenizers have about 280,000.
const MERGES_MAX: usize = 1 << 20;

/// Words of GPT-2's characters for bytes, in which the lowest-ranked pair is merged first.
pub(super) struct ByteLevelBpe {
    splitter: Splitter,
    model: BPE,
    /// Bytes without a token. They are left out of what is tokenized, as in llama.cpp, and nothing is merged
    /// across them.
    missing: Vec<u8>,
}

impl ByteLevelBpe {
    pub(super) fn from_gguf(gguf: &Gguf, vocab: &Vocab) -> Result<Self, TextError> {
        let splitter = Splitter::new(gguf.require("tokenizer.ggml.pre")?)?;
        let ids = vocab.made_ids()?;
        let known = |byte: u8| ids.contains_key(&*byte_char(byte).to_string());
        let missing: Vec<u8> = (0..=u8::MAX).filter(|byte| !known(*byte)).collect();
        // Some publishers leave out bytes that their corpus had not; none leaves out what is printed.
        if let Some(byte) = missing.iter().copied().find(|byte| matches!(byte, b' '..=b'~')) {
            return Err(TextError::MissingByte { byte });
        }
        let merges = merges(gguf, |text| ids.contains_key(text))?;
        let ids: bpe::Vocab = ids.into_iter().map(|(text, id)| (text.to_owned(), id)).collect();
        let model = BPE::builder()
            .vocab_and_merges(ids, merges)
            // A cache is state; it would save time only for texts far longer than requests.
            .cache_capacity(0)
            .ignore_merges(splitter.takes_whole_words())
            .build()
            .map_err(|error| TextError::Library(error.to_string()))?;
        Ok(Self { splitter, model, missing })
    }

    /// Whether prompts begin with the first token when the metadata does not say so, as llama.cpp has it.
    pub(super) fn adds_bos(&self) -> bool {
        self.splitter.adds_bos()
    }

    /// Appends the tokens of a text in which nothing is special.
    pub(super) fn encode(&self, text: &str, tokens: &mut Vec<u32>) -> Result<(), RenderError> {
        self.splitter.words(text)?.into_iter().try_for_each(|word| self.encode_word(word, tokens))
    }

    fn encode_word(&self, word: &str, tokens: &mut Vec<u32>) -> Result<(), RenderError> {
        for part in word.as_bytes().split(|byte| self.missing.contains(byte)) {
            let spelled: String = part.iter().copied().map(byte_char).collect();
            let found =
                self.model.tokenize(&spelled).map_err(|error| RenderError::Library(error.to_string()))?;
            tokens.extend(found.iter().map(|token| token.id));
        }
        Ok(())
    }
}

/// The merges by rank. Pairs and their results are tokens, and no pair has two ranks, between which readers
/// would choose differently.
fn merges(gguf: &Gguf, is_token: impl Fn(&str) -> bool) -> Result<Vec<(String, String)>, TextError> {
    let lines: &[String] = gguf.require("tokenizer.ggml.merges")?;
    if lines.len() > MERGES_MAX {
        return Err(TextError::TooLarge { what: "the list of merges", limit: MERGES_MAX });
    }
    let mut seen = HashSet::with_capacity(lines.len());
    let mut merges = Vec::with_capacity(lines.len());
    for (rank, line) in lines.iter().enumerate() {
        let pair = line.split_once(' ');
        let valid = |(left, right): &(&str, &str)| {
            is_token(left) && is_token(right) && is_token(&[*left, *right].concat()) && seen.insert(line)
        };
        let (left, right) = pair.filter(valid).ok_or(TextError::Merge { rank })?;
        merges.push((left.to_owned(), right.to_owned()));
    }
    Ok(merges)
}
