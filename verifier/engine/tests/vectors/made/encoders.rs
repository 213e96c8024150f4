//! Embeddings of the synthetic encoders.

use std::num::NonZeroUsize;

use assay_engine::LoadOptions;
use assay_engine::embedding::{Encoder, Pooling, TooLong};
use assay_engine::synthetic::SyntheticBert;
use assay_kernels::{Cpu, Pool, WeightType};
use assay_manifest::Digest32;

use super::form::{Case, File};
use super::hashes::spec_id;

/// Definitions of every synthetic encoder.
const ALWAYS: [&str; 8] =
    ["add", "attention-bidirectional", "bert", "gelu", "l2-norm", "layer-norm", "row-f32", "text-wordpiece"];

const TEXT: &str = "the hand and the land";

const TEXTS: [&str; 3] = [
    "",
    "standing, 42 bands! a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g h i j k l m n o p q r",
    TEXT,
];

/// Names and settings: one of each type of weights, one with the other pooling, and one with more positions than a
/// segment has.
fn settings() -> Vec<(&'static str, SyntheticBert)> {
    let types = WeightType::ALL.map(|weight_type| (weight_type.name(), SyntheticBert::of(weight_type)));
    let cls = SyntheticBert { pooling: Pooling::Cls, ..SyntheticBert::default() };
    let long = SyntheticBert { positions: 800, layers: 1, ..SyntheticBert::default() };
    types.into_iter().chain([("cls", cls), ("long", long)]).collect()
}

/// Names and files.
pub fn encoders() -> Vec<(String, Vec<u8>)> {
    let file = |(name, encoder): (&str, SyntheticBert)| {
        (format!("bert-{name}.gguf"), encoder.gguf().expect("an encoder's file"))
    };
    settings().into_iter().map(file).collect()
}

pub fn embeddings(cpu: Cpu) -> File {
    let pool = Pool::new(NonZeroUsize::MIN, cpu).expect("a pool");
    let cases: Vec<Case> = settings()
        .into_iter()
        .zip(encoders())
        .map(|((name, settings), (file_name, file))| {
            encoder(&pool, &file_name, &file, &settings, if name == "long" { 100 } else { 1 })
        })
        .collect();
    File::new("encoders", &["bert"], &cases)
}

fn encoder(pool: &Pool, name: &str, file: &[u8], settings: &SyntheticBert, repeats: usize) -> Case {
    let encoder = Encoder::load(&file, &LoadOptions::default(), &mut |_, _| ()).expect("an encoder");
    let weight_type = settings.weight_type.name();
    let pooling = if settings.pooling == Pooling::Cls { "cls-pooling" } else { "mean-pooling" };
    let mut names: Vec<String> = ALWAYS.map(str::to_owned).into();
    names.extend([pooling.to_owned(), format!("product-{weight_type}"), format!("row-{weight_type}")]);
    names.sort();
    names.dedup();
    let spec = spec_id(&names);
    assert_eq!(spec, encoder.spec_id().digest(), "{name}");
    let texts = TEXTS.map(|text| if text == TEXT { text.repeat(repeats) } else { text.to_owned() });
    let embeddings = encoder.encode(pool, &texts, TooLong::Refuse).expect("embeddings");
    let embeddings: Vec<Case> = texts
        .iter()
        .zip(&embeddings)
        .map(|(text, embedding)| {
            let tokens = encoder.text().encode_sentence(text).expect("tokens");
            let case = Case::new("text").text("text", text).ints("tokens", &tokens);
            case.floats("first", &embedding.values[..8]).digest("blake3", &embedding.hash())
        })
        .collect();
    let file_hash = Digest32::from_bytes(*blake3::hash(file).as_bytes());
    let case = Case::new(name).int("size", file.len()).digest("blake3", &file_hash);
    case.texts("definitions", &names).digest("spec_id", &spec).cases("embeddings", &embeddings)
}
