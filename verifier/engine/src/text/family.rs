//! The families of tokenizers, and which tokens have a part in each.

use assay_manifest::formats::gguf::Gguf;

use super::TextError;
use super::vocab::Vocab;

pub(super) const BOS_KEY: &str = "tokenizer.ggml.bos_token_id";
pub(super) const EOS_KEY: &str = "tokenizer.ggml.eos_token_id";
pub(super) const UNKNOWN_KEY: &str = "tokenizer.ggml.unknown_token_id";
/// Spelled so in the format's specification.
pub(super) const SEPARATOR_KEY: &str = "tokenizer.ggml.seperator_token_id";
const CLASS_KEY: &str = "tokenizer.ggml.cls_token_id";

/// A way of making tokens from text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    ByteLevelBpe,
    SentencePieceBpe,
    WordPiece,
}

impl Family {
    /// By `tokenizer.ggml.model`.
    pub(super) fn from_model(name: &str) -> Result<Self, TextError> {
        match name {
            "gpt2" => Ok(Self::ByteLevelBpe),
            "llama" => Ok(Self::SentencePieceBpe),
            "bert" => Ok(Self::WordPiece),
            _ => Err(TextError::Model { name: name.to_owned() }),
        }
    }

    /// The name of the definition in `docs/NUMERICS.md`.
    pub(super) const fn definition_name(self) -> &'static str {
        match self {
            Self::ByteLevelBpe => "text-byte-level-bpe",
            Self::SentencePieceBpe => "text-sentencepiece-bpe",
            Self::WordPiece => "text-wordpiece",
        }
    }

    /// The token that has a part where no key says so: those of Llama 2 and of BERT, as llama.cpp has them.
    fn default_token(self, key: &str) -> Option<u32> {
        match (self, key) {
            (Self::SentencePieceBpe, UNKNOWN_KEY) => Some(0),
            (Self::SentencePieceBpe, BOS_KEY) => Some(1),
            (Self::SentencePieceBpe, EOS_KEY) => Some(2),
            (Self::WordPiece, UNKNOWN_KEY) => Some(100),
            (Self::WordPiece, BOS_KEY) => Some(101),
            (Self::WordPiece, SEPARATOR_KEY) => Some(102),
            _ => None,
        }
    }
}

/// Tokens by their parts.
pub(super) struct Ids<'a> {
    pub(super) gguf: &'a Gguf,
    pub(super) vocab: &'a Vocab,
    pub(super) family: Family,
}

impl Ids<'_> {
    /// The token that a key names, or else the family's.
    pub(super) fn token(&self, key: &'static str) -> Result<Option<u32>, TextError> {
        match self.named(key)? {
            // A sentence begins with its class, which some converters name only so.
            None if self.family == Family::WordPiece && key == BOS_KEY => {
                Ok(self.named(CLASS_KEY)?.or_else(|| self.default_token(key)))
            }
            None => Ok(self.default_token(key)),
            found => Ok(found),
        }
    }

    pub(super) fn required(&self, key: &'static str) -> Result<u32, TextError> {
        self.token(key)?.ok_or(TextError::NoToken { key })
    }

    fn named(&self, key: &'static str) -> Result<Option<u32>, TextError> {
        match self.gguf.lookup::<u32>(key)? {
            Some(id) if id >= self.vocab.len() => Err(TextError::UnknownToken { key, id }),
            found => Ok(found),
        }
    }

    fn default_token(&self, key: &str) -> Option<u32> {
        self.family.default_token(key).filter(|id| *id < self.vocab.len())
    }
}
