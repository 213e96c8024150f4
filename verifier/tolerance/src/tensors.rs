//! The header of a file as candle takes it, when exactly the expected tensors are there.

use std::collections::HashMap;

use assay_engine::{LoadError, LoadOptions};
use assay_manifest::formats::DType;
use assay_manifest::formats::gguf::TensorInfo;
use candle_core::Shape as Dims;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{self, Content, Value, VersionedMagic};

use crate::architecture::{Architecture, Kind, Need, Part};
use crate::shape::Shape;

/// What candle is told of a file: nothing that was not checked, so that it parses nothing itself.
///
/// # Errors
/// When a tensor is missing, unexpected, of another shape or type, or all together are above the limit.
pub(crate) fn content(
    shape: &Shape,
    tensors: Vec<TensorInfo>,
    options: &LoadOptions,
) -> Result<Content, LoadError> {
    let found: u64 = tensors.iter().map(|tensor| tensor.nbytes).sum();
    if found > options.tensor_bytes_max {
        return Err(LoadError::TooLarge { found, max: options.tensor_bytes_max });
    }
    let left = tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
    let mut taken = Taken { shape, left, infos: HashMap::new() };
    let Architecture { whole, layer: parts, .. } = shape.architecture;
    whole.iter().try_for_each(|part| taken.take(part.name.to_owned(), part))?;
    for layer in 0..shape.layers {
        parts.iter().try_for_each(|part| taken.take(format!("blk.{layer}.{}", part.name), part))?;
    }
    if let Some(name) = taken.left.into_keys().min() {
        return Err(LoadError::UnexpectedTensor(name));
    }
    Ok(Content {
        magic: VersionedMagic::GgufV3,
        metadata: metadata(shape),
        tensor_infos: taken.infos,
        // Offsets are from the start of the file.
        tensor_data_offset: 0,
    })
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
}

impl Taken<'_> {
    fn take(&mut self, name: String, part: &Part) -> Result<(), LoadError> {
        let tensor = match self.left.remove(&name) {
            Some(tensor) => tensor,
            None if part.need == Need::Optional => return Ok(()),
            None => return Err(LoadError::MissingTensor(name)),
        };
        let expected = match part.kind {
            Kind::Matrix(rows, cols) => vec![self.shape.size(rows), self.shape.size(cols)],
            Kind::Vector(len) => vec![self.shape.size(len)],
        };
        let found = tensor.shape();
        if !found.iter().copied().eq(expected.iter().map(|dim| *dim as u64)) {
            return Err(LoadError::Shape { tensor: name, found, expected });
        }
        let is_fitting = matches!(part.kind, Kind::Matrix(..)) || tensor.dtype == DType::F32;
        let Some(ggml_dtype) = ggml_dtype(tensor.dtype).filter(|_| is_fitting) else {
            return Err(LoadError::Type { tensor: name, dtype: tensor.dtype });
        };
        let shape = Dims::from(expected);
        self.infos.insert(name, gguf_file::TensorInfo { ggml_dtype, shape, offset: tensor.offset });
        Ok(())
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
