//! Files that hold no model of the exact class are refused with a reason, never with a panic.

use std::sync::Arc;

use assay_engine::config::ConfigError;
use assay_engine::synthetic::{Synthetic, Tensor};
use assay_engine::{LoadError, LoadOptions, Model, class_of};
use assay_kernels::WeightType;
use assay_manifest::formats::DType;
use assay_manifest::formats::gguf::{self, Metadata, Value};
use assay_protocol::record::Class;

fn load(file: &[u8]) -> Result<Arc<Model>, LoadError> {
    Model::load(&file, &LoadOptions::default(), &mut |_, _| ())
}

/// A model file with something changed.
fn changed(synthetic: &Synthetic, change: impl FnOnce(&mut Metadata, &mut Vec<Tensor>)) -> Vec<u8> {
    let (mut metadata, mut tensors) = (synthetic.metadata(), synthetic.tensors());
    change(&mut metadata, &mut tensors);
    let tensors: Vec<_> = tensors.iter().map(Tensor::data).collect();
    let mut file = Vec::new();
    gguf::write(&mut file, &metadata, &tensors).unwrap();
    file
}

#[test]
fn loading_reports_progress_to_the_last_byte() {
    let file = Synthetic::default().gguf().unwrap();
    let mut last = (0, 0);
    Model::load(&file, &LoadOptions::default(), &mut |done, total| {
        assert!(done > last.0 && done <= total);
        last = (done, total);
    })
    .unwrap();
    assert_eq!(last.0, last.1);
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    for (weight_type, bad) in [
        (WeightType::F32, f32::NAN.to_le_bytes().to_vec()),
        (WeightType::F32, f32::INFINITY.to_le_bytes().to_vec()),
        (WeightType::F16, 0x7e00u16.to_le_bytes().to_vec()),
        (WeightType::Q8_0, 0x7c00u16.to_le_bytes().to_vec()),
        (WeightType::Q4_0, 0xfc00u16.to_le_bytes().to_vec()),
    ] {
        let synthetic = Synthetic::of(weight_type);
        for index in 0..synthetic.tensors().len() {
            // Norms are F32 in every model.
            let file = changed(&synthetic, |_, tensors| {
                let bad = if tensors[index].dtype == DType::F32 {
                    f32::NAN.to_le_bytes().to_vec()
                } else {
                    bad.clone()
                };
                tensors[index].data[..bad.len()].copy_from_slice(&bad);
            });
            let refused = load(&file);
            assert!(matches!(refused, Err(LoadError::Weights { .. })), "{weight_type:?} tensor {index}");
        }
    }
}

#[test]
fn a_tokenizer_that_is_not_supported_is_what_a_file_is_refused_for_whatever_its_weights_are() {
    for bad in [&[][..], &f32::NAN.to_le_bytes()] {
        let file = changed(&Synthetic::of(WeightType::F32), |metadata, tensors| {
            metadata.insert("tokenizer.ggml.model".to_owned(), Value::String("unheard-of".to_owned()));
            tensors[0].data[..bad.len()].copy_from_slice(bad);
        });
        assert!(matches!(load(&file), Err(LoadError::Text(_))), "weights begin with {bad:?}");
    }
}

#[test]
fn other_architectures_and_unknown_settings_are_refused() {
    let text = |text: &str| Value::String(text.to_owned());
    for (key, value) in [
        ("general.architecture", text("mamba")),
        ("llama.rope.scaling.type", text("linear")),
        ("llama.rope.scaling.type", text("su")),
        ("llama.rope.scale_linear", Value::F32(-2.0)),
        ("llama.rope.scaling.factor", Value::F32(f32::INFINITY)),
        ("llama.attention.sliding_window", Value::U32(128)),
        ("llama.expert_count", Value::U32(8)),
        ("llama.expert_used_count", Value::U32(2)),
        ("llama.rope.dimension_count", Value::U32(7)),
        ("llama.rope.dimension_count", Value::U32(18)),
        ("llama.attention.value_length", Value::U32(32)),
        ("llama.attention.head_count", Value::U32(3)),
        ("llama.attention.head_count_kv", Value::U32(3)),
        ("llama.attention.head_count", Value::U32(0)),
        ("llama.context_length", Value::U32(0)),
        ("llama.vocab_size", Value::U32(7)),
        ("llama.block_count", Value::U64(u64::MAX)),
        ("llama.feed_forward_length", text("wide")),
        ("llama.rope.freq_base", Value::F32(f32::NAN)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(-1.0)),
    ] {
        let file = changed(&Synthetic::default(), |metadata, _| {
            metadata.insert(key.to_owned(), value.clone());
        });
        assert!(matches!(load(&file), Err(LoadError::Config(_))), "{key} = {value:?}");
    }
}

#[test]
fn models_of_the_tolerance_class_are_refused_by_its_name() {
    for (name, synthetic) in Synthetic::tolerance_variants() {
        let error = load(&synthetic.gguf().unwrap()).unwrap_err();
        assert!(error.to_string().contains("the tolerance class runs it"), "{name}: {error}");
        let LoadError::Config(ConfigError::Tolerance(architecture)) = error else {
            panic!("{name}: {error}")
        };
        assert_eq!(class_of(&architecture), Some(Class::Tolerance), "{name}");
    }
    assert_eq!((class_of("llama"), class_of("mamba")), (Some(Class::Exact), None));
}

#[test]
fn every_missing_key_of_the_architecture_that_has_no_default_is_named() {
    let metadata = Synthetic::default().metadata();
    let optional = ["general.name", "llama.vocab_size", "llama.rope.dimension_count", "llama.rope.freq_base"];
    let keys =
        metadata.keys().filter(|key| !key.starts_with("tokenizer.") && !optional.contains(&key.as_str()));
    for key in keys.filter(|key| *key != "llama.attention.head_count_kv") {
        let file = changed(&Synthetic::default(), |metadata, _| {
            metadata.remove(key);
        });
        let error = load(&file).unwrap_err().to_string();
        assert!(error.contains(key), "{key}: {error}");
    }
}

#[test]
fn tensors_that_are_missing_or_unexpected_are_named() {
    for index in 0..Synthetic::default().tensors().len() {
        let mut name = String::new();
        let file = changed(&Synthetic::default(), |_, tensors| name = tensors.remove(index).name);
        assert!(matches!(load(&file), Err(LoadError::MissingTensor(missing)) if missing == name), "{index}");
    }
    let file = changed(&Synthetic::default(), |_, tensors| {
        let extra = Tensor { name: "blk.0.attn_q.bias".into(), ..tensors[0].clone() };
        tensors.push(extra);
    });
    assert!(matches!(load(&file), Err(LoadError::UnexpectedTensor(name)) if name == "blk.0.attn_q.bias"));
}

#[test]
fn tensors_of_another_shape_or_type_are_named() {
    let file = changed(&Synthetic::default(), |_, tensors| tensors[1].dims.swap(0, 1));
    assert!(load(&file).is_ok(), "a square matrix has one shape");
    let file = changed(&Synthetic::default(), |_, tensors| tensors[2].dims.swap(0, 1));
    assert!(matches!(load(&file), Err(LoadError::Shape { .. })));
    let file = changed(&Synthetic::of(WeightType::F16), |_, tensors| tensors[1].dtype = DType::I16);
    assert!(matches!(load(&file), Err(LoadError::Type { dtype: DType::I16, .. })));
}

#[test]
fn a_model_beyond_this_machines_limit_is_refused() {
    let file = Synthetic::default().gguf().unwrap();
    let refused = Model::load(&file, &LoadOptions { tensor_bytes_max: 1_000 }, &mut |_, _| ());
    assert!(matches!(refused, Err(LoadError::TooLarge { max: 1_000, .. })));
}

#[test]
fn truncated_and_damaged_files_are_refused_or_load_without_a_panic() {
    let file = Synthetic { layers: 1, ..Synthetic::default() }.gguf().unwrap();
    for len in (0..file.len()).step_by(331) {
        assert!(load(&file[..len]).is_err(), "{len} bytes");
    }
    // Bytes of the header, changed in three ways.
    for at in (0..9_000).step_by(53) {
        for bit in [0x01, 0x40, 0xff] {
            let mut damaged = file.clone();
            damaged[at] ^= bit;
            let _ = load(&damaged);
        }
    }
}
