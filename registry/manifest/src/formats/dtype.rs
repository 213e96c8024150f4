//! Element types of tensors, those of ggml and of safetensors in one table.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;
use std::str::FromStr;

macro_rules! dtypes {
    ($($name:ident = $text:literal, ggml $ggml:expr, safetensors $safetensors:literal,
       $elements:literal => $bytes:literal;)+) => {
        /// Element type of a tensor: numbers, or blocks of quantised numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, non_camel_case_types)]
        pub enum DType { $($name,)+ }

        impl DType {
            /// Every type.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The canonical name, which ids are made from.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The number of the type in GGUF files (`ggml_type` in ggml.h).
            pub const fn ggml_id(self) -> Option<u32> {
                match self { $(Self::$name => $ggml,)+ }
            }

            /// The name of the type in safetensors files, which is its canonical name.
            pub const fn safetensors_name(self) -> Option<&'static str> {
                match self { $(Self::$name => if $safetensors { Some($text) } else { None },)+ }
            }

            /// Elements of a block, and bytes that it takes.
            pub const fn block(self) -> (u64, u64) {
                match self { $(Self::$name => ($elements, $bytes),)+ }
            }
        }
    };
}

// Block sizes: `GGML_QUANT_SIZES` of gguf-py 0.19 and the `block_*` structs of ggml-common.h.
dtypes! {
    F64 = "F64", ggml Some(28), safetensors true, 1 => 8;
    F32 = "F32", ggml Some(0), safetensors true, 1 => 4;
    F16 = "F16", ggml Some(1), safetensors true, 1 => 2;
    BF16 = "BF16", ggml Some(30), safetensors true, 1 => 2;
    F8_E4M3 = "F8_E4M3", ggml None, safetensors true, 1 => 1;
    F8_E5M2 = "F8_E5M2", ggml None, safetensors true, 1 => 1;
    F8_E8M0 = "F8_E8M0", ggml None, safetensors true, 1 => 1;
    F6_E2M3 = "F6_E2M3", ggml None, safetensors true, 4 => 3;
    F6_E3M2 = "F6_E3M2", ggml None, safetensors true, 4 => 3;
    F4 = "F4", ggml None, safetensors true, 2 => 1;
    C64 = "C64", ggml None, safetensors true, 1 => 8;
    I64 = "I64", ggml Some(27), safetensors true, 1 => 8;
    I32 = "I32", ggml Some(26), safetensors true, 1 => 4;
    I16 = "I16", ggml Some(25), safetensors true, 1 => 2;
    I8 = "I8", ggml Some(24), safetensors true, 1 => 1;
    U64 = "U64", ggml None, safetensors true, 1 => 8;
    U32 = "U32", ggml None, safetensors true, 1 => 4;
    U16 = "U16", ggml None, safetensors true, 1 => 2;
    U8 = "U8", ggml None, safetensors true, 1 => 1;
    Bool = "BOOL", ggml None, safetensors true, 1 => 1;
    Q8_0 = "Q8_0", ggml Some(8), safetensors false, 32 => 34;
    Q5_0 = "Q5_0", ggml Some(6), safetensors false, 32 => 22;
    Q5_1 = "Q5_1", ggml Some(7), safetensors false, 32 => 24;
    Q4_0 = "Q4_0", ggml Some(2), safetensors false, 32 => 18;
    Q4_1 = "Q4_1", ggml Some(3), safetensors false, 32 => 20;
    Q1_0 = "Q1_0", ggml Some(41), safetensors false, 128 => 18;
    Q2_K = "Q2_K", ggml Some(10), safetensors false, 256 => 84;
    Q3_K = "Q3_K", ggml Some(11), safetensors false, 256 => 110;
    Q4_K = "Q4_K", ggml Some(12), safetensors false, 256 => 144;
    Q5_K = "Q5_K", ggml Some(13), safetensors false, 256 => 176;
    Q6_K = "Q6_K", ggml Some(14), safetensors false, 256 => 210;
    Q8_K = "Q8_K", ggml Some(15), safetensors false, 256 => 292;
    Iq1S = "IQ1_S", ggml Some(19), safetensors false, 256 => 50;
    Iq1M = "IQ1_M", ggml Some(29), safetensors false, 256 => 56;
    Iq2Xxs = "IQ2_XXS", ggml Some(16), safetensors false, 256 => 66;
    Iq2Xs = "IQ2_XS", ggml Some(17), safetensors false, 256 => 74;
    Iq2S = "IQ2_S", ggml Some(22), safetensors false, 256 => 82;
    Iq3Xxs = "IQ3_XXS", ggml Some(18), safetensors false, 256 => 98;
    Iq3S = "IQ3_S", ggml Some(21), safetensors false, 256 => 110;
    Iq4Nl = "IQ4_NL", ggml Some(20), safetensors false, 32 => 18;
    Iq4Xs = "IQ4_XS", ggml Some(23), safetensors false, 256 => 136;
    Tq1_0 = "TQ1_0", ggml Some(34), safetensors false, 256 => 54;
    Tq2_0 = "TQ2_0", ggml Some(35), safetensors false, 256 => 66;
    Mxfp4 = "MXFP4", ggml Some(39), safetensors false, 32 => 17;
    Nvfp4 = "NVFP4", ggml Some(40), safetensors false, 64 => 36;
}

/// A name that is no element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading an element type: no such type")]
pub struct UnknownDType;

impl DType {
    /// The type that GGUF files give this number.
    pub fn from_ggml_id(id: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|dtype| dtype.ggml_id() == Some(id))
    }

    /// The type that safetensors files give this name.
    pub fn from_safetensors_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dtype| dtype.safetensors_name() == Some(name))
    }

    /// Bytes of `elements` elements; none when they do not fill their blocks or the number overflows.
    pub fn nbytes(self, elements: u64) -> Option<u64> {
        let (block_elements, block_bytes) = self.block();
        if !elements.is_multiple_of(block_elements) {
            return None;
        }
        (elements / block_elements).checked_mul(block_bytes)
    }

    /// Bytes of a tensor of this shape; none when that is not a whole number or overflows.
    pub fn nbytes_of_shape(self, shape: &[u64]) -> Option<u64> {
        self.nbytes(shape.iter().try_fold(1u64, |product, dim| product.checked_mul(*dim))?)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DType {
    type Err = UnknownDType;

    fn from_str(name: &str) -> Result<Self, UnknownDType> {
        Self::ALL.iter().copied().find(|dtype| dtype.name() == name).ok_or(UnknownDType)
    }
}

impl Serialize for DType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for DType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_and_numbers_are_unique_and_found_again() {
        let names: BTreeSet<_> = DType::ALL.iter().map(|dtype| dtype.name()).collect();
        assert_eq!(names.len(), DType::ALL.len());
        for dtype in DType::ALL {
            assert_eq!(dtype.name().parse(), Ok(*dtype));
            if let Some(id) = dtype.ggml_id() {
                assert_eq!(DType::from_ggml_id(id), Some(*dtype));
            }
            if let Some(name) = dtype.safetensors_name() {
                assert_eq!(DType::from_safetensors_name(name), Some(*dtype));
            }
        }
        assert_eq!("Q9_9".parse::<DType>(), Err(UnknownDType));
    }

    #[test]
    fn partial_blocks_and_overflow_have_no_size() {
        assert_eq!(DType::Q8_0.nbytes(64), Some(68));
        assert_eq!(DType::Q8_0.nbytes(33), None);
        assert_eq!(DType::F64.nbytes(u64::MAX), None);
        assert_eq!(DType::F16.nbytes_of_shape(&[1 << 33, 1 << 33]), None);
        assert_eq!(DType::F16.nbytes_of_shape(&[]), Some(2));
        assert_eq!(DType::F4.nbytes_of_shape(&[3]), None);
    }
}
