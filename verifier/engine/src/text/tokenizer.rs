//! A tokenizer of any family, and the tokens that it puts around a prompt.

use super::bpe::ByteLevelBpe;
use super::family::{BOS_KEY, EOS_KEY, Family, Ids, SEPARATOR_KEY, UNKNOWN_KEY};
use super::sentencepiece::SentencePieceBpe;
use super::special::Piece;
use super::vocab::Kind;
use super::wordpiece::WordPiece;
use super::{RenderError, TextError};

/// Special tokens of Phi-3 that white space may follow.
const PHI3_KEEPING: [&str; 3] = ["<unk>", "<s>", "<|endoftext|>"];

pub(super) struct Tokenizer {
    model: Model,
    /// Special tokens that take the white space after them, ascending.
    stripping: Vec<u32>,
}

enum Model {
    ByteLevelBpe(ByteLevelBpe),
    SentencePieceBpe(SentencePieceBpe),
    WordPiece(WordPiece),
}

impl Tokenizer {
    pub(super) fn from_gguf(ids: &Ids<'_>) -> Result<Self, TextError> {
        let model = match ids.family {
            Family::ByteLevelBpe => Model::ByteLevelBpe(ByteLevelBpe::from_gguf(ids.gguf, ids.vocab)?),
            Family::SentencePieceBpe => {
                Model::SentencePieceBpe(SentencePieceBpe::from_gguf(ids.gguf, ids.vocab)?)
            }
            Family::WordPiece => {
                let unknown = ids.required(UNKNOWN_KEY)?;
                Model::WordPiece(WordPiece::from_gguf(ids.gguf, ids.vocab, unknown)?)
            }
        };
        Ok(Self { model, stripping: stripping(ids)? })
    }

    /// The token that every prompt begins with.
    pub(super) fn first_token(&self, ids: &Ids<'_>) -> Result<Option<u32>, TextError> {
        let default = match &self.model {
            Model::ByteLevelBpe(bpe) => bpe.adds_bos(),
            Model::SentencePieceBpe(_) => true,
            Model::WordPiece(_) => return ids.required(BOS_KEY).map(Some),
        };
        let adds = ids.gguf.lookup("tokenizer.ggml.add_bos_token")?.unwrap_or(default);
        adds.then(|| ids.required(BOS_KEY)).transpose()
    }

    /// The token that a raw prompt ends with.
    pub(super) fn last_token(&self, ids: &Ids<'_>) -> Result<Option<u32>, TextError> {
        if let Model::WordPiece(_) = self.model {
            return ids.required(SEPARATOR_KEY).map(Some);
        }
        let adds = ids.gguf.lookup("tokenizer.ggml.add_eos_token")?.unwrap_or(false);
        adds.then(|| ids.required(EOS_KEY)).transpose()
    }

    /// Whether a text gets a space before it, which is not read back.
    pub(super) fn adds_space_prefix(&self) -> bool {
        matches!(&self.model, Model::SentencePieceBpe(bpe) if bpe.adds_space_prefix())
    }

    /// The tokens of ordinary text and of the special tokens in it.
    pub(super) fn encode<'t>(
        &self,
        pieces: impl IntoIterator<Item = Piece<'t>>,
    ) -> Result<Vec<u32>, RenderError> {
        let mut tokens = Vec::new();
        let mut strips = false;
        for piece in pieces {
            match piece {
                Piece::Token(token) => {
                    strips = self.stripping.binary_search(&token).is_ok();
                    tokens.push(token);
                }
                Piece::Text(text) => {
                    let text = if strips { text.trim_start_matches(is_space) } else { text };
                    self.encode_text(text, &mut tokens)?;
                }
            }
        }
        Ok(tokens)
    }

    /// Texts do not follow one another: each begins the prompt or comes after a special token.
    fn encode_text(&self, text: &str, tokens: &mut Vec<u32>) -> Result<(), RenderError> {
        if text.is_empty() {
            return Ok(());
        }
        match &self.model {
            Model::ByteLevelBpe(bpe) => bpe.encode(text, tokens)?,
            Model::SentencePieceBpe(bpe) => bpe.encode(text, tokens),
            Model::WordPiece(pieces) => pieces.encode(text, tokens),
        }
        Ok(())
    }
}

/// White space of ASCII, as C's `isspace` has it.
const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// The special tokens of Phi-3, which its publisher has take the white space after them. The format does not
/// say so; as in llama.cpp, the model's name does.
fn stripping(ids: &Ids<'_>) -> Result<Vec<u32>, TextError> {
    let name = ids.gguf.lookup::<&str>("general.name")?.unwrap_or_default().to_ascii_lowercase();
    if !name.contains("phi-3") && !name.contains("phi3") {
        return Ok(Vec::new());
    }
    let special = ids.vocab.of_kind(Kind::Control).chain(ids.vocab.of_kind(Kind::UserDefined));
    let mut stripping: Vec<u32> =
        special.filter(|(text, _)| !PHI3_KEEPING.contains(text)).map(|(_, id)| id).collect();
    stripping.sort_unstable();
    Ok(stripping)
}
