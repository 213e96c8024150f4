//! The canonical quantisers against vectors written by gguf-py.

use assay_kernels::quantise::{QuantiseError, q4_0, q8_0};

fn values() -> Vec<f32> {
    let bytes = include_bytes!("data/values.f32");
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn q8_0_equals_gguf_py() {
    assert_eq!(q8_0(&values()).unwrap(), include_bytes!("data/values.q8_0"));
}

#[test]
fn q4_0_equals_gguf_py() {
    assert_eq!(q4_0(&values()).unwrap(), include_bytes!("data/values.q4_0"));
}

#[test]
fn blocks_whose_scale_has_no_inverse_become_zero() {
    let tiny = [f32::from_bits(100); 32];
    let zero = [0.0; 32];
    assert_eq!(q8_0(&tiny).unwrap(), q8_0(&zero).unwrap());
    assert_eq!(q4_0(&tiny).unwrap()[2..], q4_0(&zero).unwrap()[2..]);
}

/// gguf-py gives the scale of the second another sign than ggml's C does.
#[test]
fn zeros_of_both_signs_make_the_same_block() {
    assert_eq!(q8_0(&[0.0; 32]), q8_0(&[-0.0; 32]));
    assert_eq!(q4_0(&[0.0; 32]), q4_0(&[-0.0; 32]));
    assert_eq!(q4_0(&[0.0; 32]).unwrap()[..3], [0x00, 0x80, 0x88]);
}

#[test]
fn values_without_a_quantised_form_are_refused() {
    let with = |value: f32| {
        let mut values = [0.0; 64];
        values[40] = value;
        values
    };
    for (reason, value) in [
        ("nan", f32::NAN),
        ("infinity", f32::INFINITY),
        ("minus infinity", f32::NEG_INFINITY),
        ("a scale beyond binary16", 1e9),
    ] {
        assert_eq!(q8_0(&with(value)), Err(QuantiseError::NotFinite(1)), "{reason}");
        assert_eq!(q4_0(&with(value)), Err(QuantiseError::NotFinite(1)), "{reason}");
    }
    assert_eq!(q8_0(&[0.0; 33]), Err(QuantiseError::PartialBlock(33)));
}
