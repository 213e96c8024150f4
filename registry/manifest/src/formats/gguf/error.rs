//! What can be wrong with a GGUF file.

use std::io;

/// A header that was refused, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading a gguf header at byte {at}: {problem}")]
pub struct GgufError {
    /// Position in the file: where the refused item begins.
    pub at: u64,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The source failed.
    #[error("the source failed ({0})")]
    Io(io::ErrorKind),
    /// The file ends inside the header.
    #[error("the file ends")]
    UnexpectedEnd,
    /// The header goes on beyond [`HEADER_BYTES_MAX`](crate::formats::HEADER_BYTES_MAX).
    #[error("the header is above the limit of 100 MB")]
    HeaderTooLarge,
    /// The file does not begin with `GGUF`.
    #[error("the magic bytes are not GGUF")]
    Magic,
    /// Not version 2 or 3, or big-endian.
    #[error("version {0} is not supported (2 and 3 are, little-endian)")]
    Version(u32),
    /// A count is above its limit.
    #[error("{found} {what} are above the limit of {max}")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// How many the file claims.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// Text is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// A key or tensor name is empty.
    #[error("a name is empty")]
    EmptyName,
    /// Two entries have this key.
    #[error("key {0:?} appears twice")]
    DuplicateKey(String),
    /// Two tensors have this name.
    #[error("tensor {0:?} appears twice")]
    DuplicateTensor(String),
    /// No metadata type has this number.
    #[error("metadata type {0} does not exist")]
    ValueType(u32),
    /// An array of arrays.
    #[error("arrays of arrays are not supported")]
    NestedArray,
    /// A boolean is neither 0 nor 1.
    #[error("boolean {0} is neither 0 nor 1")]
    Bool(u8),
    /// No supported element type has this number.
    #[error("element type {found} of tensor {tensor:?} is not supported")]
    ElementType {
        /// The tensor.
        tensor: String,
        /// The number.
        found: u32,
    },
    /// The element type has no number in GGUF.
    #[error("this element type does not exist in gguf")]
    NotAGgufType,
    /// `general.alignment` is not a u32 that is a power of two between 8 and 2 Mi.
    #[error("general.alignment is not a power of two between 8 and 2 Mi as u32")]
    Alignment,
    /// A dimension is zero, a row does not fill its blocks, or the size overflows.
    #[error("the shape of tensor {0:?} is empty, too large, or its rows do not fill whole blocks")]
    Shape(String),
    /// A tensor does not begin where its predecessor's padding ends.
    #[error("the data of tensor {tensor:?} begins at offset {found} where {expected} is next")]
    Offset {
        /// The tensor.
        tensor: String,
        /// Where it should begin, from the start of the data.
        expected: u64,
        /// Where it says it begins.
        found: u64,
    },
    /// Positions overflow 64 bits.
    #[error("positions overflow")]
    Overflow,
    /// Tensor data reaches beyond the end of the file.
    #[error("tensor data ends at byte {end}, beyond the file's {file_len}")]
    DataBeyondFile {
        /// Where the last tensor ends.
        end: u64,
        /// The file's length.
        file_len: u64,
    },
    /// Bytes follow the last tensor and its padding.
    #[error("{0} bytes follow the last tensor")]
    TrailingData(u64),
    /// While writing: data of the wrong length for its shape.
    #[error("tensor {0:?} has data of the wrong length for its shape")]
    DataLength(String),
}

impl Problem {
    pub(super) const fn at(self, at: u64) -> GgufError {
        GgufError { at, problem: self }
    }
}

/// A metadata key that does not hold what is needed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not there.
    #[error("reading gguf metadata: key {key:?} is missing")]
    Missing {
        /// The key.
        key: String,
    },
    /// Another type.
    #[error("reading gguf metadata: key {key:?} holds {found}, expected {expected}")]
    Type {
        /// The key.
        key: String,
        /// What was asked for.
        expected: &'static str,
        /// What it holds.
        found: &'static str,
    },
}
