//! The demo model's edge, from its committed safetensors to its committed GGUF file.

use assay_lineage::{GgufType, TransformersSource, Verdict, gguf_from_transformers, recompute};
use assay_manifest::lineage::EdgeKind;

const FILES: [(&str, &[u8]); 4] = [
    ("config.json", include_bytes!("../../trainer/model/safetensors/config.json")),
    ("tokenizer.json", include_bytes!("../../trainer/model/safetensors/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../../trainer/model/safetensors/tokenizer_config.json")),
    ("model.safetensors", include_bytes!("../../trainer/model/safetensors/model.safetensors")),
];
const GGUF: &[u8] = include_bytes!("../../trainer/model/demo-q8_0.gguf");

#[test]
fn the_committed_gguf_is_what_the_recipe_makes_of_the_committed_safetensors() {
    let source = TransformersSource::from_files(FILES).unwrap();
    assert!(gguf_from_transformers(&source, GgufType::Q8_0).unwrap() == GGUF);
    assert_eq!(recompute(EdgeKind::QuantizedFrom, &source, GGUF), Ok(Verdict::Equal));
}
