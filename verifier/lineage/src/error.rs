//! Why an edge cannot be recomputed.

use assay_kernels::quantise::QuantiseError;
use assay_manifest::formats::DType;
use assay_manifest::formats::gguf::GgufError;
use assay_manifest::formats::safetensors::SafetensorsError;
use assay_manifest::lineage::EdgeKind;

/// A parent or child that the recipe does not cover, or that contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineageError {
    /// A file of the parent is missing.
    #[error("converting to gguf: {0} is missing")]
    MissingFile(&'static str),
    /// The parent's weights come in several files.
    #[error("converting to gguf: weights in several files are not supported ({0})")]
    Sharded(String),
    /// A file is not the JSON that its name promises.
    #[error("reading {file}: {message}")]
    Json {
        /// The file.
        file: &'static str,
        /// What the JSON parser says.
        message: String,
    },
    /// The parent has something that the recipe does not cover.
    #[error("converting to gguf: {what} is not supported ({found})")]
    Unsupported {
        /// What it is.
        what: &'static str,
        /// What the parent has.
        found: String,
    },
    /// Numbers of the configuration do not fit together.
    #[error("reading config.json: {0}")]
    Config(&'static str),
    /// The vocabulary has a hole, or a token beyond the configuration's size.
    #[error("reading tokenizer.json: no token, or more than one, has the id {0}")]
    TokenId(u64),
    /// A special token of the configuration is not in the vocabulary.
    #[error("reading tokenizer_config.json: token {0:?} is not in the vocabulary")]
    UnknownToken(String),
    /// The configuration calls for a tensor that the weights lack.
    #[error("converting to gguf: tensor {0:?} is missing")]
    MissingTensor(String),
    /// The weights hold a tensor that the configuration does not call for.
    #[error("converting to gguf: tensor {0:?} has no place in a llama model")]
    UnknownTensor(String),
    /// A tensor has another shape than the configuration gives it.
    #[error("converting to gguf: tensor {tensor:?} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<u64>,
        /// The shape that follows from the configuration.
        expected: Vec<u64>,
    },
    /// A tensor's elements are not floats that can be read exactly.
    #[error("converting to gguf: tensor {tensor:?} has element type {dtype}")]
    ElementType {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: DType,
    },
    /// Values that have no quantised form.
    #[error("converting tensor {tensor:?}: {source}")]
    Quantise {
        /// The tensor.
        tensor: String,
        /// The cause.
        source: QuantiseError,
    },
    /// The parent's weights are no safetensors file.
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
    /// The child is no GGUF file, or the parent makes none.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// No recipe recomputes this kind of edge.
    #[error("recomputing an edge: {} has no recipe", .0.name())]
    NoRecipe(EdgeKind),
    /// The child's matrices have a type that the recipe of this kind of edge does not make.
    #[error("recomputing an edge: {} makes no matrices of type {}", .kind.name(), .found.map_or("none", DType::name))]
    ChildType {
        /// The kind of edge.
        kind: EdgeKind,
        /// The type of the child's first matrix, if it has one.
        found: Option<DType>,
    },
}

impl LineageError {
    pub(crate) fn json(file: &'static str) -> impl FnOnce(serde_json::Error) -> Self {
        move |error| Self::Json { file, message: error.to_string() }
    }

    pub(crate) fn unsupported(what: &'static str, found: impl ToString) -> Self {
        Self::Unsupported { what, found: found.to_string() }
    }
}
