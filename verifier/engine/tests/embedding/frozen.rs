//! The numerics of encoders, frozen: a change of any result is a new id, never a new vector.

use std::fmt::Write as _;

use assay_engine::embedding::Pooling;
use assay_engine::synthetic::SyntheticBert;
use assay_kernels::WeightType;

use crate::support::{TEXTS, encode, encoder};

const FROZEN: &str = include_str!("frozen.txt");

#[test]
fn specs_and_embeddings_are_the_frozen_ones() {
    let types = WeightType::ALL.map(|weight_type| (weight_type.name(), SyntheticBert::of(weight_type)));
    let cls = SyntheticBert { pooling: Pooling::Cls, ..SyntheticBert::default() };
    // More positions than a segment has.
    let long = SyntheticBert { positions: 800, layers: 1, ..SyntheticBert::default() };
    let mut found = String::new();
    for (name, synthetic) in types.into_iter().chain([("cls", cls), ("long", long)]) {
        let encoder = encoder(&synthetic);
        writeln!(found, "{name} spec {}", encoder.spec_id()).unwrap();
        let repeated = TEXTS[0].repeat(if name == "long" { 100 } else { 1 });
        for embedding in encode(&encoder, &[TEXTS[1], TEXTS[2], &repeated]) {
            writeln!(found, "{name} {} tokens {}", embedding.tokens, embedding.hash()).unwrap();
        }
    }
    assert!(found == FROZEN, "frozen.txt holds\n{FROZEN}\nbut found is\n{found}");
}
