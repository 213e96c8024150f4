//! One text, one embedding: whatever the instruction set, the threads, the other texts and the kind of file.

use std::collections::BTreeMap;

use assay_engine::LoadOptions;
use assay_engine::embedding::{Encoder, Pooling, TooLong};
use assay_engine::synthetic::{SyntheticBert, TransformersFiles};
use assay_kernels::{Cpu, WeightType};
use assay_manifest::formats::safetensors::{self, Safetensors, TensorData, TensorInfo};

use crate::support::{TEXTS, encode, encoder, pool};

#[test]
fn embeddings_are_equal_on_every_instruction_set_and_number_of_threads() {
    for weight_type in WeightType::ALL {
        let encoder = encoder(&SyntheticBert::of(weight_type));
        let expected = encoder.encode(&pool(1, Cpu::portable()), &TEXTS, TooLong::Refuse).unwrap();
        for cpu in Cpu::available() {
            for threads in [1, 2, 3] {
                let found = encoder.encode(&pool(threads, cpu), &TEXTS, TooLong::Refuse).unwrap();
                assert_eq!(found, expected, "{weight_type:?}, {threads} threads, {}", cpu.name());
            }
        }
    }
}

#[test]
fn the_company_of_a_text_changes_nothing() {
    for pooling in [Pooling::Mean, Pooling::Cls] {
        let encoder = encoder(&SyntheticBert { pooling, ..SyntheticBert::of(WeightType::Q8_0) });
        let alone: Vec<_> = TEXTS.iter().flat_map(|text| encode(&encoder, &[*text])).collect();
        assert_eq!(encode(&encoder, &TEXTS), alone);
        // Many passes, in another order.
        let many: Vec<&str> = (0..60).map(|i| TEXTS[i * 5 % TEXTS.len()]).collect();
        for (i, found) in encode(&encoder, &many).iter().enumerate() {
            assert_eq!(found.hash(), alone[i * 5 % TEXTS.len()].hash(), "text {i}");
        }
    }
}

#[test]
fn transformers_files_and_gguf_give_the_same_embeddings() {
    for weight_type in [WeightType::F32, WeightType::F16, WeightType::BF16] {
        for pooling in [Pooling::Mean, Pooling::Cls] {
            let synthetic = SyntheticBert { pooling, ..SyntheticBert::of(weight_type) };
            let files = synthetic.transformers().unwrap();
            let options = LoadOptions::default();
            let theirs = Encoder::from_transformers(&files.borrowed(), &options, &mut |_, _| ()).unwrap();
            let ours = encoder(&synthetic);
            assert_eq!((theirs.spec_id(), theirs.config()), (ours.spec_id(), ours.config()));
            assert_eq!(encode(&theirs, &TEXTS), encode(&ours, &TEXTS), "{weight_type:?}");
        }
    }
}

#[test]
fn names_of_older_checkpoints_and_heads_of_the_training_change_nothing() {
    let files = SyntheticBert::default().transformers().unwrap();
    let header = Safetensors::parse(files.weights.as_slice(), files.weights.len() as u64).unwrap();
    let name = |name: &str| {
        let name =
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
        format!("bert.{name}")
    };
    let mut renamed: Vec<(String, TensorInfo)> =
        header.tensors.iter().map(|tensor| (name(&tensor.name), tensor.clone())).collect();
    for unused in ["bert.pooler.dense.weight", "cls.predictions.bias", "bert.embeddings.position_ids"] {
        renamed.push((unused.to_owned(), header.tensors[0].clone()));
    }
    let data = |tensor: &TensorInfo| &files.weights[tensor.offset as usize..][..tensor.nbytes as usize];
    let tensors: Vec<TensorData<'_>> = renamed
        .iter()
        .map(|(name, tensor)| TensorData {
            name,
            dtype: tensor.dtype,
            shape: &tensor.shape,
            data: data(tensor),
        })
        .collect();
    let mut weights = Vec::new();
    safetensors::write(&mut weights, &BTreeMap::new(), &tensors).unwrap();
    let older = TransformersFiles { weights, ..files.clone() };
    let load = |files: &TransformersFiles| {
        Encoder::from_transformers(&files.borrowed(), &LoadOptions::default(), &mut |_, _| ()).unwrap()
    };
    assert_eq!(encode(&load(&older), &TEXTS), encode(&load(&files), &TEXTS));
}

#[test]
fn embeddings_have_length_one_and_differ() {
    let embeddings = encode(&encoder(&SyntheticBert::default()), &TEXTS);
    for (index, embedding) in embeddings.iter().enumerate() {
        let length: f32 = embedding.values.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-6, "{length}");
        assert!(embeddings[..index].iter().all(|other| other.hash() != embedding.hash()));
    }
}
