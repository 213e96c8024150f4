//! The weight types of the exact class, as a table.

use crate::reference::{BLOCK, SUPER_BLOCK};

/// How a matrix's elements are stored in a model file; the layouts are those of ggml-common.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(non_camel_case_types, reason = "the types are known by these names")]
pub enum WeightType {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of IEEE binary32.
    BF16,
    /// Blocks of 32: a binary16 scale and 32 signed bytes.
    Q8_0,
    /// Blocks of 32: a binary16 scale and 16 bytes; the low halves are elements 0 to 15, the high halves 16 to
    /// 31, each less 8.
    Q4_0,
    /// As `Q4_0`, with a binary16 minimum after the scale instead of the 8.
    Q4_1,
    /// As `Q4_0`, with a fifth bit of each element in four bytes after the scale, less 16.
    Q5_0,
    /// As `Q5_0`, with a binary16 minimum after the scale instead of the 16.
    Q5_1,
    /// Blocks of 256: 2 bits an element; groups of 16 with a scale and a minimum of 4 bits each.
    Q2_K,
    /// Blocks of 256: 3 bits an element, less 4; groups of 16 with a scale of 6 bits, less 32.
    Q3_K,
    /// Blocks of 256: 4 bits an element; groups of 32 with a scale and a minimum of 6 bits each.
    Q4_K,
    /// Blocks of 256: 5 bits an element; groups of 32 with a scale and a minimum of 6 bits each.
    Q5_K,
    /// Blocks of 256: 6 bits an element, less 32; groups of 16 with a signed scale of 8 bits.
    Q6_K,
}

/// One row of the table of types.
#[derive(Clone, Copy, Debug)]
struct Kind {
    /// Its name in ids and definitions.
    name: &'static str,
    /// Elements of a block in a file.
    block: usize,
    /// Bytes that such a block takes.
    bytes: usize,
    /// Where the binary16 numbers of such a block stand: scale and minimum.
    halves_at: &'static [usize],
    integers: Option<Integers>,
}

/// What the integers of a quantised type look like, of which its products are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Integers {
    /// Bits of an integer, stored without sign.
    pub bits: usize,
    /// What is taken off a stored integer.
    pub less: i32,
    /// Consecutive elements that share a scale and a minimum: 16 or 32.
    pub group: usize,
    /// Whether groups have minima.
    pub minima: bool,
    /// Whether a group's scale and minimum are integers, multiplied by those of the block of 256.
    pub nested: bool,
}

const fn floats(name: &'static str, bytes: usize) -> Kind {
    Kind { name, block: 1, bytes, halves_at: &[], integers: None }
}

/// Blocks of 32 with a scale of their own.
const fn blocks(name: &'static str, bytes: usize, bits: usize, less: i32) -> Kind {
    let minima = less == 0;
    let integers = Integers { bits, less, group: BLOCK, minima, nested: false };
    let halves_at: &[usize] = if minima { &[0, 2] } else { &[0] };
    Kind { name, block: BLOCK, bytes, halves_at, integers: Some(integers) }
}

/// Blocks of 256 with groups of 16 or 32.
const fn nested(
    name: &'static str,
    bytes: usize,
    bits: usize,
    less: i32,
    group: usize,
    halves_at: &'static [usize],
) -> Kind {
    let integers = Integers { bits, less, group, minima: less == 0, nested: true };
    Kind { name, block: SUPER_BLOCK, bytes, halves_at, integers: Some(integers) }
}

impl WeightType {
    /// Every type.
    pub const ALL: [Self; 13] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q8_0,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q2_K,
        Self::Q3_K,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
    ];

    const fn kind(self) -> Kind {
        match self {
            Self::F32 => floats("f32", 4),
            Self::F16 => floats("f16", 2),
            Self::BF16 => floats("bf16", 2),
            Self::Q8_0 => blocks("q8_0", 34, 8, 128),
            Self::Q4_0 => blocks("q4_0", 18, 4, 8),
            Self::Q4_1 => blocks("q4_1", 20, 4, 0),
            Self::Q5_0 => blocks("q5_0", 22, 5, 16),
            Self::Q5_1 => blocks("q5_1", 24, 5, 0),
            Self::Q2_K => nested("q2_k", 84, 2, 0, 16, &[80, 82]),
            Self::Q3_K => nested("q3_k", 110, 3, 4, 16, &[108]),
            Self::Q4_K => nested("q4_k", 144, 4, 0, 32, &[0, 2]),
            Self::Q5_K => nested("q5_k", 176, 5, 0, 32, &[0, 2]),
            Self::Q6_K => nested("q6_k", 210, 6, 32, 16, &[208]),
        }
    }

    /// The name in definitions, such as `q4_k`.
    pub const fn name(self) -> &'static str {
        self.kind().name
    }

    /// Elements of a block, and the bytes that it takes in a file.
    pub const fn block(self) -> (usize, usize) {
        let Kind { block, bytes, .. } = self.kind();
        (block, bytes)
    }

    /// Bytes of a row of `cols` elements; none when they do not fill their blocks.
    pub const fn row_bytes(self, cols: usize) -> Option<usize> {
        let (elements, bytes) = self.block();
        if cols.is_multiple_of(elements) { (cols / elements).checked_mul(bytes) } else { None }
    }

    /// Where the binary16 numbers of a block in a file stand; none for plain numbers.
    pub const fn halves_at(self) -> &'static [usize] {
        self.kind().halves_at
    }

    /// The integers of a quantised type, whose products take quantised activations; none for plain numbers.
    pub const fn integers(self) -> Option<Integers> {
        self.kind().integers
    }
}
