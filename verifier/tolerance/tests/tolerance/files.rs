//! Files that hold no model of the tolerance class are refused with a reason, before candle sees them.

use assay_engine::config::ConfigError;
use assay_engine::synthetic::{Synthetic, Tensor};
use assay_engine::{Generator, LoadError, LoadOptions};
use assay_kernels::WeightType;
use assay_manifest::formats::DType;
use assay_manifest::formats::gguf::Value;
use assay_tolerance::{CandleGenerator, Settings};

use crate::support::{SEED, changed, generator, load, request, split, variant};

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// That a file is refused, and not by candle.
fn refused(file: &[u8]) -> LoadError {
    let error = load(file).unwrap_err();
    assert!(!matches!(error, LoadError::Library(_)), "{error}");
    error
}

#[test]
fn every_type_of_weights_loads_and_answers() {
    for weight_type in WeightType::ALL {
        for (name, synthetic) in Synthetic::tolerance_variants() {
            let sizes = Synthetic { hidden: 256, feed_forward: 256, heads: 4, weight_type, ..synthetic };
            // Heads stay as small as they are, where the file states their size; else they are hidden / heads.
            let generator = generator(&sizes);
            let execution = generator.execute(&request(&generator, "hand", 2), &SEED, &mut ()).unwrap();
            assert_eq!(execution.tokens.len(), 2, "{name} of {weight_type:?}");
        }
    }
}

#[test]
fn loading_reports_progress_to_the_last_byte() {
    for (name, synthetic) in Synthetic::tolerance_variants() {
        let file = synthetic.gguf().unwrap();
        let (mut last, options) = ((0, 0), LoadOptions::default());
        CandleGenerator::load(&file, &options, Settings::default(), &mut |done, total| {
            assert!(done > last.0 && done <= total, "{name}");
            last = (done, total);
        })
        .unwrap();
        assert!(last.0 > 0 && last.0 == last.1, "{name}: {last:?}");
    }
}

#[test]
fn models_of_the_exact_class_and_of_none_are_refused() {
    let other = refused(&Synthetic::default().gguf().unwrap());
    assert!(matches!(other, LoadError::Config(ConfigError::Architecture(name)) if name == "llama"));
    assert!(matches!(refused(b"roses are red"), LoadError::Gguf(_)));
    assert!(matches!(refused(b""), LoadError::Gguf(_)));
}

#[test]
fn settings_that_candle_would_not_follow_are_refused() {
    let cases = [
        ("phi2", "general.architecture", text("mamba")),
        ("phi2", "phi2.rope.freq_base", Value::F32(1e6)),
        ("phi2", "phi2.rope.scaling.type", text("linear")),
        ("phi2", "phi2.rope.dimension_count", Value::U32(7)),
        ("phi2", "phi2.rope.dimension_count", Value::U32(18)),
        ("phi2", "phi2.attention.head_count_kv", Value::U32(2)),
        ("phi2", "phi2.attention.head_count", Value::U32(3)),
        ("phi2", "phi2.attention.head_count", Value::U32(0)),
        ("phi2", "phi2.attention.key_length", Value::U32(16)),
        ("phi2", "phi2.context_length", Value::U32(0)),
        ("phi2", "phi2.context_length", Value::U32(4_097)),
        ("phi2", "phi2.block_count", Value::U64(u64::MAX)),
        ("phi2", "phi2.attention.layer_norm_epsilon", Value::F32(f32::NAN)),
        ("phi2", "phi2.feed_forward_length", text("wide")),
        ("glm4", "glm4.rope.dimension_count", Value::U32(32)),
        ("glm4", "glm4.rope.freq_base", Value::F32(-1.0)),
        ("glm4", "glm4.rope.dimension_sections", Value::U32(1)),
        ("glm4", "glm4.attention.key_length", Value::U32(1 << 20)),
        ("glm4", "glm4.attention.value_length", Value::U32(16)),
        ("glm4", "glm4.attention.head_count_kv", Value::U32(3)),
        ("glm4", "glm4.attention.head_count_kv", Value::U32(0)),
        ("glm4", "glm4.context_length", Value::U32(u32::MAX)),
        ("glm4", "glm4.attention.layer_norm_rms_epsilon", Value::F32(-1.0)),
        ("glm4", "glm4.vocab_size", Value::U32(7)),
    ];
    for (name, key, value) in cases {
        let file = changed(&variant(name), |metadata, _| {
            metadata.insert(key.to_owned(), value.clone());
        });
        let error = refused(&file);
        assert!(matches!(error, LoadError::Config(_)), "{key} = {value:?}: {error}");
    }
}

#[test]
fn a_count_of_layers_beyond_the_tensors_is_refused_by_the_first_that_is_missing() {
    for name in ["phi2", "glm4"] {
        let file = changed(&variant(name), |metadata, _| {
            metadata.insert(format!("{name}.block_count"), Value::U32(1 << 30));
        });
        let error = refused(&file);
        assert!(
            matches!(&error, LoadError::MissingTensor(tensor) if tensor.starts_with("blk.2.")),
            "{error}"
        );
    }
}

#[test]
fn tensors_that_are_missing_or_unexpected_are_named() {
    for (name, synthetic) in Synthetic::tolerance_variants() {
        for index in 0..synthetic.tensors().len() {
            let mut missing = String::new();
            let file = changed(&synthetic, |_, tensors| missing = tensors.remove(index).name);
            // GLM-4 comes with and without biases, and with and without a head of its own.
            let is_optional = name != "phi2" && (missing.ends_with(".bias") || missing == "output.weight");
            match load(&file) {
                Ok(_) => assert!(is_optional, "{name} loads without {missing}"),
                Err(LoadError::MissingTensor(tensor)) => assert_eq!(tensor, missing, "{name}"),
                Err(error) => panic!("{name} without {missing}: {error}"),
            }
        }
        let file = changed(&synthetic, |_, tensors| {
            let extra = Tensor { name: "rope_freqs.weight".into(), ..tensors[0].clone() };
            tensors.push(extra);
        });
        let error = refused(&file);
        assert!(
            matches!(&error, LoadError::UnexpectedTensor(extra) if extra == "rope_freqs.weight"),
            "{error}"
        );
    }
}

#[test]
fn tensors_of_another_shape_or_type_are_named() {
    for (name, synthetic) in Synthetic::tolerance_variants() {
        for index in 0..synthetic.tensors().len() {
            let file = changed(&synthetic, |_, tensors| {
                tensors[index].dims.push(1);
            });
            let error = refused(&file);
            assert!(matches!(error, LoadError::Shape { .. }), "{name}, tensor {index}: {error}");
            // As many bytes of a type that norms and biases never have.
            let file = changed(&synthetic, |_, tensors| {
                tensors[index].dtype = DType::I32;
            });
            let error = refused(&file);
            assert!(matches!(error, LoadError::Type { dtype: DType::I32, .. }), "{name}, {index}: {error}");
        }
    }
}

#[test]
fn pieces_of_a_tensor_that_are_missing_or_do_not_fit_together_are_named() {
    let phi2 = variant("phi2");
    for piece in ["blk.0.attn_k.weight", "blk.1.attn_v.bias"] {
        let file = changed(&phi2, |_, tensors| {
            *tensors = split(tensors);
            tensors.retain(|tensor| tensor.name != piece);
        });
        let error = refused(&file);
        assert!(matches!(&error, LoadError::MissingTensor(missing) if missing == piece), "{error}");
    }
    // Files of mixed types give the values more bits than the keys.
    let file = changed(&phi2, |_, tensors| {
        *tensors = split(tensors);
        let values = tensors.iter_mut().find(|tensor| tensor.name == "blk.1.attn_v.weight").unwrap();
        values.dtype = DType::F16;
        values.data.truncate(values.data.len() / 2);
    });
    let error = refused(&file);
    let LoadError::Mixed { tensor, found, expected } = &error else { panic!("{error}") };
    assert_eq!((tensor.as_str(), *found, *expected), ("blk.1.attn_v.weight", DType::F16, DType::F32));
    // Both at once would leave open which of them counts.
    let file = changed(&phi2, |_, tensors| {
        let apart = split(tensors);
        tensors.push(apart.into_iter().find(|tensor| tensor.name == "blk.0.attn_q.weight").unwrap());
    });
    let error = refused(&file);
    assert!(
        matches!(&error, LoadError::UnexpectedTensor(extra) if extra == "blk.0.attn_q.weight"),
        "{error}"
    );
}

#[test]
fn a_model_beyond_this_machines_limit_is_refused() {
    let options = LoadOptions { tensor_bytes_max: 1_000 };
    let file = variant("phi2").gguf().unwrap();
    let refused = CandleGenerator::load(&file, &options, Settings::default(), &mut |_, _| ());
    assert!(matches!(refused, Err(LoadError::TooLarge { max: 1_000, .. })));
}

#[test]
fn truncated_and_damaged_files_are_refused_or_answer_and_candle_never_panics() {
    for name in ["phi2", "glm4"] {
        let file = Synthetic { layers: 1, context_length: 64, ..variant(name) }.gguf().unwrap();
        for len in (0..file.len()).step_by(997) {
            assert!(load(&file[..len]).is_err(), "{len} bytes");
        }
        // Bytes of the header, changed in three ways.
        for at in (0..9_500).step_by(53) {
            for bit in [0x01, 0x40, 0xff] {
                let mut damaged = file.clone();
                damaged[at] ^= bit;
                let answered = load(&damaged).map(|generator| {
                    let prompt = generator.text().encode_plain("the hand").unwrap_or_default();
                    generator.logits(&prompt)
                });
                let is_fault = matches!(&answered, Err(LoadError::Library(_)) | Ok(Err(_)));
                assert!(!is_fault, "{name}, byte {at} by {bit:#x}: {answered:?}");
            }
        }
    }
}
