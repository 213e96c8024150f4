//! Byte-level BPE: ordinary text to tokens.

use std::collections::HashSet;

use assay_manifest::formats::gguf::Gguf;
use tokenizers::Model;
use tokenizers::models::bpe::{self, BPE};
use tokenizers::utils::SysRegex;

use super::vocab::{Vocab, byte_char};
use super::{RenderError, TextError};

/// Most merges; the largest tokenizers have about 280,000.
const MERGES_MAX: usize = 1 << 20;

/// How text is split into words before merging, by `tokenizer.ggml.pre`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Split {
    Gpt2,
    Llama3,
    Qwen2,
}

impl Split {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "gpt-2" => Some(Self::Gpt2),
            "llama-bpe" | "llama3" | "llama-v3" => Some(Self::Llama3),
            "qwen2" => Some(Self::Qwen2),
            _ => None,
        }
    }

    /// The expression as the model's publisher states it. Each covers every character, so that between
    /// two matches nothing remains.
    fn expression(self) -> &'static str {
        match self {
            // `encoder.py` of GPT-2.
            Self::Gpt2 => r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            // `tokenizer.json` of Llama 3.
            Self::Llama3 => concat!(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
                r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            ),
            // `tokenizer.json` of Qwen2: as Llama 3, but for single digits.
            Self::Qwen2 => concat!(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
                r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            ),
        }
    }

    /// Whether a word that is a token is that token, whatever the merges say (`ignore_merges`).
    fn takes_whole_words(self) -> bool {
        self == Self::Llama3
    }
}

pub(super) struct ByteLevelBpe {
    split: Split,
    words: SysRegex,
    model: BPE,
}

impl ByteLevelBpe {
    pub(super) fn from_gguf(gguf: &Gguf, vocab: &Vocab) -> Result<Self, TextError> {
        let name: &str = gguf.require("tokenizer.ggml.pre")?;
        let split =
            Split::from_name(name).ok_or_else(|| TextError::PreTokenizer { name: name.to_owned() })?;
        let ids = vocab.normal_ids()?;
        // No other byte occurs in UTF-8.
        let occurs = |byte: &u8| !matches!(byte, 0xc0 | 0xc1 | 0xf5..);
        let known = |byte: &u8| ids.contains_key(&*byte_char(*byte).to_string());
        if let Some(byte) = (0..=u8::MAX).find(|byte| occurs(byte) && !known(byte)) {
            return Err(TextError::MissingByte { byte });
        }
        let merges = merges(gguf, |text| ids.contains_key(text))?;
        let ids: bpe::Vocab = ids.into_iter().map(|(text, id)| (text.to_owned(), id)).collect();
        let model = BPE::builder()
            .vocab_and_merges(ids, merges)
            // A cache is state; it would save time only for texts far longer than requests.
            .cache_capacity(0)
            .ignore_merges(split.takes_whole_words())
            .build()
            .map_err(|error| TextError::Bpe(error.to_string()))?;
        let words = SysRegex::new(split.expression()).map_err(|error| TextError::Bpe(error.to_string()))?;
        Ok(Self { split, words, model })
    }

    /// Whether prompts begin with the first token when the metadata does not say so, as llama.cpp has it.
    pub(super) fn adds_bos(&self) -> bool {
        self.split == Split::Llama3
    }

    /// Appends the tokens of a text in which nothing is special.
    pub(super) fn encode(&self, text: &str, tokens: &mut Vec<u32>) -> Result<(), RenderError> {
        let mut done = 0;
        for (start, end) in self.words.find_iter(text) {
            if start != done {
                break;
            }
            self.encode_word(&text[start..end], tokens)?;
            done = end;
        }
        // The expressions cover everything, so a gap is a match that gave up at its limit of steps.
        if done < text.len() { Err(RenderError::Split { at: done }) } else { Ok(()) }
    }

    fn encode_word(&self, word: &str, tokens: &mut Vec<u32>) -> Result<(), RenderError> {
        let spelled: String = word.bytes().map(byte_char).collect();
        let found = self.model.tokenize(&spelled).map_err(|error| RenderError::Bpe(error.to_string()))?;
        tokens.extend(found.iter().map(|token| token.id));
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
