//! The recipe from transformers to GGUF: what llama.cpp's converter does, pinned.

use crate::config::LlamaConfig;
use crate::error::LineageError;
use crate::source::TransformersSource;
use crate::tensors::{self, Planned};
use crate::vocabulary;
use assay_kernels::quantise;
use assay_manifest::formats::DType;
use assay_manifest::formats::gguf::{self, Metadata, TensorData, Value};
use assay_manifest::formats::safetensors::Safetensors;
use half::f16;
use std::collections::BTreeSet;

/// Element type of the matrices; norms are always F32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub enum GgufType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats, rounded to nearest even.
    F16,
    /// Blocks of 32 with 8 bits a value.
    Q8_0,
    /// Blocks of 32 with 4 bits a value.
    Q4_0,
}

impl GgufType {
    /// Every type.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Q8_0, Self::Q4_0];

    /// The element type in files.
    pub const fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Q8_0 => DType::Q8_0,
            Self::Q4_0 => DType::Q4_0,
        }
    }

    /// `general.file_type` (`llama_ftype` of llama.cpp).
    const fn file_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q8_0 => 7,
        }
    }
}

/// `GGML_QNT_VERSION` of the block formats written here.
const QUANTIZATION_VERSION: u32 = 2;

/// Converts a llama model to GGUF; the same source always gives the same bytes.
///
/// # Errors
/// When the recipe does not cover the source (another architecture, tokenizer or layout), or the source
/// contradicts itself.
pub fn gguf_from_transformers(
    source: &TransformersSource<'_>,
    gguf_type: GgufType,
) -> Result<Vec<u8>, LineageError> {
    let config = LlamaConfig::parse(source.config)?;
    let metadata = metadata(source, &config, gguf_type)?;
    let header = Safetensors::parse(source.weights, source.weights.len() as u64)?;
    let plan = tensors::plan(&config);
    refuse_unknown(&header, &plan)?;
    let tensors: Result<Vec<Converted>, LineageError> =
        plan.iter().map(|planned| Converted::new(planned, &header, source.weights, gguf_type)).collect();
    let tensors = tensors?;
    let tensors: Vec<TensorData<'_>> = tensors.iter().map(Converted::data).collect();
    let mut file = Vec::new();
    gguf::write(&mut file, &metadata, &tensors)?;
    Ok(file)
}

fn metadata(
    source: &TransformersSource<'_>,
    config: &LlamaConfig,
    gguf_type: GgufType,
) -> Result<Metadata, LineageError> {
    let mut metadata = config.metadata();
    metadata.extend(vocabulary::metadata(source.tokenizer, source.tokenizer_config, config.vocabulary)?);
    metadata.insert("general.file_type".to_owned(), Value::U32(gguf_type.file_type()));
    metadata.insert("general.quantization_version".to_owned(), Value::U32(QUANTIZATION_VERSION));
    Ok(metadata)
}

fn refuse_unknown(header: &Safetensors, plan: &[Planned]) -> Result<(), LineageError> {
    let known: BTreeSet<&str> = plan.iter().map(|planned| planned.source.as_str()).collect();
    match header.tensors.iter().find(|tensor| !known.contains(tensor.name.as_str())) {
        Some(tensor) => Err(LineageError::UnknownTensor(tensor.name.clone())),
        None => Ok(()),
    }
}

/// A tensor as it goes into the file.
struct Converted<'a> {
    name: &'a str,
    dtype: DType,
    dims: Vec<u64>,
    data: Vec<u8>,
}

impl<'a> Converted<'a> {
    fn new(
        planned: &'a Planned,
        header: &Safetensors,
        weights: &[u8],
        gguf_type: GgufType,
    ) -> Result<Self, LineageError> {
        let gguf_type = if planned.shape.len() == 1 { GgufType::F32 } else { gguf_type };
        let values = planned.load(header, weights)?;
        let failed = |source| LineageError::Quantise { tensor: planned.target.clone(), source };
        let data = encode(&values, planned.columns(), gguf_type).map_err(failed)?;
        let dims = planned.shape.iter().rev().copied().collect();
        Ok(Self { name: &planned.target, dtype: gguf_type.dtype(), dims, data })
    }

    fn data(&self) -> TensorData<'_> {
        TensorData { name: self.name, dtype: self.dtype, dims: &self.dims, data: &self.data }
    }
}

/// The values row by row in a type.
fn encode(values: &[f32], columns: usize, gguf_type: GgufType) -> Result<Vec<u8>, quantise::QuantiseError> {
    let rows = values.chunks(columns);
    match gguf_type {
        GgufType::F32 => Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        GgufType::F16 => Ok(values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()),
        GgufType::Q8_0 => Ok(rows.map(quantise::q8_0).collect::<Result<Vec<_>, _>>()?.concat()),
        GgufType::Q4_0 => Ok(rows.map(quantise::q4_0).collect::<Result<Vec<_>, _>>()?.concat()),
    }
}
