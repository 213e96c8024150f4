//! The name of the definitions that a model's executions follow.

use std::collections::BTreeSet;

use assay_kernels::WeightType;
use assay_manifest::{SpecId, TaggedHash};

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
