//! safetensors: header parser and canonical writer.
//!
//! Format: the README of huggingface/safetensors. A u64 length, a JSON object of that length, and data
//! that the tensors fill without gap or overlap.

mod parse;
mod write;

#[cfg(test)]
mod tests;

pub use write::{TensorData, write};

use super::DType;
use std::collections::BTreeMap;
use std::io::{self, Read};

/// The header of a safetensors file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Safetensors {
    /// The `__metadata__` object.
    pub metadata: BTreeMap<String, String>,
    /// Tensors in the order of their data.
    pub tensors: Vec<TensorInfo>,
    /// Where the data begins, from the start of the file.
    pub data_offset: u64,
}

/// A tensor's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions, outermost first: a row-major matrix is `[rows, columns]`.
    pub shape: Vec<u64>,
    /// Where the data begins, from the start of the file.
    pub offset: u64,
    /// Length of the data.
    pub nbytes: u64,
}

/// Why a header was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SafetensorsError {
    /// The source or the sink failed.
    #[error("reading or writing a safetensors file: {0}")]
    Io(io::ErrorKind),
    /// The file ends inside the header.
    #[error("reading a safetensors header: the file of {file_len} bytes ends inside")]
    UnexpectedEnd {
        /// The file's length.
        file_len: u64,
    },
    /// The header is longer than [`HEADER_BYTES_MAX`](super::HEADER_BYTES_MAX).
    #[error("reading a safetensors header: {len} bytes are above the limit of 100 MB")]
    HeaderTooLarge {
        /// The length that it claims.
        len: u64,
    },
    /// The header does not begin with `{`.
    #[error("reading a safetensors header at byte 8: it does not begin with a brace")]
    NotAnObject,
    /// The header is not JSON of the right form.
    #[error("reading a safetensors header at byte {at}: {message}")]
    Json {
        /// Where the JSON parser stopped, in bytes of the file.
        at: u64,
        /// What the JSON parser says.
        message: String,
    },
    /// A name is empty or longer than [`TENSOR_NAME_BYTES_MAX`](super::TENSOR_NAME_BYTES_MAX).
    #[error("reading a safetensors header: a tensor name of {len} bytes")]
    NameLength {
        /// Its length.
        len: usize,
    },
    /// A key appears twice.
    #[error("reading a safetensors header: key {0:?} appears twice")]
    DuplicateKey(String),
    /// No element type has this name.
    #[error("reading a safetensors header: tensor {tensor:?} has unsupported element type {dtype:?}")]
    ElementType {
        /// The tensor.
        tensor: String,
        /// The type.
        dtype: String,
    },
    /// Shape, element type and data length do not fit.
    #[error("reading a safetensors header: the shape of tensor {tensor:?} does not take {nbytes} bytes")]
    Shape {
        /// The tensor.
        tensor: String,
        /// The length of its data.
        nbytes: u64,
    },
    /// A tensor's data does not begin where its predecessor's ends.
    #[error("reading a safetensors header: tensor {tensor:?} begins at {begin} where {expected} is next")]
    GapOrOverlap {
        /// The tensor.
        tensor: String,
        /// Where it begins, from the start of the data.
        begin: u64,
        /// Where it should.
        expected: u64,
    },
    /// The tensors end before or after the file does.
    #[error("reading a safetensors header: tensors take {end} bytes of {data_len}")]
    DataLength {
        /// Where they end, from the start of the data.
        end: u64,
        /// The length of the data.
        data_len: u64,
    },
}

/// Most dimensions; those of PyTorch stay under this.
const DIMS_MAX: usize = 16;
const METADATA_KEY: &str = "__metadata__";
/// The length before the header.
const LENGTH_BYTES: u64 = 8;

impl Safetensors {
    /// Reads the header from a file of `file_len` bytes, and not a byte more of it.
    ///
    /// # Errors
    /// When the header is cut off, beyond a limit, contradicts itself or the file's length.
    pub fn parse(source: impl Read, file_len: u64) -> Result<Self, SafetensorsError> {
        parse::parse(source, file_len)
    }

    /// The tensor of this name, found by a scan.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}
