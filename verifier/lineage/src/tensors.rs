//! A llama model's tensors: their names on both sides, their shapes, and the order of their rows.

use crate::config::LlamaConfig;
use crate::error::LineageError;
use assay_manifest::formats::DType;
use assay_manifest::formats::safetensors::{Safetensors, TensorInfo};
use half::{bf16, f16};

/// A tensor that the configuration calls for.
pub(crate) struct Planned {
    /// Its name in transformers.
    pub source: String,
    /// Its name in GGUF.
    pub target: String,
    /// Its shape, outermost first.
    pub shape: Vec<u64>,
    /// What happens to its rows.
    pub rows: Rows,
}

/// Order of a matrix's rows in the GGUF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// As they are.
    Kept,
    /// Transformers turns dimension `i` of a head together with `i + head / 2`, llama.cpp turns neighbours:
    /// the two halves of each head are interleaved.
    HeadsInterleaved {
        /// Number of heads.
        heads: u32,
    },
}

/// The tensors of a llama model, in the order of the GGUF file.
pub(crate) fn plan(config: &LlamaConfig) -> Vec<Planned> {
    let (hidden, vocabulary) = (u64::from(config.hidden), u64::from(config.vocabulary));
    let top = |source: &str, target: &str, shape| Planned {
        source: source.to_owned(),
        target: target.to_owned(),
        shape,
        rows: Rows::Kept,
    };
    let mut tensors = vec![top("model.embed_tokens.weight", "token_embd.weight", vec![vocabulary, hidden])];
    tensors.extend((0..config.layers).flat_map(|layer| block(config, layer)));
    tensors.push(top("model.norm.weight", "output_norm.weight", vec![hidden]));
    if !config.tied_output {
        tensors.push(top("lm_head.weight", "output.weight", vec![vocabulary, hidden]));
    }
    tensors
}

fn block(config: &LlamaConfig, layer: u32) -> Vec<Planned> {
    let (hidden, wide) = (u64::from(config.hidden), u64::from(config.feed_forward));
    let kv = u64::from(config.kv_rows());
    let queries = Rows::HeadsInterleaved { heads: config.heads };
    let keys = Rows::HeadsInterleaved { heads: config.kv_heads };
    let parts = [
        ("input_layernorm", "attn_norm", vec![hidden], Rows::Kept),
        ("self_attn.q_proj", "attn_q", vec![hidden, hidden], queries),
        ("self_attn.k_proj", "attn_k", vec![kv, hidden], keys),
        ("self_attn.v_proj", "attn_v", vec![kv, hidden], Rows::Kept),
        ("self_attn.o_proj", "attn_output", vec![hidden, hidden], Rows::Kept),
        ("post_attention_layernorm", "ffn_norm", vec![hidden], Rows::Kept),
        ("mlp.gate_proj", "ffn_gate", vec![wide, hidden], Rows::Kept),
        ("mlp.up_proj", "ffn_up", vec![wide, hidden], Rows::Kept),
        ("mlp.down_proj", "ffn_down", vec![hidden, wide], Rows::Kept),
    ];
    let planned = parts.map(|(source, target, shape, rows)| Planned {
        source: format!("model.layers.{layer}.{source}.weight"),
        target: format!("blk.{layer}.{target}.weight"),
        shape,
        rows,
    });
    planned.into()
}

impl Planned {
    /// The tensor's values in the order of the GGUF file, widened to f32 without loss.
    pub(crate) fn load(&self, header: &Safetensors, file: &[u8]) -> Result<Vec<f32>, LineageError> {
        let info = header.tensor(&self.source);
        let info = info.ok_or_else(|| LineageError::MissingTensor(self.source.clone()))?;
        if info.shape != self.shape {
            return Err(LineageError::Shape {
                tensor: self.source.clone(),
                found: info.shape.clone(),
                expected: self.shape.clone(),
            });
        }
        Ok(self.reordered(values(info, file)?))
    }

    /// Elements of a row.
    pub(crate) fn columns(&self) -> usize {
        self.shape.last().map_or(1, |columns| *columns as usize)
    }

    fn reordered(&self, values: Vec<f32>) -> Vec<f32> {
        let Rows::HeadsInterleaved { heads } = self.rows else { return values };
        let columns = self.columns();
        let rows: Vec<&[f32]> = values.chunks_exact(columns).collect();
        let per_head = rows.len() / heads as usize;
        let mut reordered = Vec::with_capacity(values.len());
        for head in rows.chunks_exact(per_head) {
            let (low, high) = head.split_at(per_head / 2);
            for (low, high) in low.iter().zip(high) {
                reordered.extend_from_slice(low);
                reordered.extend_from_slice(high);
            }
        }
        reordered
    }
}

/// A tensor's elements; the parser has checked that they lie inside the file.
fn values(info: &TensorInfo, file: &[u8]) -> Result<Vec<f32>, LineageError> {
    let start = info.offset as usize;
    let data = &file[start..start + info.nbytes as usize];
    let (pairs, quads) = (data.as_chunks::<2>().0, data.as_chunks::<4>().0);
    match info.dtype {
        DType::F32 => Ok(quads.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        DType::F16 => Ok(pairs.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()),
        DType::BF16 => Ok(pairs.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect()),
        dtype => Err(LineageError::ElementType { tensor: info.name.clone(), dtype }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_each_head_are_interleaved() {
        let planned = Planned {
            source: String::new(),
            target: String::new(),
            shape: vec![8, 1],
            rows: Rows::HeadsInterleaved { heads: 2 },
        };
        let rows = vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        assert_eq!(planned.reordered(rows), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    }
}
