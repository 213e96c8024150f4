//! Writes a BERT model in the layout of transformers as GGUF:
//! `cargo run --release -p assay-engine --example bert_to_gguf -- FOLDER OUT.gguf f32|f16|q8_0|q4_0`.
//!
//! Metadata and names are those of llama.cpp's converter. Norms, biases, positions and token types stay F32.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use assay_engine::embedding::Transformers;
use assay_kernels::float::f32_to_f16;
use assay_kernels::quantise;
use assay_manifest::formats::DType;
use assay_manifest::formats::gguf::{self, TensorData};

const USAGE: &str = "usage: bert_to_gguf FOLDER OUT.gguf f32|f16|q8_0|q4_0";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, out, name] = arguments.as_slice() else { return Err(USAGE.into()) };
    let dtype = match name.as_str() {
        "f32" => DType::F32,
        "f16" => DType::F16,
        "q8_0" => DType::Q8_0,
        "q4_0" => DType::Q4_0,
        _ => return Err(USAGE.into()),
    };
    let read = |name: &str| std::fs::read(Path::new(folder).join(name));
    let (config, tokenizer, weights) =
        (read("config.json")?, read("tokenizer.json")?, read("model.safetensors")?);
    let pooling = read("1_Pooling/config.json").ok();
    let files = Transformers {
        config: &config,
        tokenizer: &tokenizer,
        pooling: pooling.as_deref(),
        weights: &weights,
    };
    let header = files.header()?;
    let mut converted = Vec::new();
    for tensor in &header.tensors {
        let plain = tensor.dims.len() == 1
            || matches!(tensor.name.as_str(), "position_embd.weight" | "token_types.weight");
        let dtype = if plain { DType::F32 } else { dtype };
        if tensor.dtype != DType::F32 {
            return Err(format!("tensor {} is not F32", tensor.name).into());
        }
        let start = usize::try_from(tensor.offset)?;
        let bytes = &weights[start..start + usize::try_from(tensor.nbytes)?];
        converted.push((dtype, encode(dtype, bytes)?));
    }
    let tensors: Vec<TensorData<'_>> = header
        .tensors
        .iter()
        .zip(&converted)
        .map(|(tensor, (dtype, data))| TensorData {
            name: &tensor.name,
            dtype: *dtype,
            dims: &tensor.dims,
            data,
        })
        .collect();
    let mut sink = BufWriter::new(File::create(out)?);
    gguf::write(&mut sink, &header.metadata, &tensors)?;
    sink.flush()?;
    Ok(())
}

fn encode(dtype: DType, bytes: &[u8]) -> Result<Vec<u8>, quantise::QuantiseError> {
    let values: Vec<f32> = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    match dtype {
        DType::F16 => Ok(values.iter().flat_map(|value| f32_to_f16(*value).to_le_bytes()).collect()),
        DType::Q8_0 => quantise::q8_0(&values),
        DType::Q4_0 => quantise::q4_0(&values),
        _ => Ok(bytes.to_vec()),
    }
}
