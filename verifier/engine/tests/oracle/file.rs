//! A GGUF file as candle reads it: metadata, and tensors as f32.

use std::collections::HashMap;
use std::io::Cursor;

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{Device, Result, Tensor};

pub struct File {
    metadata: HashMap<String, Value>,
    tensors: HashMap<String, Tensor>,
    pub architecture: String,
}

impl File {
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let mut source = Cursor::new(bytes);
        let content = Content::read(&mut source)?;
        let mut tensors = HashMap::new();
        for name in content.tensor_infos.keys() {
            let tensor = content.tensor(&mut source, name, &Device::Cpu)?;
            tensors.insert(name.clone(), tensor.dequantize(&Device::Cpu)?);
        }
        let architecture = content.metadata["general.architecture"].to_string()?.clone();
        Ok(Self { metadata: content.metadata, tensors, architecture })
    }

    /// All tensors, by name.
    pub fn into_tensors(self) -> HashMap<String, Tensor> {
        self.tensors
    }

    /// A tensor that must be there: matrices `[results, inputs]`, experts `[experts, results, inputs]`.
    pub fn tensor(&self, name: &str) -> &Tensor {
        self.optional(name).unwrap_or_else(|| panic!("tensor {name} is missing"))
    }

    pub fn optional(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// A tensor of a layer, `blk.{layer}.{part}`.
    pub fn part(&self, layer: usize, part: &str) -> Option<&Tensor> {
        self.optional(&format!("blk.{layer}.{part}"))
    }

    fn key(&self, name: &str) -> Option<&Value> {
        self.metadata.get(&format!("{}.{name}", self.architecture))
    }

    pub fn size(&self, name: &str) -> Option<usize> {
        self.key(name).map(|value| value.to_u32().unwrap() as usize)
    }

    pub fn number(&self, name: &str) -> Option<f64> {
        self.key(name).map(|value| f64::from(value.to_f32().unwrap()))
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.key(name).map(|value| value.to_string().unwrap().as_str())
    }
}
