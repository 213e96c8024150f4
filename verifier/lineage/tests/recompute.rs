//! Recomputing edges: equal, or the first thing that differs.

mod support;

use assay_lineage::{Difference, GgufType, LineageError, Verdict, gguf_from_transformers, recompute};
use assay_manifest::formats::DType;
use assay_manifest::formats::gguf::Gguf;
use assay_manifest::lineage::EdgeKind;
use serde_json::json;
use support::{Files, TinyModel};

fn parent() -> Files {
    TinyModel::new().files(DType::F16)
}

fn child(files: &Files, gguf_type: GgufType) -> Vec<u8> {
    gguf_from_transformers(&files.source(), gguf_type).unwrap()
}

#[test]
fn a_child_made_by_the_recipe_is_equal() {
    let parent = parent();
    for (kind, gguf_type) in [
        (EdgeKind::QuantizedFrom, GgufType::Q8_0),
        (EdgeKind::QuantizedFrom, GgufType::Q4_0),
        (EdgeKind::ConvertedFrom, GgufType::F16),
        (EdgeKind::ConvertedFrom, GgufType::F32),
    ] {
        let child = child(&parent, gguf_type);
        assert_eq!(recompute(kind, &parent.source(), &child), Ok(Verdict::Equal), "{gguf_type:?}");
    }
}

#[test]
fn one_flipped_bit_names_its_tensor() {
    let parent = parent();
    let intact = child(&parent, GgufType::Q8_0);
    let header = Gguf::parse(intact.as_slice(), intact.len() as u64).unwrap();
    for tensor in &header.tensors {
        let mut flipped = intact.clone();
        flipped[tensor.offset as usize] ^= 1;
        let verdict = recompute(EdgeKind::QuantizedFrom, &parent.source(), &flipped);
        assert_eq!(verdict, Ok(Verdict::Differs(Difference::Tensor(tensor.name.clone()))));
    }
}

#[test]
fn another_parent_of_equal_weights_names_the_metadata_key() {
    let mut other = TinyModel::new();
    other.config["rope_theta"] = json!(500_000.0);
    let child = child(&other.files(DType::F16), GgufType::Q8_0);
    let verdict = recompute(EdgeKind::QuantizedFrom, &parent().source(), &child);
    assert_eq!(verdict, Ok(Verdict::Differs(Difference::Metadata("llama.rope.freq_base".to_owned()))));
}

#[test]
fn padding_that_differs_is_a_difference_of_layout() {
    let parent = parent();
    let mut child = child(&parent, GgufType::Q8_0);
    let header = Gguf::parse(child.as_slice(), child.len() as u64).unwrap();
    let padded = header.tensors.iter().find(|tensor| !(tensor.offset + tensor.nbytes).is_multiple_of(32));
    let padded = padded.unwrap();
    child[(padded.offset + padded.nbytes) as usize] = 1;
    let verdict = recompute(EdgeKind::QuantizedFrom, &parent.source(), &child);
    assert_eq!(verdict, Ok(Verdict::Differs(Difference::Layout)));
}

#[test]
fn edges_without_a_recipe_for_the_child_are_refused() {
    let parent = parent();
    let child = child(&parent, GgufType::F16);
    let wrong_type = recompute(EdgeKind::QuantizedFrom, &parent.source(), &child);
    assert!(matches!(wrong_type, Err(LineageError::ChildType { found: Some(DType::F16), .. })));
    let no_recipe = recompute(EdgeKind::MergedFrom, &parent.source(), &child);
    assert_eq!(no_recipe, Err(LineageError::NoRecipe(EdgeKind::MergedFrom)));
    let no_gguf = recompute(EdgeKind::QuantizedFrom, &parent.source(), b"GGML");
    assert!(matches!(no_gguf, Err(LineageError::Gguf(_))));
}
