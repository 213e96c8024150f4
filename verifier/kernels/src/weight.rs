//! The weight types of the exact class.

use crate::reference::BLOCK;

/// How a matrix's elements are stored in a model file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WeightType {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// Blocks of 32: a binary16 scale and 32 signed bytes.
    Q8_0,
    /// Blocks of 32: a binary16 scale and 16 bytes; the low halves are elements 0 to 15, the high halves 16 to
    /// 31, each less 8.
    Q4_0,
}

impl WeightType {
    /// Every type.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Q8_0, Self::Q4_0];

    /// Elements of a block, and the bytes that it takes in a file.
    pub const fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 => (1, 2),
            Self::Q8_0 => (BLOCK, 34),
            Self::Q4_0 => (BLOCK, 18),
        }
    }

    /// Bytes of a row of `cols` elements; none when they do not fill their blocks.
    pub const fn row_bytes(self, cols: usize) -> Option<usize> {
        let (elements, bytes) = self.block();
        if cols.is_multiple_of(elements) { (cols / elements).checked_mul(bytes) } else { None }
    }

    /// Whether the activations that meet these weights are quantised.
    pub const fn takes_blocks(self) -> bool {
        matches!(self, Self::Q8_0 | Self::Q4_0)
    }
}
