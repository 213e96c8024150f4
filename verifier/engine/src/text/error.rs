//! What can be wrong with a tokenizer, a template or a prompt.

use std::io::ErrorKind;

use assay_manifest::formats::gguf::KeyError;
use assay_protocol::commitment::FailCode;

/// A model's tokenizer or chat template was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// A key is missing or of another type.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Of no family that is defined.
    #[error(
        "reading the tokenizer: model {name:?} is not supported (gpt2, llama and bert are: byte-level bpe, \
         sentencepiece bpe and wordpiece)"
    )]
    Model {
        /// `tokenizer.ggml.model`.
        name: String,
    },
    /// Words are split in a way that is not defined.
    #[error("reading the tokenizer: pre-tokenizer {name:?} is not among those of docs/NUMERICS.md, \"Text\"")]
    PreTokenizer {
        /// `tokenizer.ggml.pre`.
        name: String,
    },
    /// Something is beyond its limit.
    #[error("reading the tokenizer: {what} exceeds the limit of {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its limit, in bytes or items.
        limit: usize,
    },
    /// Tokens and their types are not equally many.
    #[error("reading the tokenizer: {tokens} tokens have {types} types")]
    TypeCount {
        /// Number of tokens.
        tokens: usize,
        /// Number of types.
        types: usize,
    },
    /// A type that tokenizers of the family do not have.
    #[error("reading the tokenizer: token {id} has the type {number}, which is not supported")]
    TokenType {
        /// The token.
        id: usize,
        /// Its type.
        number: i32,
    },
    /// A byte token that names no byte.
    #[error("reading the tokenizer: byte token {id} is not named like <0x0A>")]
    ByteName {
        /// The token.
        id: usize,
    },
    /// Tokens and their scores are not equally many.
    #[error("reading the tokenizer: {tokens} tokens have {scores} scores")]
    ScoreCount {
        /// Number of tokens.
        tokens: usize,
        /// Number of scores.
        scores: usize,
    },
    /// A score that compares with no other.
    #[error("reading the tokenizer: the score of token {id} is not a number")]
    Score {
        /// The token.
        id: usize,
    },
    /// A token without text.
    #[error("reading the tokenizer: token {id} is empty")]
    EmptyToken {
        /// The token.
        id: usize,
    },
    /// Two tokens of one kind have this text.
    #[error("reading the tokenizer: token {text:?} appears twice")]
    DuplicateToken {
        /// The text.
        text: String,
    },
    /// A byte that occurs in text has no token.
    #[error("reading the tokenizer: no token for byte {byte:#04x}")]
    MissingByte {
        /// The byte.
        byte: u8,
    },
    /// A merge is not two tokens that make a third, or appears twice.
    #[error(
        "reading the tokenizer: merge {rank} is not a pair of tokens that makes another, or a repetition"
    )]
    Merge {
        /// Its position in the list.
        rank: usize,
    },
    /// The library refused the tokenizer.
    #[error("building the tokenizer: {0}")]
    Library(String),
    /// A key names a token that does not exist.
    #[error("reading the tokenizer: {key} names token {id}, which does not exist")]
    UnknownToken {
        /// The key.
        key: &'static str,
        /// The token.
        id: u32,
    },
    /// A token that must be added is not named.
    #[error("reading the tokenizer: {key} is missing, but its token is to be added")]
    NoToken {
        /// The key.
        key: &'static str,
    },
    /// The chat template was refused.
    #[error("reading the chat template: {0}")]
    Template(String),
    /// The chat template composes a control token; see `docs/NUMERICS.md`, "Text".
    #[error("reading the chat template: it puts control token {token} together from parts")]
    ComposedControl {
        /// The token.
        token: u32,
    },
    /// This machine gave no thread for the template.
    #[error("reading the chat template: starting a thread failed ({0})")]
    Thread(ErrorKind),
}

/// A prompt was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The model has no chat template.
    #[error("rendering the messages: the model has no chat template")]
    NoTemplate,
    /// The template refused the messages.
    #[error("rendering the messages: {0}")]
    Template(String),
    /// A message holds a character that is kept for control tokens.
    #[error("rendering the messages: {0:?} is a noncharacter of Unicode")]
    Noncharacter(char),
    /// The template worked too long.
    #[error("rendering the messages: the chat template exceeds its work limit")]
    Fuel,
    /// The text is too long.
    #[error("rendering the prompt: the text exceeds the limit of {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// Splitting into words took too many steps.
    #[error("tokenizing the prompt: splitting it at byte {at} takes too many steps")]
    Split {
        /// Where, in the part that was being tokenized.
        at: usize,
    },
    /// The library refused the text.
    #[error("tokenizing the prompt: {0}")]
    Library(String),
    /// This machine gave no thread for the template; another may well render it.
    #[error("rendering the messages: starting a thread failed ({0})")]
    Thread(ErrorKind),
}

impl RenderError {
    /// The failure as providers commit to it; none if the fault is this machine's.
    pub fn fail_code(&self) -> Option<FailCode> {
        match self {
            Self::NoTemplate | Self::Template(_) | Self::Noncharacter(_) | Self::Library(_) => {
                Some(FailCode::Template)
            }
            Self::Fuel | Self::TooLong { .. } | Self::Split { .. } => Some(FailCode::Fuel),
            Self::Thread(_) => None,
        }
    }
}
