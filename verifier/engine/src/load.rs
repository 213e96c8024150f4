//! Reading a GGUF file: exactly the expected tensors, of supported types, in the right shapes, finite.

use std::error::Error;
use std::io::{self, BufReader};
use std::num::NonZeroUsize;

use assay_kernels::pool::PoolError;
use assay_kernels::{Cpu, PackError, Pool};
use assay_manifest::SpecId;
use assay_manifest::formats::DType;
use assay_manifest::formats::gguf::{Gguf, GgufError, TensorInfo};

use crate::architecture::Stored;
use crate::config::{Config, ConfigError, Experts};
use crate::model::{FeedForward, Gated, Layer, Projection, Weights};
use crate::rotary::{self, Stretch};
use crate::source::{SourceReader, Stoppable, WeightSource};
use crate::spec;
use crate::tensors::Tensors;
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

/// A file that holds no model of the class of the engine that reads it.
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
    /// A tensor that is read as one with others, and cannot be, because its type is another.
    #[error(
        "loading the model: tensor {tensor:?} of type {found} is read as one with others of type {expected}, and must be of the same"
    )]
    Mixed {
        /// The tensor.
        tensor: String,
        /// Its type.
        found: DType,
        /// The others' type.
        expected: DType,
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
    /// The library that computes this class refused what its engine had accepted.
    #[error("loading the model: the library that computes it: {0}")]
    Library(Box<dyn Error + Send + Sync>),
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
    let mut gguf = Gguf::parse(BufReader::new(SourceReader::new(source)), source.size_bytes())?;
    let config = Config::from_gguf(&gguf)?;
    let definitions = spec::definitions(&config, &gguf);
    let tensors = std::mem::take(&mut gguf.tensors);
    let source = &Stoppable::new(source);
    // The tokenizer is made on one thread, and the weights need nothing of it.
    let (text, weights) = std::thread::scope(|scope| {
        let text = move || Text::from_gguf(&gguf).inspect_err(|_| source.stop());
        let text = std::thread::Builder::new().name("tokenizer".to_owned()).spawn_scoped(scope, text);
        let text = text.map_err(PoolError::Spawn)?;
        let weights = read_weights(&config, source, tensors, options, progress);
        // Where both fail, the file is refused for its text, whichever was first.
        let text = text.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok::<_, LoadError>((text, weights?))
    })?;
    // Every tensor was of a supported type, so every definition has a name.
    let spec_id = spec::spec_id(&definitions.unwrap_or_default());
    Ok(LoadedModel { config, text, weights, spec_id })
}

fn read_weights(
    config: &Config,
    source: &dyn WeightSource,
    tensors: Vec<TensorInfo>,
    options: &LoadOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Weights, LoadError> {
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let pool = Pool::new(threads, Cpu::detect())?;
    let mut tensors = Tensors::new(&pool, source, tensors, options, progress)?;
    let weights = tensors.weights(config)?;
    tensors.finish()?;
    Ok(weights)
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
            output: match self.has(output) {
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
            if !self.has(name) {
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
                None => FeedForward::Dense(Box::new(self.gated(index, config)?)),
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
}
