//! GGUF, versions 2 and 3, little-endian: header parser and canonical writer.
//!
//! Specification: `docs/gguf.md` of ggml. Stricter than it where a lenient reading would let two readers
//! see different models: tensors lie in the order of their entries without gaps other than padding, as
//! llama.cpp demands, and nothing follows the last one.

mod error;
mod parse;
mod value;
mod write;

#[cfg(test)]
mod tests;

pub use error::{GgufError, KeyError, Problem};
pub use value::{Array, FromValue, Value};
pub use write::{TensorData, write};

use super::DType;
use std::collections::BTreeMap;
use std::io::Read;

/// Metadata by key; the order in the file carries no meaning.
pub type Metadata = BTreeMap<String, Value>;

/// The header of a GGUF file.
#[derive(Clone, Debug, PartialEq)]
pub struct Gguf {
    /// Version of the format, 2 or 3.
    pub version: u32,
    /// Metadata by key.
    pub metadata: Metadata,
    /// Tensors in the order of the file.
    pub tensors: Vec<TensorInfo>,
    /// Tensor data begins at multiples of this many bytes.
    pub alignment: u64,
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
    /// Dimensions in GGUF's order: the first is the one whose elements lie side by side (columns), so a
    /// row-major matrix `[rows, columns]` has the dims `[columns, rows]`.
    pub dims: Vec<u64>,
    /// Where the data begins, from the start of the file.
    pub offset: u64,
    /// Length of the data.
    pub nbytes: u64,
}

impl TensorInfo {
    /// Dimensions, outermost first, as other formats and manifests have them.
    pub fn shape(&self) -> Vec<u64> {
        self.dims.iter().rev().copied().collect()
    }
}

/// Alignment of files that state none.
const DEFAULT_ALIGNMENT: u64 = 32;
const ALIGNMENT_KEY: &str = "general.alignment";
/// `GGML_MAX_DIMS`.
const DIMS_MAX: u32 = 4;
/// Longest key: the specification's 2^16 − 1 bytes.
const KEY_BYTES_MAX: u64 = 65_535;
/// Most metadata entries; real files have under 200.
const METADATA_ENTRIES_MAX: u64 = 65_536;
/// Most items of all arrays together; the largest vocabularies have 260,000 tokens and as many scores,
/// types and merges. Bounds memory, as an empty string takes more of it than of the file.
const ARRAY_ITEMS_MAX: u64 = 1 << 23;
const MAGIC: [u8; 4] = *b"GGUF";
const VERSION: u32 = 3;

impl Gguf {
    /// Reads the header from a file of `file_len` bytes, and not a byte more of it. Wrap files in a
    /// [`std::io::BufReader`].
    ///
    /// # Errors
    /// When the header is cut off, beyond a limit, contradicts itself or the file's length.
    pub fn parse(source: impl Read, file_len: u64) -> Result<Self, GgufError> {
        parse::parse(source, file_len)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// The value of a key that may be missing, as one of the types that implement [`FromValue`].
    ///
    /// # Errors
    /// When the value has another type.
    pub fn lookup<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>, KeyError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => T::from_value(value).map(Some).ok_or_else(|| KeyError::Type {
                key: key.to_owned(),
                expected: T::EXPECTED,
                found: value.type_name(),
            }),
        }
    }

    /// The value of a key that must be there: `gguf.require::<u32>("llama.block_count")`.
    ///
    /// # Errors
    /// When it is missing or has another type.
    pub fn require<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T, KeyError> {
        self.lookup(key)?.ok_or_else(|| KeyError::Missing { key: key.to_owned() })
    }

    /// The tensor of this name, found by a scan; index [`Gguf::tensors`] for many look-ups.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

/// The alignment that the metadata states, or the default.
fn alignment(metadata: &Metadata) -> Result<u64, Problem> {
    match metadata.get(ALIGNMENT_KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        // Powers of two as llama.cpp demands; the upper limit is a large page.
        Some(Value::U32(stated)) if stated.is_power_of_two() && (8..=1 << 21).contains(stated) => {
            Ok(u64::from(*stated))
        }
        Some(_) => Err(Problem::Alignment),
    }
}

/// Length of a tensor's data; its rows must be whole blocks.
fn tensor_nbytes(name: &str, dtype: DType, dims: &[u64]) -> Result<u64, Problem> {
    let refused = || Problem::Shape(name.to_owned());
    let row = dims.first().copied().unwrap_or(1);
    if dims.contains(&0) || dtype.nbytes(row).is_none() {
        return Err(refused());
    }
    dtype.nbytes_of_shape(dims).ok_or_else(refused)
}

/// The next multiple of the alignment, a power of two.
fn align_up(offset: u64, alignment: u64) -> Result<u64, Problem> {
    offset.checked_next_multiple_of(alignment).ok_or(Problem::Overflow)
}
