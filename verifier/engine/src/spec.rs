//! The name of the definitions that a model's executions follow.

use std::collections::BTreeSet;

use assay_kernels::WeightType;
use assay_manifest::formats::DType;
use assay_manifest::{SpecId, TaggedHash};

use crate::load::weight_type;
use crate::model::{Layer, Weights};

/// Definitions of every llama model, by their headings in `docs/NUMERICS.md`.
const ALWAYS: [&str; 9] = [
    "assay-num-1/llama",
    "assay-num-1/rms-norm",
    "assay-num-1/rope-interleaved",
    "assay-num-1/attention-f32-cache",
    "assay-num-1/swiglu",
    "assay-num-1/add",
    "assay-num-1/trace",
    "assay-num-1/sampling",
    "assay-num-1/text-byte-level-bpe",
];

/// The definitions that a model with these weights uses, sorted. A weight type that is added later adds
/// names of its own, and changes the list of no model without it.
pub(crate) fn definitions(weights: &Weights) -> BTreeSet<&'static str> {
    let matrices = weights.layers.iter().flat_map(Layer::matrices).chain([weights.head()]);
    let products = matrices.map(|matrix| product_name(matrix.weight_type()));
    ALWAYS.into_iter().chain([row_name(weights.embedding.weight_type())]).chain(products).collect()
}

/// The spec of a model with these tensors, by their names and types alone; nothing where the engine has no
/// place for one of them. Loading may still refuse the model for what it holds.
pub fn spec_of<'a>(tensors: impl IntoIterator<Item = (&'a str, DType)>) -> Option<SpecId> {
    let mut definitions = BTreeSet::from(ALWAYS);
    let (mut embedding, mut output) = (None, None);
    for (name, dtype) in tensors {
        match name {
            "token_embd.weight" => embedding = Some(weight_type(dtype)?),
            "output.weight" => output = Some(weight_type(dtype)?),
            _ if is_norm(name) => {
                if dtype != DType::F32 {
                    return None;
                }
            }
            _ if is_matrix(name) => drop(definitions.insert(product_name(weight_type(dtype)?))),
            _ => return None,
        }
    }
    let embedding = embedding?;
    definitions.extend([row_name(embedding), product_name(output.unwrap_or(embedding))]);
    Some(spec_id(&definitions))
}

/// The part of a layer that a tensor is.
fn layer_part(name: &str) -> Option<&str> {
    let (index, part) = name.strip_prefix("blk.")?.strip_suffix(".weight")?.split_once('.')?;
    index.bytes().all(|byte| byte.is_ascii_digit()).then_some(part)
}

fn is_norm(name: &str) -> bool {
    name == "output_norm.weight" || matches!(layer_part(name), Some("attn_norm" | "ffn_norm"))
}

fn is_matrix(name: &str) -> bool {
    let parts = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
    layer_part(name).is_some_and(|part| parts.contains(&part))
}

/// `H("assay/spec/1" ‖ number of names ‖ names)`, each name with its length.
pub(crate) fn spec_id(definitions: &BTreeSet<&'static str>) -> SpecId {
    let hash = TaggedHash::new("assay/spec/1").u32(u32::try_from(definitions.len()).unwrap_or(u32::MAX));
    let hash = definitions.iter().fold(hash, |hash, name| hash.var(name.as_bytes()));
    SpecId::from_digest(hash.finish())
}

const fn product_name(weight_type: WeightType) -> &'static str {
    match weight_type {
        WeightType::F32 => "assay-num-1/product-f32",
        WeightType::F16 => "assay-num-1/product-f16",
        WeightType::Q8_0 => "assay-num-1/product-q8_0",
        WeightType::Q4_0 => "assay-num-1/product-q4_0",
    }
}

const fn row_name(weight_type: WeightType) -> &'static str {
    match weight_type {
        WeightType::F32 => "assay-num-1/row-f32",
        WeightType::F16 => "assay-num-1/row-f16",
        WeightType::Q8_0 => "assay-num-1/row-q8_0",
        WeightType::Q4_0 => "assay-num-1/row-q4_0",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{Head, Synthetic};
    use crate::{LoadOptions, Model};

    #[test]
    fn names_and_types_of_tensors_give_the_spec_of_the_loaded_model() {
        for weight_type in [WeightType::F32, WeightType::F16, WeightType::Q8_0, WeightType::Q4_0] {
            for head in [Head::Tied, Head::Own] {
                let made = Synthetic { head, ..Synthetic::of(weight_type) };
                let file = made.gguf().unwrap();
                let model = Model::load(&file, &LoadOptions::default(), &mut |_, _| {}).unwrap();
                let tensors = made.tensors();
                let tensors = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.dtype));
                assert_eq!(spec_of(tensors), Some(model.spec_id()), "{weight_type:?}, {head:?}");
            }
        }
    }

    #[test]
    fn a_tensor_without_a_place_has_no_spec() {
        let embedding = ("token_embd.weight", DType::F32);
        assert!(spec_of([embedding]).is_some());
        for (other, reason) in [
            (("blk.0.attn_q.bias", DType::F32), "a bias"),
            (("blk.x.attn_q.weight", DType::F32), "no layer"),
            (("blk.0.attn_q.weight", DType::Q4_K), "a type without a kernel"),
            (("output_norm.weight", DType::F16), "a norm that is not F32"),
        ] {
            assert_eq!(spec_of([embedding, other]), None, "{reason}");
        }
        assert_eq!(spec_of([("output.weight", DType::F32)]), None, "no embedding");
    }
}
