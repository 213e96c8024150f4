//! Text: a model's tokenizer and chat template, from its GGUF metadata.
//!
//! Byte-level BPE (`tokenizer.ggml.model` is `gpt2`). What a prompt becomes and what tokens read as is part
//! of the definition (`docs/NUMERICS.md`, "Text"): every provider must find the same tokens.

mod bpe;
mod decoder;
mod error;
mod special;
mod stop;
mod template;
mod vocab;

#[cfg(test)]
mod tests;

pub use decoder::Decoder;
pub use error::{RenderError, TextError};
pub use stop::StopMatcher;

use assay_manifest::formats::gguf::Gguf;
use assay_protocol::request::{Message, Prompt};

use self::bpe::ByteLevelBpe;
use self::special::{Piece, Specials};
use self::template::{ChatTemplate, RENDERED_BYTES_MAX};
use self::vocab::{Kind, Vocab};

/// The one tokenizer that is supported, by its name in GGUF.
const MODEL: &str = "gpt2";
const BOS_KEY: &str = "tokenizer.ggml.bos_token_id";
const EOS_KEY: &str = "tokenizer.ggml.eos_token_id";
/// Keys of tokens that end an answer.
const END_KEYS: [&str; 3] = [EOS_KEY, "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];
/// Control tokens that end an answer in the models that have them: converters often name only one of a
/// model's two. From the list of llama.cpp, for the families of this tokenizer.
const END_TEXTS: [&str; 6] =
    ["<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>"];
/// Tokens that templates name by variable.
const VARIABLES: [(&str, &str); 4] = [
    ("bos_token", BOS_KEY),
    ("eos_token", EOS_KEY),
    ("unk_token", "tokenizer.ggml.unknown_token_id"),
    ("pad_token", "tokenizer.ggml.padding_token_id"),
];

/// A model's tokenizer and chat template.
pub struct Text {
    vocab: Vocab,
    bpe: ByteLevelBpe,
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

impl Text {
    /// Builds tokenizer and template from a model's metadata.
    ///
    /// # Errors
    /// When a key is missing, of another type, contradicts another or is beyond a limit, the tokenizer is
    /// not supported, or the template does not compile.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, TextError> {
        let model: &str = gguf.require("tokenizer.ggml.model")?;
        if model != MODEL {
            return Err(TextError::Model { name: model.to_owned() });
        }
        let vocab = Vocab::from_gguf(gguf)?;
        let bpe = ByteLevelBpe::from_gguf(gguf, &vocab)?;
        let controls = || vocab.of_kind(Kind::Control);
        let adds_bos = gguf.lookup("tokenizer.ggml.add_bos_token")?.unwrap_or(bpe.adds_bos());
        let adds_eos = gguf.lookup("tokenizer.ggml.add_eos_token")?.unwrap_or(false);
        Ok(Self {
            user_defined: Specials::new(vocab.of_kind(Kind::UserDefined))?,
            special: Specials::new(controls().chain(vocab.of_kind(Kind::UserDefined)))?,
            bos: adds_bos.then(|| required_token(gguf, &vocab, BOS_KEY)).transpose()?,
            eos: adds_eos.then(|| required_token(gguf, &vocab, EOS_KEY)).transpose()?,
            ends: end_tokens(gguf, &vocab)?,
            template: chat_template(gguf, &vocab, &Specials::new(controls())?)?,
            vocab,
            bpe,
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
        let mut tokens = Vec::new();
        match prompt {
            Prompt::Chat(messages) => self.render_chat(messages, now_s, &mut tokens)?,
            Prompt::Text(text) if text.len() > RENDERED_BYTES_MAX => {
                return Err(RenderError::TooLong { limit: RENDERED_BYTES_MAX });
            }
            Prompt::Text(text) => {
                self.encode(self.special.split(text), &mut tokens)?;
                tokens.extend(self.eos);
            }
        }
        // Some templates write the first token themselves.
        if let Some(bos) = self.bos.filter(|bos| tokens.first() != Some(bos)) {
            tokens.insert(0, bos);
        }
        Ok(tokens)
    }

    fn render_chat(
        &self,
        messages: &[Message],
        now_s: u64,
        tokens: &mut Vec<u32>,
    ) -> Result<(), RenderError> {
        let template = self.template.as_ref().ok_or(RenderError::NoTemplate)?;
        let text = template.render(messages, now_s)?;
        for piece in template.pieces(&text) {
            match piece {
                Piece::Token(token) => tokens.push(token),
                Piece::Text(text) => self.encode(self.user_defined.split(text), tokens)?,
            }
        }
        Ok(())
    }

    fn encode(&self, pieces: Vec<Piece<'_>>, tokens: &mut Vec<u32>) -> Result<(), RenderError> {
        for piece in pieces {
            match piece {
                Piece::Token(token) => tokens.push(token),
                Piece::Text(text) => self.bpe.encode(text, tokens)?,
            }
        }
        Ok(())
    }

    /// The text of tokens. Control tokens read as nothing; bytes that are not UTF-8 as U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| self.vocab.bytes(*token)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The text of tokens that come one by one.
    pub fn decoder(&self) -> Decoder {
        Decoder::default()
    }

    /// How many tokens there are; ids are below it.
    pub fn vocab_size(&self) -> u32 {
        self.vocab.len()
    }

    /// A token as the vocabulary spells it, with GPT-2's characters for bytes; for display, not for text.
    pub fn token_text(&self, id: u32) -> Option<&str> {
        self.vocab.text(id)
    }

    /// The tokens that end an answer, ascending.
    pub fn eos_tokens(&self) -> &[u32] {
        &self.ends
    }
}

/// The token that a key names, if the key is there.
fn token(gguf: &Gguf, vocab: &Vocab, key: &'static str) -> Result<Option<u32>, TextError> {
    match gguf.lookup::<u32>(key)? {
        Some(id) if id >= vocab.len() => Err(TextError::UnknownToken { key, id }),
        found => Ok(found),
    }
}

fn required_token(gguf: &Gguf, vocab: &Vocab, key: &'static str) -> Result<u32, TextError> {
    token(gguf, vocab, key)?.ok_or(TextError::NoToken { key })
}

fn end_tokens(gguf: &Gguf, vocab: &Vocab) -> Result<Vec<u32>, TextError> {
    let mut ends = Vec::new();
    for key in END_KEYS {
        ends.extend(token(gguf, vocab, key)?);
    }
    let by_text = vocab.of_kind(Kind::Control).filter(|(text, _)| END_TEXTS.contains(text));
    ends.extend(by_text.map(|(_, id)| id));
    ends.sort_unstable();
    ends.dedup();
    Ok(ends)
}

fn chat_template(gguf: &Gguf, vocab: &Vocab, controls: &Specials) -> Result<Option<ChatTemplate>, TextError> {
    let Some(source) = gguf.lookup::<&str>("tokenizer.chat_template")? else { return Ok(None) };
    let mut named = Vec::new();
    for (name, key) in VARIABLES {
        let text = token(gguf, vocab, key)?.and_then(|id| vocab.text(id));
        named.extend(text.map(|text| (name, text)));
    }
    ChatTemplate::new(source, controls, &named).map(Some)
}
