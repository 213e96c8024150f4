//! What can be wrong with an encoder's files or with a text.

use assay_kernels::MemoryError;
use assay_kernels::float::FloatEnvironmentError;
use assay_manifest::formats::safetensors::SafetensorsError;

use crate::config::ConfigError;
use crate::load::LoadError;
use crate::text::{RenderError, TextError};

/// Files that hold no encoder of the exact class.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    /// The header, a tensor or the tokenizer was refused.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Not a safetensors file.
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
    /// A file is not the JSON that its name promises.
    #[error("reading {file}: {message}")]
    Json {
        /// The file.
        file: &'static str,
        /// What the JSON parser says.
        message: String,
    },
    /// Something that is not implemented.
    #[error("reading {file}: {what} is not supported ({found})")]
    Unsupported {
        /// The file.
        file: &'static str,
        /// What it is.
        what: &'static str,
        /// What the file has.
        found: String,
    },
    /// A token's id is that of another, or beyond the vocabulary.
    #[error(
        "reading tokenizer.json: token {text:?} has the id {id}, which is taken or beyond the vocabulary"
    )]
    TokenId {
        /// The token.
        text: String,
        /// Its id.
        id: u32,
    },
    /// Two tensors have one place in the model.
    #[error("reading the weights: two tensors stand for {0:?}")]
    DuplicateTensor(String),
}

impl From<ConfigError> for EncoderError {
    fn from(error: ConfigError) -> Self {
        Self::Load(error.into())
    }
}

impl From<TextError> for EncoderError {
    fn from(error: TextError) -> Self {
        Self::Load(error.into())
    }
}

impl EncoderError {
    pub(super) fn json(file: &'static str) -> impl FnOnce(serde_json::Error) -> Self {
        move |error| Self::Json { file, message: error.to_string() }
    }
}

/// Texts that have no embedding, or not on this machine.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// A text has more tokens than the model has positions.
    #[error("encoding text {index}: its {tokens} tokens are more than the model's {max} positions")]
    TooLong {
        /// Which text.
        index: usize,
        /// Its tokens, with those around it.
        tokens: usize,
        /// The model's positions.
        max: usize,
    },
    /// A text cannot be tokenized.
    #[error("encoding text {index}: {cause}")]
    Text {
        /// Which text.
        index: usize,
        /// Why.
        cause: RenderError,
    },
    /// The computation overflows.
    #[error("encoding text {index}: its embedding is not finite")]
    NotFinite {
        /// Which text.
        index: usize,
    },
    /// The system has no memory.
    #[error("encoding texts: {0}")]
    Memory(#[from] MemoryError),
    /// The calling thread's floating-point settings are wrong.
    #[error(transparent)]
    Float(#[from] FloatEnvironmentError),
}
