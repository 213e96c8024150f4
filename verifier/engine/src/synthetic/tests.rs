use std::collections::BTreeSet;

use assay_kernels::WeightType;
use assay_manifest::formats::gguf::Gguf;

use super::{Synthetic, Vocabulary};
use crate::{LoadOptions, Model};

#[test]
fn variants_are_files_with_names_of_their_own() {
    let variants = Synthetic::variants();
    let names: BTreeSet<_> = variants.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), variants.len());
    for (name, synthetic) in variants {
        let file = synthetic.gguf().unwrap_or_else(|error| panic!("{name}: {error}"));
        Gguf::parse(file.as_slice(), file.len() as u64).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn filled_vocabularies_load_and_read_text() {
    for pre in ["llama-bpe", "qwen2"] {
        let vocabulary = Vocabulary::Filled { size: 1_000, pre };
        let file = Synthetic { vocabulary, ..Synthetic::default() }.gguf().unwrap();
        let model = Model::load(&file, &LoadOptions::default(), &mut |_, _| ()).unwrap();
        assert_eq!(model.config().vocab_size, 1_000);
        assert_eq!(model.text().token_text(999), Some("<|im_end|>"));
    }
}

/// Threads that share the work change nothing, which files of more than a million elements show.
#[test]
fn large_matrices_continue_one_sequence_of_draws() {
    let large = Synthetic { hidden: 1_024, layers: 0, weight_type: WeightType::F32, ..Synthetic::default() };
    let wide = Synthetic { vocabulary: Vocabulary::Filled { size: 2_100, pre: "gpt-2" }, ..large };
    let embedding = |synthetic: &Synthetic| synthetic.tensors().swap_remove(0).data;
    let (small, wide) = (embedding(&large), embedding(&wide));
    assert!(wide.starts_with(&small));
    let mut random = super::random::Random(large.seed);
    let reach = large.reach / (large.hidden as f32).sqrt();
    let values = wide.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    assert!(values.eq((0..2_100 * 1_024).map(|_| random.symmetric() * reach)));
}
