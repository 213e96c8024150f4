//! Texts that are long, strange, or too much.

use assay_engine::embedding::{EncodeError, TooLong};
use assay_engine::synthetic::{SyntheticBert, Tensor};
use assay_kernels::Cpu;
use assay_manifest::formats::gguf;

use crate::support::{encode, encoder, load, pool};

#[test]
fn a_text_beyond_the_positions_is_refused_or_cut() {
    let encoder = encoder(&SyntheticBert { positions: 8, ..SyntheticBert::default() });
    let pool = pool(1, Cpu::detect());
    // Six tokens, and the two around them.
    let (fits, long) = ("the and in the and in", "the and in the and in hand land");
    let refused = encoder.encode(&pool, &[fits, long], TooLong::Refuse);
    assert!(matches!(refused, Err(EncodeError::TooLong { index: 1, tokens: 10, max: 8 })), "{refused:?}");
    let cut = encoder.encode(&pool, &[fits, long], TooLong::Truncate).unwrap();
    assert_eq!(cut[0], cut[1]);
    assert_eq!(cut[0], encode(&encoder, &[fits])[0]);
}

#[test]
fn no_text_is_no_work() {
    let none: [&str; 0] = [];
    assert_eq!(encode(&encoder(&SyntheticBert::default()), &none), []);
}

#[test]
fn a_text_cannot_make_a_control_token() {
    let encoder = encoder(&SyntheticBert::default());
    let text = "[CLS] the [SEP][MASK] [PAD]";
    let tokens = encoder.text().encode_sentence(text).unwrap();
    assert!(tokens[1..tokens.len() - 1].iter().all(|token| ![0, 2, 3, 4].contains(token)), "{tokens:?}");
}

#[test]
fn texts_beyond_a_mebibyte_are_refused() {
    let encoder = encoder(&SyntheticBert::default());
    let text = "a".repeat((1 << 20) + 1);
    let refused = encoder.encode(&pool(1, Cpu::detect()), &["a", &text], TooLong::Truncate);
    assert!(matches!(refused, Err(EncodeError::Text { index: 1, .. })), "{refused:?}");
}

#[test]
fn a_computation_that_overflows_is_an_error_that_names_the_text() {
    let synthetic = SyntheticBert::default();
    let mut tensors = synthetic.tensors();
    for tensor in tensors.iter_mut().filter(|tensor| tensor.name.ends_with("norm.weight")) {
        tensor.data.as_chunks_mut().0.iter_mut().for_each(|bytes| *bytes = f32::MAX.to_le_bytes());
    }
    let tensors: Vec<_> = tensors.iter().map(Tensor::data).collect();
    let mut file = Vec::new();
    gguf::write(&mut file, &synthetic.metadata().unwrap(), &tensors).unwrap();
    let encoder = load(&file).unwrap();
    let failed = encoder.encode(&pool(1, Cpu::detect()), &["the land"], TooLong::Refuse);
    assert!(matches!(failed, Err(EncodeError::NotFinite { index: 0 })), "{failed:?}");
}
