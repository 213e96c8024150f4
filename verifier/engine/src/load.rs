//! Reading a GGUF file: exactly the expected tensors, of supported types, in the right shapes, finite.

use std::collections::HashMap;
use std::io::{self, BufReader};

use std::num::NonZeroUsize;

use assay_kernels::pool::PoolError;
use assay_kernels::{Cpu, Matrix, PackError, Pool, ReadError, WeightType};
use assay_manifest::SpecId;
use assay_manifest::formats::DType;
use assay_manifest::formats::gguf::{Gguf, GgufError, TensorInfo};

use crate::architecture::Stored;
use crate::config::{Config, ConfigError, Experts};
use crate::model::{FeedForward, Gated, Layer, Projection, Weights};
use crate::rotary::{self, Stretch};
use crate::source::{SourceReader, WeightSource};
use crate::spec;
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
        "loading the model: tensor {tensor:?} of type {dtype} is not supported (F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 and Q2_K to Q6_K are; norms and biases must be F32)"
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
    /// A factor by which rotations are stretched is no positive number.
    #[error("loading tensor {tensor:?}: factors of rotations must be positive")]
    Factors {
        /// The tensor.
        tensor: String,
    },
    /// The threads that pack the weights could not be started.
    #[error("loading the model: {0}")]
    Threads(#[from] PoolError),
    /// More than [`LoadOptions::tensor_bytes_max`].
    #[error("loading the model: {found} bytes of tensors are above this machine's limit of {max}")]
    TooLarge {
        /// Bytes of all tensors.
        found: u64,
        /// The limit.
        max: u64,
    },
}

/// A model as it was read.
pub(crate) struct LoadedModel {
    pub config: Config,
    pub text: Text,
    pub weights: Weights,
    pub spec_id: SpecId,
}

pub(crate) fn load(
    source: &dyn WeightSource,
    options: &LoadOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<LoadedModel, LoadError> {
    let gguf = Gguf::parse(BufReader::new(SourceReader::new(source)), source.size_bytes())?;
    let config = Config::from_gguf(&gguf)?;
    let total = gguf.tensors.iter().map(|tensor| tensor.nbytes).sum();
    if total > options.tensor_bytes_max {
        return Err(LoadError::TooLarge { found: total, max: options.tensor_bytes_max });
    }
    let text = Text::from_gguf(&gguf)?;
    let definitions = spec::definitions(&config, &gguf);
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let pool = Pool::new(threads, Cpu::detect())?;
    let tensors = gguf.tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
    let mut tensors = Tensors { pool: &pool, source, tensors, progress, done: 0, total };
    let weights = tensors.weights(&config)?;
    if let Some(name) = tensors.tensors.into_keys().min() {
        return Err(LoadError::UnexpectedTensor(name));
    }
    // Every tensor was of a supported type, so every definition has a name.
    let spec_id = spec::spec_id(&definitions.unwrap_or_default());
    Ok(LoadedModel { config, text, weights, spec_id })
}

/// How the kernels call a type of matrices, if there is a kernel for it.
pub(crate) const fn weight_type(dtype: DType) -> Option<WeightType> {
    Some(match dtype {
        DType::F32 => WeightType::F32,
        DType::F16 => WeightType::F16,
        DType::BF16 => WeightType::BF16,
        DType::Q8_0 => WeightType::Q8_0,
        DType::Q4_0 => WeightType::Q4_0,
        DType::Q4_1 => WeightType::Q4_1,
        DType::Q5_0 => WeightType::Q5_0,
        DType::Q5_1 => WeightType::Q5_1,
        DType::Q2_K => WeightType::Q2_K,
        DType::Q3_K => WeightType::Q3_K,
        DType::Q4_K => WeightType::Q4_K,
        DType::Q5_K => WeightType::Q5_K,
        DType::Q6_K => WeightType::Q6_K,
        _ => return None,
    })
}

/// The tensors that have not been taken yet.
struct Tensors<'a> {
    pool: &'a Pool,
    source: &'a dyn WeightSource,
    tensors: HashMap<String, TensorInfo>,
    progress: &'a mut dyn FnMut(u64, u64),
    done: u64,
    total: u64,
}

impl Tensors<'_> {
    fn weights(&mut self, config: &Config) -> Result<Weights, LoadError> {
        let output = "output.weight";
        let pairing = config.architecture.pairing;
        let factors = self.factors(config)?;
        Ok(Weights {
            embedding: self.matrix("token_embd.weight", config.vocab_size, config.hidden)?,
            layers: self.layers(config)?,
            output_norm: self.vector("output_norm.weight", config.hidden)?,
            output: match self.tensors.contains_key(output) {
                true => Some(self.matrix(output, config.vocab_size, config.hidden)?),
                false => None,
            },
            rope: config.rotary.rope(pairing, factors),
            window_rope: config.rotary.window_rope(pairing),
        })
    }

    /// The factors by which rotations are stretched, if the configuration names their tensor. Those that it does
    /// not name are read as well: they belong to the file.
    fn factors(&mut self, config: &Config) -> Result<Vec<f32>, LoadError> {
        let Stretch::Factors(used) = config.rotary.scaling else { return Ok(Vec::new()) };
        let mut factors = Vec::new();
        for name in [rotary::FACTORS, rotary::FACTORS_SHORT, rotary::FACTORS_LONG] {
            if !self.tensors.contains_key(name) {
                continue;
            }
            let found = self.vector(name, config.rotary.rotated / 2)?;
            if found.iter().any(|factor| *factor <= 0.0) {
                return Err(LoadError::Factors { tensor: name.to_owned() });
            }
            if name == used {
                factors = found;
            }
        }
        Ok(factors)
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
        let Config { hidden, head_size, architecture, .. } = *config;
        let queries = config.heads * head_size;
        let attention_norm = self.vector(&name("attn_norm"), hidden)?;
        let [query, key, value] = self.attention_input(index, config)?;
        Ok(Layer {
            attention_norm,
            query,
            key,
            value,
            head_norms: match architecture.head_norms {
                true => Some([
                    self.vector(&name("attn_q_norm"), head_size)?,
                    self.vector(&name("attn_k_norm"), head_size)?,
                ]),
                false => None,
            },
            attention_output: self.matrix(&name("attn_output"), hidden, queries)?,
            attention_after_norm: match architecture.after_norms {
                true => Some(self.vector(&name("post_attention_norm"), hidden)?),
                false => None,
            },
            feed_forward_norm: self.vector(&name("ffn_norm"), hidden)?,
            feed_forward: match config.experts {
                Some(experts) => self.experts(index, experts, config)?,
                None => FeedForward::Dense(self.gated(index, config)?),
            },
            feed_forward_after_norm: match architecture.after_norms {
                true => Some(self.vector(&name("post_ffw_norm"), hidden)?),
                false => None,
            },
        })
    }

    fn attention_input(&mut self, index: usize, config: &Config) -> Result<[Projection; 3], LoadError> {
        let keys = config.kv_heads * config.head_size;
        let rows = [config.heads * config.head_size, keys, keys];
        let matrices = match config.architecture.attention_input {
            Stored::Together => {
                let parts = rows.map(|rows| (1, rows));
                self.matrices(&format!("blk.{index}.attn_qkv.weight"), None, &parts, config.hidden)?
            }
            Stored::Apart => {
                let mut matrices = Vec::new();
                for (part, rows) in ["attn_q", "attn_k", "attn_v"].into_iter().zip(rows) {
                    let name = format!("blk.{index}.{part}.weight");
                    matrices.push(self.matrix(&name, rows, config.hidden)?);
                }
                matrices
            }
        };
        let mut projections = Vec::new();
        for (part, matrix) in ["attn_q", "attn_k", "attn_v"].into_iter().zip(matrices) {
            let bias = match config.architecture.biases {
                true => Some(self.vector(&format!("blk.{index}.{part}.bias"), matrix.rows())?),
                false => None,
            };
            projections.push(Projection { matrix, bias });
        }
        projections.try_into().map_err(|_| LoadError::MissingTensor("attn_qkv".to_owned()))
    }

    fn gated(&mut self, index: usize, config: &Config) -> Result<Gated, LoadError> {
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        let Config { hidden, feed_forward, .. } = *config;
        let (gate, up) = match config.architecture.feed_forward_input {
            Stored::Apart => (
                self.matrix(&name("ffn_gate"), feed_forward, hidden)?,
                self.matrix(&name("ffn_up"), feed_forward, hidden)?,
            ),
            Stored::Together => {
                let parts = [(1, feed_forward), (1, feed_forward)];
                let both = self.matrices(&name("ffn_up"), None, &parts, hidden)?;
                let [gate, up] = both.try_into().map_err(|_| LoadError::MissingTensor(name("ffn_up")))?;
                (gate, up)
            }
        };
        Ok(Gated { gate, up, down: self.matrix(&name("ffn_down"), hidden, feed_forward)? })
    }

    fn experts(&mut self, index: usize, experts: Experts, config: &Config) -> Result<FeedForward, LoadError> {
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        let Config { hidden, feed_forward, .. } = *config;
        let router = self.matrix(&name("ffn_gate_inp"), experts.count, hidden)?;
        let mut each = |part: &str, rows: usize, cols: usize| {
            self.matrices(&name(part), Some(experts.count), &[(experts.count, rows)], cols)
        };
        let gates = each("ffn_gate_exps", feed_forward, hidden)?;
        let ups = each("ffn_up_exps", feed_forward, hidden)?;
        let downs = each("ffn_down_exps", hidden, feed_forward)?;
        let matrices = gates.into_iter().zip(ups).zip(downs);
        let experts = matrices.map(|((gate, up), down)| Gated { gate, up, down }).collect();
        Ok(FeedForward::Experts { router, experts })
    }

    fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<Matrix, LoadError> {
        let matrices = self.matrices(name, None, &[(1, rows)], cols)?;
        matrices.into_iter().next().ok_or_else(|| LoadError::MissingTensor(name.to_owned()))
    }

    /// The matrices whose rows a tensor holds one after the other: `(count, rows)` of each kind. A tensor of
    /// `outer` matrices has a dimension for them.
    fn matrices(
        &mut self,
        name: &str,
        outer: Option<usize>,
        parts: &[(usize, usize)],
        cols: usize,
    ) -> Result<Vec<Matrix>, LoadError> {
        let rows: usize = parts.iter().map(|(count, rows)| count * rows).sum();
        let tensor = match outer {
            None => self.take(name, &[rows, cols])?,
            Some(outer) => self.take(name, &[outer, rows / outer, cols])?,
        };
        let type_error = || LoadError::Type { tensor: name.to_owned(), dtype: tensor.dtype };
        let weight_type = weight_type(tensor.dtype).ok_or_else(type_error)?;
        let row_bytes = weight_type.row_bytes(cols).unwrap_or(usize::MAX) as u64;
        let mut offset = tensor.offset;
        let mut matrices = Vec::new();
        for rows in parts.iter().flat_map(|(count, rows)| std::iter::repeat_n(*rows, *count)) {
            let read = |range: std::ops::Range<usize>, out: &mut [u8]| {
                self.source.read_at(offset + range.start as u64 * row_bytes, out)
            };
            let matrix = Matrix::read(self.pool, weight_type, rows, cols, &read);
            matrices.push(matrix.map_err(|error| match error {
                ReadError::Source(cause) => LoadError::Source { tensor: name.to_owned(), cause },
                ReadError::Pack(cause) => LoadError::Weights { tensor: name.to_owned(), cause },
            })?);
            offset += rows as u64 * row_bytes;
        }
        self.count(&tensor);
        Ok(matrices)
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        let tensor = self.take(name, &[len])?;
        if tensor.dtype != DType::F32 {
            return Err(LoadError::Type { tensor: name.to_owned(), dtype: tensor.dtype });
        }
        // The parser checked that the data lies within the file.
        let mut bytes = vec![0; len * size_of::<f32>()];
        self.source
            .read_at(tensor.offset, &mut bytes)
            .map_err(|cause| LoadError::Source { tensor: name.to_owned(), cause })?;
        self.count(&tensor);
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => {
                let cause = PackError::NotFinite { row: 0 };
                Err(LoadError::Weights { tensor: name.to_owned(), cause })
            }
        }
    }

    /// Takes a tensor that must have this shape.
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<TensorInfo, LoadError> {
        let missing = || LoadError::MissingTensor(name.to_owned());
        let tensor = self.tensors.remove(name).ok_or_else(missing)?;
        let found = tensor.shape();
        if !found.iter().copied().eq(shape.iter().map(|dim| *dim as u64)) {
            return Err(LoadError::Shape { tensor: tensor.name, found, expected: shape.to_vec() });
        }
        Ok(tensor)
    }

    fn count(&mut self, tensor: &TensorInfo) {
        self.done += tensor.nbytes;
        (self.progress)(self.done, self.total);
    }
}
