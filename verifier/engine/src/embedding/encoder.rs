//! A loaded encoder: immutable, shared by everyone who runs it.

use std::collections::BTreeSet;
use std::io::BufReader;
use std::num::NonZeroUsize;
use std::sync::Arc;

use assay_kernels::float::check_environment;
use assay_kernels::{Cpu, Pool};
use assay_manifest::formats::gguf::Gguf;
use assay_manifest::{Digest32, SpecId};

use super::config::{ARCHITECTURE, EncoderConfig};
use super::error::{EncodeError, EncoderError};
use super::forward::{Forward, PASS_ROWS, Scratch};
use super::transformers::Transformers;
use super::weights::Weights;
use crate::engine::Engine;
use crate::forward::{all_finite, hash_floats};
use crate::load::{LoadError, LoadOptions};
use crate::source::{SourceReader, WeightSource};
use crate::spec;
use crate::tensors::{Tensors, weight_type};
use crate::text::Text;

/// Definitions of every encoder, by their headings in `docs/NUMERICS.md`.
const ALWAYS: [&str; 6] = [ARCHITECTURE, "add", "attention-bidirectional", "gelu", "l2-norm", "layer-norm"];

/// Tensors whose rows are looked up; all other matrices are multiplied with.
const LOOKED_UP: [&str; 3] = ["token_embd.weight", "position_embd.weight", "token_types.weight"];

/// Weights, tokenizer and configuration of one encoder.
pub struct Encoder {
    config: EncoderConfig,
    text: Text,
    weights: Weights,
    spec_id: SpecId,
}

/// What becomes of a text with more tokens than the model has positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLong {
    /// It is refused.
    Refuse,
    /// Its first tokens are read, and the token that ends every text.
    Truncate,
}

/// A text's place in the space of meanings: a vector of length 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// Its elements.
    pub values: Vec<f32>,
    /// Tokens that were read, with those around the text.
    pub tokens: u32,
}

impl Embedding {
    /// BLAKE3 of the elements as little-endian f32: equal exactly where embeddings are.
    pub fn hash(&self) -> Digest32 {
        hash_floats(&self.values)
    }
}

impl Encoder {
    /// Reads, checks and packs a GGUF file; `progress` hears of bytes of tensors done and in total.
    ///
    /// # Errors
    /// [`EncoderError`] when the file cannot be read, is not GGUF, or does not hold exactly the tensors and settings of
    /// an encoder of the exact class, all weights finite.
    pub fn load(
        source: &dyn WeightSource,
        options: &LoadOptions,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Arc<Self>, EncoderError> {
        let gguf = Gguf::parse(BufReader::new(SourceReader::new(source)), source.size_bytes());
        Self::with_header(gguf.map_err(LoadError::from)?, source, options, progress)
    }

    /// Reads, checks and packs a model in the layout of Hugging Face's transformers.
    ///
    /// # Errors
    /// As [`Encoder::load`], and when a file is not of its format.
    pub fn from_transformers(
        files: &Transformers<'_>,
        options: &LoadOptions,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Arc<Self>, EncoderError> {
        Self::with_header(files.header()?, files.weights, options, progress)
    }

    fn with_header(
        gguf: Gguf,
        source: &dyn WeightSource,
        options: &LoadOptions,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Arc<Self>, EncoderError> {
        let config = EncoderConfig::from_gguf(&gguf)?;
        let text = Text::from_gguf(&gguf)?;
        let definitions = definitions(&config, &text, &gguf);
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let pool = Pool::new(threads, Cpu::detect()).map_err(LoadError::from)?;
        let mut tensors = Tensors::new(&pool, source, gguf.tensors, options, progress)?;
        let weights = Weights::take(&mut tensors, &config)?;
        tensors.finish()?;
        // Every tensor was of a supported type, so every definition has a name.
        let spec_id = spec::spec_id(&definitions.unwrap_or_default());
        Ok(Arc::new(Self { config, text, weights, spec_id }))
    }

    /// The name of the definitions that this encoder's embeddings follow.
    pub const fn spec_id(&self) -> SpecId {
        self.spec_id
    }

    /// The encoder's shape.
    pub const fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// The tokenizer.
    pub const fn text(&self) -> &Text {
        &self.text
    }

    /// The embedding of each text.
    ///
    /// # Errors
    /// [`EncodeError`] when a text is too long or cannot be read, its embedding is not finite, or this machine has no
    /// memory.
    pub fn encode(
        &self,
        pool: &Pool,
        texts: &[impl AsRef<str>],
        too_long: TooLong,
    ) -> Result<Vec<Embedding>, EncodeError> {
        check_environment()?;
        let texts = texts.iter().enumerate();
        let tokens: Vec<Vec<u32>> = texts
            .map(|(index, text)| self.tokens(index, text.as_ref(), too_long))
            .collect::<Result<_, _>>()?;
        let batches = batches(&tokens);
        let rows = |batch: &[Vec<u32>]| batch.iter().map(Vec::len).sum();
        let rows_max = batches.iter().map(|batch| rows(batch)).max().unwrap_or(0);
        let mut scratch = Scratch::new(rows_max, &self.config);
        let mut embeddings = Vec::with_capacity(tokens.len());
        for batch in batches {
            let (config, weights) = (&self.config, &self.weights);
            let pooled = Forward { pool, config, weights, scratch: &mut scratch }.run(batch)?;
            for (tokens, mut values) in batch.iter().zip(pooled) {
                if !all_finite(&values) {
                    return Err(EncodeError::NotFinite { index: embeddings.len() });
                }
                pool.cpu().l2_norm(&mut values);
                // Texts have no more tokens than the model has positions, far under 2^32.
                embeddings.push(Embedding { values, tokens: tokens.len() as u32 });
            }
        }
        Ok(embeddings)
    }

    fn tokens(&self, index: usize, text: &str, too_long: TooLong) -> Result<Vec<u32>, EncodeError> {
        let encoded = self.text.encode_sentence(text);
        let mut tokens = encoded.map_err(|cause| EncodeError::Text { index, cause })?;
        let max = self.config.context_length;
        if tokens.len() > max {
            if too_long == TooLong::Refuse {
                return Err(EncodeError::TooLong { index, tokens: tokens.len(), max });
            }
            tokens.truncate(max);
            if let (Some(last), Some(end)) = (tokens.last_mut(), self.text.last_token()) {
                *last = end;
            }
        }
        Ok(tokens)
    }
}

impl Engine {
    /// The embedding of each text, on the engine's threads.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode(
        &self,
        encoder: &Encoder,
        texts: &[impl AsRef<str>],
        too_long: TooLong,
    ) -> Result<Vec<Embedding>, EncodeError> {
        encoder.encode(self.pool(), texts, too_long)
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("config", &self.config).field("spec_id", &self.spec_id).finish()
    }
}

/// Texts that share a pass: as many as there is room for, at least one.
fn batches(texts: &[Vec<u32>]) -> Vec<&[Vec<u32>]> {
    let (mut batches, mut first, mut rows) = (Vec::new(), 0, 0);
    for (index, text) in texts.iter().enumerate() {
        if index > first && rows + text.len() > PASS_ROWS {
            batches.push(&texts[first..index]);
            (first, rows) = (index, 0);
        }
        rows += text.len();
    }
    if first < texts.len() {
        batches.push(&texts[first..]);
    }
    batches
}

/// The definitions that an encoder uses; nothing where a tensor is of a type without a kernel.
fn definitions(config: &EncoderConfig, text: &Text, gguf: &Gguf) -> Option<BTreeSet<String>> {
    let mut names: BTreeSet<String> = ALWAYS.map(str::to_owned).into();
    names.insert(config.pooling.definition().to_owned());
    names.insert(text.definition_name().to_owned());
    for tensor in gguf.tensors.iter().filter(|tensor| tensor.dims.len() > 1) {
        let kind = if LOOKED_UP.contains(&tensor.name.as_str()) { "row" } else { "product" };
        names.insert(format!("{kind}-{}", weight_type(tensor.dtype)?.name()));
    }
    Some(names)
}
