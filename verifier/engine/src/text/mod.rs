//! Text: a model's tokenizer and chat template, from its GGUF metadata.
//!
//! Byte-level BPE (`tokenizer.ggml.model` is `gpt2`), SentencePiece BPE (`llama`) and WordPiece (`bert`). What
//! a prompt becomes and what tokens read as is part of the definition (`docs/NUMERICS.md`, "Text"): every
//! provider must find the same tokens.

mod bpe;
mod decoder;
mod ends;
mod error;
mod family;
mod sentencepiece;
mod special;
mod split;
mod stop;
mod template;
mod tokenizer;
mod vocab;
mod wordpiece;

#[cfg(test)]
mod tests;

pub use decoder::Decoder;
pub use error::{RenderError, TextError};
pub use stop::StopMatcher;

use assay_manifest::formats::gguf::Gguf;
use assay_protocol::request::{Message, Prompt};

use self::decoder::Space;
use self::family::{BOS_KEY, EOS_KEY, Family, Ids, UNKNOWN_KEY};
use self::special::{Piece, Specials};
use self::template::{ChatTemplate, RENDERED_BYTES_MAX};
use self::tokenizer::Tokenizer;
pub(crate) use self::vocab::TOKENS_MAX;
use self::vocab::{Kind, Vocab};

/// Tokens that templates name by variable.
const VARIABLES: [(&str, &str); 4] = [
    ("bos_token", BOS_KEY),
    ("eos_token", EOS_KEY),
    ("unk_token", UNKNOWN_KEY),
    ("pad_token", "tokenizer.ggml.padding_token_id"),
];

/// A model's tokenizer and chat template.
pub struct Text {
    vocab: Vocab,
    family: Family,
    tokenizer: Tokenizer,
    /// Tokens found as a whole in any text.
    user_defined: Specials,
    /// These and the control tokens: what a raw prompt may name.
    special: Specials,
    /// The token that every prompt begins with.
    bos: Option<u32>,
    /// The token that a raw prompt ends with.
    eos: Option<u32>,
    /// The tokens that end an answer, ascending.
    ends: Vec<u32>,
    template: Option<ChatTemplate>,
}

/// The definition that the tokenizer of a model with this metadata follows, by its heading in `docs/NUMERICS.md`;
/// nothing where it is not supported.
pub(crate) fn definition_of(gguf: &Gguf) -> Option<&'static str> {
    let model: &str = gguf.require("tokenizer.ggml.model").ok()?;
    Family::from_model(model).ok().map(Family::definition_name)
}

impl Text {
    /// Builds tokenizer and template from a model's metadata.
    ///
    /// # Errors
    /// When a key is missing, of another type, contradicts another or is beyond a limit, the tokenizer is
    /// not supported, or the template does not compile.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, TextError> {
        let family = Family::from_model(gguf.require("tokenizer.ggml.model")?)?;
        let vocab = Vocab::from_gguf(gguf, family)?;
        let ids = Ids { gguf, vocab: &vocab, family };
        let tokenizer = Tokenizer::from_gguf(&ids)?;
        let controls = || vocab.of_kind(Kind::Control);
        Ok(Self {
            user_defined: Specials::new(vocab.of_kind(Kind::UserDefined))?,
            special: Specials::new(controls().chain(vocab.of_kind(Kind::UserDefined)))?,
            bos: tokenizer.first_token(&ids)?,
            eos: tokenizer.last_token(&ids)?,
            ends: ends::end_tokens(gguf, &vocab, &ids)?,
            template: chat_template(&ids, &Specials::new(controls())?)?,
            vocab,
            family,
            tokenizer,
        })
    }

    /// The tokens of a prompt.
    ///
    /// A conversation is rendered by the chat template; only the template's own text can become control
    /// tokens, never a message's. A raw prompt is tokenized as it stands, and the control tokens that it
    /// names are control tokens. `now_s`, in seconds since 1970, is the present that templates see.
    ///
    /// # Errors
    /// When the template is missing, refuses the messages or works beyond its limits, or the text is too
    /// long.
    pub fn render(&self, prompt: &Prompt, now_s: u64) -> Result<Vec<u32>, RenderError> {
        let mut tokens = match prompt {
            Prompt::Chat(messages) => self.render_chat(messages, now_s)?,
            Prompt::Text(text) if text.len() > RENDERED_BYTES_MAX => {
                return Err(RenderError::TooLong { limit: RENDERED_BYTES_MAX });
            }
            Prompt::Text(text) => {
                let mut tokens = self.tokenizer.encode(self.special.split(text))?;
                tokens.extend(self.eos);
                tokens
            }
        };
        // Some templates write the first token themselves.
        if let Some(bos) = self.bos.filter(|bos| tokens.first() != Some(bos)) {
            tokens.insert(0, bos);
        }
        Ok(tokens)
    }

    fn render_chat(&self, messages: &[Message], now_s: u64) -> Result<Vec<u32>, RenderError> {
        let template = self.template.as_ref().ok_or(RenderError::NoTemplate)?;
        let text = template.render(messages, now_s)?;
        let pieces = template.pieces(&text).into_iter().flat_map(|piece| match piece {
            Piece::Token(_) => vec![piece],
            Piece::Text(text) => self.user_defined.split(text),
        });
        self.tokenizer.encode(pieces)
    }

    /// The tokens of a text in which nothing is a control token, without those that a prompt gets.
    ///
    /// # Errors
    /// When the text takes too many steps to split.
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>, RenderError> {
        self.tokenizer.encode(self.user_defined.split(text))
    }

    /// The tokens of a text as encoders read it: in it nothing is a control token; the tokens with which raw prompts
    /// begin and end stand around it.
    ///
    /// # Errors
    /// When the text is too long, or takes too many steps to split.
    pub fn encode_sentence(&self, text: &str) -> Result<Vec<u32>, RenderError> {
        if text.len() > RENDERED_BYTES_MAX {
            return Err(RenderError::TooLong { limit: RENDERED_BYTES_MAX });
        }
        let plain = self.encode_plain(text)?;
        Ok(self.bos.into_iter().chain(plain).chain(self.eos).collect())
    }

    /// The token with which raw prompts end.
    pub(crate) const fn last_token(&self) -> Option<u32> {
        self.eos
    }

    /// The text of tokens. Control tokens read as nothing; bytes that are not UTF-8 as U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let mut decoder = self.decoder();
        let mut text: String = tokens.iter().map(|token| decoder.push(self, *token)).collect();
        text.push_str(&decoder.finish());
        text
    }

    /// The text of tokens that come one by one.
    pub fn decoder(&self) -> Decoder {
        let space = if self.tokenizer.adds_space_prefix() { Space::Stripped } else { Space::Kept };
        Decoder::new(space)
    }

    /// The definition that the tokenizer follows, by its heading in `docs/NUMERICS.md`.
    pub fn definition_name(&self) -> &'static str {
        self.family.definition_name()
    }

    /// How many tokens there are; ids are below it.
    pub fn vocab_size(&self) -> u32 {
        self.vocab.len()
    }

    /// A token as the vocabulary spells it, with its characters for bytes or spaces; for display, not for text.
    pub fn token_text(&self, id: u32) -> Option<&str> {
        self.vocab.text(id)
    }

    /// The bytes that a token adds to a text; none for control tokens and ids that no token has. A space that the
    /// tokenizer puts before a text is among them.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.vocab.bytes(id)
    }

    /// The tokens that end an answer, ascending.
    pub fn eos_tokens(&self) -> &[u32] {
        &self.ends
    }
}

fn chat_template(ids: &Ids<'_>, controls: &Specials) -> Result<Option<ChatTemplate>, TextError> {
    let Some(source) = ids.gguf.lookup::<&str>("tokenizer.chat_template")? else { return Ok(None) };
    let mut named = Vec::new();
    for (name, key) in VARIABLES {
        let text = ids.token(key)?.and_then(|id| ids.vocab.text(id));
        named.extend(text.map(|text| (name, text)));
    }
    ChatTemplate::new(source, controls, &named).map(Some)
}
