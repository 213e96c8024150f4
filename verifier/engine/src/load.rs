//! Reading a GGUF file: exactly the expected tensors, of supported types, in the right shapes, finite.

use std::collections::HashMap;
use std::io::{self, BufReader};

use assay_kernels::reference::Rope;
use assay_kernels::{Matrix, PackError, WeightType};
use assay_manifest::formats::DType;
use assay_manifest::formats::gguf::{Gguf, GgufError, TensorInfo};

use crate::config::{Config, ConfigError};
use crate::model::{Layer, Weights};
use crate::source::{SourceReader, WeightSource};
use crate::text::{Text, TextError};

/// Limits of this machine; they decide whether a model is loaded, never what it computes.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Most bytes of tensors that are read into memory.
    pub tensor_bytes_max: u64,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { tensor_bytes_max: u64::MAX }
    }
}

/// A file that holds no model of the exact class.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The source failed.
    #[error("reading tensor {tensor:?}: {cause}")]
    Source {
        /// The tensor.
        tensor: String,
        /// What the source says.
        cause: io::Error,
    },
    /// Not a GGUF file.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The metadata describes another kind of model.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tokenizer or the chat template is not supported.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A tensor is not there.
    #[error("loading the model: tensor {0:?} is missing")]
    MissingTensor(String),
    /// A tensor that the architecture does not have; leaving it out could change the model.
    #[error("loading the model: tensor {0:?} has no place in this architecture")]
    UnexpectedTensor(String),
    /// A tensor of another shape.
    #[error("loading the model: tensor {tensor:?} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its shape, outermost first.
        found: Vec<u64>,
        /// What the configuration asks for.
        expected: Vec<usize>,
    },
    /// A tensor of a type that is not supported there.
    #[error(
        "loading the model: tensor {tensor:?} of type {dtype} is not supported (F32, F16, Q8_0 and Q4_0 are; norms must be F32)"
    )]
    Type {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: DType,
    },
    /// A weight is NaN or infinite.
    #[error("loading tensor {tensor:?}: {cause}")]
    Weights {
        /// The tensor.
        tensor: String,
        /// What is wrong.
        cause: PackError,
    },
    /// More than [`LoadOptions::tensor_bytes_max`].
    #[error("loading the model: {found} bytes of tensors are above this machine's limit of {max}")]
    TooLarge {
        /// Bytes of all tensors.
        found: u64,
        /// The limit.
        max: u64,
    },
}

pub(crate) fn load(
    source: &dyn WeightSource,
    options: &LoadOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Config, Text, Weights), LoadError> {
    let gguf = Gguf::parse(BufReader::new(SourceReader::new(source)), source.size_bytes())?;
    let config = Config::from_gguf(&gguf)?;
    let total = gguf.tensors.iter().map(|tensor| tensor.nbytes).sum();
    if total > options.tensor_bytes_max {
        return Err(LoadError::TooLarge { found: total, max: options.tensor_bytes_max });
    }
    let text = Text::from_gguf(&gguf)?;
    let tensors = gguf.tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
    let mut tensors = Tensors { source, tensors, progress, done: 0, total };
    let weights = tensors.weights(&config)?;
    match tensors.tensors.into_keys().min() {
        Some(name) => Err(LoadError::UnexpectedTensor(name)),
        None => Ok((config, text, weights)),
    }
}

/// How the kernels call a type of matrices, if there is a kernel for it.
pub(crate) const fn weight_type(dtype: DType) -> Option<WeightType> {
    match dtype {
        DType::F32 => Some(WeightType::F32),
        DType::F16 => Some(WeightType::F16),
        DType::Q8_0 => Some(WeightType::Q8_0),
        DType::Q4_0 => Some(WeightType::Q4_0),
        _ => None,
    }
}

/// The tensors that have not been taken yet.
struct Tensors<'a> {
    source: &'a dyn WeightSource,
    tensors: HashMap<String, TensorInfo>,
    progress: &'a mut dyn FnMut(u64, u64),
    done: u64,
    total: u64,
}

impl Tensors<'_> {
    fn weights(&mut self, config: &Config) -> Result<Weights, LoadError> {
        let output = "output.weight";
        Ok(Weights {
            embedding: self.matrix("token_embd.weight", config.vocab_size, config.hidden)?,
            layers: self.layers(config)?,
            output_norm: self.vector("output_norm.weight", config.hidden)?,
            output: match self.tensors.contains_key(output) {
                true => Some(self.matrix(output, config.vocab_size, config.hidden)?),
                false => None,
            },
            rope: Rope::new(config.rope_base, config.head_size),
        })
    }

    fn layers(&mut self, config: &Config) -> Result<Vec<Layer>, LoadError> {
        // No capacity from the count: it is not to be trusted before the tensors have been found.
        let mut layers = Vec::new();
        for index in 0..config.layers {
            layers.push(self.layer(index, config)?);
        }
        Ok(layers)
    }

    fn layer(&mut self, index: usize, config: &Config) -> Result<Layer, LoadError> {
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        let Config { hidden, feed_forward, head_size, .. } = *config;
        let (queries, keys) = (config.heads * head_size, config.kv_heads * head_size);
        Ok(Layer {
            attention_norm: self.vector(&name("attn_norm"), hidden)?,
            query: self.matrix(&name("attn_q"), queries, hidden)?,
            key: self.matrix(&name("attn_k"), keys, hidden)?,
            value: self.matrix(&name("attn_v"), keys, hidden)?,
            attention_output: self.matrix(&name("attn_output"), hidden, queries)?,
            feed_forward_norm: self.vector(&name("ffn_norm"), hidden)?,
            gate: self.matrix(&name("ffn_gate"), feed_forward, hidden)?,
            up: self.matrix(&name("ffn_up"), feed_forward, hidden)?,
            down: self.matrix(&name("ffn_down"), hidden, feed_forward)?,
        })
    }

    fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<Matrix, LoadError> {
        let (dtype, bytes) = self.take(name, &[rows, cols])?;
        let weight_type = weight_type(dtype).ok_or(LoadError::Type { tensor: name.to_owned(), dtype })?;
        Matrix::pack(weight_type, rows, cols, &bytes)
            .map_err(|cause| LoadError::Weights { tensor: name.to_owned(), cause })
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        let (dtype, bytes) = self.take(name, &[len])?;
        if dtype != DType::F32 {
            return Err(LoadError::Type { tensor: name.to_owned(), dtype });
        }
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => {
                let cause = PackError::NotFinite { row: 0 };
                Err(LoadError::Weights { tensor: name.to_owned(), cause })
            }
        }
    }

    /// The bytes of a tensor that must have this shape.
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<(DType, Vec<u8>), LoadError> {
        let missing = || LoadError::MissingTensor(name.to_owned());
        let tensor = self.tensors.remove(name).ok_or_else(missing)?;
        let found = tensor.shape();
        if !found.iter().copied().eq(shape.iter().map(|dim| *dim as u64)) {
            return Err(LoadError::Shape { tensor: tensor.name, found, expected: shape.to_vec() });
        }
        // The parser checked that the data lies within the file.
        let mut bytes = vec![0; usize::try_from(tensor.nbytes).unwrap_or(usize::MAX)];
        self.source
            .read_at(tensor.offset, &mut bytes)
            .map_err(|cause| LoadError::Source { tensor: tensor.name, cause })?;
        self.done += tensor.nbytes;
        (self.progress)(self.done, self.total);
        Ok((tensor.dtype, bytes))
    }
}
