//! The recipe from transformers to GGUF, on a model small enough to check by hand.

mod support;

use assay_kernels::quantise;
use assay_lineage::{GgufType, LineageError, TransformersSource, gguf_from_transformers};
use assay_manifest::formats::DType;
use assay_manifest::formats::gguf::Gguf;
use serde_json::json;
use support::{HEADS, HIDDEN, KV_HEADS, TinyModel, VOCABULARY};

fn convert(model: &TinyModel, gguf_type: GgufType) -> Result<Vec<u8>, LineageError> {
    gguf_from_transformers(&model.files(DType::F16).source(), gguf_type)
}

fn data<'a>(file: &'a [u8], header: &Gguf, name: &str) -> &'a [u8] {
    let tensor = header.tensor(name).unwrap();
    &file[tensor.offset as usize..(tensor.offset + tensor.nbytes) as usize]
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn matrices_have_the_wanted_type_and_norms_stay_f32() {
    for gguf_type in GgufType::ALL {
        let file = convert(&TinyModel::new(), gguf_type).unwrap();
        let header = Gguf::parse(file.as_slice(), file.len() as u64).unwrap();
        assert_eq!(header.tensors.len(), 11);
        for tensor in &header.tensors {
            let expected = if tensor.dims.len() == 1 { DType::F32 } else { gguf_type.dtype() };
            assert_eq!(tensor.dtype, expected, "{}", tensor.name);
        }
        let embedding = header.tensor("token_embd.weight").unwrap();
        assert_eq!(embedding.shape(), [VOCABULARY, HIDDEN]);
        assert_eq!(header.require::<u32>("llama.attention.head_count_kv"), Ok(KV_HEADS as u32));
        assert_eq!(header.require::<f32>("llama.attention.layer_norm_rms_epsilon"), Ok(1e-5));
        assert_eq!(header.require::<&[String]>("tokenizer.ggml.tokens").unwrap().len(), VOCABULARY as usize);
    }
}

#[test]
fn rotary_halves_of_queries_and_keys_are_interleaved_and_values_are_not() {
    let model = TinyModel::new();
    let file = convert(&model, GgufType::F32).unwrap();
    let header = Gguf::parse(file.as_slice(), file.len() as u64).unwrap();
    let width = HIDDEN as usize;
    let row = |values: &[f32], row: usize| values[row * width..][..width].to_vec();
    let half = (HIDDEN / HEADS / 2) as usize;
    for (source, target, heads) in [("q_proj", "attn_q", HEADS), ("k_proj", "attn_k", KV_HEADS)] {
        let source = &model.tensors[&format!("model.layers.0.self_attn.{source}.weight")].values;
        let target = floats(data(&file, &header, &format!("blk.0.{target}.weight")));
        for head in 0..heads as usize {
            for i in 0..half {
                let first = head * 2 * half;
                assert_eq!(row(&target, first + 2 * i), row(source, first + i));
                assert_eq!(row(&target, first + 2 * i + 1), row(source, first + half + i));
            }
        }
    }
    let values = &model.tensors["model.layers.0.self_attn.v_proj.weight"].values;
    assert_eq!(&floats(data(&file, &header, "blk.0.attn_v.weight")), values);
}

#[test]
fn quantised_matrices_are_those_of_the_canonical_quantisers() {
    let model = TinyModel::new();
    let values = &model.tensors["model.layers.0.mlp.down_proj.weight"].values;
    for (gguf_type, expected) in
        [(GgufType::Q8_0, quantise::q8_0(values)), (GgufType::Q4_0, quantise::q4_0(values))]
    {
        let file = convert(&model, gguf_type).unwrap();
        let header = Gguf::parse(file.as_slice(), file.len() as u64).unwrap();
        assert_eq!(data(&file, &header, "blk.0.ffn_down.weight"), expected.unwrap());
    }
}

#[test]
fn the_type_of_the_source_makes_no_difference_where_it_is_exact() {
    let model = TinyModel::new();
    let expected = convert(&model, GgufType::Q8_0);
    for dtype in [DType::F32, DType::BF16] {
        let files = model.files(dtype);
        assert_eq!(gguf_from_transformers(&files.source(), GgufType::Q8_0), expected, "{dtype}");
    }
}

#[test]
fn an_untied_output_is_a_tensor_of_its_own() {
    let mut model = TinyModel::new();
    model.config["tie_word_embeddings"] = json!(false);
    let missing = convert(&model, GgufType::Q8_0);
    assert_eq!(missing, Err(LineageError::MissingTensor("lm_head.weight".to_owned())));
    let embedding = model.tensors["model.embed_tokens.weight"].clone();
    model.tensors.insert("lm_head.weight".to_owned(), embedding);
    let file = convert(&model, GgufType::Q8_0).unwrap();
    let header = Gguf::parse(file.as_slice(), file.len() as u64).unwrap();
    assert_eq!(data(&file, &header, "output.weight"), data(&file, &header, "token_embd.weight"));
}

#[test]
fn tensors_without_a_place_or_with_another_shape_are_refused() {
    let mut model = TinyModel::new();
    let norm = model.tensors["model.norm.weight"].clone();
    model.tensors.insert("model.layers.0.self_attn.q_norm.weight".to_owned(), norm.clone());
    assert!(matches!(convert(&model, GgufType::F16), Err(LineageError::UnknownTensor(_))));

    let mut model = TinyModel::new();
    model.tensors.insert("model.layers.0.self_attn.q_proj.weight".to_owned(), norm);
    assert!(matches!(convert(&model, GgufType::F16), Err(LineageError::Shape { .. })));
}

#[test]
fn values_without_a_quantised_form_are_refused() {
    let mut model = TinyModel::new();
    let name = "model.layers.0.mlp.up_proj.weight";
    model.tensors.get_mut(name).unwrap().values[5] = f32::INFINITY;
    let refused = convert(&model, GgufType::Q8_0);
    assert!(matches!(refused, Err(LineageError::Quantise { tensor, .. }) if tensor == "blk.0.ffn_up.weight"));
}

#[test]
fn missing_and_sharded_files_are_refused() {
    let files = TinyModel::new().files(DType::F16);
    let named = files.named();
    for missing in 0..named.len() {
        let rest = named.iter().enumerate().filter(|(i, _)| *i != missing).map(|(_, file)| *file);
        let refused = TransformersSource::from_files(rest).unwrap_err();
        assert_eq!(refused, LineageError::MissingFile(named[missing].0));
    }
    for shard in ["model-00001-of-00002.safetensors", "model.safetensors.index.json"] {
        let with_shard = named.into_iter().chain([(shard, &[][..])]);
        let refused = TransformersSource::from_files(with_shard).unwrap_err();
        assert_eq!(refused, LineageError::Sharded(shard.to_owned()));
    }
    assert!(TransformersSource::from_files(named.into_iter().chain([("README.md", &[][..])])).is_ok());
}
