//! The parent: a model in the layout of Hugging Face's transformers.

use crate::error::LineageError;

/// The files that decide a model, as bytes.
#[derive(Clone, Copy, Debug)]
pub struct TransformersSource<'a> {
    /// `config.json`.
    pub config: &'a [u8],
    /// `tokenizer.json`.
    pub tokenizer: &'a [u8],
    /// `tokenizer_config.json`.
    pub tokenizer_config: &'a [u8],
    /// `model.safetensors`.
    pub weights: &'a [u8],
}

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const WEIGHTS: &str = "model.safetensors";

impl<'a> TransformersSource<'a> {
    /// Picks the files by name; others, such as a README, play no part.
    ///
    /// # Errors
    /// When one is missing, or the weights come in several files.
    pub fn from_files<'n>(
        files: impl IntoIterator<Item = (&'n str, &'a [u8])>,
    ) -> Result<Self, LineageError> {
        let (mut config, mut tokenizer, mut tokenizer_config, mut weights) = (None, None, None, None);
        for (name, bytes) in files {
            match name {
                CONFIG => config = Some(bytes),
                TOKENIZER => tokenizer = Some(bytes),
                TOKENIZER_CONFIG => tokenizer_config = Some(bytes),
                WEIGHTS => weights = Some(bytes),
                other if other.ends_with(".safetensors") || other.ends_with(".safetensors.index.json") => {
                    return Err(LineageError::Sharded(other.to_owned()));
                }
                _ => {}
            }
        }
        Ok(Self {
            config: config.ok_or(LineageError::MissingFile(CONFIG))?,
            tokenizer: tokenizer.ok_or(LineageError::MissingFile(TOKENIZER))?,
            tokenizer_config: tokenizer_config.ok_or(LineageError::MissingFile(TOKENIZER_CONFIG))?,
            weights: weights.ok_or(LineageError::MissingFile(WEIGHTS))?,
        })
    }
}
