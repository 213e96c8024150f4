//! The header of a file as candle takes it, when exactly the expected tensors are there.

use std::collections::HashMap;

use assay_engine::{LoadError, LoadOptions};
use assay_manifest::formats::DType;
use assay_manifest::formats::gguf::TensorInfo;
use candle_core::Shape as Dims;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{self, Content, Value, VersionedMagic};

use crate::architecture::{Architecture, Kind, Need, Part};
use crate::reader::Joints;
use crate::shape::Shape;

/// What candle is told of a file.
pub(crate) struct Layout {
    /// Nothing that was not checked, so that candle parses nothing itself.
    pub content: Content,
    /// Tensors that the file holds in pieces.
    pub joints: Joints,
}

/// Checks that exactly the expected tensors are there.
///
/// # Errors
/// When a tensor is missing, unexpected, of another shape or type, or all together are above the limit.
pub(crate) fn layout(
    shape: &Shape,
    tensors: Vec<TensorInfo>,
    joints: Joints,
    options: &LoadOptions,
) -> Result<Layout, LoadError> {
    let found: u64 = tensors.iter().map(|tensor| tensor.nbytes).sum();
    if found > options.tensor_bytes_max {
        return Err(LoadError::TooLarge { found, max: options.tensor_bytes_max });
    }
    let left = tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
    let mut taken = Taken { shape, left, infos: HashMap::new(), joints };
    let Architecture { whole, layer: parts, .. } = shape.architecture;
    whole.iter().try_for_each(|part| taken.take_part("", part))?;
    for layer in 0..shape.layers {
        let prefix = format!("blk.{layer}.");
        parts.iter().try_for_each(|part| taken.take_part(&prefix, part))?;
    }
    if let Some(name) = taken.left.into_keys().min() {
        return Err(LoadError::UnexpectedTensor(name));
    }
    let content = Content {
        magic: VersionedMagic::GgufV3,
        metadata: metadata(shape),
        tensor_infos: taken.infos,
        // Offsets are from the start of the file.
        tensor_data_offset: 0,
    };
    Ok(Layout { content, joints: taken.joints })
}

/// The keys that candle reads; none of them is beyond a `u32`, because all sizes are below 2³⁰.
fn metadata(shape: &Shape) -> HashMap<String, Value> {
    let size = |size: usize| Value::U32(u32::try_from(size).unwrap_or(u32::MAX));
    let keys = [
        ("context_length", Value::U32(shape.context_length)),
        ("embedding_length", size(shape.hidden)),
        ("block_count", size(shape.layers)),
        ("attention.head_count", size(shape.heads)),
        ("attention.head_count_kv", size(shape.kv_heads)),
        ("attention.key_length", size(shape.head_size)),
        ("rope.dimension_count", size(shape.rotated)),
        ("rope.freq_base", Value::F32(shape.rope_base)),
        (shape.architecture.epsilon, Value::F32(shape.epsilon)),
    ];
    keys.map(|(name, value)| (format!("{}.{name}", shape.architecture.name), value)).into()
}

/// Tensors that were taken, and those that are left.
struct Taken<'a> {
    shape: &'a Shape,
    left: HashMap<String, TensorInfo>,
    infos: HashMap<String, gguf_file::TensorInfo>,
    joints: Joints,
}

impl Taken<'_> {
    fn take_part(&mut self, prefix: &str, part: &Part) -> Result<(), LoadError> {
        let name = format!("{prefix}{}", part.name);
        let is_there = |name: &str| self.left.contains_key(name);
        let in_pieces = part.pieces.first().is_some_and(|(piece, _)| is_there(&format!("{prefix}{piece}")));
        let (dtype, offset) = match is_there(&name) {
            false if in_pieces => self.join(prefix, part)?,
            false if part.need == Need::Optional => return Ok(()),
            _ => {
                let tensor = self.take(&name, part.kind)?;
                (tensor.dtype, tensor.offset)
            }
        };
        let ggml_dtype = ggml_dtype(dtype).ok_or_else(|| LoadError::Type { tensor: name.clone(), dtype })?;
        let shape = Dims::from(self.dims(part.kind));
        self.infos.insert(name, gguf_file::TensorInfo { ggml_dtype, shape, offset });
        Ok(())
    }

    /// The type of a tensor in pieces, and where it seems to begin when they are joined.
    fn join(&mut self, prefix: &str, part: &Part) -> Result<(DType, u64), LoadError> {
        let mut pieces = Vec::new();
        for (name, rows) in part.pieces {
            pieces.push(self.take(&format!("{prefix}{name}"), part.kind.with_rows(*rows))?);
        }
        let mut types = pieces.iter().map(|piece| piece.dtype);
        let expected = types.next().unwrap_or(DType::F32);
        if let Some(other) = pieces.iter().find(|piece| piece.dtype != expected) {
            return Err(LoadError::Mixed { tensor: other.name.clone(), found: other.dtype, expected });
        }
        let ranges = pieces.iter().map(|piece| piece.offset..piece.offset + piece.nbytes);
        Ok((expected, self.joints.join(ranges)))
    }

    /// Takes a tensor that must be there, of this shape and a type that is known.
    fn take(&mut self, name: &str, kind: Kind) -> Result<TensorInfo, LoadError> {
        let missing = || LoadError::MissingTensor(name.to_owned());
        let tensor = self.left.remove(name).ok_or_else(missing)?;
        let (expected, found) = (self.dims(kind), tensor.shape());
        if !found.iter().copied().eq(expected.iter().map(|dim| *dim as u64)) {
            return Err(LoadError::Shape { tensor: tensor.name, found, expected });
        }
        let is_fitting = matches!(kind, Kind::Matrix(..)) || tensor.dtype == DType::F32;
        match ggml_dtype(tensor.dtype).filter(|_| is_fitting) {
            Some(_) => Ok(tensor),
            None => Err(LoadError::Type { tensor: tensor.name, dtype: tensor.dtype }),
        }
    }

    fn dims(&self, kind: Kind) -> Vec<usize> {
        match kind {
            Kind::Matrix(rows, cols) => vec![self.shape.size(rows), self.shape.size(cols)],
            Kind::Vector(len) => vec![self.shape.size(len)],
        }
    }
}

/// How candle calls a type of weights, if it is one that the exact engine takes, too.
const fn ggml_dtype(dtype: DType) -> Option<GgmlDType> {
    Some(match dtype {
        DType::F32 => GgmlDType::F32,
        DType::F16 => GgmlDType::F16,
        DType::BF16 => GgmlDType::BF16,
        DType::Q8_0 => GgmlDType::Q8_0,
        DType::Q4_0 => GgmlDType::Q4_0,
        DType::Q4_1 => GgmlDType::Q4_1,
        DType::Q5_0 => GgmlDType::Q5_0,
        DType::Q5_1 => GgmlDType::Q5_1,
        DType::Q2_K => GgmlDType::Q2K,
        DType::Q3_K => GgmlDType::Q3K,
        DType::Q4_K => GgmlDType::Q4K,
        DType::Q5_K => GgmlDType::Q5K,
        DType::Q6_K => GgmlDType::Q6K,
        _ => return None,
    })
}
